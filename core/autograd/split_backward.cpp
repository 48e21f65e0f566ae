#include "core/split_backward.h"

#include <utility>
#include <vector>

#include "core/autograd.h"
#include "core/autograd/node.h"
#include "core/error.h"

namespace plinth {

struct SplitBackward::Rest {
  Tensors outputs, gradients;  // where there are no inputs
  std::vector<Deferred> deferred;
};

SplitBackward::SplitBackward(const Tensors& outputs, const Tensors& gradients,
                             const Tensors& inputs)
    : rest_(std::make_unique<Rest>()) {
  if (inputs.empty()) {
    rest_->outputs = outputs;
    rest_->gradients = gradients;
    return;
  }
  for (const Tensor& input : inputs) {
    check(input.is_leaf() && input.requires_grad(), ErrorKind::Argument, "SplitBackward",
          "an input takes no gradient, expected leaves that do");
  }
  input_gradients_ = run_backward_to(outputs, gradients, inputs, rest_->deferred);
  for (const Tensor& gradient : input_gradients_) {
    check(gradient.defined(), ErrorKind::Argument, "SplitBackward",
          "an input does not matter to the outputs");
  }
}

SplitBackward::~SplitBackward() = default;
SplitBackward::SplitBackward(SplitBackward&&) noexcept = default;
SplitBackward& SplitBackward::operator=(SplitBackward&&) noexcept = default;

void SplitBackward::finish() {
  check(rest_ != nullptr, ErrorKind::Argument, "SplitBackward", "finish() was called twice");
  const std::unique_ptr<Rest> rest = std::move(rest_);
  if (!rest->outputs.empty()) {
    backward(rest->outputs, rest->gradients);
  } else {
    run_deferred(std::move(rest->deferred));
  }
}

}  // namespace plinth
