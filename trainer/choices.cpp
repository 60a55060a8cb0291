#include "trainer/choices.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "configs/errors.h"
#include "configs/text_file.h"
#include "data/token_batch.h"
#include "trainer/agreement.h"
#include "trainer/evaluate.h"

namespace dsmoe::train {
namespace {

using nlohmann::json;

constexpr const char* kHint =
    "\nhint: each line is {\"question\": \"...\", \"choices\": [\"...\", \"...\"], \"answer\": 0}";

/// 0, 1, ... or A, B, ...
int64_t answer_of(const json& value, int64_t choices, const std::string& place) {
  int64_t answer = -1;
  if (value.is_number_integer()) answer = value.get<int64_t>();
  if (value.is_string() && value.get<std::string>().size() == 1) {
    answer = value.get<std::string>()[0] - 'A';
  }
  if (answer < 0 || answer >= choices) {
    throw DataError(place + ": `answer` (" + value.dump() + ") is none of the " +
                    std::to_string(choices) + " choices" + kHint);
  }
  return answer;
}

ChoiceQuestion parse_question(const std::string& line, const std::string& place) {
  try {
    const json object = json::parse(line);
    ChoiceQuestion question{object.at("question").get<std::string>(),
                            object.at("choices").get<std::vector<std::string>>()};
    question.answer =
        answer_of(object.at("answer"), static_cast<int64_t>(question.choices.size()), place);
    for (const std::string& choice : question.choices) {
      if (choice.empty()) throw DataError(place + ": an empty choice" + kHint);
    }
    return question;
  } catch (const json::exception& error) {
    throw DataError(place + ": no question: " + error.what() + kHint);
  }
}

/// One choice as a row: all its tokens, of which the last `predicted` are the choice's.
struct Row {
  std::vector<int64_t> ids;
  int64_t predicted = 0;
};

Row row_of(const ChoiceQuestion& question, const std::string& choice,
           const data::Tokenizer& tokenizer) {
  const auto context = tokenizer.encode(question.question);
  const auto whole = tokenizer.encode(question.question + " " + choice);
  Row row;
  if (tokenizer.bos() >= 0) row.ids.push_back(tokenizer.bos());
  row.ids.insert(row.ids.end(), whole.begin(), whole.end());
  // At least one token; never the first, which nothing predicts.
  const auto added = static_cast<int64_t>(whole.size()) - static_cast<int64_t>(context.size());
  row.predicted = std::min(std::max<int64_t>(added, 1), static_cast<int64_t>(row.ids.size()) - 1);
  return row;
}

std::vector<Row> rows_of(const ChoiceQuestion& question, const data::Tokenizer& tokenizer) {
  std::vector<Row> rows;
  for (const std::string& choice : question.choices) {
    rows.push_back(row_of(question, choice, tokenizer));
  }
  return rows;
}

data::TokenBatch batch_of(const std::vector<Row>& rows, int64_t padding) {
  int64_t longest = 1;
  for (const Row& row : rows) {
    longest = std::max(longest, static_cast<int64_t>(row.ids.size()) - 1);
  }
  const auto count = static_cast<int64_t>(rows.size());
  data::TokenBatch batch{at::full({count, longest}, padding, at::kLong),
                         at::full({count, longest}, data::kNoTarget, at::kLong),
                         at::zeros({count, longest}, at::kBool),
                         {}};
  for (int64_t b = 0; b < count; ++b) {
    const Row& row = rows[static_cast<size_t>(b)];
    const auto length = static_cast<int64_t>(row.ids.size()) - 1;
    const at::Tensor ids = torch::tensor(row.ids, at::kLong);
    batch.inputs_BT[b].narrow(0, 0, length).copy_(ids.narrow(0, 0, length));
    batch.valid_BT[b].narrow(0, 0, length).fill_(true);
    const int64_t first = length - row.predicted;
    batch.targets_BT[b]
        .narrow(0, first, row.predicted)
        .copy_(ids.narrow(0, first + 1, row.predicted));
    batch.sequence_numbers.push_back(b);
  }
  return batch;
}

/// The index of the largest value, the lower one on ties.
int64_t best(const std::vector<double>& values) {
  return std::max_element(values.begin(), values.end()) - values.begin();
}

struct Verdict {
  int64_t plain = 0;
  int64_t normalized = 0;
};

Verdict judge(const ChoiceQuestion& question, const at::Tensor& losses_B) {
  std::vector<double> plain, normalized;
  for (size_t c = 0; c < question.choices.size(); ++c) {
    const double likelihood = -losses_B[static_cast<int64_t>(c)].item<double>();
    plain.push_back(likelihood);
    normalized.push_back(likelihood / static_cast<double>(question.choices[c].size()));
  }
  return {best(plain), best(normalized)};
}

void check_lengths(const std::vector<ChoiceQuestion>& questions, const data::Tokenizer& tokenizer,
                   const config::ModelConfig& model) {
  for (const ChoiceQuestion& question : questions) {
    for (const Row& row : rows_of(question, tokenizer)) {
      const auto length = static_cast<int64_t>(row.ids.size());
      if (length <= model.max_position_embeddings) continue;
      throw DataError(
          "--choices: a question of " + std::to_string(length) +
          " tokens is longer than the model's " + std::to_string(model.max_position_embeddings) +
          " positions: " + question.question.substr(0, 60) + "\nhint: leave it out, or shorten it");
    }
  }
}

}  // namespace

std::vector<ChoiceQuestion> read_choices(const std::string& path) {
  std::istringstream file(config::read_text_file(path));
  std::vector<ChoiceQuestion> questions;
  std::string line;
  for (int64_t number = 1; std::getline(file, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    questions.push_back(parse_question(line, path + ":" + std::to_string(number)));
  }
  if (questions.empty()) throw DataError(path + ": no question in it" + kHint);
  return questions;
}

ChoiceReport score_choices(nn::Model& model, const data::Tokenizer& tokenizer,
                           const std::vector<ChoiceQuestion>& questions,
                           parallel::Communicator& world) {
  const at::NoGradGuard no_grad;
  agree(world, [&] { check_lengths(questions, tokenizer, model->config()); });
  const auto count = static_cast<int64_t>(questions.size());
  at::Tensor answers = at::zeros({count, 2}, at::kLong);
  for (int64_t begin = 0; begin < count; begin += world.size()) {
    const int64_t mine = begin + world.rank();
    const bool any = mine < count;
    const ChoiceQuestion* question = any ? &questions[static_cast<size_t>(mine)] : nullptr;
    const auto batch =
        batch_of(any ? rows_of(*question, tokenizer) : std::vector<Row>{}, tokenizer.eos());
    const auto output = model->forward(batch.inputs_BT, sequence_info(batch), /*dropping=*/false);
    if (!any) continue;
    const at::Tensor losses_BT =
        model->losses(output, batch.targets_BT).view(batch.targets_BT.sizes());
    const Verdict verdict = judge(*question, losses_BT.sum(1));
    answers[mine][0] = verdict.plain;
    answers[mine][1] = verdict.normalized;
  }
  if (world.size() > 1) world.all_reduce(answers, parallel::ReduceOp::kSum);
  ChoiceReport report;
  report.questions = count;
  for (int64_t q = 0; q < count; ++q) {
    const int64_t right = questions[static_cast<size_t>(q)].answer;
    report.answers.push_back(answers[q][1].item<int64_t>());
    report.accuracy += answers[q][0].item<int64_t>() == right ? 1.0 : 0.0;
    report.accuracy_normalized += report.answers.back() == right ? 1.0 : 0.0;
  }
  report.accuracy /= static_cast<double>(count);
  report.accuracy_normalized /= static_cast<double>(count);
  return report;
}

}  // namespace dsmoe::train
