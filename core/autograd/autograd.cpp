#include "core/autograd.h"

#include <algorithm>
#include <utility>

#include "core/autograd/anomaly.h"
#include "core/autograd/node.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/ops/elementwise.h"
#include "core/ops/reduce.h"
#include "core/ops/views.h"
#include "core/tensor_impl.h"

namespace plinth {
namespace {

thread_local bool grad_mode = true;
thread_local bool anomaly_mode = false;

bool takes_part(const Tensor& tensor) {
  return tensor.defined() && tensor.requires_grad();
}

template <class Range>
bool any_takes_part(const Range& tensors) {
  return grad_mode && std::ranges::any_of(tensors, takes_part);
}

std::vector<Edge> edges_of(const Tensors& inputs) {
  std::vector<Edge> edges(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (takes_part(inputs[i])) edges[i] = inputs[i].gradient_edge();
  }
  return edges;
}

void tell_inputs(const Tensors& inputs) {
  if (ScopeListener* listener = scope_listener()) listener->inputs(inputs);
}

}  // namespace

bool grad_enabled() {
  return grad_mode;
}

NoGradGuard::NoGradGuard() : previous_(std::exchange(grad_mode, false)) {}
NoGradGuard::~NoGradGuard() {
  grad_mode = previous_;
}
GradModeGuard::GradModeGuard(bool enabled) : previous_(std::exchange(grad_mode, enabled)) {}
GradModeGuard::~GradModeGuard() {
  grad_mode = previous_;
}
AnomalyGuard::AnomalyGuard() : previous_(std::exchange(anomaly_mode, true)) {}
AnomalyGuard::~AnomalyGuard() {
  anomaly_mode = previous_;
}
AnomalyPause::AnomalyPause() : previous_(std::exchange(anomaly_mode, false)) {}
AnomalyPause::~AnomalyPause() {
  anomaly_mode = previous_;
}

bool anomaly_enabled() {
  return anomaly_mode;
}

void check_no_nan(const Tensor& tensor, std::string_view op) {
  if (!is_floating_point(tensor.dtype())) return;
  const NoGradGuard no_grad;
  const AnomalyPause pause;
  const Tensor plain = tensor.detach();
  const bool found = any(ne(plain, plain)).item() != 0;
  check(!found, ErrorKind::Argument, op, "made a NaN in a result of shape ", tensor.shape());
}

void mark_grad_cleared(const Tensor& leaf) {
  check(leaf.is_leaf() && leaf.grad().defined(), ErrorKind::Argument, "mark_grad_cleared",
        "the tensor is not a leaf with a gradient");
  leaf.impl()->meta().grad_is_cleared = true;
}

bool needs_grad(std::initializer_list<Tensor> tensors) {
  return any_takes_part(tensors);
}
bool needs_grad(const Tensors& tensors) {
  return any_takes_part(tensors);
}

void set_history(Tensor& output, const std::shared_ptr<Node>& node, uint32_t index) {
  AutogradMeta& meta = output.impl()->meta();
  meta.requires_grad = true;
  meta.grad_fn = node;
  meta.output_index = index;
}

Tensors record_multi(std::string_view op, const Tensors& inputs, Tensors outputs,
                     const Tensors& saved, BackwardMultiFn backward) {
  tell_inputs(inputs);
  if (anomaly_mode) {
    for (const Tensor& output : outputs) check_no_nan(output, op);
  }
  if (!any_takes_part(inputs)) return outputs;
  const auto node = make_node<OpNode>(op, std::move(backward));
  node->inputs = edges_of(inputs);
  for (uint32_t i = 0; i < outputs.size(); ++i) {
    node->outputs.push_back({outputs[i].shape(), outputs[i].options()});
    if (is_floating_point(outputs[i].dtype())) set_history(outputs[i], node, i);
  }
  node->save(saved);
  return outputs;
}

Tensor record(std::string_view op, const Tensors& inputs, Tensor output, const Tensors& saved,
              BackwardManyFn backward) {
  if (!anomaly_mode && !any_takes_part(inputs)) {
    tell_inputs(inputs);
    return output;
  }
  BackwardMultiFn multi = [backward = std::move(backward)](const BackwardContext& context,
                                                           const Tensors& grads) {
    return backward(context, grads[0]);
  };
  return record_multi(op, inputs, {std::move(output)}, saved, std::move(multi))[0];
}

Tensor record_conversion(const Tensor& input, Tensor output) {
  tell_inputs({input});
  if (anomaly_mode) check_no_nan(output, "to");
  if (!any_takes_part(Tensors{input}) || !is_floating_point(output.dtype())) return output;
  const auto node = make_node<Conversion>(input);
  node->outputs.push_back({output.shape(), output.options()});
  set_history(output, node, 0);
  return output;
}

Tensor record_undifferentiable(std::string_view op, const Tensors& inputs, Tensor output) {
  return record(op, inputs, std::move(output), {},
                [op = std::string(op)](const BackwardContext&, const Tensor&) -> Tensors {
                  throw Error(ErrorKind::Argument, op, "has no gradient, but one was asked for");
                });
}

Tensor custom_op(std::string_view op, const Tensors& inputs,
                 const std::function<Tensor(const Tensors& inputs)>& forward,
                 std::function<Tensors(const Tensors& inputs, const Tensor& grad)> backward) {
  Tensor output;
  {
    const NoGradGuard no_grad;
    output = forward(inputs);
  }
  check(output.defined(), ErrorKind::Argument, op, "forward returned an undefined tensor");
  for (const Tensor& input : inputs) {
    if (output.is(input)) output = input.clone().detach();
  }
  return record(op, inputs, output, inputs,
                [backward = std::move(backward)](const BackwardContext& context, const Tensor& dy) {
                  Tensors saved;
                  for (size_t i = 0; i < context.saved_count(); ++i)
                    saved.push_back(context.saved(i));
                  return backward(saved, dy);
                });
}

// ---- in-place writes ----

namespace {

// Backward of a write to a part of `base`: what was there before gets no gradient any more, the
// value that was written gets that part's.
void rebase_view(Tensor& self, const Tensor& value) {
  Tensor base = self.impl()->base;
  check(base.is_contiguous(), ErrorKind::Argument, "in-place op",
        "cannot differentiate a write through a view of a non-contiguous tensor");
  const Shape shape = self.shape();
  const Shape strides = self.strides();
  const int64_t offset = self.offset() - base.offset();
  const auto node = make_node<OpNode>("write_view", [=](const BackwardContext& context,
                                                        const Tensors& grads) {
    const Tensor dy = grads[0].contiguous();
    Tensor d_base;
    if (context.needs(0)) {
      d_base = dy.clone();
      Tensor part = as_strided(d_base, shape, strides, offset);
      part.fill_(0);
    }
    return Tensors{d_base, context.needs(1) ? as_strided(dy, shape, strides, offset) : Tensor()};
  });
  node->inputs = edges_of({base, value});
  node->outputs.push_back({base.shape(), base.options()});
  set_history(base, node, 0);
  ++base.impl()->meta().history;
}

}  // namespace

void rebase_history(Tensor& self, const Tensor& value) {
  if (self.impl()->base.defined()) {
    if (any_takes_part(Tensors{self.impl()->base, value})) rebase_view(self, value);
    return;
  }
  if (!any_takes_part(Tensors{self, value})) return;
  AutogradMeta& meta = self.impl()->meta();
  const Edge edge = takes_part(value) ? value.gradient_edge() : Edge{};
  meta.requires_grad = edge.node != nullptr;
  meta.grad_fn = edge.node;
  meta.output_index = edge.index;
  ++meta.history;
}

}  // namespace plinth
