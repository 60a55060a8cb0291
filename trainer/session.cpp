#include "trainer/session.h"

#include <c10/core/AutogradState.h>

#include <algorithm>

#include "configs/init_from.h"
#include "configs/validate.h"
#include "trainer/agreement.h"
#include "trainer/checkpoint.h"
#include "trainer/lora.h"
#include "trainer/model_directory.h"
#include "trainer/placement.h"
#include "trainer/shared_state.h"

namespace dsmoe::train {
namespace {

/// The model with the adapters that the run trains.
nn::Model& adapted(nn::Model& model, const config::RunConfig& config) {
  const nn::AdapterPlan plan = adapter_plan(config);
  if (plan.rank > 0) model->add_adapters(plan);
  return model;
}

/// One message where it is refused; what communicates there throws on all ranks alike.
parallel::Device device_of(const config::RunConfig& config, parallel::Communicator& all) {
  parallel::Device device;
  agree(all, [&] { device = parallel::use_device_of_run(config.run.device, all); });
  return device;
}

}  // namespace

parallel::Topology run_topology(const config::RunConfig& config, parallel::Communicator& world) {
  agree(world, [&] { config::check_layout(config, world.size()); });
  return parallel::make_topology(world.size(), world.rank(), config.parallel.expert,
                                 config.parallel.pipeline, config.parallel.ranks_per_node);
}

int64_t threads_per_rank(int64_t requested, int64_t ranks_on_cores) {
  if (requested > 0) return requested;
  return std::max<int64_t>(
      1, static_cast<int64_t>(own_placement().cores.size()) / std::max<int64_t>(1, ranks_on_cores));
}

Session::Session(const config::RunConfig& run, parallel::Communicator& all, int64_t ranks_on_cores,
                 const nn::TrainingRate& rate)
    : config(run),
      topology(run_topology(run, all)),
      device(device_of(run, all)),
      world(device.communicator ? *device.communicator : all),
      groups(parallel::make_process_groups(world, topology)),
      model(run.model, run.drop, run.batch, groups.experts(),
            nn::slices_of_stage(run, topology.stage()), nn::recompute_of(run.run.recompute)),
      store(adapted(model, run), compute_dtype(run.run.precision), rate,
            state_sharing(run, topology), device.where) {
  // What a backward pass defers, and whom it sends to, belong to the thread that calls it.
  if (!device.where.is_cpu()) c10::AutogradState::get_tls_state().set_multithreading_enabled(false);
  model->overlap_dispatch(run.parallel.overlap);
  at::set_num_threads(static_cast<int>(threads_per_rank(run.run.threads, ranks_on_cores)));
}

config::RunConfig config_of_directory(const std::string& model_directory, int64_t world,
                                      std::vector<std::string>& notices) {
  config::RunConfig config;
  config.model = config::read_model_directory(model_directory, notices);
  config.data.sequence_length =
      std::min(config.data.sequence_length, config.model.max_position_embeddings);
  config.parallel.expert = world;
  config.drop.kind = config::DropKind::kNone;
  config::check_config(config);
  return config;
}

}  // namespace dsmoe::train
