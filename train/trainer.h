#pragma once

// The training loop, for any module with a loss:
//
//   nn::AdamW optimizer(nn::decay_matrices(model, 0.1));
//   nn::Schedule schedule{.kind = nn::ScheduleKind::Cosine, .peak = 3e-4, .steps = 1000};
//   Trainer trainer(model, loss, optimizer, schedule, data, {.steps = 1000, .batch = 32});
//   trainer.run();
//
// The same seed, options and data give the same bits, whether the run was interrupted and resumed
// or not, on any number of threads, and on any number of ranks.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/tensor.h"
#include "distributed/data_parallel.h"
#include "distributed/sharded_training.h"
#include "distributed/tensor/shards.h"
#include "distributed/zero.h"
#include "nn/ema.h"
#include "nn/flat.h"
#include "nn/gradient_tree.h"
#include "nn/module.h"
#include "nn/optim/optimizer.h"
#include "nn/schedule.h"
#include "train/batch_source.h"
#include "train/checkpoint/sharded_writer.h"
#include "train/checkpoint/train_state.h"
#include "train/checkpoint/writer.h"
#include "train/device_step.h"
#include "train/run_recorder.h"
#include "train/signals.h"
#include "train/step_guard.h"
#include "train/step_plan.h"

namespace plinth {

struct TrainerOptions {
  int64_t steps = 1000;
  int64_t batch = 32;                // samples of an optimizer step
  int64_t micro_batch = 0;           // samples at once; divides batch; 0: all
  uint64_t seed = 0;                 // of dropout
  double clip_norm = 0;              // largest norm of the gradient; 0: any
  DType precision = DType::Float32;  // BFloat16: matrix products in bfloat16 (core/autocast.h)
  double ema_decay = 0;              // of a moving average of the weights; 0: none
  StepGuardOptions guard;
  bool cuda_graph = true;  // on a GPU: replay the step as a CUDA graph; the same bits either way

  // Ranks that share each step's micro-batches; null: this process alone. All have the same
  // options, and give the same weights; rank 0 writes logs and checkpoints.
  std::shared_ptr<distributed::ProcessGroup> group;
  distributed::DataParallelOptions data_parallel;
  // Of these ranks, so many neighbours have the same micro-batches, and tokens of their own.
  int64_t context = 1;
  // Ranks that have parts of the parameters, as `shards` says, in groups with this one: all ranks
  // of the run are then `world`. Checkpoints have whole parameters.
  std::shared_ptr<distributed::ProcessGroup> world;
  const distributed::ParameterParts* shards = nullptr;
  // Ranks of the group that have different parts of the module; outlives the trainer. Its ranks
  // with micro-batches of their own share them as above, and it has data_parallel's place. Null:
  // all have the whole.
  StepPlan* plan = nullptr;
  // ZeRO stages 2 and 3 of the group, in place of data_parallel: all ranks then write checkpoints
  // together (train/checkpoint/sharded.h), and take turns at micro-batches. Not with a plan.
  std::optional<distributed::ShardingOptions> sharding;

  std::filesystem::path directory;  // of checkpoints and logs; empty: nothing is written
  bool resume = false;              // from the latest whole checkpoint, if there is any
  int64_t checkpoint_every = 0;     // steps; 0: at the end, and as keep_best says
  int64_t keep_last = 2;            // checkpoints
  bool keep_best = false;           // also write and keep the one of the least cost in validation
  int64_t validate_every = 0;       // steps; 0: at the end only
  int64_t patience = 0;             // validations without a better one that end the run; 0: none do
  int64_t sample_every = 0;         // steps; 0: none

  int64_t tokens_per_sample = 1;  // what tokens/s counts
  double flops_per_sample = 0;    // operations of a training step, for the utilisation
  RecorderOptions log;            // directory, steps and resumed_step are filled in
};

// What validation found.
struct Validation {
  // NOLINTNEXTLINE(google-explicit-constructor): the loss is all that most runs know.
  Validation(double mean_loss) : loss(mean_loss), cost(mean_loss) {}
  Validation(double mean_loss, double least) : loss(mean_loss), cost(least) {}

  double loss;
  double cost;  // what the best checkpoint has the least of
};

// How a run begins in its directory.
enum class RunStart {
  New,      // nothing of an earlier run's metrics and checkpoints is there
  Again,    // it was to go on, but there is no checkpoint yet
  Resumed,  // from a checkpoint
};

// What the trainer calls besides the loss; each may be empty.
struct TrainerHooks {
  // Mean loss on held-out data, and what it is judged by. Runs in evaluation mode, without a graph,
  // on averaged weights if there are any.
  std::function<Validation()> validate;
  // A text that the model writes now; the same holds. Where ranks have parts of parameters or of
  // sequences, all call it, with parts that ZeRO has gathered, and that of rank 0 counts.
  std::function<TextSample()> sample;
  // Called when the directory is the run's own, before its files change. May throw.
  std::function<void(RunStart)> start;
  // Called on all ranks before `save`, which is called on rank 0.
  std::function<void()> gather;
  // Adds files to a checkpoint: the weights in another layout, a tokenizer. Without, the weights
  // are saved by their parameter names, as model.safetensors.
  std::function<void(CheckpointContents&)> save;
  // Adds those of the files that do not hold weights: all that stands beside the parts of weights
  // that ranks write.
  std::function<void(CheckpointContents&)> describe;
  // Sets the weights from a checkpoint's directory; goes with save.
  std::function<void(const std::filesystem::path& checkpoint)> load;
};

struct TrainResult {
  int64_t steps = 0;  // done in all
  double loss = std::numeric_limits<double>::quiet_NaN();
  double validation_loss = std::numeric_limits<double>::quiet_NaN();
  int64_t skipped_steps = 0;
  int signal = 0;                         // that ended the run, after its checkpoint
  bool stopped_early = false;             // by options.patience
  std::optional<int64_t> best_step = {};  // of the least cost in validation
};

class Trainer {
 public:
  // The scalar loss of a micro-batch: a mean over its samples. The batch is as the source gives it,
  // or, if the step is a GPU's (train/device_step.h), already there: to(device) serves both.
  using Loss = std::function<Tensor(const Batch& batch)>;

  // Everything must outlive the trainer. With ranks, `data` gives of each step this rank's samples:
  // batch / ranks consecutive ones, in the order of ranks; with sharding, its micro-batches by
  // distributed::turns_of(). Throws Error(Argument) for options that
  // do not fit together, Error(Io) for a directory that another run uses or that cannot be written.
  Trainer(nn::Module& module, Loss loss, nn::Optimizer& optimizer, nn::Schedule schedule,
          BatchSource& data, TrainerOptions options, TrainerHooks hooks = {});
  ~Trainer();

  // Trains until the last step, or until SIGINT or SIGTERM, and writes the last checkpoint. Throws
  // TrainingDiverged; what was saved before stays. Throws Error(Format) if it is to resume, and all
  // checkpoints of the directory are damaged.
  TrainResult run();

  // One step without logs and checkpoints, for benchmarks: gives the mean loss.
  double step();

 private:
  struct StepResult {
    double loss = 0;
    double learning_rate = 0;
    double grad_norm = 0;
    bool accepted = false;  // the weights were updated
    bool stops = false;     // some rank was asked to stop
  };

  TrainResult loop();
  // `stops`: this rank was asked to stop.
  StepResult train_step(bool stops = false);
  // One step's work where the optimizer takes its numbers from the host, or from a GPU's memory.
  StepResult step_on_host(bool stops);
  StepResult step_on_device();
  // Gradients of this rank's micro-batches of the step, and their losses among those of all.
  void add_gradients(std::vector<double>& losses);
  // Adds a micro-batch's gradients, and gives its loss.
  double accumulate(int64_t first_sample);
  // Runs `call` as validation and samples do: see TrainerHooks.
  void evaluate(const std::function<void()>& call);
  // The losses of all of the step's micro-batches, of which this rank fills in its own; whether
  // some rank stops.
  bool gather(std::vector<double>& losses, bool stops);
  double grad_norm() const;
  void update(double factor);
  void agree_on_start() const;
  void check_ranks() const;
  bool writes() const { return !options_.world || options_.world->rank() == 0; }
  Device device() const;
  std::unique_ptr<DeviceStep> make_device_step();
  void tell_about_graph();
  void record(const StepResult& result, double seconds, double validation_loss);
  double validate();
  void sample();
  bool is_due(int64_t every) const;
  bool is_out_of_patience() const;
  void begin();
  void take_directory(std::vector<std::string>& notes);
  void begin_anew();
  void resume(std::vector<std::string>& notes);
  void save();
  void save_slices();
  // Of all ranks, on rank 0.
  struct States {
    nn::StateDict weights, optimizer, average;
  };
  States gather_states() const;
  CheckpointContents snapshot(const States& states) const;
  // This rank's parts of what a checkpoint has.
  void load_average(const nn::StateDict& whole);
  nn::StateDict own_parts(const nn::StateDict& whole) const;
  std::string state_json() const;
  void restore(const std::filesystem::path& checkpoint);
  void restore_tensors(const std::filesystem::path& checkpoint);
  void restore_sharded(const std::filesystem::path& checkpoint);
  void load_weights(const std::filesystem::path& checkpoint);
  void load_optimizer_state(const nn::StateDict& state);

  nn::Module& module_;
  Loss loss_;
  nn::Optimizer& optimizer_;
  nn::Schedule schedule_;
  BatchSource& data_;
  TrainerOptions options_;
  TrainerHooks hooks_;

  int64_t step_ = 0;  // optimizer steps done
  StepGuard guard_;
  nn::FlatGradients gradients_;
  nn::GradientTree tree_;
  std::optional<distributed::DataParallel> parallel_;
  std::optional<distributed::ShardedUpdate> sharded_;
  std::unique_ptr<distributed::ShardedTraining> zero_;  // in place of these two
  std::unique_ptr<DeviceStep> device_step_;             // once a step has been taken on a GPU
  std::optional<nn::Ema> ema_;
  std::optional<int64_t> best_step_;
  double best_loss_ = std::numeric_limits<double>::quiet_NaN();
  int64_t saved_step_ = -1;
  std::vector<TextSample> restored_samples_;

  struct Outputs;                     // lock, recorder and writer, in a run directory
  std::unique_ptr<Outputs> outputs_;  // while run() runs
};

}  // namespace plinth
