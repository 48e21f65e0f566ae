// Matrix products.

#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/float8.h"
#include "core/ops/matmul.h"
#include "core/ops/mlp.h"
#include "naive.h"
#include "op_table.h"

namespace plinth::op_table {
namespace {

using naive::Index;

// a [..., m, k] times b [..., k, n] of at least two dimensions each.
Tensor product(const Tensor& a, const Tensor& b) {
  const int64_t dims = std::max(a.dim(), b.dim()), k = a.size(-1);
  Shape shape = Shape::filled(dims, 1);
  for (const Tensor& x : {a, b}) {
    for (int64_t d = 0; d + 2 < x.dim(); ++d) {
      int64_t& size = shape[dims - x.dim() + d];
      if (size == 1) size = x.size(d);
    }
  }
  shape[dims - 2] = a.size(-2);
  shape[dims - 1] = b.size(-1);
  return naive::build(shape, [&](const Index& i) {
    double total = 0;
    Index left = i, right = i;
    for (int64_t p = 0; p < k; ++p) {
      left[dims - 1] = right[dims - 2] = p;
      total += naive::at_broadcast(a, left) * naive::at_broadcast(b, right);
    }
    return total;
  });
}

Tensor matmul_reference(const Tensor& a, const Tensor& b) {
  Tensor left = a.dim() == 1 ? a.reshape({1, a.size(0)}) : a;
  Tensor right = b.dim() == 1 ? b.reshape({b.size(0), 1}) : b;
  Tensor y = product(left, right);
  if (b.dim() == 1) y = y.squeeze(-1);
  if (a.dim() == 1) y = y.squeeze(b.dim() == 1 ? -1 : -2);
  return y;
}

Case matmul_case(Sampler& sample, const Shape& a, const Shape& b, bool gradcheck = true) {
  return {detail::concat(a, " x ", b),
          {sample(a), sample(b)},
          [](const Tensors& in) { return Tensors{matmul(in[0], in[1])}; },
          [](const Tensors& in) { return Tensors{matmul_reference(in[0], in[1])}; },
          gradcheck};
}

// A linear layer by plain loops.
Tensor linear_reference(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  Shape shape = x.shape();
  shape[shape.dim() - 1] = weight.size(0);
  return naive::build(shape, [&](Index i) {
    const int64_t out = i.back();
    double total = bias.defined() ? naive::at(bias, {out}) : 0;
    for (int64_t p = 0; p < weight.size(1); ++p) {
      i.back() = p;
      total += naive::at(x, i) * naive::at(weight, {out, p});
    }
    return total;
  });
}

// linear of x and a weight, with a bias or without.
Case linear_case(Sampler& sample, const Shape& x, const Shape& weight, bool bias,
                 bool gradcheck = true) {
  return {detail::concat(x, " x ", weight, bias ? " + bias" : ""),
          {sample(x), sample(weight), bias ? sample({weight[0]}) : Tensor()},
          [](const Tensors& in) { return Tensors{linear(in[0], in[1], in[2])}; },
          [](const Tensors& in) { return Tensors{linear_reference(in[0], in[1], in[2])}; },
          gradcheck};
}

double gelu_tanh(double x) {
  return x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}
double gelu_exact(double x) {
  return x / 2 * (1 + std::erf(x * M_SQRT1_2));
}

Case mlp_case(Sampler& sample, const Shape& x, int64_t hidden, int64_t out, bool bias,
              GeluForm form, bool gradcheck = true) {
  const int64_t in = x[x.dim() - 1];
  return {detail::concat(x, " x ", hidden, " x ", out, bias ? " + bias" : ""),
          {sample(x), sample({hidden, in}), sample({hidden}), sample({out, hidden}, -1, 1),
           bias ? sample({out}) : Tensor()},
          [form](const Tensors& in) {
            return Tensors{gelu_mlp(in[0], in[1], in[2], in[3], in[4], form)};
          },
          [form](const Tensors& in) {
            const Tensor before = linear_reference(in[0], in[1], in[2]);
            const auto gelu = form == GeluForm::Tanh ? gelu_tanh : gelu_exact;
            return Tensors{linear_reference(naive::map(before, gelu), in[3], in[4])};
          },
          gradcheck};
}

Row mlp_row() {
  const Tensor x = zeros({2, 3}), up = zeros({4, 3}), up_bias = zeros({4}), down = zeros({5, 4});
  return {.name = "gelu_mlp",
          .cases = [](Sampler& s) -> std::vector<Case> {
            return {mlp_case(s, {3, 4}, 8, 2, true, GeluForm::Tanh),
                    mlp_case(s, {2, 2, 3}, 8, 3, false, GeluForm::Tanh),
                    mlp_case(s, {3, 4}, 5, 2, true, GeluForm::Tanh),
                    mlp_case(s, {3, 4}, 8, 2, true, GeluForm::Exact),
                    mlp_case(s, {0, 4}, 8, 2, true, GeluForm::Tanh),
                    mlp_case(s, {33, 20}, 48, 17, true, GeluForm::Tanh, false)};
          },
          .errors = {{[=] { gelu_mlp(x, up, {}, down); }, ErrorKind::Argument,
                      "gelu_mlp: up_bias is undefined"},
                     {[=] {
                        gelu_mlp(zeros({2, 4}), up, up_bias, down);
                      },
                      ErrorKind::Shape,
                      "gelu_mlp: x has shape [2, 4], expected [..., 3] (weight is [4, 3])"},
                     {[=] {
                        gelu_mlp(x, up, up_bias, zeros({5, 3}));
                      },
                      ErrorKind::Shape,
                      "gelu_mlp: down has shape [5, 3], expected [out, 4] (up is [4, 3])"},
                     {[=] { gelu_mlp(x, up, up_bias, down, zeros({4})); }, ErrorKind::Shape,
                      "gelu_mlp: down_bias has shape [4], expected [5] (the rows of down)"}},
          // The input of GELU is rounded between the two products.
          .tolerance = {.units = 16, .gradient_units = 32},
          .same_bits_in_any_layout = false};
}

// Values that every dtype holds, so that each is quantised alike.
Tensor coarse(const Tensor& x) {
  return round(x * 16.0) * (1.0 / 16);
}

// x in e4m3 by its own largest value, and back.
Tensor through_float8(const Tensor& x) {
  float largest = 0;
  for (const double v : to_vector(x)) largest = std::max(largest, static_cast<float>(std::fabs(v)));
  const float scale = largest > 0 ? 448 / largest : 1;
  return naive::map(x, [&](double v) {
    const float narrow = Float8_e4m3(static_cast<float>(v) * scale);
    return narrow * static_cast<double>(1 / scale);
  });
}

Case float8_case(Sampler& sample, const Shape& x, const Shape& weight, bool bias) {
  Case c = linear_case(sample, x, weight, bias, false);
  for (Tensor& input : c.inputs)
    if (input.defined()) input = coarse(input);
  c.op = [](const Tensors& in) { return Tensors{linear_float8(in[0], in[1], in[2])}; };
  c.reference = [exact = c.reference](const Tensors& in) {
    return exact({through_float8(in[0]), through_float8(in[1]), in[2]});
  };
  return c;
}

Row float8_row() {
  Float8Scaling narrow_margin, no_history;
  narrow_margin.margin = 0.5;
  no_history.x_history = zeros({0});
  const Tensor x = zeros({2, 32}), weight = zeros({16, 32});
  return {.name = "linear_float8",
          .cases = [](Sampler& s) -> std::vector<Case> {
            return {float8_case(s, {3, 32}, {16, 32}, true),
                    float8_case(s, {2, 5, 16}, {48, 16}, false),
                    float8_case(s, {0, 16}, {32, 16}, true),
                    float8_case(s, {70, 80}, {96, 80}, true)};
          },
          .errors = {{[=] {
                        linear_float8(x, zeros({16, 24}));
                      },
                      ErrorKind::Shape,
                      "linear_float8: weight has shape [16, 24], expected [out, in] of multiples "
                      "of 16"},
                     {[=] {
                        linear_float8(zeros({2, 16}), weight);
                      },
                      ErrorKind::Shape, "linear_float8: x has shape [2, 16], expected [..., 32]"},
                     {[=] { linear_float8(x, weight, zeros({3})); }, ErrorKind::Shape,
                      "linear_float8: bias has shape [3], expected [16]"},
                     {[=] { linear_float8(x, weight, {}, narrow_margin); }, ErrorKind::Argument,
                      "linear_float8: margin is 0.5, expected 1 to 65536"},
                     {[=] { linear_float8(x, weight, {}, no_history); }, ErrorKind::Argument,
                      "linear_float8: x_history is float32 [0] on cpu, expected float32 [1 to "
                      "1024] on cpu"}},
          .tolerance = {.units = 4, .gradient_units = 8},
          .second = Second::Refused};
}

}  // namespace

std::vector<Row> matmul_rows() {
  const Tensor narrow = zeros({2, 3}, {DType::BFloat16, {}});
  const Tensor integers = zeros({3, 3}, {DType::Int64, {}});
  return {
      {.name = "matmul",
       .cases = [](Sampler& s) -> std::vector<Case> {
         return {matmul_case(s, {3, 4}, {4, 5}),
                 matmul_case(s, {1, 1}, {1, 1}),
                 matmul_case(s, {4}, {4}),
                 matmul_case(s, {4}, {4, 3}),
                 matmul_case(s, {2, 3, 4}, {4}),
                 matmul_case(s, {2, 3, 4}, {2, 4, 2}),
                 matmul_case(s, {2, 3, 4}, {4, 2}),
                 matmul_case(s, {3, 4}, {2, 4, 2}),
                 matmul_case(s, {2, 1, 2, 3}, {3, 3, 2}),
                 matmul_case(s, {0, 3}, {3, 2}),
                 matmul_case(s, {2, 0}, {0, 3}),
                 matmul_case(s, {2, 3}, {3, 0}),
                 matmul_case(s, {0, 2, 3}, {3, 2}),
                 matmul_case(s, {67, 130}, {130, 95}, false),
                 matmul_case(s, {3, 33, 65}, {3, 65, 17}, false)};
       },
       .errors = {{[] {
                     matmul(zeros({2, 3}), zeros({2, 3}));
                   },
                   ErrorKind::Shape, "matmul: a has shape [2, 3] and b [2, 3]: a's last dimension"},
                  {[] {
                     matmul(zeros({}), zeros({2, 3}));
                   },
                   ErrorKind::Shape,
                   "matmul: a has shape [] and b [2, 3], expected at least one dimension each"},
                  {[] {
                     matmul(zeros({2, 2, 3}), zeros({3, 3, 2}));
                   },
                   ErrorKind::Shape, "matmul: shapes [2] and [3] do not broadcast"},
                  {[=] {
                     matmul(narrow, zeros({3, 2}));
                   },
                   ErrorKind::DType,
                   "matmul: operands have dtypes bfloat16 and float32, expected one dtype"},
                  {[=] { matmul(integers, integers); }, ErrorKind::DType,
                   "matmul: got dtype int64, takes float64"}},
       .tolerance = {.units = 4, .gradient_units = 8},
       .same_bits_in_any_layout = false},
      {.name = "linear",
       .cases = [](Sampler& s) -> std::vector<Case> {
         return {linear_case(s, {3, 4}, {5, 4}, true),
                 linear_case(s, {2, 3, 4}, {5, 4}, false),
                 linear_case(s, {2, 3, 4}, {5, 4}, true),
                 linear_case(s, {4}, {3, 4}, true),
                 linear_case(s, {0, 4}, {3, 4}, true),
                 linear_case(s, {2, 0}, {3, 0}, true),
                 linear_case(s, {2, 3}, {0, 3}, true),
                 linear_case(s, {5, 67, 34}, {65, 34}, true, false)};
       },
       .errors = {{[] {
                     linear(zeros({2, 3}), zeros({4, 2}));
                   },
                   ErrorKind::Shape,
                   "linear: x has shape [2, 3], expected [..., 2] (weight is [4, 2])"},
                  {[] {
                     linear(zeros({2, 3}), zeros({3}));
                   },
                   ErrorKind::Shape, "linear: weight has shape [3], expected [out, in]"},
                  {[] {
                     linear(zeros({2, 3}), zeros({4, 3}), zeros({3}));
                   },
                   ErrorKind::Shape, "linear: bias has shape [3], expected [4]"},
                  {[=] {
                     linear(narrow, zeros({4, 3}));
                   },
                   ErrorKind::DType, "linear: operands have dtypes bfloat16 and float32"}},
       .tolerance = {.units = 4, .gradient_units = 8},
       .same_bits_in_any_layout = false},
      mlp_row(),
      float8_row(),
  };
}

}  // namespace plinth::op_table
