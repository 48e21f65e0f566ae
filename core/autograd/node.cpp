#include "core/autograd/node.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "core/error.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/tensor_impl.h"

namespace plinth {

Node::Node(std::string_view name) : name_(name) {
  static std::atomic<uint64_t> next{0};
  sequence_ = next++;
}

void delete_node(Node* node) {
  // Deleting a node lets go of the nodes below it; they come back here and wait their turn.
  thread_local std::vector<Node*> waiting;
  thread_local bool draining = false;
  waiting.push_back(node);
  if (draining) return;
  draining = true;
  while (!waiting.empty()) {
    Node* next = waiting.back();
    waiting.pop_back();
    delete next;
  }
  draining = false;
}

// ---- leaves ----

AccumulateGrad::AccumulateGrad(Tensor leaf) : Node("accumulate_grad"), leaf_(std::move(leaf)) {
  set_last();
  outputs.push_back({leaf_.shape(), leaf_.options()});
}

bool owns_storage_alone(const Tensor& tensor) {
  return tensor.use_count() == 1 && tensor.storage().use_count() == 1 && tensor.is_contiguous();
}

namespace {

void accumulate(AutogradMeta& meta, Tensor gradient) {
  if (grad_enabled()) {
    meta.grad = meta.grad.defined() ? add(meta.grad, gradient) : gradient;
  } else if (meta.grad.defined()) {
    meta.grad.add_(gradient);
  } else {
    meta.grad = owns_storage_alone(gradient) ? std::move(gradient) : gradient.detach().clone();
  }
}

}  // namespace

Tensors AccumulateGrad::backward(const Tensors& grads) {
  AutogradMeta& meta = leaf_.impl()->meta();
  Tensor gradient = std::move(const_cast<Tensors&>(grads)[0]);
  for (const auto& hook : meta.hooks) {
    Tensor replaced = hook(gradient);
    if (replaced.defined()) gradient = std::move(replaced);
  }
  const bool is_there = gradient.is(meta.grad);  // an op wrote it there
  if (!is_there) accumulate(meta, std::move(gradient));
  meta.grad_is_cleared = false;
  for (const auto& hook : meta.post_accumulate_hooks) hook(leaf_);
  return {};
}

// Where it is only added to what is there. Hooks get the leaf's dtype.
bool AccumulateGrad::takes_unconverted(DType dtype) const {
  const AutogradMeta& meta = leaf_.impl()->meta();
  return meta.hooks.empty() && meta.grad.defined() && adds_unconverted(meta.grad.dtype(), dtype);
}

Tensor AccumulateGrad::take_cleared_grad(DType dtype) {
  AutogradMeta& meta = leaf_.impl()->meta();
  const bool fits = meta.grad_is_cleared && meta.hooks.empty() && meta.grad.dtype() == dtype &&
                    meta.grad.is_contiguous();
  if (!fits) return {};
  meta.grad_is_cleared = false;
  return meta.grad;
}

// ---- conversions ----

Conversion::Conversion(const Tensor& input) : Node("to") {
  inputs.push_back(input.gradient_edge());
}

// Hooks get the gradient in the dtype of what they were given to.
const Edge* Conversion::converts_for() const {
  const bool has_hooks = std::ranges::any_of(hooks, [](const auto& list) { return !list.empty(); });
  return has_hooks ? nullptr : inputs.data();
}

// ---- saved tensors ----

SavedTensor::SavedTensor(const Tensor& tensor, const Node* owner) {
  if (!tensor.defined()) return;
  version_ = tensor.version();
  if (tensor.requires_grad() && tensor.is_leaf()) {
    tensor_ = tensor;
    return;
  }
  tensor_ = tensor.detach();
  history_ = tensor.gradient_edge();
  is_output_ = history_.node && history_.node.get() == owner;
  if (is_output_) history_.node = nullptr;
}

Tensor SavedTensor::unpack(const std::shared_ptr<Node>& owner) const {
  if (!tensor_.defined()) return {};
  check(tensor_.version() == version_, ErrorKind::Argument, owner->name(), "a tensor of shape ",
        tensor_.shape(), " needed for its gradient was changed in place: it is at version ",
        tensor_.version(), ", expected ", version_);
  const std::shared_ptr<Node>& node = is_output_ ? owner : history_.node;
  if (!node) return tensor_;
  Tensor joined = tensor_.detach();
  set_history(joined, node, history_.index);
  return joined;
}

// ---- ops ----

void OpNode::save(const Tensors& tensors) {
  saved_.reserve(tensors.size());
  for (const Tensor& tensor : tensors) saved_.emplace_back(tensor, this);
}

void OpNode::release() {
  saved_.clear();
  backward_ = nullptr;
  released_ = true;
}

Tensors OpNode::backward(const Tensors& grads) {
  check(!released_, ErrorKind::Argument, name(),
        "backward ran through this op before and freed what it saved; pass retain_graph to the "
        "first backward");
  BackwardContext context;
  const std::shared_ptr<Node> self = shared_from_this();
  for (const SavedTensor& saved : saved_) context.saved_.push_back(saved.unpack(self));
  for (size_t i = 0; i < inputs.size(); ++i)
    context.needs_.push_back(inputs[i].node != nullptr && (wanted.empty() || wanted[i]));
  context.pass_ = pass;
  if (outputs.size() == 1) return backward_(context, grads);
  Tensors filled = grads;
  for (size_t i = 0; i < filled.size(); ++i) {
    if (!filled[i].defined()) filled[i] = zeros(outputs[i].shape, outputs[i].options);
  }
  return backward_(context, filled);
}

}  // namespace plinth
