#pragma once

// ZeRO stage 1 (Rajbhandari et al. 2020, arXiv 1910.02054): each rank keeps the optimizer's state
// for its slices of the parameters only, updates these, and gives them to the others.
//
//   DataParallel parallel(group, gradients, {.sharded = true});
//   ShardedUpdate update(group, gradients, parallel, optimizer);
//   for each step:
//     ...                           as in data_parallel.h
//     parallel.finish();            sums of this rank's slices
//     const double norm = update.grad_norm();
//     update.step(scale);
//
// The same bits as data parallel without shards, and as one process: each element's update, and the
// order in which the norm is added, are the same.

#include <memory>
#include <vector>

#include "distributed/data_parallel.h"
#include "nn/optim/optimizer.h"

namespace plinth::distributed {

class ShardedUpdate {
 public:
  // Moves the parameters into flat buffers, and leaves the optimizer this rank's parts of them
  // (nn::Optimizer::keep_parts). All outlive this. Throws Error(Argument) for an optimizer that
  // cannot be shared, or a parameter of it without a gradient in `gradients`.
  ShardedUpdate(std::shared_ptr<ProcessGroup> group, nn::FlatGradients& gradients,
                const DataParallel& parallel, nn::Optimizer& optimizer);

  // The norm of the gradients of all ranks. All ranks call it.
  double grad_norm() const;
  // One step of the optimizer with grad_scale * gradient, after which all ranks have all
  // parameters. All ranks call it.
  void step(double grad_scale);

  // The optimizer's state as one process would have it, on all ranks; and taken from there. All
  // ranks call state_dict().
  nn::StateDict state_dict() const;
  void load_state_dict(const nn::StateDict& whole);

  // Of this rank, one of each bucket.
  const std::vector<DataParallel::Range>& slices() const { return slices_; }

 private:
  using Range = DataParallel::Range;
  struct Piece {
    size_t parameter;  // of gradients' parameters
    int64_t begin;     // within it
    Range range;       // of the buffers
    Tensor values;
  };

  void cut_pieces();
  // Gives the pieces their gradients, whose buffers change from step to step.
  void attach_gradients() const;
  // Sends this rank's slices of flat buffers to the others, and gets theirs.
  void gather(const Tensors& buffers) const;
  Tensors gather_state(const nn::StateDict& own, const std::string& name) const;
  std::string state_name(const std::string& name, size_t index, const Piece* piece) const;

  std::shared_ptr<ProcessGroup> group_;
  nn::FlatGradients& gradients_;
  nn::Optimizer& optimizer_;
  std::vector<Range> buckets_, slices_;  // all, and this rank's of each
  Tensors parameters_;                   // flat
  std::vector<Piece> pieces_;
  std::vector<size_t> order_;  // of the optimizer's parameters among those of gradients
};

}  // namespace plinth::distributed
