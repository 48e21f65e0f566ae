#pragma once

// The tensor: a strided view of shared storage, with its place in the autograd graph. A Tensor is a
// handle; copying one copies no elements, and both copies are the same tensor.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/device.h"
#include "core/shape.h"
#include "core/storage.h"
#include "kernels/dtype.h"

namespace plinth {

class Node;
struct TensorImpl;
class Tensor;

using Tensors = std::vector<Tensor>;

struct TensorOptions {
  DType dtype = DType::Float32;
  Device device = {};
};

// One input of a Node: the gradient of output `index` of `node`. A null node takes no gradient.
struct Edge {
  std::shared_ptr<Node> node;
  uint32_t index = 0;
};

class Tensor {
 public:
  // An undefined tensor: no storage, only defined() and assignment may be used.
  Tensor() = default;
  explicit Tensor(std::shared_ptr<TensorImpl> impl) : impl_(std::move(impl)) {}
  // Uninitialised and contiguous. Throws Error(Shape) for a negative size.
  static Tensor empty(const Shape& shape, TensorOptions options = {});
  // A view of `storage`; every element must lie within it.
  static Tensor from_storage(std::shared_ptr<Storage> storage, const Shape& shape,
                             const Shape& strides, int64_t offset, DType dtype);

  bool defined() const { return impl_ != nullptr; }
  TensorImpl* impl() const { return impl_.get(); }
  bool is(const Tensor& other) const { return impl_ == other.impl_; }
  int64_t use_count() const { return impl_.use_count(); }

  // ---- geometry ----
  const Shape& shape() const;
  const Shape& strides() const;  // in elements
  int64_t offset() const;        // of the first element, in elements of the storage
  int64_t dim() const { return shape().dim(); }
  int64_t size(int64_t d) const;  // d may be negative: -1 is the last dimension
  int64_t numel() const { return shape().numel(); }
  DType dtype() const;
  Device device() const;
  TensorOptions options() const { return {dtype(), device()}; }
  bool is_contiguous() const;
  const std::shared_ptr<Storage>& storage() const;

  // The first element. Throws Error(DType) unless T is the tensor's element type.
  template <class T>
  T* data() const {
    expect_dtype(dtype_of<T>);
    return static_cast<T*>(raw_data());
  }
  void* raw_data() const;
  // The value of a tensor with one element, converted to double (or to int64).
  double item() const;
  int64_t item_int() const;

  // ---- views, and copies (core/ops/views.h); d and e may be negative ----
  // One size may be -1. A view where strides allow, else a copy.
  Tensor reshape(const Shape& shape) const;
  Tensor transpose(int64_t d, int64_t e) const;
  Tensor permute(const Shape& order) const;
  Tensor expand(const Shape& shape) const;  // -1 keeps a size
  Tensor squeeze(int64_t d) const;
  Tensor unsqueeze(int64_t d) const;
  Tensor flatten(int64_t first = 0, int64_t last = -1) const;
  Tensor slice(int64_t d, int64_t start, int64_t end, int64_t step = 1) const;
  Tensor narrow(int64_t d, int64_t start, int64_t length) const;
  Tensor select(int64_t d, int64_t index) const;
  Tensor operator[](int64_t index) const { return select(0, index); }
  Tensors unbind(int64_t d = 0) const;
  Tensors chunk(int64_t chunks, int64_t d) const;
  Tensors split(const std::vector<int64_t>& sizes, int64_t d) const;
  Tensor contiguous() const;  // itself if it is contiguous already
  Tensor clone() const;       // a contiguous copy
  Tensor to(DType dtype) const;
  Tensor to(Device device) const;

  // ---- in place; gradients flow through, and each write is counted ----
  Tensor& copy_(const Tensor& source);  // broadcasts and converts source
  Tensor& fill_(double value);
  Tensor& zero_() { return fill_(0); }
  Tensor& add_(const Tensor& other, double alpha = 1);
  Tensor& sub_(const Tensor& other);
  Tensor& mul_(const Tensor& other);
  Tensor& mul_(double factor);
  Tensor& div_(const Tensor& other);
  uint32_t version() const { return storage()->version(); }

  // ---- autograd (core/autograd.h) ----
  bool requires_grad() const;
  // For leaves of floating point only.
  Tensor& set_requires_grad(bool requires_grad = true);
  bool is_leaf() const;
  // The gradient that backward() has accumulated; undefined if there is none.
  Tensor grad() const;
  void set_grad(const Tensor& grad);
  // Gives this leaf the elements, geometry and dtype of `source`, shared, and drops its gradient:
  // every handle of the leaf sees them. Not for use between a forward pass and its backward.
  void set_data(const Tensor& source);
  // Accumulates into grad() of every leaf below this tensor. `gradient` may be left out for a
  // scalar.
  void backward(const Tensor& gradient = {}, bool retain_graph = false,
                bool create_graph = false) const;
  // The same elements, cut off from the graph.
  Tensor detach() const;
  // Calls hook(gradient) when this tensor's gradient is computed; a defined result replaces it.
  void register_hook(std::function<Tensor(const Tensor&)> hook) const;
  // For leaves: calls hook(tensor) when tensor.grad() is final for this backward().
  void register_post_accumulate_grad_hook(std::function<void(Tensor&)> hook) const;
  // The node that computes this tensor's gradient, with the number of the output that it is.
  Edge gradient_edge() const;

 private:
  void expect_dtype(DType dtype) const;

  std::shared_ptr<TensorImpl> impl_;
};

// The elements, nested in brackets and shortened, with shape and dtype.
std::string to_string(const Tensor& tensor);

}  // namespace plinth
