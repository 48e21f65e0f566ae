#pragma once

// Activation checkpointing of functions with several results; core/autograd.h has the usual one.

#include <functional>

#include "core/tensor.h"

namespace plinth {

// checkpoint() of core/autograd.h for an f that gives several tensors: those that take gradients
// are of floating point.
Tensors checkpoint_many(const std::function<Tensors(const Tensors&)>& f, const Tensors& inputs);

}  // namespace plinth
