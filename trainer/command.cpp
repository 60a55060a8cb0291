#include "trainer/command.h"

#include <filesystem>

#include "configs/dump.h"
#include "trainer/agreement.h"

namespace dsmoe::train {

Argument json_argument(Command& command) {
  return {"--json", &command.json, "one JSON object on stdout"};
}

config::SearchPath search_path() {
  std::error_code ignored;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", ignored);
  config::SearchPath path;
  path.installed = (program.parent_path().parent_path() / "share/dsmoe/configs").string();
  return path;
}

config::RunConfig resolve_on_all(const std::string& yaml_path,
                                 const std::vector<std::string>& overrides, CommandContext& context,
                                 const config::RunConfig& defaults) {
  std::string text;
  agree(context.world, [&] {
    if (!context.first()) return;
    const config::Resolved resolved =
        config::resolve(yaml_path, overrides, search_path(), defaults);
    for (const std::string& source : resolved.sources) context.console.info(source);
    for (const std::string& notice : resolved.notices) context.console.warn(notice);
    text = config::dump(resolved.config);
  });
  broadcast_text(text, context.world);
  return config::resolve_text(text, yaml_path, {}, search_path()).config;
}

}  // namespace dsmoe::train
