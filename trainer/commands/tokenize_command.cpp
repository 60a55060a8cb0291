#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>

#include "data/tokenize_corpus.h"
#include "trainer/agreement.h"
#include "trainer/command.h"
#include "trainer/human.h"
#include "trainer/stop_signal.h"
#include "trainer/stopwatch.h"

namespace dsmoe::train {
namespace {

constexpr double kSecondsBetweenLines = 5;
constexpr int kStopped = 1;

/// Thrown out of the work when a signal asked for its end.
struct Stopped {};

struct TokenizeCommand final : Command {
  [[nodiscard]] Verb verb() override;
  [[nodiscard]] int run(CommandContext& context) override;

  [[nodiscard]] data::TokenizeOptions options() const;
  [[nodiscard]] int tokenize(CommandContext& context) const;

  std::string tokenizer;
  std::string input;
  std::optional<std::string> output;
  int64_t workers = 0;
  bool overwrite = false;
};

std::string megabytes_per_second(int64_t bytes, double seconds) {
  return fixed(static_cast<double>(bytes) / seconds / 1e6, 1) + " MB/s";
}

std::string progress_line(const data::TokenizeProgress& progress, double seconds) {
  const auto done = static_cast<double>(progress.bytes_read);
  const auto total = static_cast<double>(progress.bytes_to_read);
  return human_bytes(done) + " of " + human_bytes(total) + ", " +
         human_count(static_cast<double>(progress.documents)) + " documents, " +
         human_count(static_cast<double>(progress.tokens)) + " tokens, " +
         megabytes_per_second(progress.bytes_read, seconds) + ", ETA " +
         human_duration((total - done) * seconds / done);
}

/// A line every few seconds; looks for signals each time.
data::TokenizeWatcher show_progress(Console& console, const Stopwatch& watch) {
  return [&console, &watch, shown = 0.0](const data::TokenizeProgress& progress) mutable {
    if (stop_requested()) throw Stopped();
    const double seconds = watch.seconds();
    if (seconds - shown < kSecondsBetweenLines) return;
    shown = seconds;
    console.info(progress_line(progress, seconds));
  };
}

std::string summary(const data::TokenizeResult& result, double seconds) {
  const data::TokenizeProgress& total = result.total;
  const double per_token =
      static_cast<double>(total.text_bytes) / static_cast<double>(total.tokens);
  return with_separators(total.documents) + " documents, " + with_separators(total.tokens) +
         " tokens (" + name_of(result.type) + "), " + with_separators(total.text_bytes) +
         " bytes of text, " + fixed(per_token, 2) + " bytes per token, in " +
         human_duration(seconds) + ", " + megabytes_per_second(total.text_bytes, seconds) +
         "\nwrote " + result.bin + " and " + result.idx;
}

void print_json(const data::TokenizeResult& result, double seconds) {
  const nlohmann::ordered_json json = {{"documents", result.total.documents},
                                       {"tokens", result.total.tokens},
                                       {"bytes", result.total.text_bytes},
                                       {"dtype", name_of(result.type)},
                                       {"bin", result.bin},
                                       {"idx", result.idx},
                                       {"seconds", seconds}};
  std::fputs((json.dump() + "\n").c_str(), stdout);
}

Verb TokenizeCommand::verb() {
  return {"tokenize",
          "text to a .bin/.idx pair of token files",
          {{"--tokenizer", &tokenizer, "byte, or a tokenizer.json", /*required=*/true},
           {"--input", &input, "text or JSONL file, or a directory of them", /*required=*/true},
           {"--output", &output, "PREFIX of the files (default: beside the input)"},
           {"--workers", &workers, "threads (default: one a core)", /*required=*/false,
            Range::kPositive},
           {"--overwrite", &overwrite, "replace files of that prefix"},
           json_argument(*this)}};
}

data::TokenizeOptions TokenizeCommand::options() const {
  const int64_t cores = std::max<int64_t>(std::thread::hardware_concurrency(), 1);
  return {input, output.value_or(data::default_output(input)), workers > 0 ? workers : cores,
          overwrite};
}

int TokenizeCommand::tokenize(CommandContext& context) const {
  const auto encoder = data::make_tokenizer(tokenizer);
  const Stopwatch watch;
  catch_interrupts();
  try {
    const auto result =
        data::tokenize_corpus(options(), *encoder, show_progress(context.console, watch));
    const double seconds = watch.seconds();
    context.console.info(summary(result, seconds));
    if (json) print_json(result, seconds);
    return 0;
  } catch (const Stopped&) {
    context.console.error("stopped as asked; nothing was written");
    return kStopped;
  }
}

int TokenizeCommand::run(CommandContext& context) {
  int code = 0;
  agree(context.world, [&] {
    if (context.first()) code = tokenize(context);
  });
  return code;
}

}  // namespace

std::unique_ptr<Command> tokenize_command() { return std::make_unique<TokenizeCommand>(); }

}  // namespace dsmoe::train
