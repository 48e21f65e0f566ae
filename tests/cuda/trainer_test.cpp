// The training loop on a GPU: with and without a CUDA graph the same bits.

#include "train/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/allocator.h"
#include "core/error.h"
#include "core/io/file.h"
#include "core/op_scope.h"
#include "core/ops/dropout.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/loss.h"
#include "core/ops/matmul.h"
#include "core/ops/views.h"
#include "core/stream.h"
#include "distributed/nccl/nccl_group.h"
#include "distributed/store/hash_store.h"
#include "nn/optim/adamw.h"
#include "nn/optim/groups.h"
#include "nn/optim/lion.h"
#include "nn/optim/muon.h"
#include "nn/optim/sgd.h"
#include "tests/core/io/temporary_directory.h"
#include "tests/cuda/nccl_device.h"

namespace plinth {
namespace {

using testing::HasSubstr;

class DeviceTrainer : public OnDevice {};

// A classifier of rows, with dropout. `extra` may add work to its loss.
class Classifier : public nn::Module {
 public:
  explicit Classifier(Device device)
      : weight_(register_parameter("weight", {5, 6}, nn::init::normal(0, 1))) {
    reset_parameters(5);
    to(device);
  }
  Tensor loss(const Batch& batch) {
    const Device device = weight_.device();
    const Tensor x = dropout(batch[0].to(device), is_training() ? 0.25 : 0);
    const Tensor loss = linear_cross_entropy(x, weight_, batch[1].to(device));
    if (extra) extra(loss);
    return loss;
  }
  std::vector<double> weights() const { return to_vector(weight_); }
  std::function<void(const Tensor& loss)> extra;

 private:
  Tensor weight_;
};

// Sample i is a function of i; those of chosen steps are no numbers, or huge.
class Rows : public BatchSource {
 public:
  Batch next(int64_t count) override {
    Tensors xs;
    std::vector<int64_t> classes;
    for (int64_t i = next_; i < next_ + count; ++i) {
      xs.push_back(normal({6}, 0, 1, {.seed = 9, .sample = i}));
      classes.push_back(i % 7 == 3 ? -100 : i * i % 5);
    }
    Tensor x = stack(xs);
    if (next_ / 8 == nan_step) x.fill_(NAN);
    if (next_ / 8 == huge_step) x.mul_(1e4);
    next_ += count;
    if (next_ / 8 == bad_step) classes[1] = 5;
    return {x, from_values<int64_t>(classes, {count})};
  }
  std::string state() const override { return std::to_string(next_); }
  void restore(std::string_view state) override { next_ = std::stoll(std::string(state)); }

  int64_t nan_step = 5, huge_step = 6, bad_step = -1;

 private:
  int64_t next_ = 0;
};

struct Training {
  explicit Training(Device device, bool graph = true, const std::filesystem::path& directory = {})
      : model(device) {
    options.steps = 12;
    options.batch = 8;
    options.micro_batch = 2;
    options.seed = 3;
    options.clip_norm = 0.5;
    options.ema_decay = 0.9;
    options.guard.explosion_factor = 50;
    options.cuda_graph = graph;
    options.directory = directory;
    options.checkpoint_every = 4;
    options.keep_last = 5;
    options.log.quiet = true;
    options.log.report = false;
    options.log.tensorboard = false;
  }
  TrainResult train() {
    Trainer trainer(
        model, [this](const Batch& batch) { return model.loss(batch); }, optimizer, schedule, data,
        options);
    return trainer.run();
  }

  Classifier model;
  nn::AdamW optimizer{nn::all_parameters(model)};
  Rows data;
  nn::Schedule schedule{.kind = nn::ScheduleKind::Cosine, .peak = 0.05, .warmup = 3, .steps = 12};
  TrainerOptions options;
};

#ifdef PLINTH_EMULATE
// Rank 0 of two. The other is gone when the step's losses are added up.
TEST_F(DeviceTrainer, DoesNotUpdateByWhatAFailureOfRanksHasLeft) {
  const auto store = std::make_shared<distributed::HashStore>();
  store->set("here/1", "");
  distributed::nccl::set_emulated_state({});
  Training training(kDevice);
  training.options.group =
      distributed::make_nccl_group(store, 0, 2, kDevice, {.timeout = std::chrono::seconds(10)});
  Trainer trainer(
      training.model, [&](const Batch& batch) { return training.model.loss(batch); },
      training.optimizer, training.schedule, training.data, training.options);
  trainer.step();
  const std::vector<double> weights = training.model.weights();
  auto state = distributed::nccl::emulated_state();
  state.all_reduces_left = 0;
  distributed::nccl::set_emulated_state(state);
  EXPECT_THAT([&] { trainer.step(); },
              testing::ThrowsMessage<Error>(HasSubstr("remote process exited")));
  EXPECT_EQ(training.model.weights(), weights);
}
#endif

// All that a run leaves in its directory about a step.
std::string files_of(const TemporaryDirectory& run, const char* step) {
  std::string all;
  for (const char* file : {"model.safetensors", "optimizer.safetensors", "ema.safetensors"})
    all += read_text_file(run / step / file);
  return all;
}

TEST_F(DeviceTrainer, AGraphGivesTheBitsOfStepsWithout) {
  const TemporaryDirectory with, without;
  Training graph(kDevice, true, with.path()), eager(kDevice, false, without.path()), here({});
  const TrainResult result = graph.train();
  EXPECT_EQ(result.loss, eager.train().loss);
  EXPECT_EQ(result.skipped_steps, 2);
  for (const char* step : {"step-000004", "step-000008", "step-000012"})
    EXPECT_TRUE(files_of(with, step) == files_of(without, step)) << step;

  const TrainResult on_cpu = here.train();
  EXPECT_EQ(on_cpu.skipped_steps, 2);
  EXPECT_NEAR(result.loss, on_cpu.loss, 1e-4);
  EXPECT_THAT(graph.model.weights(),
              testing::Pointwise(testing::DoubleNear(1e-4), here.model.weights()));
}

TEST_F(DeviceTrainer, AGraphConvertsTheWeightsThatEachStepFinds) {
  Training graph(kDevice, true), eager(kDevice, false);
  for (Training* training : {&graph, &eager}) training->options.precision = DType::BFloat16;
  EXPECT_EQ(graph.train().loss, eager.train().loss);
  EXPECT_EQ(graph.model.weights(), eager.model.weights());
}

TEST_F(DeviceTrainer, ResumesAGraphsRunWithTheSameBits) {
  const TemporaryDirectory whole, parts;
  Training unbroken(kDevice, true, whole.path());
  unbroken.train();
  Training first(kDevice, true, parts.path());
  first.data.nan_step = 8;
  first.options.guard.max_bad_steps = 1;  // stands for a crash one step after a checkpoint
  first.data.huge_step = -1;
  EXPECT_THROW(first.train(), TrainingDiverged);
  std::filesystem::remove_all(parts / "step-000008");  // the spoilt steps were other ones
  Training second(kDevice, true, parts.path());
  second.options.resume = true;
  second.train();
  EXPECT_TRUE(files_of(parts, "step-000012") == files_of(whole, "step-000012"));
}

TEST_F(DeviceTrainer, EveryOptimizerOfAGraphStepsAsWithout) {
  using Make = std::unique_ptr<nn::Optimizer> (*)(const nn::Module&);
  const Make optimizers[] = {
      [](const nn::Module& m) -> std::unique_ptr<nn::Optimizer> {
        return std::make_unique<nn::Sgd>(nn::all_parameters(m), nn::SgdOptions{.momentum = 0.9});
      },
      [](const nn::Module& m) -> std::unique_ptr<nn::Optimizer> {
        return std::make_unique<nn::Lion>(nn::all_parameters(m));
      },
      // It takes its numbers from the host, with and without.
      [](const nn::Module& m) -> std::unique_ptr<nn::Optimizer> {
        return std::make_unique<nn::Muon>(nn::all_parameters(m), std::vector<nn::ParameterGroup>{});
      },
  };
  for (const Make make : optimizers) {
    std::vector<double> weights[2];
    for (const bool graph : {false, true}) {
      Training run(kDevice, graph);
      run.options.steps = 6;
      const std::unique_ptr<nn::Optimizer> optimizer = make(run.model);
      Trainer trainer(
          run.model, [&](const Batch& batch) { return run.model.loss(batch); }, *optimizer,
          run.schedule, run.data, run.options);
      trainer.run();
      weights[graph] = run.model.weights();
    }
    EXPECT_EQ(weights[0], weights[1]);
  }
}

TEST_F(DeviceTrainer, ABadTargetIsTheCpusErrorAtTheEndOfItsStep) {
  const auto error_of = [](Device device) -> std::string {
    Training run(device);
    run.data.bad_step = 4;
    try {
      run.train();
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(error_of(kDevice), error_of({}));
  EXPECT_THAT(error_of(kDevice), HasSubstr("target 5 (element 1)"));
}

// ---- the step itself ----

struct Steps {
  explicit Steps(bool graph = true)
      : run(kDevice),
        gradients(run.model.parameters()),
        tree(gradients),
        step({[this](const Batch& batch) { return run.model.loss(batch); }, gradients, tree,
              run.optimizer},
             {.device = kDevice, .micro_batches = 4, .micro_batch = 2, .graph = graph}) {}
  DeviceStep::Verdict take() {
    DeviceStep::Task task{static_cast<uint64_t>(done++), {}, 100};
    for (int i = 0; i < 4; ++i) task.batches.push_back(run.data.next(2));
    const DeviceStep::Verdict verdict = step.run(task);
    if (verdict.accepted) run.optimizer.count_step();
    return verdict;
  }

  Training run;
  nn::FlatGradients gradients;
  nn::GradientTree tree;
  DeviceStep step;
  int64_t done = 0;
};

TEST_F(DeviceTrainer, AReplayedStepIsOneCallAndAllocatesNothing) {
  Steps steps;
  for (int i = 0; i < 3; ++i) steps.take();
  EXPECT_THAT(steps.step.take_note(), HasSubstr("CUDA graph: captured after 2 steps"));
  EXPECT_EQ(steps.step.take_note(), "");
  const MemoryStats before = allocator(kDevice).stats();
#ifdef PLINTH_EMULATE
  const cuda::emulated::HostCalls calls = cuda::emulated::host_calls();
#endif
  for (int i = 0; i < 2; ++i) steps.take();
  EXPECT_EQ(allocator(kDevice).stats().allocations, before.allocations);
  EXPECT_EQ(allocator(kDevice).stats().system_allocations, before.system_allocations);
#ifdef PLINTH_EMULATE
  const cuda::emulated::HostCalls now = cuda::emulated::host_calls();
  EXPECT_EQ(now.graph_launches - calls.graph_launches, 2);
  EXPECT_EQ(now.copies - calls.copies, 4);  // of what the host wrote, and of the verdict
  EXPECT_EQ(now.fills - calls.fills, 0);
  EXPECT_EQ(now.kernel_launches - calls.kernel_launches, 0);
#endif
}

TEST_F(DeviceTrainer, AnOpThatReadsOnTheHostIsNamedAndStepsGoOnWithoutAGraph) {
  Steps read, eager(false);
  read.run.model.extra = [](const Tensor& loss) {
    const OpScope scope("peek");
    synchronize(loss.device());
  };
  for (int i = 0; i < 4; ++i) {
    const double loss = read.take().loss;
    EXPECT_EQ(loss, eager.take().loss);
  }
  EXPECT_THAT(read.step.take_note(),
              HasSubstr("CUDA graph: not used, kernels are launched one by one: peek: waits for "
                        "the device"));
  EXPECT_THAT(eager.step.take_note(), HasSubstr("train.cuda_graph is false"));
  EXPECT_EQ(read.run.model.weights(), eager.run.model.weights());
}

TEST_F(DeviceTrainer, BatchesOfAnotherShapeAreCapturedAnew) {
  Steps steps, eager(false);
  for (int i = 0; i < 8; ++i) {
    double losses[2];
    for (Steps* s : {&steps, &eager}) {
      DeviceStep::Task task{static_cast<uint64_t>(i), {}, 100};
      for (int j = 0; j < 4; ++j) task.batches.push_back(s->run.data.next(i < 4 ? 2 : 3));
      const DeviceStep::Verdict verdict = s->step.run(task);
      if (verdict.accepted) s->run.optimizer.count_step();
      losses[s == &eager] = verdict.loss;
    }
    if (!std::isnan(losses[1])) {
      EXPECT_EQ(losses[0], losses[1]) << i;
    }
    if (i == 3 || i == 6) {
      EXPECT_THAT(steps.step.take_note(), HasSubstr("captured after 2 steps"));
    }
  }
  EXPECT_EQ(steps.run.model.weights(), eager.run.model.weights());
}

}  // namespace
}  // namespace plinth
