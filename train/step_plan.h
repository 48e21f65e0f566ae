#pragma once

// How ranks come to the gradients of a step where they have different parts of a model. Without a
// plan the trainer has all of the model on every rank.

#include <cstdint>
#include <functional>
#include <vector>

#include "distributed/process_group.h"
#include "kernels/dtype.h"
#include "nn/optim/optimizer.h"
#include "nn/state_dict.h"
#include "train/batch_source.h"

namespace plinth {

class StepPlan {
 public:
  virtual ~StepPlan() = default;

  // Ranks that have micro-batches of their own, in the order of these; ranks that have the same
  // ones are in different groups.
  virtual const distributed::ProcessGroup& data_group() const = 0;

  struct Step {
    int64_t number = 0;         // optimizer steps before
    int64_t micro_batches = 0;  // of all ranks
    int64_t micro_batch = 0;    // samples
    DType precision = DType::Float32;
  };
  // Takes this rank's micro-batches from `data`, and leaves the step's sums in the gradients of its
  // parameters. Sets the losses that are known here, of `losses`, which are all of the step's and
  // 0: each is set on one rank. All ranks call it, and what follows.
  virtual void run(const Step& step, BatchSource& data, std::vector<double>& losses) = 0;
  // Of the gradients of all ranks, each parameter's once.
  virtual double grad_norm() const = 0;
  // The optimizer's step with factor * gradient.
  virtual void step(double factor) = 0;
  // Of the last run(): for how long it waited for others.
  virtual double exposed_seconds() const = 0;

  // This rank's.
  virtual nn::StateDict own_parameters() const = 0;
  // Throws Error(Config) where ranks have different values of the same parameters.
  virtual void agree_on_weights() const = 0;
  // The optimizer's state of all parameters, on rank 0; where layers are cut, of its part of them,
  // and on the first rank of those with each other part.
  virtual nn::StateDict gather_state() = 0;
  // Takes this rank's part of such a state.
  virtual void load_state(const nn::StateDict& whole) = 0;
  // The same of tensors of this rank's parameters, that have a word before their names:
  // "average.NAME". What has no such name stays on rank 0.
  virtual nn::StateDict gather(const nn::StateDict& own) = 0;
  // Calls `load`, which writes into all parameters of the model, and keeps this rank's.
  virtual void load_weights(const std::function<void()>& load) = 0;
};

}  // namespace plinth
