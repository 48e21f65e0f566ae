// The dry run of a step against the step itself, by the CPU allocator's own count.

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <limits>
#include <string_view>

#include "tests/core/io/expect_error.h"
#include "tests/train/real_step.h"

namespace plinth {
namespace {

using Words = std::vector<std::string>;

StepPeaks dry_step(const Words& words) {
  const StepSetting setting(words);
  const DryRunReport report = dry_run(setting.config, setting.schema);
  EXPECT_EQ(total(report.by_kind), report.peak);
  int64_t tensors = 0;
  for (const TracedTensor& tensor : report.tensors) tensors += tensor.bytes;
  EXPECT_EQ(tensors, report.peak);
  return peaks_of(report);
}

TEST(DryRun, TakesTheMemoryOfTheStepToTheByte) {
  const Words models[] = {{"model.type=gpt2"},
                          {"model.type=gpt2", "model.dropout=0.1", "model.tied=false"},
                          {"model.type=llama", "model.kv_heads=1"},
                          {"model.type=mixtral", "model.experts=2", "model.experts_per_token=2"}};
  const Words ways[] = {{},
                        {"train.micro_batch=1"},
                        {"model.activation_checkpointing=true", "train.micro_batch=2"},
                        {"train.precision=bfloat16", "train.micro_batch=2"},
                        {"optimizer.name=lion", "train.ema_decay=0.9", "train.clip_norm=0"},
                        {"model.vocab_size=9000", "model.layers=1", "train.float8=current"},
                        {"train.float8=delayed", "train.micro_batch=2"}};
  for (const Words& model : models) {
    for (const Words& way : ways) {
      Words words = model;
      words.insert(words.end(), way.begin(), way.end());
      SCOPED_TRACE(testing::PrintToString(words));
      EXPECT_EQ(dry_step(words), real_step(words));
    }
  }
}

// Of address space that would be 90 GB, nobody touches more than some pages.
TEST(DryRun, TouchesNoMemory) {
  const auto resident = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;  // KiB, the most so far
  };
  const auto before = resident();
  const StepSetting setting(
      {"model.type=llama", "model.layers=4", "model.dim=8192", "model.heads=64", "model.kv_heads=8",
       "model.ffn_dim=28672", "model.vocab_size=128256", "model.context=8192", "train.batch=2",
       "train.micro_batch=1", "train.precision=bfloat16", "optimizer.name=adamw"});
  const DryRunReport report = dry_run(setting.config, setting.schema);
  EXPECT_GT(report.parameters, 4'400'000'000);
  EXPECT_GT(report.peak, 4 * 4 * report.parameters);
  EXPECT_LT(resident() - before, 64 << 10);
}

const TracedTensor* find(const DryRunReport& report, std::string_view name,
                         std::string_view module = "") {
  const auto at = std::ranges::find_if(report.tensors, [&](const TracedTensor& tensor) {
    return tensor.name == name && (module.empty() || tensor.module == module);
  });
  return at == report.tensors.end() ? nullptr : &*at;
}

TEST(DryRun, TellsWhoHasTheMemoryAtThePeak) {
  const StepSetting setting(
      {"model.type=gpt2", "model.context=256", "train.batch=8", "train.micro_batch=4"});
  const DryRunReport report = dry_run(setting.config, setting.schema);
  EXPECT_EQ(report.peak_place.micro_batch, 1);

  const TracedTensor* const weight = find(report, "block1.mlp.up.weight");
  ASSERT_TRUE(weight);
  EXPECT_EQ(weight->kind, MemoryKind::Parameters);
  EXPECT_EQ(weight->shape, Shape({192, 48}));
  EXPECT_EQ(weight->born.phase, StepPhase::Setup);
  EXPECT_TRUE(weight->stays);

  const TracedTensor* const moment = find(report, "exp_avg.block1.mlp.up.weight");
  ASSERT_TRUE(moment);
  EXPECT_EQ(moment->kind, MemoryKind::Optimizer);

  const TracedTensor* const hidden = find(report, "bias_gelu", "block1.mlp");
  ASSERT_TRUE(hidden);
  EXPECT_EQ(hidden->kind, MemoryKind::Activations);
  EXPECT_EQ(hidden->shape, Shape({4, 256, 192}));
  EXPECT_EQ(hidden->bytes, 4 * 256 * 192 * 4);
  EXPECT_EQ(to_string(hidden->born), "forward 1");
  EXPECT_EQ(to_string(hidden->died), "backward 1");

  const auto of = [&](MemoryKind kind) { return report.by_kind[static_cast<size_t>(kind)]; };
  EXPECT_GE(of(MemoryKind::Gradients), 2 * 4 * report.parameters);  // a sum, and a micro-batch's
  EXPECT_GE(of(MemoryKind::Optimizer), 2 * 4 * report.parameters);
  EXPECT_GE(of(MemoryKind::Parameters), 4 * report.parameters);
  EXPECT_EQ(of(MemoryKind::Communication), 0);
  ASSERT_FALSE(report.samples.empty());
  EXPECT_EQ(
      total(std::ranges::max_element(report.samples, {},
                                     [](const MemorySample& sample) { return total(sample.bytes); })
                ->bytes),
      report.peak);
}

TEST(DryRun, TellsActivationsThatAreComputedAgain) {
  const Words words = {"model.type=llama", "model.context=256", "train.batch=4"};
  const auto activations = [&](const char* checkpointing) {
    Words all = words;
    all.emplace_back(checkpointing);
    const StepSetting setting(all);
    return dry_run(setting.config, setting.schema);
  };
  const DryRunReport kept = activations("model.activation_checkpointing=false");
  const DryRunReport again = activations("model.activation_checkpointing=true");
  EXPECT_LT(again.peak, kept.peak);
  EXPECT_EQ(again.peak_place.phase, StepPhase::Backward);
  EXPECT_TRUE(std::ranges::any_of(again.tensors, [](const TracedTensor& tensor) {
    return tensor.kind == MemoryKind::Activations && tensor.module.starts_with("block") &&
           tensor.born.phase == StepPhase::Backward;
  }));
}

// What only ranks have: slices, and blocks that are gathered for a while.
TEST(DryRun, EachStageOfZeroTakesLess) {
  const auto of = [](const char* zero, int rank) {
    const StepSetting setting({"model.type=llama", "model.layers=10", "model.dim=64",
                               "model.heads=2", "model.context=8", "train.batch=8",
                               "train.micro_batch=1", zero});
    return dry_run(setting.config, setting.schema, {.ranks = 4, .rank = rank});
  };
  int64_t before = std::numeric_limits<int64_t>::max();
  for (const char* zero :
       {"parallel.zero=0", "parallel.zero=1", "parallel.zero=2", "parallel.zero=3"}) {
    const DryRunReport report = of(zero, 3);
    EXPECT_LT(report.peak, before) << zero;
    before = report.peak;
  }
  const DryRunReport report = of("parallel.zero=3", 0);
  const TracedTensor* const gathered = find(report, "gathered_unit");
  ASSERT_TRUE(gathered);
  EXPECT_EQ(gathered->kind, MemoryKind::Parameters);
}

TEST(DryRun, RefusesWhatThereIsNot) {
  const StepSetting setting({"parallel.tp=2"});
  const auto run = [&](const DryRunOptions& options) {
    dry_run(setting.config, setting.schema, options);
  };
  expect_error(ErrorKind::Argument, "got rank 2 of 2", [&] { run({.ranks = 2, .rank = 2}); });
  expect_error(ErrorKind::Argument, "got rank -1 of 2", [&] { run({.ranks = 2, .rank = -1}); });
  expect_error(ErrorKind::Config, "parallel.tp", [&] { run({.ranks = 3}); });
  EXPECT_GT(dry_run(setting.config, setting.schema, {.ranks = 2}).peak, 0);  // nothing is left over
}

}  // namespace
}  // namespace plinth
