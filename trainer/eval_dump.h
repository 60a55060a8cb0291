#pragma once

#include <string>

#include "data/eval_set.h"
#include "modules/model.h"
#include "modules/parameter_store.h"
#include "trainer/evaluate.h"

namespace dsmoe::train {

// What `eval` writes for other programs to compare with: safetensors files, written aside and
// renamed. For one rank.

/// `logits` [tokens, V], float32 (float64 from a float64 model), and `targets` [tokens], int64: the
/// predictions of the planned windows in the order of the file, padding left out.
void dump_logits(nn::Model& model, const data::EvalSet& set, const EvalPlan& plan,
                 const std::string& path);

/// The gradient of the mean loss over the planned windows, a tensor of the published name and shape
/// for each parameter, float32 or float64. The store must be one for training; its gradients are
/// overwritten.
void dump_gradients(nn::Model& model, nn::ParameterStore& store, const data::EvalSet& set,
                    const EvalPlan& plan, const std::string& path);

}  // namespace dsmoe::train
