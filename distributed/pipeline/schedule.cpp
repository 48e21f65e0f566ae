#include "distributed/pipeline/schedule.h"

#include <algorithm>

#include "core/error.h"

namespace plinth::distributed {
namespace {

constexpr int64_t kMostActions = 1 << 22;

using Actions = std::vector<PipelineAction>;

// Forward passes until the first micro-batch comes back, then one forward and one backward in turn,
// then what is left of backward.
Actions one_forward_one_backward(int stages, int stage, int micro_batches) {
  const int warm_up = std::min(micro_batches, stages - stage - 1);
  Actions actions;
  for (int i = 0; i < warm_up; ++i) actions.push_back({ActionKind::Forward, i});
  for (int i = warm_up; i < micro_batches; ++i) {
    actions.push_back({ActionKind::Forward, i});
    actions.push_back({ActionKind::Backward, i - warm_up});
  }
  for (int i = micro_batches - warm_up; i < micro_batches; ++i)
    actions.push_back({ActionKind::Backward, i});
  return actions;
}

// The k-th piece of work of a stage: groups of `stages` micro-batches pass one chunk, then the
// next.
PipelineAction interleaved_piece(ActionKind kind, int k, int stages, int chunks) {
  const int group = k / (stages * chunks), within = k % (stages * chunks);
  const int chunk = within / stages;
  return {kind, group * stages + within % stages,
          kind == ActionKind::Forward ? chunk : chunks - 1 - chunk};
}

Actions interleaved(int stages, int chunks, int stage, int micro_batches) {
  const int total = micro_batches * chunks;
  const int warm_up = std::min(total, 2 * (stages - stage - 1) + (chunks - 1) * stages);
  Actions actions;
  const auto add = [&](ActionKind kind, int k) {
    actions.push_back(interleaved_piece(kind, k, stages, chunks));
  };
  for (int k = 0; k < warm_up; ++k) add(ActionKind::Forward, k);
  for (int k = warm_up; k < total; ++k) {
    add(ActionKind::Forward, k);
    add(ActionKind::Backward, k - warm_up);
  }
  for (int k = total - warm_up; k < total; ++k) add(ActionKind::Backward, k);
  return actions;
}

// 1F1B whose gradients of weights come `stage` micro-batches late, so that they fill what would be
// bubble at the end, and every stage has at most `stages` micro-batches in flight.
Actions zero_bubble_h1(int stages, int stage, int micro_batches) {
  const int warm_up = std::min(micro_batches, stages - stage);
  Actions actions;
  for (int i = 0; i < warm_up; ++i) actions.push_back({ActionKind::Forward, i});
  for (int i = 0; i < micro_batches; ++i) {
    actions.push_back({ActionKind::BackwardInput, i});
    if (i >= stage) actions.push_back({ActionKind::BackwardWeight, i - stage});
    if (warm_up + i < micro_batches) actions.push_back({ActionKind::Forward, warm_up + i});
  }
  for (int i = std::max(0, micro_batches - stage); i < micro_batches; ++i)
    actions.push_back({ActionKind::BackwardWeight, i});
  return actions;
}

// Whether nothing of the micro-batch is left to do afterwards.
bool is_last(ActionKind kind) {
  return kind == ActionKind::Backward || kind == ActionKind::BackwardWeight;
}

std::string_view describe(ActionKind kind) {
  switch (kind) {
    case ActionKind::Forward: return "forward";
    case ActionKind::Backward: return "backward";
    case ActionKind::BackwardInput: return "backward of the input";
    case ActionKind::BackwardWeight: return "backward of the weights";
  }
  return "";
}

void check_sizes(const PipelineSchedule& schedule) {
  constexpr std::string_view kSubject = "pipeline schedule";
  check(schedule.stages >= 1 && schedule.chunks >= 1 && schedule.micro_batches >= 1,
        ErrorKind::Argument, kSubject, "got ", schedule.stages, " stages, ", schedule.chunks,
        " chunks and ", schedule.micro_batches, " micro-batches, takes at least 1 of each");
  // A micro-batch is at most three actions of each chunk.
  const int64_t most = kMostActions / 3 / schedule.chunks / schedule.stages;
  check(schedule.micro_batches <= most, ErrorKind::Argument, kSubject, "got ",
        schedule.micro_batches, " micro-batches, takes at most ", most, " for ", schedule.stages,
        " stages of ", schedule.chunks, " chunks");
}

// What has happened to one micro-batch in one virtual stage.
struct Progress {
  static constexpr double kNever = -1;
  double forward = kNever;   // when it ended
  double backward = kNever;  // its input's gradient
  bool weight = false;
};

class Simulation {
 public:
  Simulation(const PipelineSchedule& schedule, const PipelineTimes& times)
      : schedule_(schedule),
        times_(times),
        pieces_(schedule.stages * schedule.chunks),
        progress_(static_cast<size_t>(pieces_) * schedule.micro_batches),
        next_(schedule.stages),
        free_(schedule.stages) {
    run_.stages.resize(schedule.stages);
  }

  PipelineRun run() {
    for (bool moved = true; moved;) {
      moved = false;
      for (int stage = 0; stage < schedule_.stages; ++stage) moved |= advance(stage);
    }
    check_complete();
    double busy = 0;
    for (const auto& stage : run_.stages) {
      for (const TimedAction& timed : stage) busy += timed.end - timed.begin;
    }
    if (run_.makespan > 0) run_.bubble = 1 - busy / (schedule_.stages * run_.makespan);
    return std::move(run_);
  }

 private:
  // Runs the stage's list until an action waits for another stage.
  bool advance(int stage) {
    const Actions& actions = schedule_.actions[stage];
    bool moved = false;
    while (next_[stage] < actions.size()) {
      const PipelineAction& action = actions[next_[stage]];
      check_action(stage, action);
      const double ready = ready_time(stage, action);
      if (ready < 0) break;
      finish(stage, action, std::max(ready, free_[stage]));
      ++next_[stage];
      moved = true;
    }
    return moved;
  }

  Progress& at(int piece, int micro_batch) {
    return progress_[static_cast<size_t>(piece) * schedule_.micro_batches + micro_batch];
  }
  int piece_of(int stage, const PipelineAction& action) const {
    return action.chunk * schedule_.stages + stage;
  }

  // When what the action needs is there; negative if it is not yet.
  double ready_time(int stage, const PipelineAction& action) {
    const int piece = piece_of(stage, action);
    const Progress& own = at(piece, action.micro_batch);
    const double hop = schedule_.stages > 1 ? times_.transfer : 0;
    if (action.kind == ActionKind::Forward) {
      if (piece == 0) return 0;
      const double before = at(piece - 1, action.micro_batch).forward;
      return before < 0 ? before : before + hop;
    }
    if (action.kind == ActionKind::BackwardWeight) return own.backward;
    if (own.forward < 0) return own.forward;
    if (piece == pieces_ - 1) return own.forward;
    const double after = at(piece + 1, action.micro_batch).backward;
    return after < 0 ? after : after + hop;
  }

  void finish(int stage, const PipelineAction& action, double begin) {
    const int piece = piece_of(stage, action);
    Progress& own = at(piece, action.micro_batch);
    double end = begin;
    switch (action.kind) {
      case ActionKind::Forward: own.forward = end += times_.forward[piece]; break;
      case ActionKind::Backward: end += times_.backward_weight[piece]; [[fallthrough]];
      case ActionKind::BackwardInput: own.backward = end += times_.backward_input[piece]; break;
      case ActionKind::BackwardWeight: end += times_.backward_weight[piece]; break;
    }
    if (is_last(action.kind)) own.weight = true;
    free_[stage] = end;
    run_.makespan = std::max(run_.makespan, end);
    run_.stages[stage].push_back({action, begin, end});
  }

  template <class... Parts>
  void check_that(bool ok, int stage, const PipelineAction& action, const Parts&... parts) const {
    check(ok, ErrorKind::Argument, "pipeline schedule", "stage ", stage, ", ",
          describe(action.kind), " of micro-batch ", action.micro_batch, ", chunk ", action.chunk,
          ": ", parts...);
  }

  void check_action(int stage, const PipelineAction& action) {
    check_that(action.micro_batch >= 0 && action.micro_batch < schedule_.micro_batches &&
                   action.chunk >= 0 && action.chunk < schedule_.chunks,
               stage, action, "there is no such micro-batch or chunk");
    const Progress& own = at(piece_of(stage, action), action.micro_batch);
    const bool repeated = action.kind == ActionKind::Forward          ? own.forward >= 0
                          : action.kind == ActionKind::BackwardWeight ? own.weight
                                                                      : own.backward >= 0;
    check_that(!repeated, stage, action, "comes a second time");
  }

  void check_complete() {
    for (int stage = 0; stage < schedule_.stages; ++stage) {
      const Actions& actions = schedule_.actions[stage];
      if (next_[stage] < actions.size())
        check_that(false, stage, actions[next_[stage]], "waits for what never comes");
    }
    for (int piece = 0; piece < pieces_; ++piece) {
      for (int i = 0; i < schedule_.micro_batches; ++i) {
        const Progress& own = at(piece, i);
        check_that(own.weight && own.backward >= 0, piece % schedule_.stages,
                   {own.backward >= 0 ? ActionKind::BackwardWeight : ActionKind::BackwardInput, i,
                    piece / schedule_.stages},
                   "is missing");
      }
    }
  }

  const PipelineSchedule& schedule_;
  const PipelineTimes& times_;
  int pieces_;
  std::vector<Progress> progress_;
  std::vector<size_t> next_;  // of each stage's list
  std::vector<double> free_;  // when the stage is
  PipelineRun run_;
};

}  // namespace

std::string_view name(PipelineKind kind) {
  switch (kind) {
    case PipelineKind::OneForwardOneBackward: return "1f1b";
    case PipelineKind::Interleaved: return "interleaved";
    case PipelineKind::ZeroBubbleH1: return "zb-h1";
  }
  return "";
}

PipelineSchedule make_schedule(PipelineKind kind, int stages, int chunks, int micro_batches) {
  PipelineSchedule schedule{kind, stages, chunks, micro_batches, {}};
  check_sizes(schedule);
  const bool takes_chunks = kind == PipelineKind::Interleaved;
  check(takes_chunks || chunks == 1, ErrorKind::Argument, "pipeline schedule", "got ", chunks,
        " chunks, ", name(kind), " takes 1");
  check(!takes_chunks || micro_batches % stages == 0, ErrorKind::Argument, "pipeline schedule",
        "got ", micro_batches, " micro-batches, interleaved takes a multiple of the ", stages,
        " stages");
  for (int stage = 0; stage < stages; ++stage) {
    switch (kind) {
      case PipelineKind::OneForwardOneBackward:
        schedule.actions.push_back(one_forward_one_backward(stages, stage, micro_batches));
        break;
      case PipelineKind::Interleaved:
        schedule.actions.push_back(interleaved(stages, chunks, stage, micro_batches));
        break;
      case PipelineKind::ZeroBubbleH1:
        schedule.actions.push_back(zero_bubble_h1(stages, stage, micro_batches));
        break;
    }
  }
  return schedule;
}

PipelineTimes PipelineTimes::even(const PipelineSchedule& schedule, double forward,
                                  double backward_input, double backward_weight, double transfer) {
  const auto pieces = static_cast<size_t>(schedule.stages) * schedule.chunks;
  return {std::vector<double>(pieces, forward), std::vector<double>(pieces, backward_input),
          std::vector<double>(pieces, backward_weight), transfer};
}

PipelineRun simulate(const PipelineSchedule& schedule, const PipelineTimes& times) {
  check_sizes(schedule);
  check(schedule.actions.size() == static_cast<size_t>(schedule.stages), ErrorKind::Argument,
        "pipeline schedule", "has lists for ", schedule.actions.size(), " stages, takes ",
        schedule.stages);
  const auto pieces = static_cast<size_t>(schedule.stages) * schedule.chunks;
  check(times.forward.size() == pieces && times.backward_input.size() == pieces &&
            times.backward_weight.size() == pieces,
        ErrorKind::Argument, "pipeline times", "got ", times.forward.size(), ", ",
        times.backward_input.size(), " and ", times.backward_weight.size(), " times, takes ",
        pieces, " of each");
  return Simulation(schedule, times).run();
}

std::vector<int> peak_in_flight(const PipelineSchedule& schedule) {
  std::vector<int> peaks;
  for (const Actions& actions : schedule.actions) {
    int now = 0, peak = 0;
    for (const PipelineAction& action : actions) {
      if (action.kind == ActionKind::Forward) peak = std::max(peak, ++now);
      if (is_last(action.kind)) --now;
    }
    peaks.push_back(peak);
  }
  return peaks;
}

void validate(const PipelineSchedule& schedule) {
  check_sizes(schedule);
  simulate(schedule, PipelineTimes::even(schedule, 1, 1, 1));
}

}  // namespace plinth::distributed
