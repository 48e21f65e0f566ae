#pragma once

// How long a training step takes, and what it needs: an analytic model, which nobody runs. Its
// parts are in kernels.h, collectives.h, layer.h, memory.h and pipeline/schedule.h.

#include "distributed/plan/kernels.h"
#include "distributed/plan/memory.h"
#include "distributed/plan/strategy.h"

namespace plinth::plan {

struct StepCost {
  double seconds = 0;  // of a step: the pipeline, then what follows
  // Its parts; they sum to `seconds`.
  double compute = 0;        // of the busiest stage
  double communication = 0;  // of tensor, context and pipeline axes there, not hidden
  double bubble = 0;         // waiting for other stages
  double data = 0;           // reduction of gradients and gathering of parameters, not hidden
  double optimizer = 0;

  double bubble_fraction = 0;         // of the pipeline's time, the mean of its stages
  double tokens_per_second = 0;       // a GPU
  double model_flops_per_second = 0;  // a GPU, without recomputation
  double model_utilisation = 0;       // MFU: of the bfloat16 peak
  double hardware_utilisation = 0;    // HFU: with recomputation
  MemoryUse memory;

  // Communication that computation does not hide, as a share of the step.
  double exposed_communication() const { return (communication + data) / seconds; }
};

// Throws Error(Argument) where the workload cannot be cut so.
StepCost step_cost(const Gpu& gpu, const Workload& work, const Strategy& strategy,
                   const Calibration& calibration = {});

// The memory alone, and a bound that `seconds` does not fall below: cheap, for a search.
MemoryUse step_memory(const Workload& work, const Strategy& strategy);
double least_seconds(const Gpu& gpu, const Workload& work, const Strategy& strategy,
                     const Calibration& calibration = {});

// One step's schedule with its times, for pictures: stages of the first `micro_batches`, or of all
// if there are fewer.
distributed::PipelineRun pipeline_run(const Gpu& gpu, const Workload& work,
                                      const Strategy& strategy, int64_t micro_batches,
                                      const Calibration& calibration = {});

}  // namespace plinth::plan
