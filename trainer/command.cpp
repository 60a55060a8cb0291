#include "trainer/command.h"

#include <filesystem>
#include <system_error>

#include "configs/dump.h"
#include "configs/errors.h"
#include "parallel/backends.h"
#include "trainer/agreement.h"
#include "trainer/atomic_file.h"
#include "trainer/placement.h"

namespace dsmoe::train {

namespace {

/// "" where there is none, or none that this host may see.
std::string text_if_there(const std::string& path) {
  std::error_code hidden;
  return std::filesystem::is_regular_file(path, hidden) ? read_file(path) : "";
}

/// Rank 0's file is read for all. One of the same name that says something else, on another host,
/// would be ignored: a ConfigError.
void check_same_file(const std::string& path, CommandContext& context) {
  if (context.world.size() == 1) return;
  std::string own, first, host = host_name();
  agree(context.world, [&] { own = first = text_if_there(path); });
  broadcast_text(first, context.world);
  broadcast_text(host, context.world);
  agree(context.world, [&] {
    if (own.empty() || first.empty() || own == first) return;
    throw ConfigError("rank " + std::to_string(context.world.rank()) + " on " + host_name() +
                      " finds another " + path + " than rank 0 on " + host +
                      "\nhint: give every host the same file, or rank 0's alone");
  });
}

/// A backend asked for, where the way that the ranks were started has decided otherwise.
void warn_about_backend(const std::string& asked, int64_t ranks, Console& console) {
  const std::string started = parallel::choose_backend("auto", parallel::find_launcher());
  if (asked == "auto" || asked == started) return;
  if (asked == "local" && ranks > 1) return;  // which the layout refuses
  console.warn("parallel.backend=" + asked + " has no effect: " +
               (started == "local"
                    ? "no launcher, such as mpirun, started this process, which runs alone"
                    : "a launcher started this process, whose ranks use " + started));
}

}  // namespace

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
  check_same_file(yaml_path, context);
  const config::RunConfig config = config::resolve_text(text, yaml_path, {}, search_path()).config;
  warn_about_backend(config.parallel.backend, context.world.size(), context.console);
  return config;
}

}  // namespace dsmoe::train
