#include "distributed/plan/memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "distributed/plan/cost.h"
#include "tests/distributed/plan/presets.h"

namespace plinth::plan {
namespace {

constexpr double kGiB = 1024.0 * 1024 * 1024;

// Figure 1 of Korthikanti et al. 2022: GiB of parameters, gradients and optimizer state, and of
// activations with nothing recomputed and with sequence parallelism and selective recomputation.
// Embedding and output projection are not in it.
TEST(PlanMemory, IsThatOfKorthikantisFigure1) {
  struct Row {
    const char* model;
    int pipeline, chunks, micro_batch;
    double state, none, selective;
  };
  constexpr Row kTable[] = {{"megatron-22b", 1, 1, 4, 45.5625, 59.25, 9.5625},
                            {"gpt3-175b", 8, 3, 1, 45.5625, 66.84375, 12.3515625},
                            {"megatron-530b", 35, 3, 1, 31.640625, 114.0234375, 23.076171875},
                            {"megatron-1t", 64, 1, 1, 32.958984375, 131.25, 26.5625}};
  for (const Row& row : kTable) {
    SCOPED_TRACE(row.model);
    Workload work{.model = preset(row.model), .sequence = 2048};
    work.model.vocab = 1;
    work.global_batch = int64_t{row.micro_batch} * row.pipeline * 2;
    work.software.attention = Attention::Unfused;
    Strategy s{.tensor = 8, .pipeline = row.pipeline, .chunks = row.chunks};
    if (row.chunks > 1) s.schedule = PipelineKind::Interleaved;
    s.micro_batch = row.micro_batch;
    const MemoryUse none = step_memory(work, s);
    EXPECT_NEAR((none.parameters + none.gradients + none.optimizer) / kGiB, row.state, 0.01);
    EXPECT_NEAR(none.activations / kGiB, row.none, 0.03 * row.none);
    s.sequence_parallel = true;
    s.recompute = Recompute::Selective;
    EXPECT_NEAR(step_memory(work, s).activations / kGiB, row.selective, 0.03 * row.selective);
  }
}

TEST(PlanMemory, ALayerKeepsKorthikantisBytes) {
  Workload work{.model = preset("gpt3-175b"), .sequence = 2048, .global_batch = 1};
  work.software.attention = Attention::Unfused;
  const double sbh = 2048.0 * 12288, scores = 5.0 * 96 * 2048 / 12288;
  Strategy s{.tensor = 8};
  EXPECT_DOUBLE_EQ(layer_activation_bytes(work, s), sbh * (10 + 24.0 / 8 + scores / 8));
  s.sequence_parallel = true;
  EXPECT_DOUBLE_EQ(layer_activation_bytes(work, s), sbh / 8 * (34 + scores));
  s.recompute = Recompute::Selective;
  EXPECT_DOUBLE_EQ(layer_activation_bytes(work, s), sbh / 8 * 34);
  s.recompute = Recompute::Full;
  EXPECT_DOUBLE_EQ(layer_activation_bytes(work, s), sbh / 8 * 2);
}

TEST(PlanMemory, ZeroSharesWhatItsStageSays) {
  const Workload work{.model = preset("llama3-8b"), .sequence = 8192, .global_batch = 8};
  Strategy s{.data_shard = 8};
  const MemoryUse whole = step_memory(work, s);
  EXPECT_DOUBLE_EQ(whole.parameters, 2.0 * static_cast<double>(work.model.parameters()));
  EXPECT_DOUBLE_EQ(whole.optimizer, 6 * whole.parameters);
  s.zero_stage = 1;
  EXPECT_DOUBLE_EQ(step_memory(work, s).optimizer, whole.optimizer / 8);
  EXPECT_DOUBLE_EQ(step_memory(work, s).gradients, whole.gradients);
  s.zero_stage = 2;
  EXPECT_DOUBLE_EQ(step_memory(work, s).gradients, whole.gradients / 8);
  EXPECT_DOUBLE_EQ(step_memory(work, s).parameters, whole.parameters);
  s.zero_stage = 3;
  // And two layers that are gathered.
  const double gathered = 2 * 2 * static_cast<double>(work.model.layer_parameters());
  EXPECT_DOUBLE_EQ(step_memory(work, s).parameters, whole.parameters / 8 + gathered);
}

// Mixtral of Experts (arXiv 2401.04088): 47 billion parameters, 13 active.
TEST(PlanMemory, ExpertsAreDealtToRanks) {
  Workload work{.model = preset("mixtral-8x7b"), .sequence = 4096, .global_batch = 64};
  EXPECT_NEAR(static_cast<double>(work.model.parameters()), 46.7e9, 0.1e9);
  const auto embedding = static_cast<double>(work.model.hidden * work.model.vocab);
  EXPECT_NEAR(work.model.flops_per_token(1) / 6, 12.9e9 - embedding, 0.1e9);
  Strategy s{.data_shard = 8};
  const StageParameters all = stage_parameters(work, s, 0);
  s.expert = 4;
  const StageParameters part = stage_parameters(work, s, 0);
  const auto experts = static_cast<double>(work.model.layers * work.model.expert_parameters());
  EXPECT_DOUBLE_EQ(part.dense, all.whole() - experts);
  EXPECT_DOUBLE_EQ(part.experts, experts / 4);
  // Sharing by all ranks leaves each the same.
  EXPECT_DOUBLE_EQ(part.shared(s), all.whole() / 8);
}

}  // namespace
}  // namespace plinth::plan
