#pragma once

// A backward pass in two halves: the gradient of an input at once, those of the weights when there
// is time for them. Pipeline stages do the first as early as they can, since the stage before waits
// for it (Qi et al. 2023, arXiv 2401.10241).

#include <memory>

#include "core/tensor.h"

namespace plinth {

class SplitBackward {
 public:
  // The backward pass from `output`, whose gradient this is, or 1 for a scalar if it is undefined;
  // as far as the gradient of `input`, a leaf, needs it. Without an input nothing is done yet.
  // Throws what backward() does, Error(Argument) for an input that does not matter.
  SplitBackward(const Tensor& output, const Tensor& gradient, const Tensor& input);
  ~SplitBackward();
  SplitBackward(SplitBackward&&) noexcept;
  SplitBackward& operator=(SplitBackward&&) noexcept;

  // Of `input`; its grad() is left alone.
  const Tensor& input_gradient() const { return input_gradient_; }
  // The rest: accumulates into grad() of every other leaf, once. Ops run again for the gradients
  // that were left out; those that compute all at once repeat them. The same bits as one
  // backward().
  void finish();

  struct Rest;

 private:
  std::unique_ptr<Rest> rest_;
  Tensor input_gradient_;
};

}  // namespace plinth
