// Checkpoints that ranks write together: read by any number of ranks, whole or absent.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/io/file.h"
#include "core/ops/views.h"
#include "models/tensor_files.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"
#include "tests/train/sharded_ranks.h"
#include "train/checkpoint/file_names.h"
#include "train/checkpoint/run_directory.h"
#include "train/checkpoint/sharded.h"

namespace plinth {
namespace {

namespace fs = std::filesystem;
using distributed::ProcessGroup;
using sharded::Sharing;
using testing::HasSubstr;

constexpr int64_t kLastStep = 6, kSavedStep = 3;

TrainerOptions options_in(const fs::path& directory) {
  TrainerOptions options;
  options.steps = kLastStep;
  options.batch = 24;
  options.micro_batch = 1;
  options.ema_decay = 0.9;
  options.directory = directory;
  options.checkpoint_every = kSavedStep;
  options.keep_last = 5;
  return options;
}

// The last step's loss on every rank.
std::vector<double> train(const Sharing& sharing, const TrainerOptions& options,
                          const std::string& type = "gpt2") {
  std::vector<double> losses(sharing.ranks);
  sharded::on_ranks(sharing, [&](const std::shared_ptr<ProcessGroup>& group, int rank) {
    sharded::Run run(group, sharing, sharded::small_model(type), options);
    losses[rank] = run.trainer->run().loss;
  });
  return losses;
}

using CheckpointValues = std::map<std::string, std::vector<double>>;

void add(CheckpointValues& values, const std::string& kind, const nn::StateDict& tensors) {
  for (const auto& [name, tensor] : tensors) {
    if (name != "steps" && name != "updates") values[kind + name] = to_vector(tensor);
  }
}

// Weights, optimizer state and averages of a checkpoint of either kind.
CheckpointValues values_of(const fs::path& directory) {
  CheckpointValues values;
  if (ShardedCheckpoint::is_in(directory)) {
    const ShardedCheckpoint checkpoint(directory);
    for (const char* kind : {"parameter", "optimizer", "ema"})
      add(values, kind, checkpoint.whole(kind));
    return values;
  }
  add(values, "parameter", read_tensors(directory / "model.safetensors"));
  add(values, "optimizer", read_tensors(directory / "optimizer.safetensors"));
  add(values, "ema", read_tensors(directory / "ema.safetensors"));
  return values;
}

void remove_all_but(const fs::path& run, int64_t step) {
  for (const CheckpointPath& checkpoint : list_checkpoints(run)) {
    if (checkpoint.step != step) fs::remove_all(checkpoint.path);
  }
}

TEST(ShardedCheckpointing, AnyNumberOfRanksGoesOnWithTheSameBits) {
  const TemporaryDirectory here;
  const double loss = train({}, options_in(here / "alone"))[0];
  const CheckpointValues saved = values_of(here / "alone" / checkpoint_name(kSavedStep));
  const CheckpointValues expected = values_of(here / "alone" / checkpoint_name(kLastStep));

  train({4, 3}, options_in(here / "run"));
  EXPECT_EQ(values_of(here / "run" / checkpoint_name(kSavedStep)), saved);
  EXPECT_EQ(values_of(here / "run" / checkpoint_name(kLastStep)), expected);

  const fs::path four = here / "run" / checkpoint_name(kSavedStep);
  for (const Sharing& sharing : {Sharing{1, 0}, Sharing{2, 3}, Sharing{3, 2}, Sharing{8, 3},
                                 Sharing{2, 1}, Sharing{4, 0}, Sharing{4, 3, 2}}) {
    const fs::path run = here / "again";
    fs::create_directory(run);
    fs::copy(four, run / four.filename());
    TrainerOptions options = options_in(run);
    options.resume = true;
    for (const double last : train(sharing, options))
      EXPECT_EQ(last, loss) << sharded::describe(sharing);
    EXPECT_EQ(values_of(run / checkpoint_name(kLastStep)), expected) << sharded::describe(sharing);
    fs::remove_all(run);
  }
}

TEST(ShardedCheckpointing, GoesOnFromOneThatIsNotSharded) {
  const TemporaryDirectory here;
  const double loss = train({}, options_in(here / "run"), "llama")[0];
  const CheckpointValues expected = values_of(here / "run" / checkpoint_name(kLastStep));
  remove_all_but(here / "run", kSavedStep);
  TrainerOptions options = options_in(here / "run");
  options.resume = true;
  for (const double last : train({4, 3}, options, "llama")) EXPECT_EQ(last, loss);
  EXPECT_EQ(values_of(here / "run" / checkpoint_name(kLastStep)), expected);
}

// The largest difference of two checkpoints' values.
double distance(const CheckpointValues& a, const CheckpointValues& b) {
  if (a.size() != b.size()) return INFINITY;
  double most = 0;
  for (const auto& [name, values] : a) {
    const auto other = b.find(name);
    if (other == b.end() || other->second.size() != values.size()) return INFINITY;
    for (size_t i = 0; i < values.size(); ++i)
      most = std::max(most, std::abs(values[i] - other->second[i]));
  }
  return most;
}

// What ranks with parts of layers, each of them in slices, wrote, is one rank's; and any layout
// reads it, whole or in parts of its own. Llama has no parameter whose gradient is but rounding.
class SlicesOfParts : public testing::Test {
 protected:
  SlicesOfParts() {
    loss_ = train({}, options_in(here_ / "alone"), "llama")[0];
    train({.ranks = 4, .zero = 3, .tp = 2}, options_in(here_ / "run"), "llama");
  }

  // The last losses, of a run in a directory of its own that goes on from the checkpoint.
  std::vector<double> go_on(const Sharing& sharing, int64_t steps, double explosion_factor = 0) {
    fs::remove_all(run_);
    fs::create_directory(run_);
    const std::string saved = checkpoint_name(kSavedStep);
    fs::copy(here_ / "run" / saved, run_ / saved);
    TrainerOptions options = options_in(run_);
    options.resume = true;
    options.steps = steps;
    options.guard.explosion_factor = explosion_factor;
    return train(sharing, options, "llama");
  }

  TemporaryDirectory here_;
  const fs::path run_ = here_ / "again";
  double loss_ = 0;
};

constexpr double kPartsTolerance = 2e-5;

// A step that the guard rejects leaves weights, state and average as they were read.
TEST_F(SlicesOfParts, AreThoseOfOneRankAndReadByAnyLayout) {
  for (const int64_t step : {kSavedStep, kLastStep}) {
    const std::string name = checkpoint_name(step);
    EXPECT_TRUE(fs::exists(here_ / "run" / name / shard_file_name(3, 4)));
    EXPECT_LT(distance(values_of(here_ / "run" / name), values_of(here_ / "alone" / name)),
              kPartsTolerance);
  }
  const CheckpointValues saved = values_of(here_ / "run" / checkpoint_name(kSavedStep));
  std::optional<double> whole;  // what ranks with whole layers come to
  for (const Sharing& sharing :
       {Sharing{}, Sharing{.ranks = 2}, Sharing{.ranks = 3, .zero = 2},
        Sharing{.ranks = 8, .zero = 3, .dp_shard = 4}, Sharing{.ranks = 2, .tp = 2},
        Sharing{.ranks = 8, .zero = 1, .tp = 2, .sequence = true},
        Sharing{.ranks = 6, .zero = 3, .tp = 3, .sequence = false},
        Sharing{.ranks = 8, .zero = 2, .dp_shard = 2, .tp = 2, .cp = 2}}) {
    SCOPED_TRACE(sharded::describe(sharing));
    go_on(sharing, kSavedStep + 1, 1e-9);
    EXPECT_EQ(values_of(run_ / checkpoint_name(kSavedStep + 1)), saved);

    const std::vector<double> losses = go_on(sharing, kLastStep);
    for (const double loss : losses) EXPECT_NEAR(loss, loss_, kPartsTolerance);
    if (sharing.tp * sharing.cp == 1) {
      EXPECT_EQ(losses[0], whole.value_or(losses[0]));
      whole = losses[0];
    }
    EXPECT_EQ(TrainState::read(run_ / checkpoint_name(kLastStep) / kStateFile).loader,
              TrainState::read(here_ / "alone" / checkpoint_name(kLastStep) / kStateFile).loader);
  }
}

TEST(ShardedCheckpointing, RefusesAnotherModels) {
  const TemporaryDirectory here;
  TrainerOptions options = options_in(here.path());
  options.batch = 2;
  train({2, 3}, options, "gpt2");
  options.resume = true;
  const auto groups = distributed::make_simulated_groups(2);
  sharded::Run shared(groups[0], {2, 3}, sharded::small_model("llama"), options);
  expect_error(ErrorKind::Shape, "shards.json: lacks block0.mlp.gate_up.weight",
               [&] { shared.trainer->run(); });
  sharded::Run alone(nullptr, {}, sharded::small_model("llama"), options);
  expect_error(ErrorKind::Shape, "block0.mlp.gate_up.weight", [&] { alone.trainer->run(); });
}

TEST(ShardedCheckpointing, OneThatLacksAPartIsPassedOver) {
  const TemporaryDirectory here;
  train({4, 2}, options_in(here.path()));
  const fs::path last = here / checkpoint_name(kLastStep);
  fs::remove(last / shard_file_name(2, 4));
  std::string warning;
  const auto found =
      latest_checkpoint(here.path(), [&](const std::string& line) { warning = line; });
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->step, kSavedStep);
  EXPECT_THAT(warning, HasSubstr("shard-00002-of-00004.safetensors is missing"));
}

// Rank 1 cannot write: nobody gets a checkpoint, and the error says why.
TEST(ShardedCheckpointing, IsAbsentUntilAllHaveWritten) {
  const TemporaryDirectory here;
  const auto write = [&](ProcessGroup& world, bool fails) {
    const auto shared = std::shared_ptr<ProcessGroup>(&world, [](ProcessGroup*) {});
    ShardedWriter writer(here.path(), 2, shared);
    CheckpointContents contents;
    contents.step = 7;
    Tensor part = zeros({4, 4});
    if (fails && world.rank() == 1) part = part.transpose(0, 1);
    contents.tensors[shard_file_name(world.rank(), 2)] = {{"parameter.w@0", part}};
    writer.submit(std::move(contents), {});
    writer.wait();
  };
  expect_error(ErrorKind::Argument, "parameter.w@0", [&] {
    distributed::run_ranks(2, [&](ProcessGroup& world) { write(world, true); });
  });
  EXPECT_TRUE(list_checkpoints(here.path()).empty());
  remove_partial_files(here.path());
  distributed::run_ranks(2, [&](ProcessGroup& world) { write(world, false); });
  EXPECT_EQ(list_checkpoints(here.path()).size(), 1);
  EXPECT_EQ(std::distance(fs::directory_iterator(here / checkpoint_name(7)), {}), 3);
}

TEST(ShardedCheckpointing, KeepsWhatIsWrittenBelowOneThatIsDamaged) {
  const TemporaryDirectory here;
  for (const int64_t step : {3, 9}) fs::create_directory(here / checkpoint_name(step));
  distributed::run_ranks(2, [&](ProcessGroup& world) {
    const auto shared = std::shared_ptr<ProcessGroup>(&world, [](ProcessGroup*) {});
    ShardedWriter writer(here.path(), 1, shared, {9});
    CheckpointContents contents;
    contents.step = 7;
    contents.tensors[shard_file_name(world.rank(), 2)] = {{"parameter.w@0", zeros({4})}};
    writer.submit(std::move(contents), {});
    writer.wait();
  });
  std::vector<int64_t> steps;
  for (const CheckpointPath& found : list_checkpoints(here.path())) steps.push_back(found.step);
  EXPECT_THAT(steps, testing::ElementsAre(7, 9));
}

// Each host has a directory of its own under that name.
TEST(ShardedCheckpointing, IsAbsentWhereTheDirectoryIsNotShared) {
  const TemporaryDirectory here;
  const auto write = [&](ProcessGroup& world) {
    const auto shared = std::shared_ptr<ProcessGroup>(&world, [](ProcessGroup*) {});
    const fs::path run = here / std::to_string(world.rank());
    fs::create_directory(run);
    ShardedWriter writer(run, 2, shared);
    CheckpointContents contents;
    contents.step = 7;
    contents.tensors[shard_file_name(world.rank(), 2)] = {{"parameter.w@0", zeros({4})}};
    if (world.rank() == 0) {
      ShardedIndex index;
      index.files = 2;
      index.shapes["w"] = {8};
      contents.texts[ShardedCheckpoint::kIndex] = index.to_json();
    }
    writer.submit(std::move(contents), {});
    writer.wait();
  };
  expect_error(ErrorKind::Io, "shard-00001-of-00002.safetensors: is missing",
               [&] { distributed::run_ranks(2, [&](ProcessGroup& world) { write(world); }); });
  EXPECT_TRUE(list_checkpoints(here / "0").empty());
}

class ShardedFiles : public testing::Test {
 protected:
  ShardedFiles() {
    ShardedIndex index;
    index.files = 1;
    index.optimizer_steps = 2;
    index.shapes["w"] = {2, 3};
    write_file_atomically(here_ / ShardedCheckpoint::kIndex, index.to_json());
  }

  void write(const nn::StateDict& slices) const {
    write_safetensors(here_ / shard_file_name(0, 1), entries_of(slices));
  }
  static Tensor values(const std::vector<float>& list) {
    return from_values(list, {std::ssize(list)});
  }

  TemporaryDirectory here_;
};

TEST_F(ShardedFiles, GiveElementsWhereverTheyLie) {
  write({{"parameter.w@0", values({0, 1})}, {"parameter.w@2", values({2, 3, 4, 5})}});
  const ShardedCheckpoint checkpoint(here_.path());
  EXPECT_THAT(to_vector(checkpoint.read("parameter.w", 1, 3)), testing::ElementsAre(1, 2, 3));
  EXPECT_EQ(checkpoint.whole("parameter")[0].tensor.shape(), (Shape{2, 3}));
  EXPECT_FALSE(checkpoint.read("parameter.v", 0, 1).defined());
}

// Columns of [2, 3]: the first two, and the last.
TEST_F(ShardedFiles, GiveElementsOfRowsThatLieApart) {
  write({{"parameter.w@0+3", values({0, 1, 3, 4}).reshape({2, 2})},
         {"parameter.w@2+3", values({2, 5}).reshape({2, 1})}});
  const ShardedCheckpoint checkpoint(here_.path());
  EXPECT_THAT(to_vector(checkpoint.read("parameter.w", 1, 4)), testing::ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(to_vector(checkpoint.whole("parameter")[0].tensor),
              testing::ElementsAre(0, 1, 2, 3, 4, 5));
  for (const char* name : {"parameter.w@0", "parameter.w@0+1", "parameter.w@0+", "parameter.w@+3",
                           "parameter.w@0+9223372036854775807"}) {
    write({{name, values({0, 1, 3, 4}).reshape({2, 2})}});
    expect_error(ErrorKind::Format, "which is no slice NAME@BEGIN",
                 [&] { ShardedCheckpoint{here_.path()}; });
  }
}

TEST_F(ShardedFiles, AreRefusedWhereTheyAreNotWhole) {
  write({{"parameter.w@0", values({0, 1})}, {"parameter.w@3", values({3, 4, 5})}});
  expect_error(ErrorKind::Format, "no file holds element 2 of parameter.w",
               [&] { ShardedCheckpoint(here_.path()).whole("parameter"); });
  write({{"parameter.w", values({0, 1})}});
  expect_error(ErrorKind::Format, "parameter.w, which is no slice NAME@BEGIN",
               [&] { ShardedCheckpoint{here_.path()}; });
  write({{"parameter.w@9223372036854775807", values({0, 1})}});
  expect_error(ErrorKind::Format, "which is no slice NAME@BEGIN",
               [&] { ShardedCheckpoint{here_.path()}; });
  write({{"parameter.v@0", values({0, 1})}});
  expect_error(ErrorKind::Format, "of which shards.json names no parameter",
               [&] { ShardedCheckpoint(here_.path()).whole("parameter"); });
  fs::remove(here_ / shard_file_name(0, 1));
  expect_error(ErrorKind::Io, "shard-00000-of-00001", [&] { ShardedCheckpoint{here_.path()}; });
}

TEST_F(ShardedFiles, NeedAnIndexThatMakesSense) {
  const auto expect_refused = [&](const std::string& json, const std::string& text) {
    write_file_atomically(here_ / ShardedCheckpoint::kIndex, json);
    expect_error(ErrorKind::Format, text, [&] { ShardedCheckpoint{here_.path()}; });
  };
  expect_refused("{}", "version");
  expect_refused(R"({"version": 2})", "is of another version");
  expect_refused(R"({"version": 1, "files": 0, "optimizer_steps": 0, "ema_updates": null,
                     "parameters": {}})",
                 "has 0 files");
  expect_refused(R"({"version": 1, "files": 1, "optimizer_steps": 0, "ema_updates": null,
                     "parameters": {"w": [-1]}})",
                 "w");
}

}  // namespace
}  // namespace plinth
