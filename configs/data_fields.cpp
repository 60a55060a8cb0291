#include "configs/fields.h"

namespace dsmoe::config {
namespace {

Row<DataSource> path_row() {
  return row("path", &DataSource::path, text(not_empty()),
             {.meaning = "text, .jsonl or .json file, folder, or .bin/.idx prefix; relative to the "
                         "working directory"});
}

Row<DataSource> weight_row() {
  return row("weight", &DataSource::weight, number(number_above(0.0)),
             {.meaning = "share of the blend, relative to the other weights"});
}

template <class Owner>
Row<Owner> other_name(const std::string& name, std::string Owner::* member,
                      const std::string& meaning) {
  return row(name, member, optional_text(), {.meaning = meaning});
}

Row<DataSource> columns_row() {
  const Rows<ColumnNames> rows{
      other_name("messages", &ColumnNames::messages,
                 "the field that holds the turns, else `messages` or `conversations`"),
      other_name("instruction", &ColumnNames::instruction, "the question, else `instruction`"),
      other_name("input", &ColumnNames::input, "what the question is about, else `input`"),
      other_name("output", &ColumnNames::output, "the answer, else `output`"),
      other_name("system", &ColumnNames::system, "the system text, else `system`"),
      other_name("history", &ColumnNames::history,
                 "earlier [question, answer] pairs, else `history`"),
      other_name("text", &ColumnNames::text, "a document, else `text`")};
  return row("columns", &DataSource::columns, map_of(rows),
             {.meaning = "names of a row's fields that are not the usual ones; whole packing"});
}

Row<DataSource> tags_row() {
  const Rows<TagNames> rows{
      other_name("role", &TagNames::role, "who speaks, else `role` (or `from`)"),
      other_name("content", &TagNames::content, "what is said, else `content` (or `value`)"),
      other_name("user", &TagNames::user, "the user's name, else `user` or `human`"),
      other_name("assistant", &TagNames::assistant, "the model's, else `assistant` or `gpt`"),
      other_name("system", &TagNames::system, "the system's, else `system`")};
  return row("tags", &DataSource::tags, map_of(rows),
             {.meaning = "names within a turn that are not the usual ones; whole packing"});
}

Row<DataSource> name_row() {
  Row<DataSource> made = row("name", &DataSource::name, text(simple_name()),
                             {.meaning = "name in metrics; unique in its list"});
  made.info.default_text = "path's file name up to the first dot";
  return made;
}

Rows<DataStage> stage_rows() {
  return {row("tokens", &DataStage::tokens, integer_or("rest", 0, at_least(1)),
              {.meaning = "length, up to a whole sequence; the last stage may take the rest",
               .unit = "tokens"}),
          row("weights", &DataStage::weights, named_numbers(number_above(0.0)),
              {.meaning = "share of each source of data.train, by name; a source that is "
                          "not named is not read"})};
}

}  // namespace

Section data_section() {
  const Rows<DataSource> train{path_row(), weight_row(), name_row(), columns_row(), tags_row()};
  const Rows<DataSource> eval{path_row(), name_row(), columns_row(), tags_row()};
  const Rows<DataConfig> rows{
      row("tokenizer", &DataConfig::tokenizer, text(not_empty()),
          {.meaning = "byte (256 bytes, BOS, EOS, PAD), or a tokenizer.json"}),
      row("sequence_length", &DataConfig::sequence_length, integer(count_from(1)),
          {.meaning = "targets of one packed row", .symbol = "T", .unit = "tokens"}),
      row("document_mask", &DataConfig::document_mask, boolean(),
          {.meaning = "attention, positions and balance losses stay within a document; its last "
                      "token predicts nothing",
           .why = "many short documents, or fine-tuning; attention then costs the sum of their "
                  "squared lengths"}),
      row("packing", &DataConfig::packing,
          choice<Packing>({{"stream", Packing::kStream}, {"whole", Packing::kWhole}}),
          {.meaning = "stream: documents end to end, cut into rows; whole: each document or "
                      "conversation whole in one row, several side by side",
           .why = "whole for conversations; needs document_mask"}),
      row("chat_template", &DataConfig::chat_template,
          choice<ChatTemplate>(
              {{"auto", ChatTemplate::kAuto}, {"deepseek_v2", ChatTemplate::kDeepseekV2}}),
          {.meaning = "how conversations become text: DeepSeek-V2's template; auto refuses a "
                      "tokenizer that brings another one",
           .why = "scripts/render-chat applies any other template beforehand"}),
      row("overlong", &DataConfig::overlong,
          choice<Overlong>(
              {{"stop", Overlong::kStop}, {"cut", Overlong::kCut}, {"drop", Overlong::kDrop}}),
          {.meaning = "what to do with a conversation longer than a row; packing whole"}),
      row("bad_rows", &DataConfig::bad_rows,
          choice<BadRows>({{"stop", BadRows::kStop}, {"skip", BadRows::kSkip}}),
          {.meaning = "what to do with a row that is no conversation; skipped ones are counted; "
                      "packing whole"}),
      row("held_out", &DataConfig::held_out, number(number_between(0.0, 0.9)),
          {.meaning = "share of each source of train that is not trained on but evaluated, under "
                      "the source's name; packing whole",
           .why = "the same conversations whatever the seed, equal ones together"}),
      row("train", &DataConfig::train, list_of_maps(train),
          {.meaning = "sources that are blended for training"}),
      row("stages", &DataConfig::stages, list_of_maps(stage_rows()),
          {.meaning = "a curriculum: mixtures one after the other, instead of the weights of train",
           .why = "a source's documents go on where the stage before left off"}),
      row("eval", &DataConfig::eval, list_of_maps(eval),
          {.meaning = "held-out sources, each reported by its name"}),
  };
  return make_section("data", "What is read.", &RunConfig::data, rows);
}

}  // namespace dsmoe::config
