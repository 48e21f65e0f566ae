#pragma once

// Between a sharded checkpoint and what a run has: whichever of the two is shared by ranks, and by
// however many.

#include <filesystem>
#include <functional>

#include "distributed/sharded_training.h"
#include "nn/ema.h"
#include "train/checkpoint/sharded.h"

namespace plinth {

// What this rank writes: copies of its slices; `average` may be null.
nn::StateDict slices_of(const distributed::ShardedTraining& training, const nn::Ema* average);
ShardedIndex index_of(const distributed::ShardedTraining& training, const nn::Ema* average);

// Takes parameters, optimizer state and average of this rank from a sharded checkpoint. All ranks
// call it. Throws Error(Format), or Error(Shape) for a checkpoint of another model.
void restore_slices(const ShardedCheckpoint& checkpoint, distributed::ShardedTraining& training,
                    nn::Ema* average);

// The same from the files of one that is not: `load` sets the whole parameters.
void restore_slices(const std::filesystem::path& optimizer, const std::filesystem::path& ema,
                    const std::function<void()>& load, distributed::ShardedTraining& training,
                    nn::Ema* average);

// A whole module, optimizer state for `parameters` parameters, and average. `load_optimizer` takes
// the state as one process would have it.
void restore_whole(const ShardedCheckpoint& checkpoint, nn::Module& module, size_t parameters,
                   const std::function<void(const nn::StateDict&)>& load_optimizer,
                   nn::Ema* average);

}  // namespace plinth
