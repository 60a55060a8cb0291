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

std::vector<int64_t> gather_number(int64_t number, parallel::Communicator& world) {
  at::Tensor all = at::empty({world.size()}, at::kLong);
  world.all_gather(all, at::full({1}, number, at::kLong));
  const auto* const numbers = all.const_data_ptr<int64_t>();
  return {numbers, numbers + all.numel()};
}

std::vector<std::string> gather_texts(const std::string& text, parallel::Communicator& world) {
  std::vector<std::string> texts;
  for (int64_t rank = 0; rank < world.size(); ++rank) {
    texts.push_back(world.rank() == rank ? text : "");
    broadcast_text(texts.back(), world, rank);
  }
  return texts;
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
