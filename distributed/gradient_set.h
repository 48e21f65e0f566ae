#pragma once

// The gradients of parameters that the same ranks have, summed over a step: flat buffers, a tree
// over micro-batches, and data parallelism, in the order of calls that these want.
//
//   GradientSet set(parameters, group);
//   for each step:
//     set.begin(micro_batches);
//     for each micro-batch of this rank: { set.next(); loss.backward(); }
//     set.finish();

#include <memory>
#include <optional>

#include "distributed/data_parallel.h"
#include "distributed/process_group.h"
#include "distributed/zero.h"
#include "nn/flat.h"
#include "nn/gradient_tree.h"

namespace plinth::distributed {

class GradientSet {
 public:
  // `group` has the ranks with these parameters, which share a step's micro-batches.
  GradientSet(const Tensors& parameters, const std::shared_ptr<ProcessGroup>& group,
              const DataParallelOptions& options);
  GradientSet(const GradientSet&) = delete;
  GradientSet& operator=(const GradientSet&) = delete;

  // A step of `total` micro-batches in all ranks of the group. Throws Error(Argument) unless they
  // can be shared equally.
  void begin(int64_t total);
  // The backward pass of this rank's next micro-batch follows.
  void next();
  // All are done: the gradients become the sum over the step. All ranks call it.
  void finish();

  // Options with `sharded`: finish() leaves this rank's slices of the sum, for a ShardedUpdate.
  GradientShare share() { return {group_, &gradients_, parallel_ ? &*parallel_ : nullptr}; }
  nn::FlatGradients& gradients() { return gradients_; }

  double exposed_seconds() const { return parallel_ ? parallel_->exposed_seconds() : 0; }

 private:
  std::shared_ptr<ProcessGroup> group_;
  nn::FlatGradients gradients_;
  nn::GradientTree tree_;
  std::optional<DataParallel> parallel_;
  Share share_;
  int64_t total_ = 0, begun_ = 0;
};

}  // namespace plinth::distributed
