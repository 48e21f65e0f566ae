// Activation checkpointing: memory for a second forward pass.

#include "core/checkpoint.h"

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
  CheckpointNode(std::function<Tensors(const Tensors&)> f, const Tensors& arguments,
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
    const Tensors outputs = replay(arguments);
    Tensors roots, gradients;
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (!outputs[i].requires_grad() || !grads[i].defined()) continue;
      roots.push_back(outputs[i]);
      gradients.push_back(grads[i]);
    }
    if (!roots.empty()) run_backward(roots, gradients, nullptr, {});
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

  Tensors replay(const Tensors& arguments) {
    const GradModeGuard record(true);
    const AutocastGuard autocast(autocast_);
    const kernels::PhiloxKey now = std::exchange(random_, generator().state());
    generator().restore(now);
    Tensors outputs = f_(arguments);
    generator().restore(random_);
    random_ = now;
    return outputs;
  }

  std::function<Tensors(const Tensors&)> f_;
  std::vector<SavedTensor> arguments_;
  kernels::PhiloxKey random_;
  DType autocast_ = autocast_dtype();
};

}  // namespace

Tensors checkpoint_many(const std::function<Tensors(const Tensors&)>& f, const Tensors& inputs) {
  if (!grad_enabled()) return f(inputs);
  const kernels::PhiloxKey random = generator().state();
  Tensors outputs;
  {
    const NoGradGuard no_grad;
    for (const Tensor& output : f(inputs)) outputs.push_back(output.detach());
  }
  const auto node = make_node<CheckpointNode>(f, inputs, random);
  for (const Tensor& input : inputs)
    node->inputs.push_back(input.defined() ? input.gradient_edge() : Edge{});
  for (uint32_t i = 0; i < outputs.size(); ++i) {
    node->outputs.push_back({outputs[i].shape(), outputs[i].options()});
    if (is_floating_point(outputs[i].dtype())) set_history(outputs[i], node, i);
  }
  return outputs;
}

Tensor checkpoint(const std::function<Tensor(const Tensors&)>& f, const Tensors& inputs) {
  return checkpoint_many([f](const Tensors& arguments) { return Tensors{f(arguments)}; },
                         inputs)[0];
}

}  // namespace plinth
