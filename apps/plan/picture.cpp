// The picture of `plinth plan --svg`: bars of memory, and the best plan's pipeline in time.

#include <algorithm>
#include <array>
#include <cstdio>

#include "apps/plan/report.h"
#include "core/error.h"
#include "distributed/plan/cost.h"
#include "train/logging/report/html_text.h"

namespace plinth::apps {
namespace {

using detail::concat;
using distributed::ActionKind;
using distributed::PipelineRun;
using distributed::TimedAction;
using plan::MemoryUse;
using plan::Plan;

constexpr double kWidth = 960, kMargin = 20, kLabels = 250, kRow = 22;
constexpr size_t kMostBars = 10;
constexpr int64_t kMostMicroBatches = 16;  // of the pipeline, beyond which it repeats itself

constexpr std::string_view kStyle = R"css(<style>
svg { --ink: #1c1d1f; --soft: #6a6d73; --page: #ffffff; --blue: #2962d9; --orange: #d9620f;
  --green: #1f8a5b; --violet: #7a4fd0; --teal: #0f8594;
  font: 13px system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif; }
@media (prefers-color-scheme: dark) { svg { --ink: #ececea; --soft: #989ba1; --page: #1c1d20;
  --blue: #7aa7ff; --orange: #ff9f5a; --green: #5fd39d; --violet: #b79bff; --teal: #58c7d4; } }
.page { fill: var(--page); } text { fill: var(--ink); } .soft { fill: var(--soft); }
.head { font-size: 16px; font-weight: 620; } .end { text-anchor: end; }
.blue { fill: var(--blue); } .orange { fill: var(--orange); } .green { fill: var(--green); }
.violet { fill: var(--violet); } .teal { fill: var(--teal); }
.later { fill-opacity: 0.6; } .limit { stroke: var(--ink); stroke-dasharray: 4 3; }
</style>
)css";

struct Kind {
  const char* name;
  const char* colour;
  double MemoryUse::*bytes;
};
constexpr std::array<Kind, 5> kKinds = {{{"parameters", "blue", &MemoryUse::parameters},
                                         {"gradients", "orange", &MemoryUse::gradients},
                                         {"optimizer", "green", &MemoryUse::optimizer},
                                         {"activations", "violet", &MemoryUse::activations},
                                         {"logits", "teal", &MemoryUse::logits}}};

std::string number(double value) {
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), "%.1f", value);
  return text.data();
}

std::string rectangle(double x, double y, double width, double height, std::string_view css_class,
                      std::string_view title) {
  return concat("<rect x=\"", number(x), "\" y=\"", number(y), "\" width=\"", number(width),
                "\" height=\"", number(height), "\" class=\"", css_class, "\"><title>",
                html_text(title), "</title></rect>\n");
}

std::string text_at(double x, double y, std::string_view css_class, std::string_view text) {
  return concat("<text x=\"", number(x), "\" y=\"", number(y), "\" class=\"", css_class, "\">",
                html_text(text), "</text>\n");
}

// Coloured names in a row.
std::string legend(double y, const std::vector<std::pair<std::string, std::string>>& entries) {
  std::string out;
  double x = kMargin;
  for (const auto& [css_class, text] : entries) {
    out += rectangle(x, y - 10, 12, 12, css_class, text) + text_at(x + 18, y, "soft", text);
    x += 40 + 8 * static_cast<double>(text.size());
  }
  return out;
}

std::string memory_bars(const std::vector<Plan>& plans, const plan::Gpu& gpu, double& y) {
  std::string out = text_at(kMargin, y += 24, "head", "Memory of a GPU");
  std::vector<std::pair<std::string, std::string>> entries;
  entries.reserve(kKinds.size());
  for (const Kind& kind : kKinds) entries.emplace_back(kind.colour, kind.name);
  out += legend(y += 26, entries);
  y += 14;
  const double scale = (kWidth - kLabels - 90 - kMargin) / gpu.memory_bytes, top = y;
  for (size_t i = 0; i < std::min(plans.size(), kMostBars); ++i, y += kRow) {
    const Plan& plan = plans[i];
    out += text_at(kLabels - 10, y + 15, "end",
                   concat(plan.strategy.mesh_text(), "  b", plan.strategy.micro_batch));
    double x = kLabels;
    for (const Kind& kind : kKinds) {
      const double bytes = plan.cost.memory.*kind.bytes, width = bytes * scale;
      out += rectangle(x, y + 3, width, kRow - 6, kind.colour,
                       concat(kind.name, " ", number(bytes / (1 << 30)), " GiB"));
      x += width;
    }
    out += text_at(x + 8, y + 15, "soft",
                   concat(number(plan.cost.memory.total() / (1 << 30)), " GiB"));
  }
  const double limit = kLabels + scale * plan::kUsableMemory * gpu.memory_bytes;
  out += concat("<line class=\"limit\" x1=\"", number(limit), "\" x2=\"", number(limit), "\" y1=\"",
                number(top), "\" y2=\"", number(y), "\"/>\n");
  return out;
}

const char* colour(const TimedAction& timed) {
  switch (timed.action.kind) {
    case ActionKind::Forward: return "blue";
    case ActionKind::Backward:
    case ActionKind::BackwardInput: return "orange";
    case ActionKind::BackwardWeight: return "green";
  }
  return "";
}

std::string timeline(const PipelineRun& run, double& y) {
  std::string out = text_at(kMargin, y += 40, "head", "Pipeline of the fastest plan");
  out += legend(y += 26, {{"blue", "forward"},
                          {"orange", "backward"},
                          {"green", "gradients of weights alone"},
                          {"blue later", "fainter: later chunks"}});
  y += 14;
  const double left = 100, scale = (kWidth - left - kMargin) / run.makespan;
  const double row = run.stages.size() > 16 ? 10 : kRow;
  for (size_t stage = 0; stage < run.stages.size(); ++stage, y += row) {
    if (row == kRow || stage % 8 == 0)
      out += text_at(left - 10, y + row - 4, "soft end", concat("stage ", stage));
    for (const TimedAction& timed : run.stages[stage]) {
      const std::string css_class = concat(colour(timed), timed.action.chunk > 0 ? " later" : "");
      out += rectangle(
          left + timed.begin * scale, y + 1, std::max(0.3, (timed.end - timed.begin) * scale - 0.4),
          row - 2, css_class,
          concat("micro-batch ", timed.action.micro_batch, ", chunk ", timed.action.chunk));
    }
  }
  return out + text_at(left, y + 18, "soft",
                       concat(number(1000 * run.makespan), " ms, the first micro-batches"));
}

}  // namespace

std::string plan_svg(const PlanQuestion& question, const plan::SearchResult& result) {
  double y = 10;
  std::string body = memory_bars(result.plans, *question.gpu, y);
  const plan::Strategy& best = result.plans.front().strategy;
  if (best.pipeline > 1) {
    // Whole groups of micro-batches, as interleaved schedules take them.
    const int64_t shown = std::max<int64_t>(2 * best.pipeline, kMostMicroBatches);
    const int64_t groups = std::max<int64_t>(1, shown / best.pipeline);
    body +=
        timeline(plan::pipeline_run(*question.gpu, question.work, best, groups * best.pipeline), y);
  }
  const std::string title =
      concat(question.work.model.name, " on ", question.gpus, " ", question.gpu->name);
  return concat("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 ", kWidth, " ",
                number(y + 36), "\" role=\"img\" aria-label=\"", html_text(title), "\">\n", kStyle,
                "<rect class=\"page\" width=\"100%\" height=\"100%\"/>\n", body, "</svg>\n");
}

}  // namespace plinth::apps
