#pragma once

// Between a sharded checkpoint and what a run has: whichever of the two is shared by ranks, and by
// however many.

#include <filesystem>
#include <functional>

#include "distributed/sharded_training.h"
#include "nn/ema.h"
#include "train/checkpoint/sharded.h"

namespace plinth {

// What this rank writes: copies of its slices, as those of whole parameters. `average` may be null,
// and so may `parts`, of which `training` has this rank's.
nn::StateDict slices_of(const distributed::ShardedTraining& training, const nn::Ema* average,
                        const distributed::ParameterParts* parts);
ShardedIndex index_of(const distributed::ShardedTraining& training, const nn::Ema* average,
                      const distributed::ParameterParts* parts);

// Takes parameters, optimizer state and average of this rank from a sharded checkpoint. All ranks
// call it. Throws Error(Format), or Error(Shape) for a checkpoint of another model.
void restore_slices(const ShardedCheckpoint& checkpoint, distributed::ShardedTraining& training,
                    nn::Ema* average, const distributed::ParameterParts* parts);

// The same from the files of one that is not: `load` sets the whole parameters.
void restore_slices(const std::filesystem::path& optimizer, const std::filesystem::path& ema,
                    const std::function<void()>& load, distributed::ShardedTraining& training,
                    nn::Ema* average, const distributed::ParameterParts* parts);

// The optimizer's state and the moving average as one process would have them. The latter throws
// Error(Format) where there is none.
nn::StateDict whole_optimizer_state(const ShardedCheckpoint& checkpoint);
nn::StateDict whole_average(const ShardedCheckpoint& checkpoint);

}  // namespace plinth
