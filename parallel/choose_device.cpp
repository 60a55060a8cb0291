#include "parallel/choose_device.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "configs/errors.h"
#include "parallel/nccl_group.h"

namespace dsmoe::parallel {
namespace {

constexpr int64_t kTextBytes = 64;

/// The same text for all processes of one running machine, containers included.
std::string machine_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id;
}

std::vector<std::string> gather_texts(Communicator& host, const std::string& text) {
  at::Tensor mine = at::zeros({1, kTextBytes}, at::kByte);
  at::Tensor all = at::empty({host.size(), kTextBytes}, at::kByte);
  std::copy_n(text.begin(), std::min<size_t>(text.size(), kTextBytes - 1),
              mine.mutable_data_ptr<uint8_t>());
  host.all_gather(all, mine);
  const auto* bytes = static_cast<const char*>(all.const_data_ptr());
  std::vector<std::string> texts;
  for (int64_t rank = 0; rank < host.size(); ++rank) {
    texts.emplace_back(bytes + rank * kTextBytes);
  }
  return texts;
}

[[noreturn]] void refuse(const std::string& problem, const std::string& hint) {
  throw ConfigError("run.device: cuda, but " + problem + "\nhint: " + hint);
}

/// Rank `rank`'s place among the ranks of its machine.
int64_t place_on_machine(const std::vector<std::string>& machines, size_t rank) {
  return std::count(machines.begin(), machines.begin() + static_cast<int64_t>(rank),
                    machines[rank]);
}

/// Each rank's device, empty where it sees none.
std::string take_device(int64_t place) {
  const int64_t count = count_devices();
  if (count == 0) return {};
  use_device(place % count);
  return device_address();
}

}  // namespace

int64_t choose_device(Communicator& host) {
  const auto machines = gather_texts(host, machine_id());
  const auto me = static_cast<size_t>(host.rank());
  const auto devices = gather_texts(host, take_device(place_on_machine(machines, me)));
  for (size_t rank = 0; rank < devices.size(); ++rank) {
    if (devices[rank].empty()) {
      refuse("rank " + std::to_string(rank) + " sees no CUDA device",
             "set run.device=cpu, or look at what nvidia-smi shows on its machine");
    }
    for (size_t other = 0; other < rank; ++other) {
      if (machines[other] != machines[rank] || devices[other] != devices[rank]) continue;
      refuse("ranks " + std::to_string(other) + " and " + std::to_string(rank) +
                 " are on the same device, " + devices[rank] + "; NCCL serves one rank a device",
             "start at most as many ranks on a machine as it has devices");
    }
  }
  return current_device();
}

}  // namespace dsmoe::parallel
