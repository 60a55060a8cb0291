#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "configs/run_config.h"
#include "modules/parameter_store.h"
#include "modules/published_tensors.h"
#include "modules/weight_class.h"

namespace dsmoe::train {

/// What finetune.* trains: each published tensor's multiple of the learning rate. Reads the file of
/// finetune.esft.experts. Throws ConfigError where a pattern matches no tensor, and where nothing
/// would be trained.
[[nodiscard]] nn::TrainingRate training_rate(const config::RunConfig& config);

/// The model's tensors, and those of the adapters beside them.
[[nodiscard]] std::vector<nn::PublishedTensor> all_tensors(const config::RunConfig& config);

/// Elements of a class of weights, in the whole model.
struct TrainedClass {
  nn::WeightClass weight_class;
  int64_t total = 0;
  int64_t trained = 0;
  double lowest_rate = 0;  ///< of what is trained
  double highest_rate = 0;
};

/// Every class that the model has; an adapter is of the class of its matrix.
[[nodiscard]] std::vector<TrainedClass> count_trained(const config::RunConfig& config,
                                                      const nn::TrainingRate& rate);

/// Throws ConfigError naming `key` where a pattern matches none of the tensors.
void require_match(const std::string& key, const std::string& pattern,
                   const std::vector<nn::PublishedTensor>& tensors);

}  // namespace dsmoe::train
