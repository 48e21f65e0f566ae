#pragma once

// A backward pass in two halves: gradients of inputs at once, those of the weights when there is
// time for them. Pipeline stages do the first as early as they can, since the stage before waits
// for it (Qi et al. 2023, arXiv 2401.10241).

#include <memory>

#include "core/tensor.h"

namespace plinth {

class SplitBackward {
 public:
  // The backward pass from `outputs`, whose gradients these are, or 1 for a scalar where there is
  // none; as far as the gradients of `inputs`, leaves, need it. Without inputs nothing is done yet.
  // Throws what backward() does, Error(Argument) for an input that does not matter.
  SplitBackward(const Tensors& outputs, const Tensors& gradients, const Tensors& inputs);
  ~SplitBackward();
  SplitBackward(SplitBackward&&) noexcept;
  SplitBackward& operator=(SplitBackward&&) noexcept;

  // Of `inputs`, whose grad() is left alone.
  const Tensors& input_gradients() const { return input_gradients_; }
  // The rest: accumulates into grad() of every other leaf, once. Ops run again for the gradients
  // that were left out; those that compute all at once repeat them. The same bits as one
  // backward().
  void finish();

  struct Rest;

 private:
  std::unique_ptr<Rest> rest_;
  Tensors input_gradients_;
};

}  // namespace plinth
