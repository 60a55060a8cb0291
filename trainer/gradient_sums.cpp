#include "trainer/gradient_sums.h"

#include <algorithm>
#include <cmath>

#include "modules/deferred_gradients.h"
#include "trainer/shared_state.h"
#include "trainer/stopwatch.h"

namespace dsmoe::train {
namespace {

/// Adds the time until its destruction.
class Added {
 public:
  explicit Added(double& seconds) : seconds_(seconds) {}
  ~Added() { seconds_ += watch_.seconds(); }
  Added(const Added&) = delete;
  Added& operator=(const Added&) = delete;

 private:
  double& seconds_;
  Stopwatch watch_;
};

/// A library has memory of its own for each sum that is under way.
constexpr int64_t kBucketsUnderWay = 4;

bool in_buckets(const config::RunConfig& config, const parallel::ProcessGroups& groups) {
  return config.parallel.overlap && groups.data->size() > 1;
}

}  // namespace

GradientSums::GradientSums(const config::RunConfig& config, nn::Model& model,
                           nn::ParameterStore& store, parallel::ProcessGroups& groups)
    : model_(model), store_(store), groups_(groups), overlaps_(in_buckets(config, groups)) {
  if (!overlaps_) return;
  const auto bytes = static_cast<int64_t>(std::ceil(config.parallel.bucket_mib * (1 << 20)));
  most_under_way_ = kBucketsUnderWay * bytes;
  buckets_ = gradient_buckets(store, model->slices(), model->config(), bytes);
  started_.resize(buckets_.size());
  model_->when_layer_left([this](int64_t layer) { left_layer(layer); });
}

GradientSums::~GradientSums() {
  if (overlaps_) model_->when_layer_left({});
}

void GradientSums::begin_last_pass(int64_t slice) {
  if (!overlaps_) return;
  passing_ = slice;
  progress_ = std::make_unique<nn::ProgressScope>([this] { poll(); });
}

void GradientSums::end_last_pass(int64_t slice) {
  passing_ = -1;
  progress_.reset();
  const Added added(seconds_);
  start_complete(static_cast<size_t>(slice), -1);
}

void GradientSums::left_layer(int64_t layer) {
  // What is put off runs in the order of the pass: so does this.
  if (nn::defers_gradients()) return nn::weight_gradient([this, layer] { left_layer(layer); });
  if (passing_ < 0) return;
  const Added added(seconds_);
  start_complete(static_cast<size_t>(passing_), layer);
}

void GradientSums::start_complete(size_t slice, int64_t layer) {
  for (size_t i = 0; i < buckets_.size(); ++i) {
    if (started_[i] || buckets_[i].slice != slice || buckets_[i].layer < layer) continue;
    start(buckets_[i]);
    started_[i] = true;
  }
}

void GradientSums::start(const GradientBucket& bucket) {
  for (const GradientRange& range : bucket.ranges) start_range(bucket.group, range);
}

/// To all ranks; or piece by piece to those who own it.
void GradientSums::start_range(nn::ParameterGroup group, const GradientRange& range) {
  parallel::Communicator& ranks = holders(group, groups_);
  if (ranks.size() == 1) return;
  const at::Tensor& flat = store_.gradients().of(group);
  if (!store_.sharing().any()) {
    at::Tensor part = flat.narrow(0, range.begin, range.end - range.begin);
    make_room(part);
    return add(part, ranks.all_reduce_async(part, parallel::ReduceOp::kSum));
  }
  const int64_t share = store_.share(group).longest;
  for (int64_t begin = range.begin; begin < range.end;) {
    const int64_t owner = begin / share, end = std::min(range.end, (owner + 1) * share);
    at::Tensor part = flat.narrow(0, begin, end - begin);
    make_room(part);
    add(part, ranks.reduce_async(part, owner));
    begin = end;
  }
}

/// All ranks start the same sums in one order: the oldest of one is started or ahead on all others.
void GradientSums::make_room(const at::Tensor& part) {
  while (!under_way_.empty() &&
         bytes_under_way_ + static_cast<int64_t>(part.nbytes()) > most_under_way_) {
    under_way_.front().work->wait();
    bytes_under_way_ -= under_way_.front().bytes;
    under_way_.pop_front();
  }
}

void GradientSums::add(const at::Tensor& part, std::unique_ptr<parallel::Work> work) {
  under_way_.push_back({std::move(work), static_cast<int64_t>(part.nbytes())});
  bytes_under_way_ += under_way_.back().bytes;
}

void GradientSums::poll() {
  const Added added(seconds_);
  std::erase_if(under_way_, [&](const Sum& sum) {
    const bool done = sum.work->poll();
    if (done) bytes_under_way_ -= sum.bytes;
    return done;
  });
}

void GradientSums::finish() {
  const Added added(seconds_);
  if (!overlaps_) return sum_gradients(store_, groups_);
  for (size_t slice = model_->slices().size(); slice-- > 0;) start_complete(slice, -1);
  for (const Sum& sum : under_way_) sum.work->wait();
  under_way_.clear();
  bytes_under_way_ = 0;
}

}  // namespace dsmoe::train
