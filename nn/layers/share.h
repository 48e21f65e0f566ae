#pragma once

// How layers are told that several ranks share a model. A layer knows what it has: a part of its
// rows, of its heads, of the sequence. What has to happen between ranks it calls by a function,
// which distributed/tensor/ or distributed/context/ gives it.

#include <cstdint>
#include <functional>
#include <vector>

#include "core/tensor.h"
#include "kernels/dropout/dropout.h"

namespace plinth::nn {

using TensorMap = std::function<Tensor(const Tensor&)>;

// map(x), or x where there is no map, or nothing to give it.
inline Tensor mapped(const TensorMap& map, const Tensor& x) {
  return map && x.defined() ? map(x) : x;
}

// Positions [begin, begin + count) of a sequence.
struct TokenRun {
  int64_t begin = 0, count = 0;
};

// Which tokens of a whole sequence a tensor [batch, tokens, ...] has.
struct SequencePart {
  // Context parallel: of 2 * ranks equal chunks, number `rank` and the one as far from the end.
  // With a causal mask all ranks then have equally much to do.
  int64_t ranks = 1, rank = 0;
  // Sequence parallel: of those tokens, in their order, number `part` of equal parts.
  int64_t parts = 1, part = 0;

  bool is_whole() const { return ranks == 1 && parts == 1; }
  // What the whole's length is a multiple of.
  int64_t multiple() const;
  // Where `tokens` tokens stand in the whole: one run or two, in order.
  std::vector<TokenRun> runs(int64_t tokens) const;
  // The part of x [batch, tokens of the whole, ...]. Throws Error(Shape) unless tokens is a
  // multiple of multiple().
  Tensor take(const Tensor& x) const;
  // Which words of a whole sample's mask x [batch, tokens, ...] takes.
  kernels::DropoutPart dropout_part(const Tensor& x) const;
};

}  // namespace plinth::nn
