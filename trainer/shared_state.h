#pragma once

#include "configs/run_config.h"
#include "modules/parameter_store.h"
#include "parallel/process_groups.h"
#include "parallel/topology.h"

namespace dsmoe::train {

/// Who shares the optimizer's state: nobody with parallel.zero 0; with 1 (ZeRO-1) all ranks that of
/// dense parameters, and the replicas of experts that of experts.
[[nodiscard]] nn::StateSharing state_sharing(const config::RunConfig& config,
                                             const parallel::Topology& topology);

/// Sums the gradients over the ranks that hold the same parameters. Where these share the state,
/// the sum stands in this rank's share only. Collective over world and expert_replicas.
void sum_gradients(nn::ParameterStore& store, parallel::ProcessGroups& groups);

/// L2 norm of the gradient of one process that held every parameter once; float64, the same bits on
/// every rank. Call after sum_gradients. Collective over world, or without sharing over ep.
[[nodiscard]] double gradient_norm(nn::ParameterStore& store, parallel::ProcessGroups& groups);

/// The sum of a dense tensor's gradients, whoever's share it is in; float64. Call after
/// sum_gradients. Collective over world where state is shared.
[[nodiscard]] at::Tensor whole_gradient(nn::ParameterStore& store, parallel::ProcessGroups& groups,
                                        const nn::StoredTensor& tensor);

/// After an update of each rank's share: all ranks get all weights. Nothing to do without sharing.
/// Collective over world and expert_replicas.
void gather_weights(nn::ParameterStore& store, parallel::ProcessGroups& groups);

/// The masters of everything that is trained, wherever their shares lie; undefined without masters.
/// Collective over world and expert_replicas.
[[nodiscard]] nn::FlatPair whole_masters(nn::ParameterStore& store,
                                         parallel::ProcessGroups& groups);

}  // namespace dsmoe::train
