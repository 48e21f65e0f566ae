#pragma once

// ZeRO stage 1 (Rajbhandari et al. 2020, arXiv 1910.02054): each rank keeps the optimizer's state
// for its slices of the parameters only, updates these, and gives them to the others.
//
//   DataParallel parallel(group, gradients, {.sharded = true});
//   ShardedUpdate update({{group, &gradients, &parallel}}, optimizer);
//   for each step:
//     ...                           as in data_parallel.h
//     parallel.finish();            sums of this rank's slices
//     const double norm = update.grad_norm();
//     update.step(scale);
//
// The same bits as data parallel without shards, and as one process: each element's update, and the
// order in which the norm is added, are the same.
//
// Where ranks have different parts of a model, parameters that other ranks share have gradients,
// and an entry, of their own.

#include <memory>
#include <vector>

#include "distributed/data_parallel.h"
#include "distributed/tensor/shards.h"
#include "nn/optim/optimizer.h"

namespace plinth::distributed {

// Gradients of parameters that the ranks of a group have; all of it outlives the update. `parallel`
// is null where this rank is alone.
struct GradientShare {
  std::shared_ptr<ProcessGroup> group;
  nn::FlatGradients* gradients = nullptr;
  const DataParallel* parallel = nullptr;
};

class ShardedUpdate {
 public:
  // Moves the parameters into flat buffers, and leaves the optimizer this rank's parts of them
  // (nn::Optimizer::keep_parts). Throws Error(Argument) for an optimizer that cannot be shared, or
  // a parameter of it without a gradient.
  ShardedUpdate(const std::vector<GradientShare>& shares, nn::Optimizer& optimizer);

  // The norm of the gradients of all ranks. All ranks call it.
  double grad_norm() const;
  // The gradients that this rank has sums of.
  std::vector<GradientPart> gradient_parts(size_t share) const;
  // One step of the optimizer with grad_scale * gradient, after which all ranks have all
  // parameters. All ranks call it.
  void step(double grad_scale);

  // The optimizer's state as one process would have it of these parameters, on all ranks; and taken
  // from there. All ranks call state_dict().
  nn::StateDict state_dict() const;
  void load_state_dict(const nn::StateDict& whole);

 private:
  using Range = DataParallel::Range;
  struct Share {
    std::shared_ptr<ProcessGroup> group;
    nn::FlatGradients* gradients;
    std::vector<Range> buckets, slices;  // all, and this rank's of each
    Tensors parameters;                  // flat
  };
  struct Piece {
    size_t share, parameter;  // of its gradients' parameters
    int64_t begin;            // within it
    Range range;              // of the buffers
    Tensor values;
  };
  // A parameter of the optimizer.
  struct Place {
    size_t share, parameter;
    bool holds(const Piece& piece) const {
      return piece.share == share && piece.parameter == parameter;
    }
  };

  void add_share(const GradientShare& share);
  Place place_of(const nn::NamedTensor& parameter) const;
  void cut_pieces(size_t share);
  // Gives the pieces their gradients, whose buffers change from step to step.
  void attach_gradients() const;
  // Sends this rank's slices of flat buffers to the others, and gets theirs.
  static void gather(const Share& share, const Tensors& buffers);
  Tensors gather_state(const nn::StateDict& own, const std::string& name, size_t share) const;
  int64_t steps_of(const nn::StateDict& own) const;
  std::string state_name(const std::string& name, size_t index, const Piece* piece) const;

  nn::Optimizer& optimizer_;
  std::vector<Share> shares_;
  std::vector<Piece> pieces_;
  std::vector<Place> order_;  // of the optimizer's parameters
};

}  // namespace plinth::distributed
