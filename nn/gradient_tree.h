#pragma once

// Adding the gradients of micro-batches in a fixed binary tree, so that the sum has the same bits
// however many ranks share the work.
//
// The sum of n micro-batches is that of the first 2^k < n, plus that of the rest, 2^k being the
// largest power of two below n:  n = 6 gives ((0+1) + (2+3)) + (4+5). A rank that holds a run of
// micro-batches which is one subtree, as equal power-of-two shares are, computes it alone, and the
// ranks' sums are then added as the rest of the tree. Merging follows a binary counter: before
// micro-batch i starts, as many subtrees wait as i has bits set, so n micro-batches need about
// log2(n) further buffers, taken when first needed and kept.
//
//   nn::FlatGradients gradients(model.parameters());
//   nn::GradientTree tree(gradients);
//   for each step:
//     gradients.zero();
//     for (int i = 0; i < n; ++i) {
//       if (i > 0) tree.next();
//       loss(i).backward();
//     }
//     tree.finish();   // the gradients are the sum
//     optimizer.step(1.0 / n);
//
// With one micro-batch neither call does anything.

#include <cstdint>
#include <optional>
#include <vector>

#include "nn/flat.h"

namespace plinth::nn {

class GradientTree {
 public:
  explicit GradientTree(FlatGradients& gradients) : gradients_(gradients) {}

  // The micro-batch is done and another follows: puts its gradients away and starts from zeros.
  void next();
  // The last micro-batch is done: leaves the sum of all in the gradients.
  void finish();
  // Forgets micro-batches whose step is given up.
  void clear();

 private:
  // Adds `sum` to the subtree that waits at this level, and returns it.
  Tensors merge(size_t level, Tensors sum);
  Tensors take_spare();

  FlatGradients& gradients_;
  std::vector<std::optional<Tensors>> waiting_;  // level l: the sum of 2^l micro-batches
  std::vector<Tensors> spare_;
};

}  // namespace plinth::nn
