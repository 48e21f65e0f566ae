#include "distributed/plan/cost.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "distributed/plan/collectives.h"
#include "distributed/plan/layer.h"
#include "tests/distributed/plan/presets.h"

namespace plinth::plan {
namespace {

using testing::HasSubstr;

const Gpu& h200() {
  return find_gpu("h200");
}

TEST(PlanKernels, AWaveTakesAsLongHoweverFullItIs) {
  const Gpu& gpu = h200();
  const Calibration calibration;
  const Kernels kernels(gpu, calibration);
  const auto seconds = [&](double m) {
    return kernels.product(m, 12 * 128, 8192, Precision::BFloat16);
  };
  ASSERT_EQ(gpu.multiprocessors, 11 * 12);
  EXPECT_DOUBLE_EQ(seconds(11 * 256), seconds(11 * 256 - 100));
  // A row more: three waves of half as large tiles are better than two.
  EXPECT_DOUBLE_EQ(seconds(11 * 256 + 1), 1.5 * seconds(11 * 256));
  // A large product runs at the calibrated share of what products reach.
  const double size = 256.0 * gpu.multiprocessors;
  EXPECT_NEAR(2 * size * size * size / kernels.product(size, size, size, Precision::BFloat16),
              calibration.product * gpu.sustained_flops(Precision::BFloat16),
              0.001 * gpu.bfloat16_flops);
}

TEST(PlanKernels, ThinProductsAreBoundByMemory) {
  const Calibration calibration;
  const Kernels kernels(h200(), calibration);
  const double n = 1 << 14;
  EXPECT_DOUBLE_EQ(kernels.product(1, n, n, Precision::BFloat16),
                   kernels.memory(2 * (n + n * n + n)));
}

TEST(PlanCollectives, RingsSendWhatTheyMust) {
  const Gpu& gpu = h200();
  const double bytes = 1e12;  // so that latency is nothing
  EXPECT_EQ(all_gather_seconds(gpu, {1, 1}, bytes), 0);
  EXPECT_NEAR(all_gather_seconds(gpu, {8, 1}, bytes) * gpu.nvlink_bandwidth / bytes, 7.0 / 8, 1e-3);
  EXPECT_DOUBLE_EQ(all_reduce_seconds(gpu, {8, 1}, bytes),
                   2 * reduce_scatter_seconds(gpu, {8, 1}, bytes));
  // Of what goes to all, an eighth stays; of 64 ranks, seven eighths leave the node.
  EXPECT_EQ(all_to_all_seconds(gpu, {1, 1}, bytes), 0);
  EXPECT_NEAR(all_to_all_seconds(gpu, {8, 1}, bytes) * gpu.nvlink_bandwidth / bytes, 7.0 / 8, 1e-3);
  EXPECT_NEAR(all_to_all_seconds(gpu, {64, 1}, bytes) * gpu.network_bandwidth / bytes, 7.0 / 8,
              1e-3);
  // Whole nodes leave by eight adapters, ranks of one in eight by their own.
  EXPECT_NEAR(all_gather_seconds(gpu, {64, 1}, bytes) * gpu.nvlink_bandwidth / bytes, 63.0 / 64,
              1e-3);
  EXPECT_NEAR(all_gather_seconds(gpu, {64, 8}, bytes) * gpu.network_bandwidth / bytes, 63.0 / 64,
              1e-3);
}

TEST(PlanCost, UtilisationIsThePapersFormula) {
  // 72 B L s h^2 (1 + s / 6h + V / 12hL) operations of a step (Korthikanti et al. 2022, eq. 7).
  Workload work = workload("gpt3-175b", 2048, 64);
  work.software.attention = Attention::Unfused;
  const Strategy s{.tensor = 8,
                   .pipeline = 8,
                   .schedule = PipelineKind::Interleaved,
                   .chunks = 3,
                   .recompute = Recompute::Full};
  const StepCost cost = step_cost(h200(), work, s);
  const double h = 12288, layers = 96, length = 2048, vocab = 51200;
  const double flops =
      72 * 64 * layers * length * h * h * (1 + length / (6 * h) + vocab / (12 * h * layers));
  EXPECT_NEAR(cost.model_utilisation, flops / cost.seconds / 64 / h200().bfloat16_flops, 1e-9);
  // With recomputation 96 ... and the output projection once (Narayanan et al. 2021, eq. 3).
  const double hardware =
      96 * 64 * layers * length * h * h * (1 + length / (6 * h) + vocab / (16 * h * layers));
  EXPECT_NEAR(cost.hardware_utilisation, hardware / cost.seconds / 64 / h200().bfloat16_flops,
              1e-9);
}

TEST(PlanCost, PartsSumToTheStep) {
  const Workload work = workload("llama3-70b", 8192, 256);
  for (const int pipeline : {1, 4, 8}) {
    Strategy s{.tensor = 8, .data_shard = 4, .pipeline = pipeline, .sequence_parallel = true};
    s.zero_stage = 1;
    const StepCost cost = step_cost(h200(), work, s);
    EXPECT_NEAR(cost.compute + cost.communication + cost.bubble + cost.data + cost.optimizer,
                cost.seconds, 1e-9 * cost.seconds);
    EXPECT_LE(least_seconds(h200(), work, s), cost.seconds);
    EXPECT_NEAR(cost.tokens_per_second * cost.seconds * static_cast<double>(s.ranks()),
                256.0 * 8192, 1);
  }
}

// What stands for a long pipeline is as long as the whole simulated one.
TEST(PlanCost, SteadyStateIsExtrapolated) {
  Workload work = workload("gpt3-175b", 2048, 160);
  work.software.overlap_pipeline = false;
  Strategy s{.tensor = 8, .pipeline = 8};
  for (const PipelineKind kind : {PipelineKind::OneForwardOneBackward, PipelineKind::ZeroBubbleH1,
                                  PipelineKind::Interleaved}) {
    s.schedule = kind;
    s.chunks = kind == PipelineKind::Interleaved ? 3 : 1;
    const StepCost cost = step_cost(h200(), work, s);
    const double whole = pipeline_run(h200(), work, s, 160).makespan;
    EXPECT_NEAR(cost.seconds - cost.data - cost.optimizer, whole, 0.002 * whole)
        << distributed::name(kind);
  }
}

TEST(PlanCost, MoreOfAnythingGoodIsFaster) {
  Workload work = workload("llama3-405b", 8192, 512);
  Strategy s{.tensor = 8, .data_shard = 4, .pipeline = 16, .sequence_parallel = true};
  s.zero_stage = 1;
  const double seconds = step_cost(h200(), work, s).seconds;
  EXPECT_LT(step_cost(h200(), work, s).seconds, step_cost(find_gpu("a100-80gb"), work, s).seconds);
  s.recompute = Recompute::Full;
  EXPECT_GT(step_cost(h200(), work, s).seconds, seconds);
  s.recompute = Recompute::None;
  work.software.overlap_tensor = false;
  EXPECT_GT(step_cost(h200(), work, s).seconds, seconds);
  work.software.overlap_tensor = true;
  work.software.overlap_data = false;
  EXPECT_GT(step_cost(h200(), work, s).seconds, seconds);
  work.software.overlap_data = true;
  work.precision = Precision::Float8;
  EXPECT_LT(step_cost(h200(), work, s).seconds, seconds);
}

// As many active experts as there are cost what one MLP of their size costs, but for copies of the
// tokens and products of other shapes.
TEST(PlanCost, ExpertsCostWhatTheirTokensPass) {
  Workload experts = workload("mixtral-8x7b", 4096, 64);
  experts.model.active_experts = 8;
  Workload dense = experts;
  dense.model.experts = dense.model.active_experts = 1;
  dense.model.ffn *= 8;
  Strategy s{.data_shard = 8};
  s.zero_stage = 1;
  EXPECT_DOUBLE_EQ(experts.model.flops_per_token(4096), dense.model.flops_per_token(4096));
  const StepCost one = step_cost(h200(), dense, s), many = step_cost(h200(), experts, s);
  EXPECT_GT(many.seconds, one.seconds);
  EXPECT_LT(many.seconds, 1.25 * one.seconds);
  EXPECT_EQ(many.communication, 0);
  s.expert = 8;
  const StepCost spread = step_cost(h200(), experts, s);
  EXPECT_GT(spread.communication, 0);
  EXPECT_LT(spread.memory.total(), many.memory.total());
}

TEST(PlanStrategy, LayersAreDealtEvenlyOrOneLessAtTheEnds) {
  const Workload work = workload("llama3-405b", 8192, 256);
  Strategy s{.pipeline = 16, .schedule = PipelineKind::Interleaved, .chunks = 8};
  int64_t sum = 0;
  for (int piece = 0; piece < s.pieces(); ++piece) sum += layers_of(work.model, s, piece);
  EXPECT_EQ(sum, 126);
  EXPECT_EQ(layers_of(work.model, s, 0), 0);
  EXPECT_EQ(layers_of(work.model, s, 1), 1);
  s.chunks = 1;
  s.pipeline = 9;
  EXPECT_EQ(layers_of(work.model, s, 0), 14);
}

TEST(PlanStrategy, WhatCannotBeCutIsRefused) {
  const Workload work = workload("llama3-8b", 8192, 64);
  const auto message = [&](const Strategy& s) {
    try {
      validate(work, s);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::Argument);
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_EQ(message({}), "no error");
  EXPECT_THAT(message({.tensor = 0}), HasSubstr("take at least 1"));
  EXPECT_THAT(message({.tensor = 3}), HasSubstr("tensor is 3, takes a divisor of the heads (32)"));
  EXPECT_THAT(message({.context = 3}), HasSubstr("context is 3"));
  EXPECT_THAT(message({.data_shard = 8, .expert = 2}),
              HasSubstr("expert is 2, takes a divisor of data_shard (8) and of the experts (1)"));
  EXPECT_THAT(message({.data_shard = 5}), HasSubstr("a batch of 64 is no multiple"));
  EXPECT_THAT(message({.pipeline = 5}), HasSubstr("takes a divisor of 32 layers, or of 34"));
  EXPECT_THAT(message({.pipeline = 2, .chunks = 2}), HasSubstr("take the interleaved schedule"));
  EXPECT_THAT(message({.pipeline = 16, .schedule = PipelineKind::Interleaved, .micro_batch = 8}),
              HasSubstr("takes a multiple of 16 micro-batches, not 8"));
  EXPECT_THAT(message({.sequence_parallel = true}), HasSubstr("a tensor axis of more than 1"));
  EXPECT_THAT(message({.zero_stage = 4}), HasSubstr("zero_stage is 4, takes 0 to 3"));
  Workload wrong = work;
  wrong.sequence = 0;
  EXPECT_THROW(validate(wrong, {}), Error);
  wrong = work;
  wrong.model.kv_heads = 5;
  EXPECT_THROW(validate(wrong, {}), Error);
  wrong.model.layers = 0;
  EXPECT_THROW(validate(wrong, {}), Error);
}

}  // namespace
}  // namespace plinth::plan
