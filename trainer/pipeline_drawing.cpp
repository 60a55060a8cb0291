#include "trainer/pipeline_drawing.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "trainer/human.h"

namespace dsmoe::train {
namespace {

using parallel::Pass;
using parallel::PipelineAction;
using parallel::PipelineTimeline;
using parallel::TimedAction;

char letter(Pass pass) {
  if (pass == Pass::kForward) return 'F';
  return pass == Pass::kWeightGradient ? 'W' : 'B';
}

bool has_chunks(const PipelineTimeline& timeline) {
  return std::any_of(timeline.stages[0].begin(), timeline.stages[0].end(),
                     [](const TimedAction& one) { return one.action.chunk > 0; });
}

std::string label(const PipelineAction& action, bool chunks) {
  std::string text = letter(action.pass) + std::to_string(action.micro_batch);
  if (chunks) text += static_cast<char>('a' + action.chunk);
  return text;
}

/// Of the longest label and a blank.
size_t column_width(const PipelineTimeline& timeline) {
  size_t width = 0;
  for (const TimedAction& one : timeline.stages[0]) {
    width = std::max(width, label(one.action, has_chunks(timeline)).size() + 1);
  }
  return width;
}

std::string padded(std::string text, size_t width) {
  text.resize(std::max(text.size(), width), ' ');
  return text;
}

std::string line_of(const std::vector<TimedAction>& stage, int64_t columns, size_t width,
                    bool chunks) {
  std::string line;
  int64_t at = 0;
  const auto idle_until = [&](int64_t until) {
    for (; at < until; ++at) line += padded(".", width);
  };
  for (const TimedAction& one : stage) {
    idle_until(std::llround(one.begin));
    const int64_t end = std::llround(one.end);
    line += padded(label(one.action, chunks), width * static_cast<size_t>(end - at));
    at = end;
  }
  idle_until(columns);
  line.erase(line.find_last_not_of(' ') + 1);
  return line;
}

constexpr double kUnit = 26, kRow = 30, kLeft = 76, kTop = 44;

const char* kStyle = R"(<style>
text { font: 11px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1b1f24; }
.title { font-size: 15px; font-weight: 600; } .label { text-anchor: middle; }
.paper { fill: #ffffff; } .idle { fill: #f0f2f5; }
.F { fill: #9ecae9; } .B { fill: #f6b26b; } .W { fill: #b6d7a8; }
@media (prefers-color-scheme: dark) {
  text.title, text.stage { fill: #e7eaee; } .paper { fill: #14171c; } .idle { fill: #1c2027; }
}
</style>
)";

std::string number(double value) { return fixed(value, 1); }

std::string box(double x, double y, double width, const std::string& kind) {
  return "<rect x=\"" + number(x) + "\" y=\"" + number(y) + "\" width=\"" + number(width - 1) +
         "\" height=\"" + number(kRow - 4) + "\" rx=\"2\" class=\"" + kind + "\"/>\n";
}

std::string words(double x, double y, const std::string& kind, const std::string& text) {
  return "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" class=\"" + kind + "\">" + text +
         "</text>\n";
}

std::string row_of(const std::vector<TimedAction>& stage, double y, double length, bool chunks) {
  std::string row = box(kLeft, y, length * kUnit, "idle");
  for (const TimedAction& one : stage) {
    const double x = kLeft + one.begin * kUnit, width = (one.end - one.begin) * kUnit;
    row += box(x, y, width, std::string(1, letter(one.action.pass)));
    row += words(x + width / 2, y + kRow / 2 + 2, "label", label(one.action, chunks));
  }
  return row;
}

}  // namespace

std::string pipeline_text(const PipelineTimeline& timeline) {
  const bool chunks = has_chunks(timeline);
  const size_t width = column_width(timeline);
  const int64_t columns = std::llround(timeline.length());
  std::string text;
  for (size_t s = 0; s < timeline.stages.size(); ++s) {
    text += padded("stage " + std::to_string(s), 9) + "| " +
            line_of(timeline.stages[s], columns, width, chunks) + "\n";
  }
  return text;
}

std::string pipeline_svg(const PipelineTimeline& timeline, const std::string& title) {
  const double width = kLeft + timeline.length() * kUnit + 12;
  const double height = kTop + static_cast<double>(timeline.stages.size()) * kRow + 8;
  const std::string size = number(width) + " " + number(height);
  std::string svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + size +
                    "\" width=\"" + number(width) + "\" height=\"" + number(height) +
                    "\" role=\"img\">\n<title>" + title + "</title>\n" + kStyle +
                    "<rect width=\"100%\" height=\"100%\" class=\"paper\"/>\n" +
                    words(12, 26, "title", title);
  for (size_t s = 0; s < timeline.stages.size(); ++s) {
    const double y = kTop + static_cast<double>(s) * kRow;
    svg += words(12, y + kRow / 2 + 2, "stage", "stage " + std::to_string(s));
    svg += row_of(timeline.stages[s], y, timeline.length(), has_chunks(timeline));
  }
  return svg + "</svg>\n";
}

}  // namespace dsmoe::train
