#include "core/ops/mlp.h"

#include "core/autocast.h"
#include "core/autograd.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/ops/checks.h"
#include "core/ops/matmul.h"
#include "core/ops/product.h"

namespace plinth {
namespace {

constexpr std::string_view kGeluMlp = "gelu_mlp";

Tensor in_parts(const Tensor& x, const Tensor& up, const Tensor& up_bias, const Tensor& down,
                const Tensor& down_bias, GeluForm form) {
  const Tensor before = linear(x, up);
  return linear(bias_gelu(before, up_bias.to(before.dtype()), form), down, down_bias);
}

// [rows, cols] as the one matrix of a batch.
Tensor one(const Tensor& x) {
  return x.unsqueeze(0);
}

// The gradients again, in differentiable ops.
Tensors recorded_gradients(const BackwardContext& c, const Tensor& dy, const Tensor& down_bias) {
  Tensors inputs = {c.saved(0), c.saved(3), c.saved(4), c.saved(5), down_bias};
  const Tensor y = in_parts(inputs[0], inputs[1], inputs[2], inputs[3], inputs[4], GeluForm::Tanh);
  Tensors wanted, gradients(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i)
    if (c.needs(i)) wanted.push_back(inputs[i]);
  const Tensors found = grad({y}, wanted, {dy}, {.create_graph = true});
  size_t next = 0;
  for (size_t i = 0; i < inputs.size(); ++i)
    if (c.needs(i)) gradients[i] = found[next++];
  return gradients;
}

// Saved are x, the GELU's input and output, and the weights up, up_bias and down.
Tensors fused_gradients(const BackwardContext& c, const Tensor& dy) {
  const Tensor &before = c.saved(1), &hidden = c.saved(2), &up = c.saved(3), &down = c.saved(5);
  const Tensor x = c.saved(0).reshape({before.size(0), up.size(1)});
  const Tensor g = plain(dy).reshape({before.size(0), down.size(0)});
  Tensor dx, dup, ddown, ddown_bias;
  if (c.needs(3)) ddown = room_for_gradient(c, 3, down.shape(), dy);
  if (c.needs(4)) ddown_bias = room_for_gradient(c, 4, {down.size(0)}, dy);
  weight_gradients(g, hidden, ddown, ddown_bias);
  const Tensor dbefore = Tensor::empty(before.shape(), dy.options());
  const Tensor dup_bias = Tensor::empty({up.size(0)}, dy.options());
  multiply_gelu_gradient(g, plain(down), before, dbefore, dup_bias);
  if (c.needs(1)) {
    dup = room_for_gradient(c, 1, up.shape(), dy);
    multiply(one(dbefore).transpose(1, 2), one(x), {}, one(dup), kGeluMlp);
  }
  if (c.needs(0)) {
    dx = Tensor::empty(c.saved(0).shape(), dy.options());
    multiply(one(dbefore), one(up), {}, dx.reshape({1, x.size(0), x.size(1)}), kGeluMlp);
  }
  return {dx, dup, c.needs(2) ? dup_bias : Tensor(), ddown, ddown_bias};
}

Tensor fused(const Tensor& x, const Tensor& up, const Tensor& up_bias, const Tensor& down,
             const Tensor& down_bias) {
  const int64_t rows = rows_of(x, kGeluMlp).rows;
  Shape shape = x.shape();
  shape[shape.dim() - 1] = down.size(0);
  Tensor before, hidden, y;
  {
    const NoGradGuard no_grad;
    before = Tensor::empty({rows, up.size(0)}, x.options());
    hidden = Tensor::empty(before.shape(), x.options());
    y = Tensor::empty(shape, x.options());
    const Tensor x_rows = x.detach().reshape({rows, up.size(1)});
    multiply_gelu(x_rows, up.detach(), plain(up_bias), before, hidden);
    multiply(one(hidden), one(down.detach()).transpose(1, 2), plain(down_bias),
             y.reshape({1, rows, down.size(0)}), kGeluMlp);
  }
  return record(
      kGeluMlp, {x, up, up_bias, down, down_bias}, y, {x, before, hidden, up, up_bias, down},
      [down_bias](const BackwardContext& c, const Tensor& dy) {
        return grad_enabled() ? recorded_gradients(c, dy, down_bias) : fused_gradients(c, dy);
      });
}

}  // namespace

Tensor gelu_mlp(const Tensor& input, const Tensor& up_matrix, const Tensor& up_added,
                const Tensor& down_matrix, const Tensor& down_added, GeluForm form) {
  const OpScope scope(__func__);
  const Tensor x = autocast(input), up = autocast(up_matrix), down = autocast(down_matrix);
  const Tensor up_bias = autocast(up_added), down_bias = autocast(down_added);
  check(up_bias.defined(), ErrorKind::Argument, kGeluMlp, "up_bias is undefined");
  check_linear(x, up, up_bias, kGeluMlp);
  check(down.dim() == 2 && down.size(1) == up.size(0), ErrorKind::Shape, kGeluMlp,
        "down has shape ", down.shape(), ", expected [out, ", up.size(0), "] (up is ", up.shape(),
        ")");
  check_like(down, up, kGeluMlp, "down", "up");
  if (down_bias.defined()) {
    check_shape(down_bias, {down.size(0)}, kGeluMlp, "down_bias", "the rows of down");
    check_like(down_bias, up, kGeluMlp, "down_bias", "up");
  }
  if (form != GeluForm::Tanh) return in_parts(x, up, up_bias, down, down_bias, form);
  return fused(x, up, up_bias, down, down_bias);
}

}  // namespace plinth
