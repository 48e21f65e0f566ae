#pragma once

// Causal attention among tokens that lie on several ranks. Each has chunks r and 2n - 1 - r of 2n
// equal chunks of every sequence (nn::SequencePart), one behind the other, so that the mask leaves
// all ranks equally much to do. Queries stay where they are. Two ways to bring the keys:
//
//   Gather  all ranks get all keys and values in one all_gather (Llama Team 2024, arXiv 2407.21783,
//           section 3.3.2); their gradients go back by a reduce_scatter
//   Ring    keys and values go round from rank to rank while each works on those that it has, and
//           the parts of the softmax are joined by the logarithms of their sums (Liu, Zaharia,
//           Abbeel 2023, arXiv 2310.01889); backward they go round again, and their gradients with
//           them. A rank has its own keys, those at hand and those on their way

#include <memory>

#include "core/ops/attention.h"
#include "distributed/process_group.h"

namespace plinth::distributed {

enum class ContextAlgorithm { Gather, Ring };

// q [B, H, tokens, D] and k, v [B, Hkv, tokens, D] of this rank to its rows of attention(), with
// the weights that it drops. All ranks call it, forward and backward. Ring takes neither a window,
// slopes nor sinks, and with dropout chunks of a multiple of 4 tokens; its second derivative is
// refused.
//
// Errors: those of attention(); Argument for options that it does not take; Io.
Tensor context_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                         const AttentionOptions& options,
                         const std::shared_ptr<ProcessGroup>& group, ContextAlgorithm algorithm);

}  // namespace plinth::distributed
