#include "configs/fields.h"

namespace dsmoe::config {
namespace {

Row<DataSource> path_row() {
  return row("path", &DataSource::path, text(not_empty()),
             {.meaning = "text or .jsonl file, relative to the working directory"});
}

Row<DataSource> weight_row() {
  return row("weight", &DataSource::weight, number(number_above(0.0)),
             {.meaning = "share of the blend, relative to the other weights"});
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
  const Rows<DataSource> train{path_row(), weight_row(), name_row()};
  const Rows<DataSource> eval{path_row(), name_row()};
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
