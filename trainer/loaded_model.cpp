#include "trainer/loaded_model.h"

#include "trainer/agreement.h"
#include "trainer/model_directory.h"

namespace dsmoe::train {

LoadedModel open_model(const std::string& directory, CommandContext& context) {
  LoadedModel loaded;
  config::RunConfig config;
  std::vector<std::string> notices;
  agree(context.world, [&] {
    loaded.directory = find_model_directory(directory);
    config = config_of_directory(loaded.directory, context.world.size(), notices);
    loaded.tokenizer = data::make_tokenizer("byte");
  });
  for (const std::string& notice : notices) context.console.warn(notice);
  loaded.session = std::make_unique<Session>(config, context.world, context.ranks_on_host);
  agree(context.world,
        [&] { load_model_directory(loaded.directory, config.model, loaded.session->store); });
  return loaded;
}

}  // namespace dsmoe::train
