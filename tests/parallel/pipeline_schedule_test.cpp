// Every schedule, run by a simulator: nothing is left out or done too early, nothing stands still,
// and idle time and activations are those of the papers.
#include "parallel/pipeline_schedule.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "configs/errors.h"
#include "parallel/pipeline_timeline.h"
#include "tests/support/catch.h"

namespace dsmoe::parallel {
namespace {

using Done = std::map<std::tuple<Pass, int64_t, int64_t>, double>;  // pass, micro-batch, slice

struct Case {
  ScheduleKind kind;
  PipelineShape shape;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const int64_t stages : {1, 2, 3, 4, 8, 16}) {
    for (const int64_t count : {int64_t{1}, int64_t{2}, stages, stages + 1, 3 * stages + 2}) {
      for (const auto kind : {ScheduleKind::kGPipe, ScheduleKind::kOneForwardOneBackward,
                              ScheduleKind::kZeroBubbleH1}) {
        all.push_back({kind, {stages, count}});
      }
      for (const double put_off : {0.0, 0.3, 0.5}) {
        all.push_back({ScheduleKind::kZeroBubbleH1, {stages, count, 1, put_off}});
      }
    }
    for (const int64_t chunks : {2, 3}) {
      for (const int64_t rounds : {1, 2, 4}) {
        all.push_back({ScheduleKind::kInterleaved, {stages, rounds * stages, chunks}});
      }
    }
  }
  return all;
}

const std::vector<PassCosts> kCosts{{1, 1, 1}, {1, 1.5, 0.5}, {2, 2, 1}};

Done ends_of(const PipelineTimeline& timeline, const PipelineShape& shape) {
  Done done;
  for (int64_t s = 0; s < shape.stages; ++s) {
    for (const TimedAction& one : timeline.stages[static_cast<size_t>(s)]) {
      const auto& [pass, micro, chunk] = one.action;
      const auto [at, added] =
          done.emplace(std::tuple{pass, micro, chunk * shape.stages + s}, one.end);
      CHECK(added);
    }
  }
  return done;
}

/// Passes of a micro-batch through all slices.
int64_t passes_of(ScheduleKind kind, const PipelineShape& shape) {
  int64_t passes = 0;
  for (int64_t s = 0; s < shape.stages; ++s) {
    const bool split = kind == ScheduleKind::kZeroBubbleH1 && most_put_off(s, shape) > 0;
    passes += (split ? 3 : 2) * shape.chunks;
  }
  return passes;
}

/// Whether a pass of a slice was over by then: in one piece or as the input gradient.
bool over(const Done& done, bool forward, int64_t micro, int64_t slice, double when) {
  for (const Pass pass : {Pass::kForward, Pass::kBackward, Pass::kInputGradient}) {
    if ((pass == Pass::kForward) != forward) continue;
    const auto found = done.find({pass, micro, slice});
    if (found != done.end()) return found->second <= when + 1e-9;
  }
  return false;
}

/// Whether everything that an action needs was there when it began.
bool in_time(const TimedAction& one, int64_t stage, const PipelineShape& shape, const Done& done) {
  const auto& [pass, micro, chunk] = one.action;
  const int64_t slice = chunk * shape.stages + stage, last = shape.stages * shape.chunks - 1;
  if (pass == Pass::kForward) return slice == 0 || over(done, true, micro, slice - 1, one.begin);
  if (!over(done, true, micro, slice, one.begin)) return false;
  if (pass == Pass::kWeightGradient) return over(done, false, micro, slice, one.begin);
  return slice == last || over(done, false, micro, slice + 1, one.begin);
}

TEST_CASE("every schedule does everything once, in time, on channels of one message") {
  for (const auto& [kind, shape] : cases()) {
    for (const PassCosts& costs : kCosts) {
      CAPTURE(static_cast<int>(kind), shape.stages, shape.micro_batches, shape.chunks);
      const PipelineTimeline timeline = simulate(kind, shape, costs, /*capacity=*/1);
      const Done done = ends_of(timeline, shape);
      CHECK(static_cast<int64_t>(done.size()) == passes_of(kind, shape) * shape.micro_batches);
      bool good = true;
      for (int64_t s = 0; s < shape.stages; ++s) {
        double free_at = 0;
        for (const TimedAction& one : timeline.stages[static_cast<size_t>(s)]) {
          good = good && one.begin >= free_at - 1e-9 && in_time(one, s, shape, done);
          free_at = one.end;
        }
      }
      CHECK(good);
    }
  }
}

TEST_CASE("a stage keeps no more activations than published") {
  for (const auto& [kind, shape] : cases()) {
    const PipelineTimeline timeline = simulate(kind, shape, {1, 1, 1});
    for (int64_t s = 0; s < shape.stages; ++s) {
      CAPTURE(static_cast<int>(kind), shape.stages, shape.micro_batches, shape.chunks, s);
      CHECK(timeline.live_activations(s) == live_activations(kind, s, shape));
    }
  }
}

/// Narayanan et al. 2021: interleaving costs the first stage a factor of 1 + (P - 1) / (P v) over
/// the P micro-batches of 1F1B; Qi et al. 2024: H1 keeps P on every stage.
TEST_CASE("the activations kept are those of the papers") {
  for (const int64_t stages : {2, 4, 8}) {
    const int64_t count = 4 * stages;
    CAPTURE(stages);
    const auto live = [&](ScheduleKind kind, int64_t stage, int64_t chunks) {
      return simulate(kind, {stages, count, chunks}, {}).live_activations(stage);
    };
    CHECK(live(ScheduleKind::kGPipe, 0, 1) == count);
    CHECK(live(ScheduleKind::kOneForwardOneBackward, 0, 1) == stages);
    CHECK(live(ScheduleKind::kOneForwardOneBackward, stages - 1, 1) == 1);
    CHECK(live(ScheduleKind::kZeroBubbleH1, 0, 1) == stages);
    CHECK(live(ScheduleKind::kZeroBubbleH1, stages - 1, 1) == stages);
    for (const int64_t chunks : {2, 3}) {  // a slice is 1 / chunks of a micro-batch's activations
      CHECK(live(ScheduleKind::kInterleaved, 0, chunks) == chunks * stages + stages - 1);
    }
  }
}

TEST_CASE("the bubble is that of the papers") {
  for (const auto& [kind, shape] : cases()) {
    if (shape.micro_batches < shape.stages || shape.put_off < 1) continue;
    for (const PassCosts& costs : kCosts) {
      CAPTURE(static_cast<int>(kind), shape.stages, shape.micro_batches, shape.chunks);
      // Messages may wait in line here; the papers' do not hold up their sender.
      const PipelineTimeline timeline = simulate(kind, shape, costs, /*capacity=*/64);
      const double wanted = published_bubble(kind, shape, costs);
      CHECK(std::abs(timeline.idle(0) - wanted) < 1e-9);
      CHECK(std::abs(timeline.length() - static_cast<double>(shape.micro_batches) * costs.all() -
                     wanted) < 1e-9);
    }
  }
}

TEST_CASE("a zero-bubble schedule idles a third of 1F1B at equal passes") {
  const PipelineShape shape{8, 24};
  const double plain = simulate(ScheduleKind::kOneForwardOneBackward, shape, {}).idle(0);
  CHECK(simulate(ScheduleKind::kZeroBubbleH1, shape, {}).idle(0) == Approx(plain / 3));
}

/// The most micro-batches of a list between the two pieces of their backward pass.
int64_t between_pieces(const std::vector<PipelineAction>& actions) {
  int64_t now = 0, most = 0;
  for (const PipelineAction& action : actions) {
    if (action.pass == Pass::kInputGradient) most = std::max(most, ++now);
    if (action.pass == Pass::kWeightGradient) --now;
  }
  return most;
}

TEST_CASE("what is put off is bounded, and the less it is, the longer stages wait, up to 1f1b") {
  constexpr int64_t kStages = 16, kCount = 40;
  double idle = simulate(ScheduleKind::kOneForwardOneBackward, {kStages, kCount}, {}, 64).idle(0);
  for (const double share : {0.0, 0.25, 0.375, 0.5, 0.75, 1.0}) {
    const PipelineShape shape{kStages, kCount, 1, share};
    CAPTURE(share);
    for (int64_t s = 0; s < kStages; ++s) {
      const auto list = pipeline_schedule(ScheduleKind::kZeroBubbleH1, s, shape);
      CHECK(between_pieces(list) == most_put_off(s, shape));
      CHECK(static_cast<double>(most_put_off(s, shape)) <= static_cast<double>(s + 1) * share);
      if (share > 0) continue;
      CHECK(list == pipeline_schedule(ScheduleKind::kOneForwardOneBackward, s, shape));
    }
    const double now = simulate(ScheduleKind::kZeroBubbleH1, shape, {}, 64).idle(0);
    CHECK((share > 0 ? now < idle : now == idle));
    idle = now;
  }
  CHECK(idle == Approx(published_bubble(ScheduleKind::kZeroBubbleH1, {kStages, kCount}, {})));
}

TEST_CASE("a shape that a schedule cannot have is refused") {
  CHECK_THROWS_AS(pipeline_schedule(ScheduleKind::kZeroBubbleH1, 0, {4, 4, 1, 1.5}), ConfigError);
  CHECK_THROWS_AS(pipeline_schedule(ScheduleKind::kInterleaved, 0, {4, 6, 2}), ConfigError);
  CHECK_THROWS_AS(pipeline_schedule(ScheduleKind::kInterleaved, 0, {4, 8, 1}), ConfigError);
  CHECK_THROWS_AS(pipeline_schedule(ScheduleKind::kGPipe, 0, {4, 8, 2}), ConfigError);
  CHECK_THROWS_AS(pipeline_schedule(ScheduleKind::kGPipe, 0, {4, 0}), ConfigError);
  CHECK_THROWS_AS(schedule_kind("zb"), ConfigError);
  CHECK(schedule_kind("zb_h1") == ScheduleKind::kZeroBubbleH1);
}

}  // namespace
}  // namespace dsmoe::parallel
