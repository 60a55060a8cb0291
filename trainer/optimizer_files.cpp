#include "trainer/optimizer_files.h"

#include <algorithm>
#include <filesystem>

namespace dsmoe::train {

std::string optimizer_file(const std::string& step_directory, int64_t expert_rank) {
  return step_directory + "/optimizer/state-" + std::to_string(expert_rank) + ".safetensors";
}

OptimizerFiles OptimizerFiles::open(const std::string& step_directory) {
  OptimizerFiles opened;
  for (int64_t r = 0; std::filesystem::exists(optimizer_file(step_directory, r)); ++r) {
    opened.files_.push_back(SafetensorsFile::open(optimizer_file(step_directory, r)));
  }
  return opened;
}

const SafetensorsFile* OptimizerFiles::find(const std::string& name) const {
  const auto file = std::find_if(files_.begin(), files_.end(),
                                 [&](const SafetensorsFile& f) { return f.contains(name); });
  return file == files_.end() ? nullptr : &*file;
}

}  // namespace dsmoe::train
