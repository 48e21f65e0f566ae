#include "core/ops/float8.h"

#include "core/autocast.h"
#include "core/autograd.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/ops/checks.h"
#include "core/ops/elementwise.h"
#include "core/ops/loops.h"
#include "core/ops/on_device.h"
#include "core/ops/product.h"
#include "kernels/float8/float8.h"
#include "kernels/float8/float8_cuda.h"

namespace plinth {
namespace {

constexpr std::string_view kLinearFloat8 = "linear_float8";
constexpr int64_t kMultiple = 16;
constexpr int64_t kMaxHistory = 1024;

// A matrix in float8, [padded rows, cols]: padded on a GPU to a multiple of 16, with zeros. The
// transposed copy lies in memory of its own on a GPU, whose float8 products want it so.
struct Float8Matrix {
  Tensor values, transposed;
  Tensor scales;  // the scale, and its inverse
};

float largest_of(DType dtype) {
  return dtype == DType::Float8_e4m3 ? 448.0f : 57344.0f;
}

// Calls f.operator()<F>() for the C++ type of a float8 dtype.
template <class F>
void dispatch_float8(DType dtype, F f) {
  if (dtype == DType::Float8_e4m3) return f.template operator()<Float8_e4m3>();
  f.template operator()<Float8_e5m2>();
}

int64_t padded(int64_t rows, Device device) {
  return device.is_cuda() ? (rows + kMultiple - 1) / kMultiple * kMultiple : rows;
}

void set_scales(const Tensor& scales, const Tensor& amaxes, DType dtype, double margin) {
  PLINTH_RUN(scales, float8_scale, amaxes.numel(), amaxes.data<float>(), largest_of(dtype),
             static_cast<float>(margin), scales.data<float>());
}

// x [rows, cols] in `dtype`. A defined history is what the scale comes from; where `records`, it
// gets x's largest value.
Float8Matrix quantised(const Tensor& x, DType dtype, const Tensor& history, double margin,
                       bool records, bool needs_transposed) {
  const int64_t rows = x.size(0), cols = x.size(1), rows_there = padded(rows, x.device());
  const Tensor from = plain(x);
  const TensorOptions narrow{dtype, x.device()}, wide{DType::Float32, x.device()};
  const Tensor amaxes = Tensor::empty({kernels::float8_tiles(rows_there, cols)}, wide);
  const bool copies = needs_transposed && x.device().is_cuda();
  Float8Matrix m{Tensor::empty({rows_there, cols}, narrow),
                 copies ? Tensor::empty({cols, rows_there}, narrow) : Tensor(),
                 Tensor::empty({2}, wide)};
  dispatch_floating(x.dtype(), kLinearFloat8, [&]<class T>() {
    if (history.defined()) {
      set_scales(m.scales, history, dtype, margin);
    } else {
      const Tensor own = amaxes.narrow(0, 0, kernels::float8_tiles(rows, cols));
      PLINTH_RUN(x, float8_amax, rows, cols, from.data<T>(), own.data<float>());
      set_scales(m.scales, own, dtype, margin);
    }
    float* const recorded = history.defined() && records ? amaxes.data<float>() : nullptr;
    dispatch_float8(dtype, [&]<class F>() {
      PLINTH_RUN(x, float8_quantise, rows, rows_there, cols, from.data<T>(),
                 static_cast<const float*>(m.scales.data<float>()), m.values.data<F>(),
                 data_or_null<F>(m.transposed), recorded);
    });
    if (recorded) {
      PLINTH_RUN(x, float8_record, amaxes.numel(), static_cast<const float*>(recorded),
                 history.numel(), history.data<float>());
    }
  });
  if (!copies && needs_transposed) m.transposed = m.values.transpose(0, 1);
  return m;
}

// The first `rows` rows of a b^T + bias, for a [m, k], b [n, k] and bias [n], in `dtype`.
Tensor product(const Tensor& a, const Tensor& a_scales, const Tensor& b, const Tensor& b_scales,
               const Tensor& bias, int64_t rows, DType dtype) {
  const Tensor c = Tensor::empty({a.size(0), b.size(0)}, {dtype, a.device()});
  multiply_float8(a, a_scales, b, b_scales, bias.defined() ? bias.to(dtype) : bias, c,
                  kLinearFloat8);
  return c.narrow(0, 0, rows);
}

struct Saved {
  int64_t rows;
  DType weight_dtype, bias_dtype;
  Tensor gradient_history;
  double margin;
};

// Saved are x and the weight, transposed, each with its scales.
Tensors gradients(const BackwardContext& c, const Tensor& dy, const Saved& saved) {
  check(!grad_enabled(), ErrorKind::Argument, kLinearFloat8, "has no second derivative");
  const Tensor &x = c.saved(0), &x_scales = c.saved(1), &weight = c.saved(2);
  const Tensor dy_rows = plain(dy.reshape({saved.rows, dy.size(-1)}));
  const Float8Matrix g = quantised(dy_rows, DType::Float8_e5m2, saved.gradient_history,
                                   saved.margin, true, c.needs(1));
  Tensor dx, dw, db;
  if (c.needs(0)) {
    Shape shape = dy.shape();
    shape[shape.dim() - 1] = weight.size(0);
    dx = product(g.values, g.scales, weight, c.saved(3), {}, saved.rows, dy.dtype()).reshape(shape);
  }
  if (c.needs(1))
    dw = product(g.transposed, g.scales, x, x_scales, {}, dy.size(-1), saved.weight_dtype);
  if (c.needs(2)) {
    db = Tensor::empty({dy.size(-1)}, dy.options());
    sum_columns(dy_rows, db);
    db = db.to(saved.bias_dtype);
  }
  return {dx, dw, db};
}

void check_history(const Tensor& history, const Tensor& x, std::string_view name) {
  if (!history.defined()) return;
  check(history.dtype() == DType::Float32 && history.device() == x.device() && history.dim() == 1 &&
            history.numel() >= 1 && history.numel() <= kMaxHistory && history.is_contiguous(),
        ErrorKind::Argument, kLinearFloat8, name, " is ", plinth::name(history.dtype()), " ",
        history.shape(), " on ", history.device(), ", expected float32 [1 to ", kMaxHistory,
        "] on ", x.device());
}

void check_operands(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  check_floating(x, kLinearFloat8, "x");
  check_floating(weight, kLinearFloat8, "weight");
  check_same_device(kLinearFloat8, {&x, &weight});
  check(weight.dim() == 2 && weight.size(0) % kMultiple == 0 && weight.size(1) % kMultiple == 0,
        ErrorKind::Shape, kLinearFloat8, "weight has shape ", weight.shape(),
        ", expected [out, in] of multiples of ", kMultiple);
  check(x.dim() >= 1 && x.size(-1) == weight.size(1), ErrorKind::Shape, kLinearFloat8,
        "x has shape ", x.shape(), ", expected [..., ", weight.size(1), "] (weight is ",
        weight.shape(), ")");
  if (!bias.defined()) return;
  check_floating(bias, kLinearFloat8, "bias");
  check_same_device(kLinearFloat8, {&x, &bias});
  check_shape(bias, {weight.size(0)}, kLinearFloat8, "bias", "the weight's rows");
}

void check_scaling(const Float8Scaling& scaling, const Tensor& x) {
  check(scaling.margin >= 1 && scaling.margin <= 65536, ErrorKind::Argument, kLinearFloat8,
        "margin is ", scaling.margin, ", expected 1 to 65536");
  check_history(scaling.x_history, x, "x_history");
  check_history(scaling.weight_history, x, "weight_history");
  check_history(scaling.gradient_history, x, "gradient_history");
}

}  // namespace

Tensor linear_float8(const Tensor& input, const Tensor& weight, const Tensor& bias,
                     const Float8Scaling& scaling) {
  const OpScope scope(__func__);
  const Tensor x = autocast(input);
  check_operands(x, weight, bias);
  check_scaling(scaling, x);
  const bool to_x = needs_grad({x}), to_weight = needs_grad({weight});
  const bool records = to_x || to_weight || needs_grad({bias});
  const int64_t rows = rows_of(x, kLinearFloat8).rows;
  Shape shape = x.shape();
  shape[shape.dim() - 1] = weight.size(0);
  Float8Matrix left, right;
  Tensor y;
  {
    const NoGradGuard no_grad;
    left = quantised(x.detach().reshape({rows, x.size(-1)}), DType::Float8_e4m3, scaling.x_history,
                     scaling.margin, records, to_weight);
    right = quantised(weight.detach(), DType::Float8_e4m3, scaling.weight_history, scaling.margin,
                      records, to_x);
    y = product(left.values, left.scales, right.values, right.scales, plain(bias), rows, x.dtype())
            .reshape(shape);
  }
  const Saved saved{rows, weight.dtype(), bias.defined() ? bias.dtype() : x.dtype(),
                    scaling.gradient_history, scaling.margin};
  return record(
      kLinearFloat8, {x, weight, bias}, y,
      {left.transposed, left.scales, right.transposed, right.scales},
      [saved](const BackwardContext& c, const Tensor& dy) { return gradients(c, dy, saved); });
}

}  // namespace plinth
