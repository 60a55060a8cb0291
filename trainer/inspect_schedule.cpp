#include "trainer/inspect_schedule.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <vector>

#include "configs/errors.h"
#include "parallel/pipeline_timeline.h"
#include "trainer/atomic_file.h"
#include "trainer/human.h"
#include "trainer/pipeline_drawing.h"

namespace dsmoe::train {
namespace {

using Json = nlohmann::ordered_json;

std::string title_of(const ScheduleQuestion& question) {
  std::string text = question.kind + ", " + std::to_string(question.stages) + " stages, " +
                     std::to_string(question.micro_batches) + " micro-batches";
  if (question.chunks > 1) text += ", " + std::to_string(question.chunks) + " chunks a stage";
  if (question.put_off < 1) text += ", " + fixed(100 * question.put_off, 0) + " % put off";
  return text;
}

const char* pass_name(parallel::Pass pass) {
  switch (pass) {
    case parallel::Pass::kForward:
      return "forward";
    case parallel::Pass::kBackward:
      return "backward";
    case parallel::Pass::kInputGradient:
      return "input_gradient";
    case parallel::Pass::kWeightGradient:
      return "weight_gradient";
  }
  return "";
}

Json actions_of(const std::vector<parallel::TimedAction>& stage) {
  Json actions = Json::array();
  for (const auto& [action, begin, end] : stage) {
    actions.push_back({{"pass", pass_name(action.pass)},
                       {"micro_batch", action.micro_batch},
                       {"chunk", action.chunk},
                       {"begin", begin},
                       {"end", end}});
  }
  return actions;
}

Json numbers_of(const ScheduleQuestion& question, const parallel::PipelineTimeline& timeline,
                double published) {
  Json json = {{"schedule", question.kind},
               {"stages", question.stages},
               {"micro_batches", question.micro_batches},
               {"chunks", question.chunks},
               {"put_off", question.put_off},
               {"length", timeline.length()},
               {"idle", timeline.idle(0)},
               {"published_bubble", published}};  // NaN is written as null
  for (int64_t s = 0; s < question.stages; ++s) {
    json["live_activations"].push_back(timeline.live_activations(s));
    json["actions"].push_back(actions_of(timeline.stages[static_cast<size_t>(s)]));
  }
  return json;
}

std::string text_of(const ScheduleQuestion& question, const parallel::PipelineTimeline& timeline,
                    double published) {
  std::string text = title_of(question) + "\n" + pipeline_text(timeline) + "idle " +
                     fixed(timeline.idle(0), 0) + " of " + fixed(timeline.length(), 0) + " (" +
                     fixed(100 * timeline.idle(0) / timeline.length(), 1) + " %) on each stage" +
                     (std::isnan(published) ? "" : ", published: " + fixed(published, 0)) + "\n" +
                     (question.chunks > 1 ? "chunks" : "micro-batches") +
                     " whose activations a stage keeps:";
  for (int64_t s = 0; s < question.stages; ++s) {
    text += " " + std::to_string(timeline.live_activations(s));
  }
  return text + "\n";
}

}  // namespace

std::string inspect_schedule(const ScheduleQuestion& question, bool json) {
  const auto kind = parallel::schedule_kind(question.kind);
  if (question.put_off < 1 && kind != parallel::ScheduleKind::kZeroBubbleH1) {
    throw ConfigError("--put-off is of zb_h1, and " + question.kind +
                      " puts nothing off\nhint: leave it out, or give --schedule zb_h1");
  }
  const parallel::PipelineShape shape{question.stages, question.micro_batches, question.chunks,
                                      question.put_off};
  // A chunk's forward pass is the unit of time.
  const auto unit = static_cast<double>(question.chunks);
  const parallel::PassCosts costs{unit, unit, unit};
  const auto timeline =
      parallel::simulate(kind, shape, costs, /*capacity=*/question.micro_batches * question.chunks);
  const double published = question.put_off < 1 ? std::numeric_limits<double>::quiet_NaN()
                                                : parallel::published_bubble(kind, shape, costs);
  if (!question.svg.empty()) {
    write_file_atomically(question.svg, pipeline_svg(timeline, title_of(question)));
  }
  return json ? numbers_of(question, timeline, published).dump() + "\n"
              : text_of(question, timeline, published);
}

}  // namespace dsmoe::train
