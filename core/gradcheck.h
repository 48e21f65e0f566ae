#pragma once

// Comparing an op's gradient with finite differences, for the authors of ops.

#include <functional>
#include <string>

#include "core/tensor.h"

namespace plinth {

struct GradcheckOptions {
  double step = 1e-6;
  double absolute = 1e-6;  // |numeric - analytic| <= absolute + relative |analytic|
  double relative = 1e-4;
};

// "" if the gradients of f at inputs agree with central differences, else which element differs and
// by how much. Inputs that require grad are differentiated; they must be float64 leaves. f may
// return any number of outputs; each is weighted by fixed, irregular numbers, so that a wrong mix
// shows. The tensors' values are perturbed and put back.
std::string gradcheck(const std::function<Tensors(const Tensors&)>& f, const Tensors& inputs,
                      GradcheckOptions options = {});

// The same for the gradient's own gradient, with respect to the inputs and to the gradients of the
// outputs.
std::string gradgradcheck(const std::function<Tensors(const Tensors&)>& f, const Tensors& inputs,
                          GradcheckOptions options = {});

}  // namespace plinth
