#pragma once

// What a Tensor points to. Only core/ includes this.

#include <functional>
#include <memory>
#include <vector>

#include "core/tensor.h"

namespace plinth {

class AccumulateGrad;

// A tensor's place in the autograd graph; absent where it has none.
struct AutogradMeta {
  bool requires_grad = false;
  bool grad_is_cleared = false;  // mark_grad_cleared()
  Tensor grad;
  std::shared_ptr<Node> grad_fn;  // null for a leaf
  uint32_t output_index = 0;
  std::weak_ptr<AccumulateGrad> accumulator;
  std::vector<std::function<Tensor(const Tensor&)>>
      hooks;  // of a leaf; other hooks are kept in grad_fn
  std::vector<std::function<void(Tensor&)>> post_accumulate_hooks;
  // Counts the times that an in-place op gave this base a new grad_fn, which makes its views'
  // stale.
  uint32_t history = 0;
};

struct TensorImpl {
  std::shared_ptr<Storage> storage;
  Shape shape;
  Shape strides;
  int64_t offset = 0;
  DType dtype = DType::Float32;

  std::unique_ptr<AutogradMeta> autograd;
  // For a differentiable view: the tensor that owns the storage, and its history when grad_fn was
  // set.
  Tensor base;
  uint32_t base_history = 0;

  AutogradMeta& meta() {
    if (!autograd) autograd = std::make_unique<AutogradMeta>();
    return *autograd;
  }
};

// `shape` with d counted from the end where negative; throws Error(Shape) naming op where out of
// range.
int64_t wrap_dim(int64_t d, int64_t dims, std::string_view op);

// A view of x with another geometry, tracked as one: in-place writes to it reach x's gradient. The
// caller records the gradient.
Tensor make_view(const Tensor& x, const Shape& shape, const Shape& strides, int64_t offset);

// The view of which these are the parts along dimension d, in this order, as split() makes them;
// undefined where they do not lie so. Not recorded.
Tensor whole_of(const Tensors& parts, int64_t d);

}  // namespace plinth
