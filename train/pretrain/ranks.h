#pragma once

// Ranks of a pretraining run as the parallel.* keys arrange them.

#include <memory>
#include <string>

#include "distributed/tensor/plan.h"
#include "train/pretrain/config.h"

namespace plinth {

// A grid of dp x cp x tp ranks, tp the nearest neighbours. Null where a group has one rank.
struct RankGroups {
  std::shared_ptr<distributed::ProcessGroup> world;
  std::shared_ptr<distributed::ProcessGroup> data;  // dp and cp: ranks with the same parameters
  std::shared_ptr<distributed::ProcessGroup> tp, cp;

  // Ranks that have micro-batches of their own, and which of them this is.
  int64_t data_ranks() const;
  int64_t data_rank() const;
  // "4 ranks over gloo: dp 2, cp 1, tp 2".
  std::string text() const;
};

// All ranks of `world`, which is null for one process, call it. Throws Error(Config) for sizes that
// do not make a grid of the ranks, and for what ranks that share a model or a sequence cannot do.
RankGroups arrange_ranks(const PretrainConfig& config,
                         const std::shared_ptr<distributed::ProcessGroup>& world);

// Whether ranks have different blocks or experts (train/model_parallel.h).
bool is_cut(const PretrainConfig& config);

distributed::ModelParallelOptions model_parallel_options(const PretrainConfig& config,
                                                         const RankGroups& groups);

}  // namespace plinth
