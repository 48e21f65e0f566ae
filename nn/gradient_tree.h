#pragma once

// Adding the gradients of micro-batches in a fixed binary tree, so that the sum has the same bits
// however many ranks share the work.
//
// The sum of n micro-batches is that of the first 2^k < n, plus that of the rest, 2^k being the
// largest power of two below n:  n = 6 gives ((0+1) + (2+3)) + (4+5). A rank that holds a run of
// micro-batches adds those that are whole subtrees; what remains, a few nodes of the tree, is added
// to the other ranks' (distributed/data_parallel.h). Merging follows a binary counter: before
// micro-batch i starts, as many subtrees wait as i has bits set, so n micro-batches need about
// log2(n) further buffers, taken when first needed and kept. Those that the gradients have when a
// step begins are the first node's throughout, and have the sum when it ends: so all ranks find it
// in the memory that they made together, whichever further buffers each needs.
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
#include <utility>
#include <vector>

#include "nn/flat.h"

namespace plinth::nn {

// The sum of micro-batches [begin, end) of a step.
struct TreeNode {
  int64_t begin = 0, end = 0;
  bool operator==(const TreeNode&) const = default;
};

// Whether the tree of `total` micro-batches adds these two, which follow one another; with a total
// that is not known yet, kUnknownTotal, whether any tree does.
constexpr int64_t kUnknownTotal = -1;
bool are_siblings(const TreeNode& left, const TreeNode& right, int64_t total);

// How nodes that follow one another are added: each pair's second to its first, in this order;
// what then remains, by number. With all nodes of a step of `total` micro-batches one remains.
struct TreeAdditions {
  std::vector<std::pair<size_t, size_t>> pairs;
  std::vector<size_t> remaining;
};
TreeAdditions tree_additions(const std::vector<TreeNode>& nodes, int64_t total);

// The nodes that remain of micro-batches [begin, end) alone.
std::vector<TreeNode> tree_nodes(int64_t begin, int64_t end, int64_t total);

class GradientTree {
 public:
  explicit GradientTree(FlatGradients& gradients) : gradients_(gradients) {}

  // The step's first micro-batch here is number `first` of the whole step: 0 unless other ranks
  // have earlier ones. Before every step; without, it is 0.
  void begin(int64_t first);
  // The micro-batch is done and another follows: puts its gradients away and starts from zeros.
  void next();
  // The last micro-batch is done: leaves the sum of all in the gradients. For a step that begins
  // with 0.
  void finish();

  // For ranks, in place of finish(): what has been added so far, in order. The first has the
  // buffers with which the step began, and the last is the micro-batch at hand, whose buffers are
  // the gradients'. They are the caller's until clear().
  struct Part {
    TreeNode node;
    Tensors buffers;
  };
  std::vector<Part> parts() const;
  // Forgets numbers of micro-batches, and all parts but the first, which becomes the gradients.
  void clear();

 private:
  void add_last_pair();
  Tensors take_spare();

  FlatGradients& gradients_;
  int64_t current_ = 0;        // the micro-batch at hand
  std::vector<Part> waiting_;  // those before it
  std::vector<Tensors> spare_;
};

}  // namespace plinth::nn
