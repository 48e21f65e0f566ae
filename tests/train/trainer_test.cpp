#include "train/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <thread>

#include "core/allocator.h"
#include "core/io/directory.h"
#include "core/io/file.h"
#include "core/io/file_faults.h"
#include "core/ops/dropout.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/loss.h"
#include "core/ops/matmul.h"
#include "core/ops/views.h"
#include "models/tensor_files.h"
#include "nn/optim/adamw.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"
#include "tests/train/steps_in.h"
#include "train/checkpoint/run_directory.h"

namespace plinth {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

// y = w x, with dropout, so that a generator out of step shows.
class Regression : public nn::Module {
 public:
  Regression() : weight_(register_parameter("weight", {1, 4}, nn::init::normal(0, 1))) {
    reset_parameters(5);
  }
  Tensor loss(const Batch& batch) {
    const Tensor x = is_training() ? dropout(batch[0], 0.25) : batch[0];
    return mse_loss(linear(x, weight_), batch[1]);
  }
  std::vector<double> weights() const { return to_vector(weight_); }

 private:
  Tensor weight_;
};

// Sample i is a function of i. The loss at chosen samples can be spoilt.
class Samples : public BatchSource {
 public:
  Batch next(int64_t count) override {
    Tensors xs, ys;
    for (int64_t i = next_; i < next_ + count; ++i) {
      xs.push_back(normal({4}, 0, 1, {.seed = 9, .sample = i}));
      ys.push_back(normal({1}, 0, 1, {.seed = 10, .sample = i}));
    }
    const Tensor x = stack(xs);
    Tensor y = stack(ys);
    if (spoils && spoils(next_)) y.fill_(spoilt_value);
    next_ += count;
    return {x, y};
  }
  std::string state() const override { return std::to_string(next_); }
  void restore(std::string_view state) override { next_ = std::stoll(std::string(state)); }

  std::function<bool(int64_t first_sample)> spoils;
  double spoilt_value = NAN;

 private:
  int64_t next_ = 0;
};

// A run of the regression: everything that a Trainer needs.
struct TestRun {
  Regression model;
  nn::AdamW optimizer{nn::all_parameters(model)};
  Samples data;
  nn::Schedule schedule{.kind = nn::ScheduleKind::Cosine, .peak = 0.05, .warmup = 3, .steps = 20};
  TrainerOptions options;
  TrainerHooks hooks;

  explicit TestRun(const fs::path& directory = {}) {
    options.steps = 20;
    options.batch = 8;
    options.micro_batch = 2;
    options.seed = 3;
    options.clip_norm = 1;
    options.ema_decay = 0.9;
    options.directory = directory;
    options.checkpoint_every = 5;
    options.log.quiet = true;
    options.log.report = false;
    hooks.validate = [this] { return model.loss({ones({2, 4}), zeros({2, 1})}).item(); };
  }
  TrainResult train() {
    Trainer trainer(
        model, [this](const Batch& batch) { return model.loss(batch); }, optimizer, schedule, data,
        options, hooks);
    return trainer.run();
  }
};

TEST(Trainer, TrainsWithoutADirectory) {
  TestRun run;
  run.options.ema_decay = 0;
  const TrainResult result = run.train();
  EXPECT_EQ(result.steps, 20);
  EXPECT_TRUE(std::isfinite(result.loss));
  EXPECT_TRUE(std::isfinite(result.validation_loss));
  EXPECT_EQ(result.signal, 0);
}

TEST(Trainer, ResumedAtAnyCheckpointEndsWithTheBitsOfAnUnbrokenRun) {
  const TemporaryDirectory whole;
  TestRun unbroken(whole.path());
  unbroken.train();
  const std::string log = read_text_file(whole / "metrics.csv");
  for (const int64_t stop : {5, 10, 15}) {
    SCOPED_TRACE(stop);
    const TemporaryDirectory directory;
    TestRun first(directory.path());
    first.data.spoils = [stop](int64_t sample) { return sample >= 8 * (stop + 1); };
    first.options.guard.max_bad_steps = 1;  // stands for a crash one step after a checkpoint
    EXPECT_THROW(first.train(), TrainingDiverged);
    TestRun second(directory.path());
    second.options.resume = true;
    const TrainResult result = second.train();
    EXPECT_EQ(result.steps, 20);
    EXPECT_EQ(second.model.weights(), unbroken.model.weights());
    for (const char* file : {"optimizer.safetensors", "ema.safetensors", "model.safetensors"}) {
      EXPECT_EQ(read_text_file(directory / "step-000020" / file),
                read_text_file(whole / "step-000020" / file))
          << file;
    }
  }
}

TEST(Trainer, GradientsAreThoseOfTheWholeBatchWhateverTheMicroBatch) {
  std::vector<double> reference;
  for (const int64_t micro_batch : {8, 4, 1}) {
    TestRun run;
    run.options.micro_batch = micro_batch;
    run.train();
    if (reference.empty()) reference = run.model.weights();
    for (size_t i = 0; i < reference.size(); ++i)
      EXPECT_NEAR(run.model.weights()[i], reference[i], 1e-5);
  }
}

TEST(Trainer, SkipsABadStepAndCountsIt) {
  const TemporaryDirectory directory;
  TestRun run(directory.path());
  run.data.spoils = [](int64_t sample) { return sample >= 8 * 7 && sample < 8 * 9; };
  const TrainResult result = run.train();
  EXPECT_EQ(result.skipped_steps, 2);
  for (const double weight : run.model.weights()) EXPECT_TRUE(std::isfinite(weight));
  EXPECT_THAT(read_text_file(directory / "metrics.jsonl"), HasSubstr("\"loss\":null"));
}

TEST(Trainer, StopsAfterTooManyBadStepsWithTheLastGoodCheckpointIntact) {
  const TemporaryDirectory directory;
  TestRun run(directory.path());
  run.options.guard.max_bad_steps = 7;
  run.data.spoils = [](int64_t sample) { return sample >= 8 * 8; };
  try {
    run.train();
    ADD_FAILURE() << "no error";
  } catch (const TrainingDiverged& error) {
    EXPECT_THAT(error.what(), HasSubstr("at step 15 the loss is nan; 7 bad steps in a row"));
  }
  EXPECT_THAT(steps_in(directory.path()), ElementsAre(5));  // none at 10, where steps were bad
}

TEST(Trainer, SkipsALossThatExplodes) {
  TestRun run;
  run.options.guard.explosion_factor = 10;
  run.data.spoilt_value = 1e6;
  run.data.spoils = [](int64_t sample) { return sample == 8 * 6; };
  EXPECT_EQ(run.train().skipped_steps, 1);
}

TEST(Trainer, StopsOnASignalAfterACheckpointAndGoesOnFromThere) {
  const TemporaryDirectory whole, directory;
  TestRun unbroken(whole.path());
  unbroken.train();
  TestRun first(directory.path());
  first.data.spoils = [](int64_t sample) {
    if (sample == 8 * 7) std::raise(SIGTERM);
    return false;
  };
  const TrainResult stopped = first.train();
  EXPECT_EQ(stopped.signal, SIGTERM);
  EXPECT_EQ(stopped.steps, 8);
  EXPECT_THAT(steps_in(directory.path()), ElementsAre(5, 8));
  TestRun second(directory.path());
  second.options.resume = true;
  second.train();
  EXPECT_EQ(second.model.weights(), unbroken.model.weights());
}

TEST(Trainer, KeepsTheLastCheckpointsAndTheBest) {
  const TemporaryDirectory directory;
  TestRun run(directory.path());
  run.options.checkpoint_every = 4;
  run.options.validate_every = 2;
  run.options.keep_best = true;
  int calls = 0;
  run.hooks.validate = [&calls] { return ++calls == 3 ? 0.5 : 1.0 + 0.1 * calls; };
  run.train();
  EXPECT_THAT(steps_in(directory.path()), ElementsAre(6, 16, 20));
}

TEST(Trainer, KeepsTheBestWhereNoOtherCheckpointIsDue) {
  const TemporaryDirectory directory;
  TestRun run(directory.path());
  run.options.checkpoint_every = 0;
  run.options.validate_every = 2;
  run.options.keep_best = true;
  run.options.keep_last = 1;
  int calls = 0;
  run.hooks.validate = [&calls] { return ++calls == 3 ? 0.5 : 1.0 + 0.1 * calls; };
  EXPECT_EQ(run.train().best_step, 6);
  EXPECT_THAT(steps_in(directory.path()), ElementsAre(6, 20));
}

TEST(Trainer, KeepsTheBestAlsoWhereTheStepWasSkipped) {
  const TemporaryDirectory directory;
  TestRun run(directory.path());
  run.options.checkpoint_every = 4;
  run.options.keep_last = 1;
  run.options.validate_every = 2;
  run.options.keep_best = true;
  run.data.spoils = [](int64_t sample) { return sample >= 8 * 5 && sample < 8 * 6; };
  run.hooks.validate = [calls = 0]() mutable { return ++calls == 3 ? 0.5 : 1.0 + 0.1 * calls; };
  const TrainResult result = run.train();
  EXPECT_EQ(result.skipped_steps, 1);
  EXPECT_EQ(result.best_step, 6);
  EXPECT_THAT(steps_in(directory.path()), ElementsAre(6, 20));
}

TEST(Trainer, EndsWhereValidationHasFoundNothingBetterForLong) {
  const TemporaryDirectory directory;
  const auto begin = [&](TestRun& run) {
    run.options.validate_every = 2;
    run.options.patience = 3;
    // The loss gets better; what counts is best at step 6.
    run.hooks.validate = [calls = 0]() mutable {
      ++calls;
      return Validation(1.0 / calls, calls == 3 ? 0 : 1);
    };
  };
  TestRun run(directory.path());
  begin(run);
  const TrainResult result = run.train();
  EXPECT_EQ(result.steps, 12);
  EXPECT_TRUE(result.stopped_early);
  EXPECT_EQ(result.signal, 0);
  EXPECT_EQ(result.best_step, 6);
  TestRun again(directory.path());
  begin(again);
  again.options.resume = true;
  EXPECT_EQ(again.train().steps, 12);
}

TEST(Trainer, RefusesADirectoryThatHoldsOrRunsAnotherRun) {
  const TemporaryDirectory directory;
  TestRun(directory.path()).train();
  expect_error(ErrorKind::Config, "holds the checkpoints of a run; --resume goes on with it",
               [&] { TestRun(directory.path()).train(); });
  const TemporaryDirectory busy;
  const DirectoryLock lock(busy.path());
  expect_error(ErrorKind::Io, "is in use by process", [&] { TestRun(busy.path()).train(); });
}

TEST(Trainer, RefusesTheMetricsOfAnotherRunBeforeItBegins) {
  const TemporaryDirectory directory;
  write_file_atomically(directory / "metrics.jsonl", "{\"step\":1}\n");
  TestRun run(directory.path());
  run.hooks.start = [](RunStart) { ADD_FAILURE() << "the configuration would be written"; };
  expect_error(ErrorKind::Io, "holds the metrics of an earlier run", [&] { run.train(); });
  EXPECT_EQ(read_text_file(directory / "metrics.jsonl"), "{\"step\":1}\n");
}

TEST(Trainer, ResumesFromTheBeginningWhereThereIsNoCheckpointYet) {
  const TemporaryDirectory directory;
  TestRun run(directory.path());
  run.options.resume = true;
  EXPECT_EQ(run.train().steps, 20);
}

TEST(Trainer, ResumesNothingWhereAllCheckpointsAreDamagedAndLeavesTheRecords) {
  const TemporaryDirectory directory;
  TestRun(directory.path()).train();
  for (const CheckpointPath& checkpoint : list_checkpoints(directory.path()))
    fs::resize_file(checkpoint.path / "optimizer.safetensors", 10);
  const std::string rows = read_text_file(directory / "metrics.jsonl");
  TestRun run(directory.path());
  run.options.resume = true;
  run.hooks.start = [](RunStart) { ADD_FAILURE() << "the configuration would be written over"; };
  expect_error(ErrorKind::Format, "step-000020: not a whole checkpoint (optimizer.safetensors has",
               [&] { run.train(); });
  EXPECT_EQ(read_text_file(directory / "metrics.jsonl"), rows);
}

TEST(Trainer, KeepsWhatItWritesBelowACheckpointThatIsDamaged) {
  const TemporaryDirectory directory;
  const auto begin = [](TestRun& run, int64_t stop) {
    run.options.checkpoint_every = 4;
    run.options.keep_last = stop == 12 ? 3 : 1;
    run.options.resume = true;
    run.data.spoils = [stop](int64_t sample) {
      if (sample == 8 * (stop - 1)) std::raise(SIGTERM);
      return false;
    };
  };
  TestRun first(directory.path()), second(directory.path()), third(directory.path());
  begin(first, 12);
  EXPECT_EQ(first.train().steps, 12);
  fs::resize_file(directory / "step-000012" / "model.safetensors", 10);
  begin(second, 10);
  EXPECT_EQ(second.train().steps, 10);
  EXPECT_THAT(steps_in(directory.path()), ElementsAre(10, 12));
  begin(third, 13);  // goes on from step 10, and writes step 12 again
  EXPECT_EQ(third.train().steps, 13);
  EXPECT_THAT(steps_in(directory.path()), ElementsAre(13));
}

TEST(Trainer, FullDiskEndsTheRunAndLeavesTheCheckpointBefore) {
  const TemporaryDirectory directory;
  TestRun run(directory.path());
  std::unique_ptr<FileFaults> full;
  run.data.spoils = [&](int64_t sample) {
    if (sample != 8 * 7) return false;
    // The checkpoint of step 5 is written beside the training; the disk fills up after it.
    for (int i = 0; i < 5000 && !latest_checkpoint(directory.path(), [](const std::string&) {});
         ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    full = std::make_unique<FileFaults>(FileFaults::Effect::DiskFull, 0, ENOSPC);
    return false;
  };
  expect_error(ErrorKind::Io, "No space left on device", [&] { run.train(); });
  full.reset();
  const auto latest = latest_checkpoint(directory.path(), [](const std::string&) {});
  ASSERT_TRUE(latest);
  EXPECT_EQ(latest->step, 5);
  TestRun second(directory.path());
  second.options.resume = true;
  EXPECT_EQ(second.train().steps, 20);
}

TEST(Trainer, SteadyStateAsksTheSystemForNoMemory) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the allocator keeps no blocks here, so that a use after free is seen";
#endif
  TestRun run;
  run.options.steps = 1000;
  Trainer trainer(
      run.model, [&](const Batch& batch) { return run.model.loss(batch); }, run.optimizer,
      run.schedule, run.data, run.options);
  for (int i = 0; i < 3; ++i) trainer.step();
  const int64_t before = allocator(Device{}).stats().system_allocations;
  for (int i = 0; i < 10; ++i) trainer.step();
  EXPECT_EQ(allocator(Device{}).stats().system_allocations, before);
}

TEST(Trainer, RefusesOptionsThatDoNotFit) {
  TestRun run;
  run.options.micro_batch = 3;
  expect_error(ErrorKind::Argument, "micro_batch got 3, takes a divisor of batch (8)",
               [&] { run.train(); });
}

}  // namespace
}  // namespace plinth
