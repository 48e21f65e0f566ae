#include "core/split_backward.h"

#include <utility>
#include <vector>

#include "core/autograd/node.h"
#include "core/error.h"

namespace plinth {

struct SplitBackward::Rest {
  Tensor output, gradient;  // where there is no input
  std::vector<Deferred> deferred;
};

SplitBackward::SplitBackward(const Tensor& output, const Tensor& gradient, const Tensor& input)
    : rest_(std::make_unique<Rest>()) {
  if (!input.defined()) {
    rest_->output = output;
    rest_->gradient = gradient;
    return;
  }
  check(input.is_leaf() && input.requires_grad(), ErrorKind::Argument, "SplitBackward",
        "input takes no gradient, expected a leaf that does");
  input_gradient_ = run_backward_to(output, gradient, input, rest_->deferred);
  check(input_gradient_.defined(), ErrorKind::Argument, "SplitBackward",
        "input does not matter to the output");
}

SplitBackward::~SplitBackward() = default;
SplitBackward::SplitBackward(SplitBackward&&) noexcept = default;
SplitBackward& SplitBackward::operator=(SplitBackward&&) noexcept = default;

void SplitBackward::finish() {
  check(rest_ != nullptr, ErrorKind::Argument, "SplitBackward", "finish() was called twice");
  const std::unique_ptr<Rest> rest = std::move(rest_);
  if (rest->output.defined()) {
    rest->output.backward(rest->gradient);
  } else {
    run_deferred(std::move(rest->deferred));
  }
}

}  // namespace plinth
