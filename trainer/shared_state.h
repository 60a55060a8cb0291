#pragma once

#include "configs/run_config.h"
#include "modules/parameter_store.h"
#include "parallel/process_groups.h"
#include "parallel/topology.h"

namespace dsmoe::train {

/// Who shares the optimizer's state: nobody with parallel.zero 0; with 1 (ZeRO-1) all ranks of a
/// stage that of dense parameters, and the replicas of experts that of experts.
[[nodiscard]] nn::StateSharing state_sharing(const config::RunConfig& config,
                                             const parallel::Topology& topology);

/// The ranks that hold the same parameters.
[[nodiscard]] parallel::Communicator& holders(nn::ParameterGroup group,
                                              parallel::ProcessGroups& groups);

/// Sums the gradients over the ranks that hold the same parameters. Where these share the state,
/// the sum stands in this rank's share only. Collective over data and expert_replicas.
void sum_gradients(nn::ParameterStore& store, parallel::ProcessGroups& groups);

/// L2 norm of the gradient of one process that held every parameter once; float64, the same bits on
/// every rank. Call after sum_gradients. Collective over world, or without sharing over ep and
/// the pipeline.
[[nodiscard]] double gradient_norm(nn::ParameterStore& store, parallel::ProcessGroups& groups);

/// The sum of a dense tensor's gradients, in whosever share it is; float64. Call after
/// sum_gradients. Collective over data where state is shared.
[[nodiscard]] at::Tensor whole_gradient(nn::ParameterStore& store, parallel::ProcessGroups& groups,
                                        const nn::StoredTensor& tensor);

/// After an update of each rank's share: all ranks of a stage get all of its weights. Nothing to do
/// without sharing. Collective over data and expert_replicas.
void gather_weights(nn::ParameterStore& store, parallel::ProcessGroups& groups);

/// The masters of everything that is trained, wherever their shares lie; undefined without masters.
/// Collective over data and expert_replicas.
[[nodiscard]] nn::FlatPair whole_masters(nn::ParameterStore& store,
                                         parallel::ProcessGroups& groups);

}  // namespace dsmoe::train
