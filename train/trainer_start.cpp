// How a trainer's run begins: in its directory, and at the step where an earlier one stopped.

#include <cmath>
#include <set>

#include "core/error.h"
#include "core/io/directory.h"
#include "core/io/file.h"
#include "core/ops/factories.h"
#include "nn/clip.h"
#include "train/checkpoint/run_directory.h"
#include "train/logging/metrics_log.h"
#include "train/trainer.h"
#include "train/trainer_outputs.h"

namespace plinth {

namespace {

// Of checkpoints newer than the one that a run goes on from: they were passed over as damaged.
std::set<int64_t> steps_after(const std::filesystem::path& run, int64_t step) {
  std::set<int64_t> steps;
  for (const CheckpointPath& checkpoint : list_checkpoints(run)) {
    if (checkpoint.step > step) steps.insert(checkpoint.step);
  }
  return steps;
}

}  // namespace

void Trainer::begin() {
  std::vector<std::string> notes;
  if (!options_.directory.empty()) take_directory(notes);
  if (options_.world) agree_on_start();
  if (!writes()) {
    options_.log.directory.clear();
    options_.log.quiet = true;
  }
  outputs_->recorder = std::make_unique<RunRecorder>(options_.log);
  outputs_->recorder->restore_samples(std::move(restored_samples_));
  for (const std::string& note : notes) outputs_->recorder->message(note);
  if (step_ > 0) outputs_->recorder->message(detail::concat("resumed after step ", step_));
  if (device().is_cuda() && !optimizer_.steps_on_device())
    outputs_->recorder->message(detail::concat("CUDA graph: not used, since ", optimizer_.name(),
                                               " takes the numbers of a step from the host"));
}

// Makes the run directory this run's, and goes to the step where an earlier one stopped.
void Trainer::take_directory(std::vector<std::string>& notes) {
  if (writes()) {
    make_directories(options_.directory);
    outputs_->lock = std::make_unique<DirectoryLock>(options_.directory);
    remove_partial_files(options_.directory);
  }
  options_.resume ? resume(notes) : begin_anew();
  std::set<int64_t> damaged = steps_after(options_.directory, step_);
  if (zero_) {
    outputs_->sharded_writer = std::make_unique<ShardedWriter>(
        options_.directory, options_.keep_last, options_.world, std::move(damaged));
  } else if (writes()) {
    outputs_->writer = std::make_unique<CheckpointWriter>(options_.directory, options_.keep_last,
                                                          std::move(damaged));
  }
}

void Trainer::begin_anew() {
  check(list_checkpoints(options_.directory).empty(), ErrorKind::Config,
        options_.directory.string(),
        "holds the checkpoints of a run; --resume goes on with it, another run.directory "
        "begins a new one");
  if (!writes()) return;
  refuse_earlier_metrics(options_.directory);
  if (hooks_.start) hooks_.start(RunStart::New);
}

void Trainer::resume(std::vector<std::string>& notes) {
  const auto latest = checkpoint_to_resume(
      options_.directory, [&notes](const std::string& line) { notes.push_back(line); });
  options_.log.resumed_step = latest ? latest->step : 0;
  if (hooks_.start && writes()) hooks_.start(latest ? RunStart::Resumed : RunStart::Again);
  if (latest) restore(latest->path);
}

// Ranks that begin with other weights, or go on from another checkpoint, would give wrong sums.
void Trainer::agree_on_start() const {
  if (options_.plan) options_.plan->agree_on_weights();
  const auto range = [&](distributed::ProcessGroup& group, double own) {
    const Tensor values = from_values<double>({-own, own}, {2}).to(device());
    group.all_reduce(values, distributed::ReduceOp::Max).wait();
    const std::vector<double> most = to_vector(group.to_host(values));
    return std::pair(-most[0], most[1]);
  };
  const auto [first, last] = range(*options_.world, static_cast<double>(step_));
  check(first == last, ErrorKind::Config, "Trainer", "ranks go on from checkpoints of steps ",
        first, " to ", last, "; run.directory must lie where all of them see it");
  if (!options_.group || options_.plan) return;
  const double own = zero_ ? zero_->parameter_norm() : nn::global_norm(module_.parameters());
  const auto [least, most] = range(*options_.group, own);
  check(least == most || std::isnan(own), ErrorKind::Config, "Trainer",
        "ranks begin with different weights: their norms are from ", least, " to ", most);
}

}  // namespace plinth
