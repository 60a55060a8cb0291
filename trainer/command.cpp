#include "trainer/command.h"

#include <filesystem>

#include "configs/dump.h"
#include "trainer/agreement.h"

namespace dsmoe::train {
namespace {

void broadcast_text(std::string& text, parallel::Communicator& world) {
  if (world.size() == 1) return;
  at::Tensor size = at::full({1}, static_cast<int64_t>(text.size()), at::kLong);
  world.broadcast(size, 0);
  at::Tensor bytes = at::zeros({size.item<int64_t>()}, at::kByte);
  text.resize(static_cast<size_t>(bytes.numel()));
  std::copy(text.begin(), text.end(), bytes.mutable_data_ptr<uint8_t>());
  world.broadcast(bytes, 0);
  std::copy_n(bytes.const_data_ptr<uint8_t>(), text.size(), text.begin());
}

}  // namespace

config::SearchPath search_path() {
  std::error_code ignored;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", ignored);
  config::SearchPath path;
  path.installed = (program.parent_path().parent_path() / "share/dsmoe/configs").string();
  return path;
}

config::RunConfig resolve_on_all(const std::string& yaml_path,
                                 const std::vector<std::string>& overrides,
                                 CommandContext& context) {
  std::string text;
  agree(context.world, [&] {
    if (!context.first()) return;
    const config::Resolved resolved = config::resolve(yaml_path, overrides, search_path());
    for (const std::string& notice : resolved.notices) context.console.warn(notice);
    text = config::dump(resolved.config);
  });
  broadcast_text(text, context.world);
  return config::resolve_text(text, yaml_path, {}, search_path()).config;
}

}  // namespace dsmoe::train
