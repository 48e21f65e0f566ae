// A trainer's checkpoints: of all it has, or in slices where ranks share the weights.

#include "core/error.h"
#include "core/op_scope.h"
#include "core/version.h"
#include "models/tensor_files.h"
#include "train/checkpoint/file_names.h"
#include "train/checkpoint/sharded_state.h"
#include "train/trainer.h"
#include "train/trainer_outputs.h"

namespace plinth {

namespace fs = std::filesystem;

void Trainer::save() {
  const OpScope scope("save_checkpoint", ScopeKind::Phase);
  saved_step_ = step_;
  if (options_.directory.empty()) return;
  if (zero_) return save_slices();
  const States states = gather_states();
  if (!outputs_->writer) return;
  CheckpointContents contents = snapshot(states);
  check_ranks();
  outputs_->writer->submit(std::move(contents), options_.keep_best ? best_step_ : std::nullopt);
  outputs_->recorder->write_report();
}

Trainer::States Trainer::gather_states() const {
  if (hooks_.gather) hooks_.gather();
  const auto whole = [&](const nn::StateDict& states) {
    return options_.shards ? options_.shards->whole(states) : states;
  };
  States states;
  if (options_.plan) {
    states.optimizer = whole(options_.plan->gather_state());
    if (ema_) states.average = whole(options_.plan->gather(ema_->state_dict()));
    return states;
  }
  if (!hooks_.save) states.weights = whole(module_.state_dict());
  states.optimizer = whole(sharded_ ? sharded_->state_dict() : optimizer_.state_dict());
  if (ema_) states.average = whole(ema_->state_dict());
  return states;
}

CheckpointContents Trainer::snapshot(const States& states) const {
  CheckpointContents contents;
  contents.step = step_;
  if (hooks_.save) {
    hooks_.save(contents);
  } else {
    contents.tensors[kWeightsFile] = copies_of(states.weights);
  }
  contents.tensors[kOptimizerFile] = copies_of(states.optimizer);
  if (ema_) contents.tensors[kAverageFile] = copies_of(states.average);
  contents.texts[kStateFile] = state_json();
  return contents;
}

std::string Trainer::state_json() const {
  TrainState state;
  state.step = step_;
  state.seed = options_.seed;
  state.loader = data_.state();
  state.skipped_steps = guard_.state().skipped;
  state.bad_in_a_row = guard_.state().bad_in_a_row;
  state.average_loss = guard_.state().average_loss;
  state.best_step = best_step_;
  state.best_loss = best_loss_;
  state.samples = outputs_->recorder->samples();
  for (const auto& [name, value] : outputs_->recorder->last_row().values)
    state.metrics[name] = value;
  state.versions = {{"plinth", PLINTH_VERSION}, {"compiler", __VERSION__}};
  return state.to_json();
}

// The first copy of the model is written, each of its ranks' part by that rank.
void Trainer::save_slices() {
  if (!outputs_->sharded_writer) return;
  CheckpointContents contents;
  contents.step = step_;
  const nn::Ema* const average = ema_ ? &*ema_ : nullptr;
  const distributed::ProcessGroup& group = zero_->shard_group();
  const ShardedIndex index = index_of(*zero_, average, options_.shards);
  if (zero_->is_first_replica()) {
    const int64_t part = options_.shards ? options_.shards->group().rank() : 0;
    const std::string file = shard_file_name(part * group.size() + group.rank(), index.files);
    contents.tensors[file] = slices_of(*zero_, average, options_.shards);
  }
  if (writes()) {
    contents.texts[ShardedCheckpoint::kIndex] = index.to_json();
    contents.texts[kStateFile] = state_json();
    if (hooks_.describe) hooks_.describe(contents);
  }
  check_ranks();
  outputs_->sharded_writer->submit(std::move(contents),
                                   options_.keep_best ? best_step_ : std::nullopt);
  if (writes()) outputs_->recorder->write_report();
}

void Trainer::restore(const fs::path& checkpoint) {
  const TrainState state = TrainState::read(checkpoint / kStateFile);
  check(state.seed == options_.seed, ErrorKind::Config, (checkpoint / kStateFile).string(),
        "has seed ", state.seed, ", this run has ", options_.seed);
  device_step_.reset();  // weights and state may come to lie elsewhere
  restore_tensors(checkpoint);
  data_.restore(state.loader);
  guard_.restore({state.skipped_steps, state.bad_in_a_row, state.average_loss});
  best_step_ = state.best_step;
  best_loss_ = state.best_loss;
  step_ = saved_step_ = state.step;
  restored_samples_ = state.samples;
}

// Those of a sharded checkpoint or not, to weights that ranks share or not.
void Trainer::restore_tensors(const fs::path& checkpoint) {
  if (ShardedCheckpoint::is_in(checkpoint)) return restore_sharded(checkpoint);
  if (zero_)
    return restore_slices(
        checkpoint / kOptimizerFile, checkpoint / kAverageFile, [&] { load_weights(checkpoint); },
        *zero_, ema_ ? &*ema_ : nullptr, options_.shards);
  const auto load = [&] { load_weights(checkpoint); };
  options_.plan ? options_.plan->load_weights(load) : load();
  load_optimizer_state(own_parts(read_tensors(checkpoint / kOptimizerFile)));
  if (ema_) load_average(read_tensors(checkpoint / kAverageFile));
}

void Trainer::restore_sharded(const fs::path& checkpoint) {
  const ShardedCheckpoint slices(checkpoint);
  if (zero_) return restore_slices(slices, *zero_, ema_ ? &*ema_ : nullptr, options_.shards);
  const auto load = [&] { module_.load_state_dict(own_parts(slices.whole("parameter"))); };
  options_.plan ? options_.plan->load_weights(load) : load();
  load_optimizer_state(own_parts(whole_optimizer_state(slices)));
  if (ema_) load_average(whole_average(slices));
}

// With a plan that of this rank's parameters.
void Trainer::load_average(const nn::StateDict& whole) {
  nn::StateDict parts = own_parts(whole);
  if (options_.plan) {
    const nn::StateDict own = ema_->state_dict();
    std::erase_if(
        parts, [&](const nn::NamedTensor& entry) { return !nn::find(own, entry.name).defined(); });
  }
  ema_->load_state_dict(parts);
}

nn::StateDict Trainer::own_parts(const nn::StateDict& whole) const {
  return options_.shards ? options_.shards->parts(whole) : whole;
}

void Trainer::load_weights(const fs::path& checkpoint) {
  if (hooks_.load) return hooks_.load(checkpoint);
  module_.load_state_dict(own_parts(read_tensors(checkpoint / kWeightsFile)));
}

void Trainer::load_optimizer_state(const nn::StateDict& state) {
  if (options_.plan) {
    options_.plan->load_state(state);
  } else if (sharded_) {
    sharded_->load_state_dict(state);
  } else {
    optimizer_.load_state_dict(state);
  }
}

}  // namespace plinth
