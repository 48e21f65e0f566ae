#pragma once

// How the ranks of a job are arranged, and what each computes at once.

#include <cstdint>
#include <string>

#include "distributed/pipeline/schedule.h"
#include "distributed/plan/workload.h"

namespace plinth::plan {

using distributed::PipelineKind;

struct Strategy {
  // The mesh. Ranks are numbered with tensor innermost, then context, data_shard, data_replicate
  // and pipeline, so that the axes that exchange most lie within a node.
  int tensor = 1;          // splits heads and the MLP's columns (Shoeybi et al., arXiv 1909.08053)
  int context = 1;         // splits the sequence; keys and values are gathered for each layer
  int data_shard = 1;      // replicas that share optimizer state and more
  int data_replicate = 1;  // groups of them, each with all of it
  int expert = 1;          // ranks of data_shard that each hold a part of the experts
  int pipeline = 1;        // splits the layers

  bool sequence_parallel = false;  // tensor ranks split norms and dropout by the sequence
  // What data_shard shares (ZeRO, arXiv 1910.02054): 0 nothing, 1 the optimizer's state, 2 and
  // gradients, 3 and parameters.
  int zero_stage = 0;
  PipelineKind schedule = PipelineKind::OneForwardOneBackward;
  int chunks = 1;           // of layers on a stage; more than 1 with Interleaved
  int64_t micro_batch = 1;  // sequences
  Recompute recompute = Recompute::None;

  int64_t data() const { return int64_t{data_shard} * data_replicate; }
  int64_t ranks() const { return tensor * context * data() * pipeline; }
  int pieces() const { return pipeline * chunks; }
  int64_t micro_batches(const Workload& work) const {
    return work.global_batch / (data() * micro_batch);
  }
  // "tp8 cp1 dp4x2 ep4 pp16x8": data_shard x data_replicate, pipeline x chunks.
  std::string mesh_text() const;
};

// Layers of the virtual stage `piece` of strategy.pieces(): the same for each or, where that does
// not divide, one less for the first and the last, which have the embedding and the output
// projection.
int64_t layers_of(const Transformer& model, const Strategy& strategy, int piece);

// Why the workload cannot be cut like this, or an empty text if it can: sizes below 1, heads, MLP
// or vocabulary that tensor does not divide, layers that the pieces do not, a batch that is no
// multiple of data and micro_batch, and so on.
std::string problem(const Workload& work, const Strategy& strategy);

// Throws Error(Argument) for a sequence that is not of 1 to 2^24 tokens and a batch not of 1 to
// 2^30 sequences, and for what validate() says of the model.
void validate(const Workload& work);
// The same, and for what problem() says.
void validate(const Workload& work, const Strategy& strategy);

}  // namespace plinth::plan
