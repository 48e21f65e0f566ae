#pragma once

// Expert parallelism (Lepikhin et al. 2020, arXiv 2006.16668): the experts of a layer lie on the
// ranks of a group, and tokens travel to them and back.
//
// Each rank of the group has tokens of its own: the group is a part of the ranks that share a
// step's micro-batches, and all its ranks run the layer at the same time. So the gradients of a
// rank's experts are sums over the tokens of the whole group already, and remain to be added over
// the ranks with the same experts only; everything else is replicated, and added over all.

#include <memory>

#include "distributed/process_group.h"
#include "distributed/redistribute.h"
#include "nn/layers/mixture_of_experts.h"

namespace plinth::distributed {

// The experts of this rank: shard_range() of them.
ShardRange own_experts(const nn::MixtureOfExperts& layer, const ProcessGroup& group);

// From now on `layer` runs this rank's experts only, on the tokens of all ranks of the group, and
// has the others run by the ranks that own them: numbers of rows are exchanged, then rows, and
// their outputs come back. All ranks of the group call forward() and backward() together, with any
// number of tokens, none too. What it computes is that of a layer with all experts; the parameters
// of other ranks' experts are not touched. Throws Error(Argument) for more ranks than experts.
void spread_experts(nn::MixtureOfExperts& layer, const std::shared_ptr<ProcessGroup>& group);

}  // namespace plinth::distributed
