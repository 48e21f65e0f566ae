#pragma once

#include <utility>

#include "core/ops/elementwise.h"
#include "core/tensor.h"

namespace plinth::nn {

// A residual stream whose last branch is not added to it yet: the norm that reads the two adds them
// in the same pass over memory (Norm::add()). Blocks hand it to one another.
struct Residual {
  // A stream by itself; or one and a branch [its shape], in its dtype or a narrower one.
  Residual(Tensor the_stream, Tensor its_branch = {})
      : stream(std::move(the_stream)), branch(std::move(its_branch)) {}

  Tensor stream;
  Tensor branch;  // undefined: there is none

  Tensor sum() const { return branch.defined() ? stream + branch : stream; }
};

// What an observer sees of a block (nn/module.h): its last op's output, whose gradient is complete
// before any of the block's own work in a backward pass.
inline const Tensor& observed(const Residual& x) {
  return x.branch.defined() ? x.branch : x.stream;
}

}  // namespace plinth::nn
