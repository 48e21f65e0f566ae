// The picture of `plinth plan --svg`: bars of memory, and the best plan's pipeline in time.

#include <algorithm>
#include <array>

#include "apps/plan/report.h"
#include "apps/svg.h"
#include "core/error.h"
#include "distributed/plan/cost.h"

namespace plinth::apps {
namespace {

using detail::concat;
using distributed::ActionKind;
using distributed::PipelineRun;
using distributed::TimedAction;
using plan::MemoryUse;
using plan::Plan;

using svg::kMargin;
using svg::kWidth;
using svg::legend;
using svg::number;
using svg::rectangle;
using svg::text_at;

constexpr double kLabels = 250, kRow = 22;
constexpr size_t kMostBars = 10;
constexpr int64_t kMostMicroBatches = 16;  // of the pipeline, beyond which it repeats itself

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
  return svg::document(title, y + 36, body);
}

}  // namespace plinth::apps
