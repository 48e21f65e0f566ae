// Views of a tensor's storage, with their gradients.

#include "core/ops/views.h"

#include "core/autograd.h"
#include "core/dry_run.h"
#include "core/op_scope.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/index.h"
#include "core/ops/loops.h"
#include "core/tensor_impl.h"

namespace plinth {
namespace {

// Strides that give `shape` on x's memory without moving an element, if there are any: each
// dimension of the result must lie within a run of x's dimensions that are contiguous among
// themselves.
std::optional<Shape> view_strides(const Tensor& x, const Shape& shape) {
  if (x.numel() == 0 || x.is_contiguous()) return shape.contiguous_strides();
  Shape strides = Shape::filled(shape.dim(), 1);
  int64_t d = shape.dim() - 1;
  int64_t run_stride = x.strides().back(), run_size = 1;
  for (int64_t s = x.dim() - 1; s >= 0; --s) {
    run_size *= x.size(s);
    const bool run_ends =
        s == 0 || (x.size(s - 1) != 1 && x.strides()[s - 1] != run_size * run_stride);
    if (!run_ends) continue;
    int64_t taken = 1;
    while (d >= 0 && (taken < run_size || shape[d] == 1)) {
      strides[d] = taken * run_stride;
      taken *= shape[d--];
    }
    if (taken != run_size) return std::nullopt;
    if (s > 0) {
      run_stride = x.strides()[s - 1];
      run_size = 1;
    }
  }
  return d < 0 ? std::optional(strides) : std::nullopt;
}

Shape resolved(const Shape& wanted, int64_t numel) {
  Shape shape = wanted;
  int64_t known = 1, unknown = -1;
  for (int64_t d = 0; d < shape.dim(); ++d) {
    if (shape[d] == -1) {
      check(unknown < 0, ErrorKind::Shape, "reshape", "shape ", wanted, " has more than one -1");
      unknown = d;
    } else {
      check(shape[d] >= 0, ErrorKind::Shape, "reshape", "shape ", wanted, " has a negative size");
      known *= shape[d];
    }
  }
  if (unknown >= 0 && known > 0) shape[unknown] = numel / known;
  check(shape.numel() == numel && (unknown < 0 || known > 0), ErrorKind::Shape, "reshape", "shape ",
        wanted, " does not hold ", numel, " elements");
  return shape;
}

// Zeros of x_shape with `values`, which are contiguous, added in order where as_strided would find
// them.
Tensor strided_sums(const Tensor& values, const Shape& x_shape, const Shape& strides,
                    int64_t offset) {
  const Tensor sums = zeros(x_shape, values.options());
  if (values.device().is_cuda()) {
    const Tensor places = arange(0, static_cast<double>(sums.numel()), 1, {DType::Int64, {}});
    const Tensor index = as_strided(places, values.shape(), strides, offset).contiguous();
    return index_add(sums.reshape({-1}), 0, index.reshape({-1}).to(values.device()),
                     values.reshape({-1}))
        .reshape(x_shape);
  }
  if (is_dry_run()) return sums;
  dispatch_floating(values.dtype(), "as_strided", [&]<class T>() {
    const auto loop = make_loop<2>(values.shape(), {strides, values.strides()});
    T* to = sums.data<T>() + offset;
    const T* from = values.data<T>();
    for (int64_t row = 0; row < loop.rows() && loop.inner() > 0; ++row) {
      const auto at = loop.offsets(row);
      for (int64_t i = 0; i < loop.inner(); ++i) {
        T& target = to[at[0] + i * loop.inner_stride(0)];
        target = static_cast<T>(static_cast<compute_t<T>>(target) +
                                static_cast<compute_t<T>>(from[at[1] + i * loop.inner_stride(1)]));
      }
    }
  });
  return sums;
}

// The gradient of as_strided.
Tensor as_strided_backward(const Tensor& dy, const Shape& x_shape, const Shape& strides,
                           int64_t offset) {
  const Tensor dx = strided_sums(dy.detach().contiguous(), x_shape, strides, offset);
  return record(
      "as_strided_backward", {dy}, dx, {},
      [shape = dy.shape(), strides, offset](const BackwardContext&, const Tensor& ddx) -> Tensors {
        return {as_strided(ddx.contiguous(), shape, strides, offset)};
      });
}

// The gradient of slicing dimension d: dy at the slice, zeros elsewhere.
Tensor slice_backward(const Tensor& dy, const Shape& x_shape, int64_t d, int64_t start,
                      int64_t step) {
  const Tensor dx = zeros(x_shape, dy.options());
  {
    const NoGradGuard no_grad;
    const int64_t end = dy.size(d) == 0 ? start : start + (dy.size(d) - 1) * step + 1;
    copy_into(dx.slice(d, start, end, step), dy);
  }
  return record("slice_backward", {dy}, dx, {},
                [=](const BackwardContext&, const Tensor& ddx) -> Tensors {
                  const int64_t end = dy.size(d) == 0 ? start : start + (dy.size(d) - 1) * step + 1;
                  return {ddx.slice(d, start, end, step)};
                });
}

}  // namespace

Tensor as_strided(const Tensor& x, const Shape& shape, const Shape& strides, int64_t offset) {
  const OpScope scope(__func__);
  check(x.is_contiguous(), ErrorKind::Shape, "as_strided", "x of shape ", x.shape(),
        " is not contiguous");
  Tensor view = make_view(x, shape, strides, x.offset() + offset);
  return record(
      "as_strided", {x}, view, {},
      [x_shape = x.shape(), strides, offset](const BackwardContext&, const Tensor& dy) -> Tensors {
        return {as_strided_backward(dy, x_shape, strides, offset)};
      });
}

Tensor Tensor::reshape(const Shape& wanted) const {
  const Shape shape = resolved(wanted, numel());
  if (shape == this->shape()) return *this;
  const OpScope scope(__func__);
  const std::optional<Shape> strides = view_strides(*this, shape);
  if (!strides) return contiguous().reshape(shape);
  return record("reshape", {*this}, make_view(*this, shape, *strides, offset()), {},
                [from = this->shape()](const BackwardContext&, const Tensor& dy) -> Tensors {
                  return {dy.reshape(from)};
                });
}

Tensor Tensor::flatten(int64_t first, int64_t last) const {
  const OpScope scope(__func__);
  if (dim() == 0) return reshape({1});
  first = wrap_dim(first, dim(), "flatten");
  last = wrap_dim(last, dim(), "flatten");
  check(first <= last, ErrorKind::Shape, "flatten", "first dimension ", first,
        " comes after the last, ", last);
  Shape flat;
  for (int64_t d = 0; d < dim(); ++d) {
    if (d > first && d <= last) {
      flat[flat.dim() - 1] *= size(d);
    } else {
      flat.push_back(size(d));
    }
  }
  return reshape(flat);
}

Tensor Tensor::permute(const Shape& order) const {
  const OpScope scope(__func__);
  check(order.dim() == dim(), ErrorKind::Shape, "permute", "order ", order, " does not name the ",
        dim(), " dimensions");
  Shape shape, strides, inverse = Shape::filled(dim(), -1);
  for (int64_t i = 0; i < dim(); ++i) {
    const int64_t d = wrap_dim(order[i], dim(), "permute");
    check(inverse[d] < 0, ErrorKind::Shape, "permute", "order ", order, " names dimension ", d,
          " twice");
    inverse[d] = i;
    shape.push_back(size(d));
    strides.push_back(this->strides()[d]);
  }
  return record("permute", {*this}, make_view(*this, shape, strides, offset()), {},
                [inverse](const BackwardContext&, const Tensor& dy) -> Tensors {
                  return {dy.permute(inverse)};
                });
}

Tensor Tensor::transpose(int64_t d, int64_t e) const {
  const OpScope scope(__func__);
  d = wrap_dim(d, dim(), "transpose");
  e = wrap_dim(e, dim(), "transpose");
  Shape order;
  for (int64_t i = 0; i < dim(); ++i) order.push_back(i == d ? e : i == e ? d : i);
  return permute(order);
}

Tensor Tensor::expand(const Shape& wanted) const {
  check(wanted.dim() >= dim(), ErrorKind::Shape, "expand", "shape ", wanted,
        " has fewer dimensions than ", shape());
  const int64_t added = wanted.dim() - dim();
  Shape target = wanted;
  for (int64_t d = 0; d < wanted.dim(); ++d) {
    if (wanted[d] == -1 && d >= added) target[d] = size(d - added);
    check(target[d] >= 0 && (d < added || size(d - added) == target[d] || size(d - added) == 1),
          ErrorKind::Shape, "expand", "shape ", shape(), " does not expand to ", wanted);
  }
  if (target == shape()) return *this;
  const OpScope scope(__func__);
  return record("expand", {*this},
                make_view(*this, target, broadcast_strides(*this, target), offset()), {},
                [from = shape()](const BackwardContext&, const Tensor& dy) -> Tensors {
                  return {sum_to(dy, from)};
                });
}

Tensor Tensor::squeeze(int64_t d) const {
  const OpScope scope(__func__);
  d = wrap_dim(d, dim(), "squeeze");
  check(size(d) == 1, ErrorKind::Shape, "squeeze", "dimension ", d, " of shape ", shape(),
        " has size ", size(d), ", expected 1");
  Shape shape = this->shape();
  shape.erase(d);
  return reshape(shape);
}

Tensor Tensor::unsqueeze(int64_t d) const {
  const OpScope scope(__func__);
  d = wrap_dim(d, dim() + 1, "unsqueeze");
  Shape shape = this->shape(), strides = this->strides();
  shape.insert(d, 1);
  strides.insert(d, d < dim() ? size(d) * this->strides()[d] : 1);
  return record(
      "unsqueeze", {*this}, make_view(*this, shape, strides, offset()), {},
      [d](const BackwardContext&, const Tensor& dy) -> Tensors { return {dy.squeeze(d)}; });
}

Tensor Tensor::slice(int64_t d, int64_t start, int64_t end, int64_t step) const {
  const OpScope scope(__func__);
  d = wrap_dim(d, dim(), "slice");
  check(step > 0, ErrorKind::Argument, "slice", "step is ", step, ", expected at least 1");
  const auto bound = [n = size(d)](int64_t i) {
    return std::clamp<int64_t>(i < 0 ? i + n : i, 0, n);
  };
  start = bound(start);
  end = std::max(bound(end), start);
  Shape shape = this->shape(), strides = this->strides();
  shape[d] = (end - start + step - 1) / step;
  strides[d] *= step;
  const int64_t at = shape.numel() == 0 ? offset() : offset() + start * this->strides()[d];
  return record(
      "slice", {*this}, make_view(*this, shape, strides, at), {},
      [from = this->shape(), d, start, step](const BackwardContext&, const Tensor& dy) -> Tensors {
        return {slice_backward(dy, from, d, start, step)};
      });
}

Tensor Tensor::narrow(int64_t d, int64_t start, int64_t length) const {
  const OpScope scope(__func__);
  d = wrap_dim(d, dim(), "narrow");
  check(start >= 0 && start <= size(d) && length >= 0 && length <= size(d) - start,
        ErrorKind::Shape, "narrow", "start ", start, " and length ", length, " leave dimension ", d,
        " of shape ", shape());
  return slice(d, start, start + length);
}

Tensor Tensor::select(int64_t d, int64_t index) const {
  const OpScope scope(__func__);
  d = wrap_dim(d, dim(), "select");
  const int64_t i = index < 0 ? index + size(d) : index;
  check(i >= 0 && i < size(d), ErrorKind::Shape, "select", "index ", index,
        " is out of range for dimension ", d, " of shape ", shape());
  return narrow(d, i, 1).squeeze(d);
}

Tensors Tensor::unbind(int64_t d) const {
  const OpScope scope(__func__);
  d = wrap_dim(d, dim(), "unbind");
  Tensors parts;
  for (int64_t i = 0; i < size(d); ++i) parts.push_back(select(d, i));
  return parts;
}

Tensors Tensor::split(const std::vector<int64_t>& sizes, int64_t d) const {
  const OpScope scope(__func__);
  d = wrap_dim(d, dim(), "split");
  Tensors parts;
  int64_t start = 0;
  for (int64_t length : sizes) {
    check(length >= 0 && length <= size(d) - start, ErrorKind::Shape, "split", "part ",
          parts.size(), " has size ", length, ", expected within [0, ", size(d) - start,
          "], what the parts before it leave of dimension ", d, " of shape ", shape());
    Shape part = shape();
    part[d] = length;
    const int64_t at = part.numel() == 0 ? offset() : offset() + start * strides()[d];
    parts.push_back(make_view(*this, part, strides(), at));
    start += length;
  }
  check(start == size(d), ErrorKind::Shape, "split", "sizes add up to ", start, ", expected ",
        size(d), " (dimension ", d, " of shape ", shape(), ")");
  // One node for all parts: its gradient is written once, where slices would add up full tensors.
  return record_multi("split", {*this}, std::move(parts), {},
                      [d](const BackwardContext&, const Tensors& grads) -> Tensors {
                        // An op that has all the parts may write their gradients side by side.
                        const Tensor whole = needs_grad(grads) ? Tensor() : whole_of(grads, d);
                        return {whole.defined() ? whole : cat(grads, d)};
                      });
}

Tensor whole_of(const Tensors& parts, int64_t d) {
  const Tensor& first = parts[0];
  Shape shape = first.shape();
  shape[d] = 0;
  for (const Tensor& part : parts) {
    Shape expected = first.shape();
    expected[d] = part.size(d);
    const int64_t at = first.offset() + shape[d] * first.strides()[d];
    if (part.storage() != first.storage() || part.dtype() != first.dtype() ||
        part.shape() != expected || part.strides() != first.strides() || part.offset() != at)
      return {};
    shape[d] += part.size(d);
  }
  return make_view(first, shape, first.strides(), first.offset());
}

Tensors Tensor::chunk(int64_t chunks, int64_t d) const {
  const OpScope scope(__func__);
  d = wrap_dim(d, dim(), "chunk");
  check(chunks > 0, ErrorKind::Argument, "chunk", "got ", chunks, " chunks, expected at least 1");
  const int64_t length = std::max<int64_t>(1, (size(d) + chunks - 1) / chunks);
  std::vector<int64_t> sizes;
  for (int64_t start = 0; start < size(d); start += length)
    sizes.push_back(std::min(length, size(d) - start));
  return split(sizes, d);
}

}  // namespace plinth
