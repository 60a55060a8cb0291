#include <cstdio>
#include <nlohmann/json.hpp>

#include "configs/errors.h"
#include "trainer/agreement.h"
#include "trainer/command.h"
#include "trainer/export_model.h"
#include "trainer/human.h"

namespace dsmoe::train {
namespace {

struct ExportCommand final : Command {
  [[nodiscard]] Verb verb() override;
  [[nodiscard]] int run(CommandContext& context) override;

  ExportOptions options;
  std::string dtype;
  std::string max_shard_size = "5GB";
};

Verb ExportCommand::verb() {
  return {"export",
          "write a checkpoint as a Hugging Face directory",
          {{"from", &options.from, "step, Hugging Face or adapter directory (which is merged)",
            /*required=*/true},
           {"to", &options.to, "directory to make", /*required=*/true},
           {"--base", &options.base, "the weights that an adapter belongs to; else where it says"},
           {.name = "--dtype",
            .target = &dtype,
            .help = "bf16 or fp32 (default: as it is stored)",
            .one_of = {"bf16", "fp32"}},
           {"--max-shard-size", &max_shard_size, "of one file: 5GB, 500MB, 2GiB or bytes"},
           json_argument(*this)}};
}

/// Tells every tenth, and nothing of a small model.
ExportProgress show_progress(CommandContext& context) {
  return [&context, shown = int64_t{0}](int64_t done, int64_t of) mutable {
    constexpr int64_t kLarge = 1'000'000'000;
    if (of < kLarge || done * 10 / of == shown) return;
    shown = done * 10 / of;
    context.console.info("written " + human_bytes(static_cast<double>(done)) + " of " +
                         human_bytes(static_cast<double>(of)));
  };
}

int ExportCommand::run(CommandContext& context) {
  agree(context.world, [&] {
    if (!context.first()) return;
    options.max_shard_bytes = parse_bytes(max_shard_size, "--max-shard-size");
    if (!dtype.empty()) options.dtype = dtype == "bf16" ? at::kBFloat16 : at::kFloat;
    const ExportSummary summary = export_model(options, show_progress(context));
    if (json) {
      const nlohmann::ordered_json out = {{"directory", options.to},
                                          {"tensors", summary.tensors},
                                          {"bytes", summary.bytes},
                                          {"shards", summary.shards}};
      std::fputs((out.dump() + "\n").c_str(), stdout);
      return;
    }
    context.console.info(options.to + ": " + with_separators(summary.tensors) + " tensors, " +
                         human_bytes(static_cast<double>(summary.bytes)) + " in " +
                         std::to_string(summary.shards) + " files");
  });
  return 0;
}

}  // namespace

std::unique_ptr<Command> export_command() { return std::make_unique<ExportCommand>(); }

}  // namespace dsmoe::train
