#include "core/tensor.h"

#include <sstream>
#include <utility>

#include "core/autograd.h"
#include "core/autograd/node.h"
#include "core/dry_run.h"
#include "core/error.h"
#include "core/ops/factories.h"
#include "core/ops/views.h"
#include "core/tensor_impl.h"

namespace plinth {
namespace {

TensorImpl& impl_of(const Tensor& tensor, std::string_view what) {
  check(tensor.defined(), ErrorKind::Argument, what, "the tensor is undefined");
  return *tensor.impl();
}

// Whether every element of the geometry lies within `bytes`.
bool fits(const Shape& shape, const Shape& strides, int64_t offset, DType dtype, size_t bytes) {
  if (shape.numel() == 0) return offset >= 0;
  int64_t low = offset, high = offset;
  for (int64_t d = 0; d < shape.dim(); ++d) {
    int64_t reach = 0;
    int64_t& end = strides[d] < 0 ? low : high;
    if (__builtin_mul_overflow(shape[d] - 1, strides[d], &reach) ||
        __builtin_add_overflow(end, reach, &end)) {
      return false;
    }
  }
  return low >= 0 && static_cast<uint64_t>(high) < bytes / size_of(dtype);
}

void check_sizes(const Shape& shape) {
  int64_t product = 1;
  for (int64_t size : shape) {
    check(size >= 0, ErrorKind::Shape, "empty", "shape ", shape, " has a negative size");
    check(!__builtin_mul_overflow(product, size, &product) && product <= INT64_MAX / 16,
          ErrorKind::Shape, "empty", "shape ", shape, " has more elements than memory can hold");
  }
}

}  // namespace

Tensor Tensor::empty(const Shape& shape, TensorOptions options) {
  check_sizes(shape);
  const size_t bytes = static_cast<size_t>(shape.numel()) * size_of(options.dtype);
  auto impl = std::make_shared<TensorImpl>();
  impl->storage = std::make_shared<Storage>(bytes, options.device);
  if (is_dry_run()) detail::tell_shape(impl->storage->data(), shape, options.dtype);
  impl->shape = shape;
  impl->strides = shape.contiguous_strides();
  impl->dtype = options.dtype;
  return Tensor(std::move(impl));
}

Tensor Tensor::from_storage(std::shared_ptr<Storage> storage, const Shape& shape,
                            const Shape& strides, int64_t offset, DType dtype) {
  check(shape.dim() == strides.dim(), ErrorKind::Shape, "from_storage", "shape ", shape,
        " and strides ", strides, " differ in length");
  check(fits(shape, strides, offset, dtype, storage->bytes()), ErrorKind::Shape, "from_storage",
        "shape ", shape, " with strides ", strides, " and offset ", offset, " reaches beyond the ",
        storage->bytes(), " bytes");
  auto impl = std::make_shared<TensorImpl>();
  impl->storage = std::move(storage);
  impl->shape = shape;
  impl->strides = strides;
  impl->offset = offset;
  impl->dtype = dtype;
  return Tensor(std::move(impl));
}

Tensor make_view(const Tensor& x, const Shape& shape, const Shape& strides, int64_t offset) {
  Tensor view = Tensor::from_storage(x.storage(), shape, strides, offset, x.dtype());
  if (grad_enabled()) {
    view.impl()->base = x.impl()->base.defined() ? x.impl()->base : x;
    const auto& meta = view.impl()->base.impl()->autograd;
    view.impl()->base_history = meta ? meta->history : 0;
  }
  return view;
}

int64_t wrap_dim(int64_t d, int64_t dims, std::string_view op) {
  const int64_t wrapped = d < 0 ? d + dims : d;
  check(wrapped >= 0 && wrapped < dims, ErrorKind::Shape, op, "dimension ", d,
        " is out of range for ", dims, " dimensions");
  return wrapped;
}

// ---- geometry ----

const Shape& Tensor::shape() const {
  return impl_of(*this, "shape").shape;
}
const Shape& Tensor::strides() const {
  return impl_of(*this, "strides").strides;
}
int64_t Tensor::offset() const {
  return impl_of(*this, "offset").offset;
}
int64_t Tensor::size(int64_t d) const {
  return shape()[wrap_dim(d, dim(), "size")];
}
DType Tensor::dtype() const {
  return impl_of(*this, "dtype").dtype;
}
Device Tensor::device() const {
  return impl_of(*this, "device").storage->device();
}
const std::shared_ptr<Storage>& Tensor::storage() const {
  return impl_of(*this, "storage").storage;
}

bool Tensor::is_contiguous() const {
  int64_t expected = 1;
  for (int64_t d = dim() - 1; d >= 0; --d) {
    if (shape()[d] == 1) continue;
    if (strides()[d] != expected) return numel() == 0;
    expected *= shape()[d];
  }
  return true;
}

void* Tensor::raw_data() const {
  return static_cast<char*>(storage()->data()) + offset() * static_cast<int64_t>(size_of(dtype()));
}

void Tensor::expect_dtype(DType expected) const {
  check(dtype() == expected, ErrorKind::DType, "data", "the tensor has dtype ", name(dtype()),
        ", expected ", name(expected));
}

double Tensor::item() const {
  check(numel() == 1, ErrorKind::Shape, "item", "shape ", shape(), " has ", numel(),
        " elements, expected 1");
  return to_vector(*this)[0];
}

int64_t Tensor::item_int() const {
  check(numel() == 1, ErrorKind::Shape, "item_int", "shape ", shape(), " has ", numel(),
        " elements, expected 1");
  const NoGradGuard no_grad;
  return *to(DType::Int64).to(Device{}).data<int64_t>();
}

// ---- autograd ----

namespace {

// Gives a view whose base was written in place since a gradient that goes through the base's new
// one.
void refresh_view(TensorImpl& impl) {
  if (!impl.base.defined()) return;
  const auto& base_meta = impl.base.impl()->autograd;
  if (!base_meta || base_meta->history == impl.base_history) return;
  impl.base_history = base_meta->history;
  impl.meta().requires_grad = false;
  impl.meta().grad_fn = nullptr;
  if (!impl.base.requires_grad()) return;
  const GradModeGuard record(true);
  const Tensor fresh =
      as_strided(impl.base, impl.shape, impl.strides, impl.offset - impl.base.offset());
  const Edge edge = fresh.gradient_edge();
  impl.meta().requires_grad = true;
  impl.meta().grad_fn = edge.node;
  impl.meta().output_index = edge.index;
}

}  // namespace

bool Tensor::requires_grad() const {
  TensorImpl& impl = impl_of(*this, "requires_grad");
  refresh_view(impl);
  return impl.autograd && impl.autograd->requires_grad;
}

Tensor& Tensor::set_requires_grad(bool requires_grad) {
  check(is_leaf(), ErrorKind::Argument, "set_requires_grad",
        "the tensor was computed by an op; only a leaf can be set");
  check(!requires_grad || is_floating_point(dtype()), ErrorKind::DType, "set_requires_grad",
        "got dtype ", name(dtype()), ", only floating point can have gradients");
  impl_->meta().requires_grad = requires_grad;
  return *this;
}

bool Tensor::is_leaf() const {
  TensorImpl& impl = impl_of(*this, "is_leaf");
  refresh_view(impl);
  return !impl.autograd || !impl.autograd->grad_fn;
}

Tensor Tensor::grad() const {
  const TensorImpl& impl = impl_of(*this, "grad");
  return impl.autograd ? impl.autograd->grad : Tensor();
}

void Tensor::set_grad(const Tensor& grad) {
  check(!grad.defined() || grad.shape() == shape(), ErrorKind::Shape, "set_grad",
        "gradient has shape ", grad.defined() ? grad.shape() : Shape{}, ", expected ", shape());
  AutogradMeta& meta = impl_of(*this, "set_grad").meta();
  meta.grad = grad;
  meta.grad_is_cleared = false;
}

void Tensor::set_data(const Tensor& source) {
  check(is_leaf() && !impl_->base.defined(), ErrorKind::Argument, "set_data",
        "the tensor was computed by an op; only a leaf can be given other elements");
  check(!requires_grad() || is_floating_point(source.dtype()), ErrorKind::DType, "set_data",
        "source has dtype ", name(source.dtype()), ", but a leaf that requires grad is floating");
  const TensorImpl& from = impl_of(source, "set_data");
  impl_->storage = from.storage;
  impl_->shape = from.shape;
  impl_->strides = from.strides;
  impl_->offset = from.offset;
  impl_->dtype = from.dtype;
  if (!impl_->autograd) return;
  impl_->autograd->grad = {};
  impl_->autograd->grad_is_cleared = false;
  impl_->autograd->accumulator.reset();
}

void Tensor::backward(const Tensor& gradient, bool retain_graph, bool create_graph) const {
  run_backward({*this}, {gradient}, nullptr, {retain_graph, create_graph, false});
}

Tensor Tensor::detach() const {
  return from_storage(storage(), shape(), strides(), offset(), dtype());
}

Edge Tensor::gradient_edge() const {
  if (!requires_grad()) return {};
  AutogradMeta& meta = impl_->meta();
  if (meta.grad_fn) return {meta.grad_fn, meta.output_index};
  std::shared_ptr<AccumulateGrad> accumulator = meta.accumulator.lock();
  if (!accumulator) {
    accumulator = make_node<AccumulateGrad>(*this);
    meta.accumulator = accumulator;
  }
  return {accumulator, 0};
}

void Tensor::register_hook(std::function<Tensor(const Tensor&)> hook) const {
  check(requires_grad(), ErrorKind::Argument, "register_hook", "the tensor does not require grad");
  if (is_leaf()) {
    impl_->meta().hooks.push_back(std::move(hook));
    return;
  }
  const Edge edge = gradient_edge();
  edge.node->hooks.resize(edge.node->outputs.size());
  edge.node->hooks[edge.index].push_back(std::move(hook));
}

void Tensor::register_post_accumulate_grad_hook(std::function<void(Tensor&)> hook) const {
  check(requires_grad() && is_leaf(), ErrorKind::Argument, "register_post_accumulate_grad_hook",
        "the tensor is not a leaf that requires grad");
  impl_->meta().post_accumulate_hooks.push_back(std::move(hook));
}

}  // namespace plinth
