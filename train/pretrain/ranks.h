#pragma once

// Ranks of a pretraining run as the parallel.* keys arrange them.

#include <memory>
#include <string>

#include "distributed/mesh.h"
#include "distributed/tensor/plan.h"
#include "train/pretrain/config.h"

namespace plinth {

// The mesh of distributed::training_mesh(), of ranks that have all blocks and experts. Null where a
// group has one rank. Of others `data` is the world: ModelParallel has their groups.
struct RankGroups {
  std::shared_ptr<distributed::ProcessGroup> world;
  std::shared_ptr<distributed::ProcessGroup> data;  // dp and cp: ranks with the same parameters
  std::shared_ptr<distributed::ProcessGroup> tp, cp;

  // Ranks that have micro-batches of their own, and which of them this is.
  int64_t data_ranks() const;
  int64_t data_rank() const;
};

// All ranks of `world`, which is null for one process, call it. Throws Error(Config) for sizes that
// do not make a grid of the ranks, and for what ranks that share a model or a sequence cannot do.
RankGroups arrange_ranks(const PretrainConfig& config,
                         const std::shared_ptr<distributed::ProcessGroup>& world);

// "4 ranks over gloo (dp 2, tp 2)".
std::string ranks_text(const PretrainConfig& config, const distributed::ProcessGroup& world);

distributed::ParallelSizes parallel_sizes(const PretrainConfig& config);
distributed::ContextAlgorithm context_algorithm(const PretrainConfig& config);

// Whether ranks have different blocks or experts (train/model_parallel.h).
bool is_cut(const PretrainConfig& config);

distributed::LayerPlanOptions layer_plan_options(const PretrainConfig& config,
                                                 const RankGroups& groups);

}  // namespace plinth
