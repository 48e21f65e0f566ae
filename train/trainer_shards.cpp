// Checkpoints of a trainer whose weights ranks share, or that goes on from one of such.

#include "core/error.h"
#include "models/tensor_files.h"
#include "train/checkpoint/file_names.h"
#include "train/checkpoint/sharded_state.h"
#include "train/trainer.h"
#include "train/trainer_outputs.h"

namespace plinth {

namespace fs = std::filesystem;

// The first copy of the model is written, each of its ranks' part by that rank.
void Trainer::save_slices() {
  if (!outputs_->sharded_writer) return;
  CheckpointContents contents;
  contents.step = step_;
  const nn::Ema* const average = ema_ ? &*ema_ : nullptr;
  const distributed::ProcessGroup& group = zero_->shard_group();
  if (zero_->is_first_replica())
    contents.tensors[shard_file_name(group.rank(), group.size())] = slices_of(*zero_, average);
  if (writes()) {
    contents.texts[ShardedCheckpoint::kIndex] = index_of(*zero_, average).to_json();
    contents.texts[kStateFile] = state_json();
    if (hooks_.describe) hooks_.describe(contents);
  }
  outputs_->sharded_writer->submit(std::move(contents),
                                   options_.keep_best ? best_step_ : std::nullopt);
  if (writes()) outputs_->recorder->write_report();
}

// Those of a sharded checkpoint or not, to weights that ranks share or not.
void Trainer::restore_tensors(const fs::path& checkpoint) {
  nn::Ema* const average = ema_ ? &*ema_ : nullptr;
  const bool is_sharded = ShardedCheckpoint::is_in(checkpoint);
  check(
      !is_sharded || (!options_.plan && !options_.shards), ErrorKind::Config, checkpoint.string(),
      "is in slices of ZeRO's ranks, which ranks with parts of a model do not read; plinth convert "
      "makes it whole");
  if (is_sharded && zero_) return restore_slices(ShardedCheckpoint(checkpoint), *zero_, average);
  if (is_sharded)
    return restore_whole(
        ShardedCheckpoint(checkpoint), module_, optimizer_.whole_parameters().size(),
        [this](const nn::StateDict& state) { load_optimizer_state(state); }, average);
  if (zero_)
    return restore_slices(
        checkpoint / kOptimizerFile, checkpoint / kAverageFile, [&] { load_weights(checkpoint); },
        *zero_, average);
  load_weights(checkpoint);
  load_optimizer_state(read_states(checkpoint / kOptimizerFile));
  if (ema_) ema_->load_state_dict(read_states(checkpoint / kAverageFile));
}

nn::StateDict Trainer::read_states(const fs::path& file) const {
  nn::StateDict states = read_tensors(file);
  return options_.shards ? options_.shards->parts(states) : states;
}

void Trainer::load_weights(const fs::path& checkpoint) {
  if (hooks_.load) return hooks_.load(checkpoint);
  module_.load_state_dict(read_states(checkpoint / kWeightsFile));
}

void Trainer::load_optimizer_state(const nn::StateDict& state) {
  if (options_.plan) {
    options_.plan->load_state(optimizer_, state);
  } else if (sharded_) {
    sharded_->load_state_dict(state);
  } else {
    optimizer_.load_state_dict(state);
  }
}

}  // namespace plinth
