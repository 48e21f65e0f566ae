#include "core/ops/matmul.h"

#include <atomic>

#include "core/autocast.h"
#include "core/autograd.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/ops/checks.h"
#include "core/ops/elementwise.h"
#include "core/ops/product.h"
#include "core/ops/reduce.h"

namespace plinth {
namespace {

// [batch, m, k] x [batch, k, n], batch 1 repeated; no recording.
Tensor run(const Tensor& a, const Tensor& b, const Tensor& bias, std::string_view op) {
  const int64_t batch = a.size(0) == 0 || b.size(0) == 0 ? 0 : std::max(a.size(0), b.size(0));
  const Tensor out = Tensor::empty({batch, a.size(1), b.size(2)}, a.options());
  multiply(a, b, bias, out, op);
  return out;
}

// x's batch dimensions expanded to `batch` and flattened: [numel(batch), rows, cols]. A lone matrix
// stays one, and is shared.
Tensor flat_batch(const Tensor& x, const Shape& batch) {
  if (x.dim() == 2) return x.unsqueeze(0);
  Shape shape = batch;
  shape.push_back(x.size(-2));
  shape.push_back(x.size(-1));
  return x.expand(shape).reshape({batch.numel(), x.size(-2), x.size(-1)});
}

// All dimensions but the last joined: [rows, cols].
Tensor flat_rows(const Tensor& x) {
  const auto [rows, cols] = rows_of(x, "matmul");
  return x.reshape({rows, cols});
}

Shape batch_of(const Tensor& x) {
  Shape shape;
  for (int64_t d = 0; d + 2 < x.dim(); ++d) shape.push_back(x.size(d));
  return shape;
}

// Product of tensors with at least two dimensions each.
Tensor matmul_nd(const Tensor& a, const Tensor& b) {
  check_dtypes(a, b, "matmul");
  check(a.size(-1) == b.size(-2), ErrorKind::Shape, "matmul", "a has shape ", a.shape(), " and b ",
        b.shape(), ": a's last dimension and b's last but one differ");
  const Shape batch = broadcast_shape(batch_of(a), batch_of(b), "matmul");
  Shape shape = batch;
  shape.push_back(a.size(-2));
  shape.push_back(b.size(-1));
  Tensor product;
  {
    const NoGradGuard no_grad;
    const Tensor left = a.detach(), right = b.detach();
    if (b.dim() == 2 && a.is_contiguous()) {
      // One tall product in place of many small ones.
      product = run(flat_rows(left).unsqueeze(0), right.unsqueeze(0), {}, "matmul").reshape(shape);
    } else {
      product = run(flat_batch(left, batch), flat_batch(right, batch), {}, "matmul").reshape(shape);
    }
  }
  const Tensors saved = {needs_grad({b}) ? a : Tensor(), needs_grad({a}) ? b : Tensor()};
  return record(
      "matmul", {a, b}, product, saved,
      [sa = a.shape(), sb = b.shape()](const BackwardContext& c, const Tensor& dy) -> Tensors {
        const Tensor &a = c.saved(0), &b = c.saved(1);
        Tensor da, db;
        if (c.needs(0)) da = sum_to(matmul_nd(dy, b.transpose(-1, -2)), sa);
        if (c.needs(1)) {
          // With a shared matrix b, its gradient is one product over all batches.
          const bool shared = sb.dim() == 2 && sa.dim() > 2;
          db = shared ? matmul_nd(flat_rows(a).transpose(0, 1), flat_rows(dy))
                      : sum_to(matmul_nd(a.transpose(-1, -2), dy), sb);
        }
        return {da, db};
      });
}

// The sum of each column of a matrix: a bias's gradient.
Tensor column_sum(const Tensor& x) {
  const Tensor out = Tensor::empty({x.size(1)}, x.options());
  sum_columns(plain(x), out);
  return record("column_sum", {x}, out, {},
                [shape = x.shape()](const BackwardContext&, const Tensor& dy) -> Tensors {
                  return {dy.expand(shape)};
                });
}

Tensors linear_gradients(const BackwardContext& c, const Tensor& dy) {
  const Tensor &x = c.saved(0), &weight = c.saved(1);
  const Tensor dy_rows = flat_rows(dy);
  Tensor dx, dw, db;
  if (c.needs(0)) dx = matmul(dy, weight);
  if (!grad_enabled()) {
    const int64_t out = dy_rows.size(1);
    const Tensor x_rows = c.needs(1) ? flat_rows(x) : Tensor();
    if (c.needs(1)) dw = room_for_gradient(c, 1, {out, x_rows.size(1)}, dy);
    if (c.needs(2)) db = room_for_gradient(c, 2, {out}, dy);
    weight_gradients(dy_rows, x_rows, dw, db);
    return {dx, dw, db};
  }
  if (c.needs(1)) dw = matmul_nd(dy_rows.transpose(0, 1), flat_rows(x));
  if (c.needs(2)) db = column_sum(dy_rows);
  return {dx, dw, db};
}

std::atomic<bool> tf32_in_matmul = false;

}  // namespace

void set_allow_tf32(bool allow) {
  tf32_in_matmul = allow;
}
bool allow_tf32() {
  return tf32_in_matmul;
}

Tensor matmul(const Tensor& a, const Tensor& b) {
  const OpScope scope(__func__);
  check(a.dim() >= 1 && b.dim() >= 1, ErrorKind::Shape, "matmul", "a has shape ", a.shape(),
        " and b ", b.shape(), ", expected at least one dimension each");
  const Tensor left = autocast(a.dim() == 1 ? a.unsqueeze(0) : a);
  const Tensor right = autocast(b.dim() == 1 ? b.unsqueeze(1) : b);
  Tensor product = matmul_nd(left, right);
  if (b.dim() == 1) product = product.squeeze(-1);
  if (a.dim() == 1) product = product.squeeze(b.dim() == 1 ? -1 : -2);
  return product;
}

Tensor linear(const Tensor& input, const Tensor& matrix, const Tensor& added) {
  const OpScope scope(__func__);
  const Tensor x = autocast(input), weight = autocast(matrix), bias = autocast(added);
  check_linear(x, weight, bias, "linear");
  Shape shape = x.shape();
  shape[shape.dim() - 1] = weight.size(0);
  Tensor y;
  {
    const NoGradGuard no_grad;
    const Tensor rows = flat_rows(x.detach()).unsqueeze(0);
    y = run(rows, weight.detach().transpose(0, 1).unsqueeze(0), plain(bias), "linear")
            .reshape(shape);
  }
  const Tensors saved = {needs_grad({weight}) ? x : Tensor(), needs_grad({x}) ? weight : Tensor()};
  return record("linear", {x, weight, bias}, y, saved, linear_gradients);
}

}  // namespace plinth
