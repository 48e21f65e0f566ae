// Activation checkpointing: memory for a second forward pass.

#include <utility>

#include "core/autocast.h"
#include "core/autograd.h"
#include "core/autograd/node.h"
#include "core/error.h"
#include "core/random.h"

namespace plinth {
namespace {

class CheckpointNode final : public Node {
 public:
  CheckpointNode(std::function<Tensor(const Tensors&)> f, const Tensors& arguments,
                 const kernels::PhiloxKey& random)
      : Node("checkpoint"), f_(std::move(f)), random_(random) {
    for (const Tensor& argument : arguments) arguments_.emplace_back(argument, this);
  }

  Tensors backward(const Tensors& grads) override {
    check(f_ != nullptr, ErrorKind::Argument, name(),
          "backward ran through this op before and freed what it saved; pass retain_graph to the "
          "first backward");
    check(!grad_enabled(), ErrorKind::Argument, name(), "has no second derivative");
    Tensors arguments = leaves();
    const Tensor output = replay(arguments);
    if (output.requires_grad()) run_backward({output}, grads, nullptr, {});
    Tensors results;
    for (const Tensor& argument : arguments)
      results.push_back(argument.defined() ? argument.grad() : Tensor());
    return results;
  }

  void release() override {
    arguments_.clear();
    f_ = nullptr;
  }

 private:
  // The saved arguments as leaves of a graph of their own.
  Tensors leaves() {
    Tensors result;
    for (size_t i = 0; i < arguments_.size(); ++i) {
      const Tensor argument = arguments_[i].unpack(shared_from_this());
      result.push_back(argument.defined() ? argument.detach() : argument);
      if (inputs[i].node) result.back().set_requires_grad();
    }
    return result;
  }

  Tensor replay(const Tensors& arguments) {
    const GradModeGuard record(true);
    const AutocastGuard autocast(autocast_);
    const kernels::PhiloxKey now = std::exchange(random_, generator().state());
    generator().restore(now);
    Tensor output = f_(arguments);
    generator().restore(random_);
    random_ = now;
    return output;
  }

  std::function<Tensor(const Tensors&)> f_;
  std::vector<SavedTensor> arguments_;
  kernels::PhiloxKey random_;
  DType autocast_ = autocast_dtype();
};

}  // namespace

Tensor checkpoint(const std::function<Tensor(const Tensors&)>& f, const Tensors& inputs) {
  if (!grad_enabled()) return f(inputs);
  const kernels::PhiloxKey random = generator().state();
  Tensor output;
  {
    const NoGradGuard no_grad;
    output = f(inputs).detach();
  }
  const auto node = make_node<CheckpointNode>(f, inputs, random);
  for (const Tensor& input : inputs)
    node->inputs.push_back(input.defined() ? input.gradient_edge() : Edge{});
  node->outputs.push_back({output.shape(), output.options()});
  set_history(output, node, 0);
  return output;
}

}  // namespace plinth
