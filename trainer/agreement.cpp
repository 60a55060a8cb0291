#include "trainer/agreement.h"

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

}  // namespace dsmoe::train
