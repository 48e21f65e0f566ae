#pragma once

// Pipeline schedules as data: for each stage the list of what it computes, in order. A cost model
// simulates the lists; a trainer executes the same ones.
//
// A model of L layers is cut into stages x chunks pieces. Stage s holds the pieces
// chunk * stages + s, its virtual stages; a micro-batch passes all pieces forward in that order,
// and backward in the opposite one.

#include <cstdint>
#include <string_view>
#include <vector>

namespace plinth::distributed {

enum class PipelineKind {
  OneForwardOneBackward,  // Narayanan et al. 2021, arXiv 2104.04473, section 2.2.1
  Interleaved,            // the same, section 2.2.2: several chunks a stage
  ZeroBubbleH1            // Qi et al. 2023, arXiv 2401.10241, section 2.2
};

// "1f1b", "interleaved", "zb-h1".
std::string_view name(PipelineKind kind);

enum class ActionKind : uint8_t {
  Forward,
  Backward,       // both gradients at once
  BackwardInput,  // of the piece's input, which the stage before waits for
  BackwardWeight  // of its parameters, which nobody waits for
};

struct PipelineAction {
  ActionKind kind = ActionKind::Forward;
  int micro_batch = 0;
  int chunk = 0;

  bool operator==(const PipelineAction&) const = default;
};

struct PipelineSchedule {
  PipelineKind kind = PipelineKind::OneForwardOneBackward;
  int stages = 1;
  int chunks = 1;
  int micro_batches = 1;
  std::vector<std::vector<PipelineAction>> actions;  // of each stage
};

// Throws Error(Argument) for sizes below 1, or above 2^22 actions in all; for chunks other than 1
// where the kind takes no more, and for an Interleaved schedule whose micro_batches are no multiple
// of stages.
PipelineSchedule make_schedule(PipelineKind kind, int stages, int chunks, int micro_batches);

// Seconds (or any unit) of each virtual stage's actions, chunk * stages + stage. A Backward takes
// the sum of both halves.
struct PipelineTimes {
  std::vector<double> forward;
  std::vector<double> backward_input;
  std::vector<double> backward_weight;
  // From the end of an action until another stage may begin what waits for it. The stages compute
  // on meanwhile.
  double transfer = 0;

  // The same times for each virtual stage.
  static PipelineTimes even(const PipelineSchedule& schedule, double forward, double backward_input,
                            double backward_weight, double transfer = 0);
};

struct TimedAction {
  PipelineAction action;
  double begin = 0;
  double end = 0;
};

struct PipelineRun {
  std::vector<std::vector<TimedAction>> stages;
  double makespan = 0;
  // The share of the stages' time in which they compute nothing: 1 - busy / (stages * makespan).
  double bubble = 0;
};

// For each stage the most pieces whose forward pass is done and whose last gradient is not: what
// they keep of activations is in memory at once.
std::vector<int> peak_in_flight(const PipelineSchedule& schedule);

// Executes the lists: each action begins when its stage is free and what it needs is there. Throws
// Error(Argument), naming stage and action, for a schedule that leaves out, repeats or invents an
// action, for one that deadlocks, and for times of another number of virtual stages.
PipelineRun simulate(const PipelineSchedule& schedule, const PipelineTimes& times);

// Throws what simulate() would throw of the schedule.
void validate(const PipelineSchedule& schedule);

}  // namespace plinth::distributed
