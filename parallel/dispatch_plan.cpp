#include "parallel/dispatch_plan.h"

#include <ATen/Functions.h>

#include <numeric>

namespace dsmoe::parallel {
namespace {

int64_t sum(const std::vector<int64_t>& values) {
  return std::accumulate(values.begin(), values.end(), int64_t{0});
}

at::Tensor to_tensor(const std::vector<int64_t>& values) {
  at::Tensor result = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
  std::copy(values.begin(), values.end(), result.mutable_data_ptr<int64_t>());
  return result;
}

/// One pair's address at the receiver: row of the sender's message * experts there + expert there.
using Addresses = std::vector<int64_t>;

/// Everything one rank gets from this one.
struct Message {
  std::vector<int64_t> tokens;
  std::vector<int64_t> choices;
  Addresses addresses;
};

/// Walks the tokens once; a token opens a row for a rank at the first of its pairs that goes there.
std::vector<Message> sort_by_rank(const at::Tensor& experts_NK, const at::Tensor& kept_NK,
                                  int64_t experts_per_rank, int64_t ranks) {
  const int64_t num_choices = experts_NK.size(1);
  const int64_t* experts = experts_NK.const_data_ptr<int64_t>();
  const bool* kept = kept_NK.defined() ? kept_NK.const_data_ptr<bool>() : nullptr;
  std::vector<Message> messages(static_cast<size_t>(ranks));
  for (int64_t n = 0; n < experts_NK.size(0); ++n) {
    for (int64_t i = n * num_choices; i < (n + 1) * num_choices; ++i) {
      if (kept != nullptr && !kept[i]) continue;
      Message& message = messages[static_cast<size_t>(experts[i] / experts_per_rank)];
      if (message.tokens.empty() || message.tokens.back() != n) message.tokens.push_back(n);
      const auto row = static_cast<int64_t>(message.tokens.size()) - 1;
      message.choices.push_back(i);
      message.addresses.push_back(row * experts_per_rank + experts[i] % experts_per_rank);
    }
  }
  return messages;
}

template <class Part>
at::Tensor join(const std::vector<Message>& messages, Part part) {
  std::vector<int64_t> all;
  for (const Message& m : messages) all.insert(all.end(), (m.*part).begin(), (m.*part).end());
  return to_tensor(all);
}

/// Tells every rank how many rows and pairs it will get from this one.
void exchange_counts(DispatchPlan& plan, Communicator& ep) {
  const int64_t ranks = ep.size();
  at::Tensor sent = at::stack({to_tensor(plan.sent_rows), to_tensor(plan.sent_pairs)}, 1);
  at::Tensor received = at::empty_like(sent);
  const std::vector<int64_t> one_each(static_cast<size_t>(ranks), 1);
  ep.all_to_all(received, sent, one_each, one_each);
  const auto* data = received.const_data_ptr<int64_t>();
  for (int64_t r = 0; r < ranks; ++r) {
    plan.received_rows.push_back(data[2 * r]);
    plan.received_pairs.push_back(data[2 * r + 1]);
  }
}

at::Tensor exchange_addresses(const at::Tensor& sent, const DispatchPlan& plan, Communicator& ep) {
  at::Tensor received = at::empty({sum(plan.received_pairs)}, at::kLong);
  ep.all_to_all(received, sent, plan.received_pairs, plan.sent_pairs);
  return received;
}

/// Counting sort of the arrived pairs by expert; arrival order within an expert.
void order_by_expert(DispatchPlan& plan, const at::Tensor& addresses, int64_t experts_per_rank) {
  const auto* address = addresses.const_data_ptr<int64_t>();
  const int64_t pairs = addresses.size(0);
  plan.expert_offsets.assign(static_cast<size_t>(experts_per_rank) + 1, 0);
  for (int64_t p = 0; p < pairs; ++p) {
    ++plan.expert_offsets[static_cast<size_t>(address[p] % experts_per_rank) + 1];
  }
  std::partial_sum(plan.expert_offsets.begin(), plan.expert_offsets.end(),
                   plan.expert_offsets.begin());
  std::vector<int64_t> next(plan.expert_offsets.begin(), plan.expert_offsets.end() - 1);
  plan.pair_order_P = at::empty({pairs}, at::kLong);
  plan.pair_rows_P = at::empty({pairs}, at::kLong);
  auto* order = plan.pair_order_P.mutable_data_ptr<int64_t>();
  auto* rows = plan.pair_rows_P.mutable_data_ptr<int64_t>();
  int64_t p = 0;
  int64_t first_row = 0;
  for (size_t r = 0; r < plan.received_pairs.size(); ++r) {
    for (const int64_t end = p + plan.received_pairs[r]; p < end; ++p) {
      const auto slot = next[static_cast<size_t>(address[p] % experts_per_rank)]++;
      order[slot] = p;
      rows[slot] = first_row + address[p] / experts_per_rank;
    }
    first_row += plan.received_rows[r];
  }
}

void count_traffic(DispatchPlan& plan, const Communicator& ep) {
  const auto home = static_cast<size_t>(ep.rank());
  constexpr auto kWord = static_cast<int64_t>(sizeof(int64_t));
  plan.remote_rows = sum(plan.sent_rows) - plan.sent_rows[home];
  plan.remote_pairs = sum(plan.sent_pairs) - plan.sent_pairs[home];
  plan.metadata_bytes = 2 * kWord * (ep.size() - 1) + kWord * plan.remote_pairs;
}

}  // namespace

int64_t DispatchPlan::rows_received() const { return sum(received_rows); }

DispatchPlan plan_dispatch(const at::Tensor& experts_NK, const at::Tensor& kept_NK,
                           int64_t num_experts, Communicator& ep) {
  TORCH_CHECK(num_experts % ep.size() == 0, "plan_dispatch: ", num_experts, " experts on ",
              ep.size(), " ranks");
  const int64_t experts_per_rank = num_experts / ep.size();
  const auto messages = sort_by_rank(experts_NK, kept_NK, experts_per_rank, ep.size());
  DispatchPlan plan;
  plan.num_tokens = experts_NK.size(0);
  plan.row_tokens_S = join(messages, &Message::tokens);
  plan.pair_choices_S = join(messages, &Message::choices);
  for (const Message& m : messages) {
    plan.sent_rows.push_back(static_cast<int64_t>(m.tokens.size()));
    plan.sent_pairs.push_back(static_cast<int64_t>(m.choices.size()));
  }
  at::Tensor addresses = join(messages, &Message::addresses);
  if (ep.size() > 1) {
    exchange_counts(plan, ep);
    addresses = exchange_addresses(addresses, plan, ep);
  } else {
    plan.received_rows = plan.sent_rows;
    plan.received_pairs = plan.sent_pairs;
  }
  order_by_expert(plan, addresses, experts_per_rank);
  count_traffic(plan, ep);
  return plan;
}

}  // namespace dsmoe::parallel
