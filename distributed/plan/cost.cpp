#include "distributed/plan/cost.h"

#include <algorithm>

#include "distributed/plan/collectives.h"
#include "distributed/plan/layer.h"

namespace plinth::plan {
namespace {

using distributed::PipelineRun;
using distributed::PipelineSchedule;
using distributed::PipelineTimes;

// Costs of the pieces, and what sending between them adds.
class Pipeline {
 public:
  Pipeline(const Kernels& kernels, const Workload& work, const Strategy& strategy)
      : strategy_(strategy) {
    const PieceCost layer = layer_cost(kernels, work, strategy);
    for (int piece = 0; piece < strategy.pieces(); ++piece) {
      PieceCost cost;
      cost.add(layer, static_cast<double>(layers_of(work.model, strategy, piece)));
      if (piece == 0) cost.add(embedding_cost(kernels, work, strategy));
      if (piece == strategy.pieces() - 1) cost.add(head_cost(kernels, work, strategy));
      pieces_.push_back(cost);
    }
    if (strategy.pipeline > 1) add_sends(kernels.gpu(), work);
  }

  PipelineTimes times() const {
    PipelineTimes times;
    for (const PieceCost& piece : pieces_) {
      times.forward.push_back(piece.forward);
      times.backward_input.push_back(piece.backward_input);
      times.backward_weight.push_back(piece.backward_weight);
    }
    times.transfer = transfer_;
    return times;
  }

  // Of all pieces of a stage, for a micro-batch.
  PieceCost stage(int stage) const {
    PieceCost sum;
    for (int chunk = 0; chunk < strategy_.chunks; ++chunk)
      sum.add(pieces_[chunk * strategy_.pipeline + stage]);
    return sum;
  }
  PieceCost busiest() const {
    PieceCost most;
    for (int i = 0; i < strategy_.pipeline; ++i) {
      const PieceCost cost = stage(i);
      if (cost.total() > most.total()) most = cost;
    }
    return most;
  }

 private:
  // Each tensor rank sends its share; without sequence parallelism the receivers gather the whole
  // (arXiv 2104.04473, section 4.1).
  void add_sends(const Gpu& gpu, const Workload& work) {
    const double bytes = 2 * static_cast<double>(strategy_.micro_batch * work.sequence) /
                         strategy_.context * static_cast<double>(work.model.hidden);
    const int64_t stride = strategy_.tensor * strategy_.context * strategy_.data();
    transfer_ = send_seconds(gpu, stride, bytes / strategy_.tensor);
    if (!strategy_.sequence_parallel)
      transfer_ += all_gather_seconds(gpu, {strategy_.tensor, 1}, bytes);
    if (work.software.overlap_pipeline) return;
    // A stage computes nothing while it receives.
    for (size_t i = 0; i < pieces_.size(); ++i) {
      const double forward = i > 0 ? transfer_ : 0;
      const double backward = i + 1 < pieces_.size() ? transfer_ : 0;
      pieces_[i].forward += forward;
      pieces_[i].backward_input += backward;
      pieces_[i].communication += forward + backward;
    }
    transfer_ = 0;
  }

  const Strategy& strategy_;
  std::vector<PieceCost> pieces_;
  double transfer_ = 0;
};

// Past this many micro-batches for each stage a pipeline is in its steady state, in which each more
// takes as long as the busiest stage computes, and memory grows no more.
constexpr int64_t kSimulatedPerStage = 2;

int64_t simulated_micro_batches(const Workload& work, const Strategy& strategy) {
  return std::min<int64_t>(strategy.micro_batches(work), kSimulatedPerStage * strategy.pipeline);
}

PipelineSchedule schedule_of(const Strategy& strategy, int64_t micro_batches) {
  return distributed::make_schedule(strategy.schedule, strategy.pipeline, strategy.chunks,
                                    static_cast<int>(micro_batches));
}

// Reducing gradients and gathering parameters of a stage, as far as computation does not hide it.
double data_seconds(const Gpu& gpu, const Workload& work, const Strategy& s, const PieceCost& stage,
                    const StageParameters& parameters, double layers) {
  const auto micro_batches = static_cast<double>(s.micro_batches(work));
  // Context ranks hold the same parameters, of the experts every s.expert-th rank does.
  const Group shard = {int64_t{s.data_shard} * s.context, s.tensor};
  const Group same_experts = {shard.size / s.expert, shard.stride * s.expert};
  const Group replicas = {s.data_replicate, shard.size * s.tensor};
  const double element = work.software.gradient_bytes;
  const double scatter = reduce_scatter_seconds(gpu, shard, element * parameters.dense) +
                         reduce_scatter_seconds(gpu, same_experts, element * parameters.experts);
  const double gather = all_gather_seconds(gpu, shard, 2 * parameters.dense) +
                        all_gather_seconds(gpu, same_experts, 2 * parameters.experts);
  const double across = all_reduce_seconds(gpu, replicas, element * parameters.shared(s));
  const double backward = stage.backward_input + stage.backward_weight;

  // Not hidden is what exceeds the computation beside it, and one layer's, the first or the last of
  // `times` passes.
  const auto exposed = [&](double seconds, double beside, double times = 1) {
    if (!work.software.overlap_data) return seconds;
    const double last = seconds / times / std::max(layers, 1.0);
    return last + std::max(0.0, seconds - last - beside);
  };
  // Without sharing of gradients they are reduced behind the last micro-batch's backward pass, in
  // one all-reduce or, if the optimizer is shared, as its two halves around the optimizer.
  if (s.zero_stage == 0) return exposed(2 * scatter + across, backward);
  if (s.zero_stage == 1)
    return exposed(scatter + across, backward) + exposed(gather, stage.forward);
  const double reduced =
      exposed(micro_batches * scatter + across, micro_batches * backward, micro_batches);
  if (s.zero_stage == 2) return reduced + exposed(gather, stage.forward);
  // Gathered for both passes of each micro-batch.
  return exposed(micro_batches * (scatter + gather) + across, micro_batches * backward,
                 micro_batches) +
         exposed(micro_batches * gather, micro_batches * stage.forward, micro_batches);
}

// AdamW on this rank's share: gradients cleared, read for their norm and read; parameters and both
// moments in float32 read and written; parameters written in bfloat16.
double optimizer_seconds(const Kernels& kernels, const Workload& work, const Strategy& s,
                         const StageParameters& parameters) {
  const double elements = s.zero_stage > 0 ? parameters.shared(s) : parameters.whole();
  return kernels.memory(elements * (3 * work.software.gradient_bytes + 24 + 2));
}

}  // namespace

StepCost step_cost(const Gpu& gpu, const Workload& work, const Strategy& strategy,
                   const Calibration& calibration) {
  validate(work, strategy);
  const Kernels kernels(gpu, calibration);
  const Pipeline pipeline(kernels, work, strategy);
  const int64_t micro_batches = strategy.micro_batches(work);
  const int64_t simulated = simulated_micro_batches(work, strategy);
  const PipelineRun run = simulate(schedule_of(strategy, simulated), pipeline.times());
  const PieceCost busiest = pipeline.busiest();

  StepCost cost;
  const double rest = static_cast<double>(micro_batches - simulated) * busiest.total();
  const double makespan = run.makespan + rest;
  cost.communication = static_cast<double>(micro_batches) * busiest.communication;
  cost.compute = static_cast<double>(micro_batches) * busiest.total() - cost.communication;
  cost.bubble = std::max(0.0, makespan - cost.compute - cost.communication);
  double busy = 0;
  for (int i = 0; i < strategy.pipeline; ++i) {
    const PieceCost stage = pipeline.stage(i);
    busy += static_cast<double>(micro_batches) * stage.total();
    const StageParameters parameters = stage_parameters(work, strategy, i);
    double layers = 0;
    for (int chunk = 0; chunk < strategy.chunks; ++chunk)
      layers += static_cast<double>(layers_of(work.model, strategy, chunk * strategy.pipeline + i));
    cost.data = std::max(cost.data, data_seconds(gpu, work, strategy, stage, parameters, layers));
    cost.optimizer =
        std::max(cost.optimizer, optimizer_seconds(kernels, work, strategy, parameters));
  }
  cost.bubble_fraction = std::max(0.0, 1 - busy / (strategy.pipeline * makespan));
  cost.seconds = makespan + cost.data + cost.optimizer;

  const auto tokens = static_cast<double>(work.global_batch * work.sequence);
  const double model_flops = work.model.flops_per_token(work.sequence);
  cost.tokens_per_second = tokens / cost.seconds / static_cast<double>(strategy.ranks());
  cost.model_flops_per_second = model_flops * cost.tokens_per_second;
  cost.model_utilisation = cost.model_flops_per_second / gpu.bfloat16_flops;
  cost.hardware_utilisation =
      cost.model_utilisation * (1 + recomputed_flops_per_token(work, strategy) / model_flops);
  cost.memory = step_memory(work, strategy);
  return cost;
}

MemoryUse step_memory(const Workload& work, const Strategy& strategy) {
  validate(work, strategy);
  return memory_use(work, strategy,
                    peak_in_flight(schedule_of(strategy, simulated_micro_batches(work, strategy))));
}

double least_seconds(const Gpu& gpu, const Workload& work, const Strategy& strategy,
                     const Calibration& calibration) {
  validate(work, strategy);
  const Kernels kernels(gpu, calibration);
  return static_cast<double>(strategy.micro_batches(work)) *
         Pipeline(kernels, work, strategy).busiest().total();
}

PipelineRun pipeline_run(const Gpu& gpu, const Workload& work, const Strategy& strategy,
                         int64_t micro_batches, const Calibration& calibration) {
  validate(work, strategy);
  const Kernels kernels(gpu, calibration);
  const Pipeline pipeline(kernels, work, strategy);
  const int64_t shown = std::min(micro_batches, strategy.micro_batches(work));
  return simulate(schedule_of(strategy, shown), pipeline.times());
}

}  // namespace plinth::plan
