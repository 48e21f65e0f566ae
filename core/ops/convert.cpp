// Copies: to another dtype or device, to contiguous memory, and into existing tensors.

#include <utility>

#include "core/autograd.h"
#include "core/autograd/node.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/ops/checks.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/loops.h"
#include "core/ops/on_device.h"
#include "core/tensor_impl.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/elementwise_cuda.h"

namespace plinth {

Tensor Tensor::to(DType dtype) const {
  if (dtype == this->dtype()) return *this;
  const OpScope scope(__func__);
  const Tensor out = empty(shape(), {dtype, device()});
  copy_into(out, *this);
  return record_conversion(*this, out);
}

Tensor Tensor::to(Device target) const {
  if (target == device()) return *this;
  const OpScope scope(__func__);
  check(target.is_cpu() || device().is_cpu(), ErrorKind::Device, "to", "got device ", target,
        " for a tensor on ", device(), "; go through the CPU");
  const Tensor source = detach().contiguous();
  const Tensor out = empty(shape(), {dtype(), target});
  transfer(out, source);
  return record("to", {*this}, out, {},
                [from = device()](const BackwardContext&, const Tensor& dy) -> Tensors {
                  return {dy.to(from)};
                });
}

Tensor Tensor::clone() const {
  const OpScope scope(__func__);
  const Tensor out = empty(shape(), options());
  copy_into(out, *this);
  return record("clone", {*this}, out, {},
                [](const BackwardContext&, const Tensor& dy) -> Tensors { return {dy}; });
}

Tensor Tensor::contiguous() const {
  if (is_contiguous()) return *this;
  const OpScope scope(__func__);
  return clone();
}

// ---- in place ----
//
// With a graph, an in-place op is its out-of-place twin followed by a write of the result: one rule
// gives all of them their gradients. Without one, the kernels write directly.

namespace {

void check_writable(const Tensor& self, std::string_view op) {
  for (int64_t d = 0; d < self.dim(); ++d) {
    check(self.strides()[d] != 0 || self.size(d) <= 1 || self.numel() == 0, ErrorKind::Argument, op,
          "the tensor is expanded: several of its elements share memory");
  }
  if (!grad_enabled()) return;
  const Tensor& base = self.impl()->base;
  const bool leaf = self.requires_grad() && self.is_leaf();
  const bool view_of_leaf = base.defined() && base.requires_grad() && base.is_leaf();
  check(!leaf && !view_of_leaf, ErrorKind::Argument, op,
        "a leaf that requires grad is written in place; hold a NoGradGuard if this is meant");
}

void check_broadcasts(const Tensor& self, const Tensor& other, std::string_view op) {
  check(broadcast_shape(self.shape(), other.shape(), op) == self.shape(), ErrorKind::Shape, op,
        "argument of shape ", other.shape(), " does not broadcast to ", self.shape());
}

bool records(const Tensor& self, const Tensor& value) {
  const Tensor& base = self.impl()->base;
  return needs_grad({self, value}) || (base.defined() && needs_grad({base}));
}

// self and other for an op that saves self if other wants a gradient, and other if self does: what
// it saves must outlive the write.
std::pair<Tensor, Tensor> operands_before_write(const Tensor& self, const Tensor& other) {
  const Tensor before = needs_grad({other}) ? self.clone() : self;
  if (other.is(self)) return {before, before};
  return {before, other.storage() == self.storage() ? other.clone() : other};
}

// The first and the last place in its storage that a view reaches.
std::pair<int64_t, int64_t> reach(const Tensor& x) {
  int64_t first = x.offset(), last = x.offset();
  for (int64_t d = 0; d < x.dim(); ++d) {
    const int64_t way = (x.size(d) - 1) * x.strides()[d];
    (way < 0 ? first : last) += way;
  }
  return {first, last};
}

// x, or a copy of it if writing to self would change it before it is read: another view of self's
// memory, unless one lies behind the other.
Tensor apart_from(const Tensor& self, const Tensor& x) {
  if (x.storage() != self.storage()) return x;
  const bool same_elements =
      x.shape() == self.shape() && x.strides() == self.strides() && x.offset() == self.offset();
  const auto [first, last] = reach(x);
  const auto [own_first, own_last] = reach(self);
  const bool disjoint = x.dtype() == self.dtype() && (last < own_first || own_last < first);
  return same_elements || disjoint ? x : x.clone();
}

Tensor& assign(Tensor& self, const Tensor& value) {
  copy_into(self, apart_from(self, value.detach()));
  self.storage()->bump_version();
  rebase_history(self, value);
  return self;
}

}  // namespace

Tensor& Tensor::copy_(const Tensor& source) {
  const OpScope scope(__func__);
  check_writable(*this, "copy_");
  check_broadcasts(*this, source, "copy_");
  if (!records(*this, source)) {
    copy_into(*this, apart_from(*this, source.detach()));
    storage()->bump_version();
    return *this;
  }
  return assign(*this, source.to(device()).to(dtype()).expand(shape()));
}

Tensor& Tensor::fill_(double value) {
  const OpScope scope(__func__);
  return copy_(scalar(value, options()));
}

namespace {

Tensor& add_scaled(Tensor& self, const Tensor& other, double alpha, std::string_view op) {
  check_writable(self, op);
  check_same_device(op, {&self, &other});
  check_broadcasts(self, other, op);
  if (records(self, other))
    return assign(self, add(self, alpha == 1 ? other : mul(other, alpha)).to(self.dtype()));
  const bool as_it_is = adds_unconverted(self.dtype(), other.dtype());
  const Tensor added =
      apart_from(self, as_it_is ? other.detach() : other.detach().to(self.dtype()));
  add_into(self, self, added, alpha, op);
  self.storage()->bump_version();
  return self;
}

}  // namespace

Tensor& Tensor::add_(const Tensor& other, double alpha) {
  const OpScope scope(__func__);
  return add_scaled(*this, other, alpha, "add_");
}

Tensor& Tensor::sub_(const Tensor& other) {
  const OpScope scope(__func__);
  return add_scaled(*this, other, -1, "sub_");
}

Tensor& Tensor::mul_(const Tensor& other) {
  const OpScope scope(__func__);
  check_writable(*this, "mul_");
  check_same_device("mul_", {this, &other});
  check_broadcasts(*this, other, "mul_");
  if (records(*this, other)) {
    const auto [before, factor] = operands_before_write(*this, other);
    return assign(*this, mul(before, factor).to(dtype()));
  }
  const Tensor factor = apart_from(*this, other.detach().to(dtype()));
  dispatch_numeric(dtype(), "mul_", [&]<class T>() {
    PLINTH_RUN(*this, binary, kernels::BinaryOp::Mul, loop_over(*this, *this, factor), data<T>(),
               factor.data<T>(), data<T>());
  });
  storage()->bump_version();
  return *this;
}

Tensor& Tensor::mul_(double factor) {
  return mul_(scalar(factor, options()));
}

Tensor& Tensor::div_(const Tensor& other) {
  const OpScope scope(__func__);
  check_writable(*this, "div_");
  check_same_device("div_", {this, &other});
  check_broadcasts(*this, other, "div_");
  const auto [before, divisor] = operands_before_write(*this, other);
  return assign(*this, div(before, divisor).to(dtype()));
}

}  // namespace plinth
