#include "trainer/agreement.h"

#include <algorithm>

#include "configs/errors.h"

namespace dsmoe::train {

void agree(parallel::Communicator& world, const std::function<void()>& body) {
  std::exception_ptr error;
  try {
    body();
  } catch (const UserError&) {
    error = std::current_exception();
  }
  // The lowest failing rank has the highest claim; 0 claims nothing.
  const int64_t claim = error ? world.size() - world.rank() : 0;
  at::Tensor highest = at::full({1}, claim, at::kLong);
  if (world.size() > 1) world.all_reduce(highest, parallel::ReduceOp::kMax);
  if (highest.item<int64_t>() == 0) return;
  if (highest.item<int64_t>() == claim) std::rethrow_exception(error);
  throw PeerFailed();
}

void broadcast_text(std::string& text, parallel::Communicator& world, int64_t root) {
  if (world.size() == 1) return;
  at::Tensor size = at::full({1}, static_cast<int64_t>(text.size()), at::kLong);
  world.broadcast(size, root);
  at::Tensor bytes = at::zeros({size.item<int64_t>()}, at::kByte);
  text.resize(static_cast<size_t>(bytes.numel()));
  std::copy(text.begin(), text.end(), bytes.mutable_data_ptr<uint8_t>());
  world.broadcast(bytes, root);
  std::copy_n(bytes.const_data_ptr<uint8_t>(), text.size(), text.begin());
}

}  // namespace dsmoe::train
