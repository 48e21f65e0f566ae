// Softmax and the norms.

#include <cmath>
#include <optional>

#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/normalization.h"
#include "core/ops/softmax.h"
#include "naive.h"
#include "op_table.h"

namespace plinth::op_table {
namespace {

using Values = std::vector<double>;

Values softmax_of(const Values& v) {
  Values result;
  for (double x : v) result.push_back(std::exp(x));
  const double total = naive::sum(result);
  for (double& y : result) y /= total;
  return result;
}

Values log_softmax_of(const Values& v) {
  Values result = softmax_of(v);
  for (double& y : result) y = std::log(y);
  return result;
}

Row softmax_row(const std::string& name, Tensor (*op)(const Tensor&, int64_t),
                Values (*formula)(const Values&)) {
  return {.name = name,
          .cases =
              [=](Sampler& sample) {
                std::vector<Case> cases;
                const std::tuple<Shape, int64_t, bool> shapes[] = {
                    {{3, 5}, -1, true},    {{3, 5}, 0, true},     {{2, 3, 4}, 1, true},
                    {{1}, 0, true},        {{0, 3}, 1, true},     {{3, 0}, 1, true},
                    {{2, 1030}, 1, false}, {{600, 65}, 1, false},
                };
                for (const auto& [shape, dim, gradcheck] : shapes) {
                  const int64_t d = dim < 0 ? dim + shape.dim() : dim;
                  cases.push_back(
                      {detail::concat(shape, " along ", dim),
                       {sample(shape, -4, 4)},
                       [op, dim = dim](const Tensors& in) { return Tensors{op(in[0], dim)}; },
                       [formula, d](const Tensors& in) {
                         return Tensors{naive::along(in[0], d, formula)};
                       },
                       gradcheck});
                }
                return cases;
              },
          .errors = {{[op] {
                        op(zeros({2, 3}), 2);
                      },
                      ErrorKind::Shape, name + ": dimension 2 is out of range for 2 dimensions"},
                     {[op] {
                        op(zeros({2, 3}, {DType::Int64, {}}), 1);
                      },
                      ErrorKind::DType, name + ": x has dtype int64, takes float64"},
                     {[op] { op({}, 1); }, ErrorKind::Argument, name + ": x is undefined"}},
          .tolerance = {.units = 8, .gradient_units = 8}};
}

// ---- norms ----

// Which kind, with what eps; inputs are {x, weight, bias} or {x, residual, weight, bias}.
struct Norm {
  bool layer;     // layer norm, else RMS norm
  bool residual;  // the form that adds one
  double eps;
};

constexpr double kEps = 1e-3;

// By the definitions, a row at a time.
Tensors norm_reference(const Norm& norm, const Tensors& in) {
  const Tensor x = norm.residual ? naive::map(in[0], in[1], std::plus<>()) : in[0];
  const size_t first = norm.residual ? 2 : 1;
  const Tensor weight = in[first], bias = norm.layer ? in[first + 1] : Tensor();
  const Tensor normed = naive::along(x, x.dim() - 1, [&](const Values& row) {
    const auto n = static_cast<double>(row.size());
    const double mean = norm.layer ? naive::sum(row) / n : 0;
    Values squared;
    for (double v : row) squared.push_back((v - mean) * (v - mean));
    const double squares = naive::sum(squared);
    Values result;
    for (size_t j = 0; j < row.size(); ++j) {
      const auto column = static_cast<int64_t>(j);
      const double w = weight.defined() ? naive::at(weight, {column}) : 1;
      const double b = bias.defined() ? naive::at(bias, {column}) : 0;
      result.push_back((row[j] - mean) / std::sqrt(squares / n + norm.eps) * w + b);
    }
    return result;
  });
  return norm.residual ? Tensors{x, normed} : Tensors{normed};
}

Tensors call(const Norm& norm, const Tensors& in, std::optional<DType> out = {}) {
  if (norm.residual) {
    const AddNorm result = norm.layer ? add_layer_norm(in[0], in[1], in[2], in[3], norm.eps, out)
                                      : add_rms_norm(in[0], in[1], in[2], norm.eps, out);
    return {result.sum, result.normed};
  }
  return {norm.layer ? layer_norm(in[0], in[1], in[2], norm.eps, out)
                     : rms_norm(in[0], in[1], norm.eps, out)};
}

Case norm_case(const Norm& norm, Sampler& sample, const Shape& shape, bool weight, bool bias,
               bool gradcheck = true, double magnitude = 0) {
  Tensors inputs = {sample(shape)};
  if (norm.residual) inputs.push_back(sample(shape));
  inputs.push_back(weight ? sample({shape.back()}, 0.5, 1.5) : Tensor());
  if (norm.layer) inputs.push_back(bias ? sample({shape.back()}) : Tensor());
  return {detail::concat(shape, weight ? ", weight" : "", bias ? ", bias" : ""),
          inputs,
          [norm](const Tensors& in) { return call(norm, in); },
          [norm](const Tensors& in) { return norm_reference(norm, in); },
          gradcheck,
          magnitude};
}

std::vector<ErrorCase> residual_errors(const Norm& norm, const std::string& name) {
  // x in bfloat16 beside a stream of float32.
  const auto narrow = [norm](const Shape& stream, const Tensor& weight, DType out) {
    const Tensor x = zeros({2, 3}, {DType::BFloat16, {}});
    call(norm, {x, zeros(stream), weight, {}}, out);
  };
  return {
      {[norm] {
         call(norm, {zeros({2, 3}), zeros({3}), {}, {}});
       },
       ErrorKind::Shape, name + ": residual has shape [3], expected [2, 3] (that of x)"},
      {[=] {
         narrow({4, 3}, {}, DType::BFloat16);
       },
       ErrorKind::Shape, name + ": x has shape [2, 3], expected [4, 3] (that of residual)"},
      {[=] {
         narrow({2, 3}, zeros({2}), DType::BFloat16);
       },
       ErrorKind::Shape,
       name + ": weight has shape [2], expected [3] (last dimension of residual)"},
      {[=] {
         narrow({2, 3}, zeros({3}, {DType::BFloat16, {}}), DType::BFloat16);
       },
       ErrorKind::DType, name + ": weight has dtype bfloat16, expected float32 (that of residual)"},
      {[=] {
         narrow({2, 3}, {}, DType::Float16);
       },
       ErrorKind::DType, name + ": residual has dtype float32, expected bfloat16 (that of x)"}};
}

std::vector<ErrorCase> norm_errors(const Norm& norm, const std::string& name) {
  const auto with = [norm](const Tensor& x, const Tensor& weight, double eps = kEps) {
    const Norm tried{norm.layer, norm.residual, eps};
    call(tried, norm.residual ? Tensors{x, x, weight, Tensor()} : Tensors{x, weight, Tensor()});
  };
  std::vector<ErrorCase> errors = {
      {[=] {
         with(zeros({2, 3}), zeros({2}));
       },
       ErrorKind::Shape, name + ": weight has shape [2], expected [3] (last dimension of x)"},
      {[=] {
         with(zeros({2, 3}), zeros({3}, {DType::BFloat16, {}}));
       },
       ErrorKind::DType, name + ": weight has dtype bfloat16, expected float32 (that of x)"},
      {[=] {
         with(zeros({2, 3}), {}, -1);
       },
       ErrorKind::Argument, name + ": eps is -1, expected at least 0"},
      {[=] { with(zeros({}), {}); }, ErrorKind::Shape,
       name + ": x has shape [], expected at least one dimension"},
      {[=] {
         with(zeros({2, 3}, {DType::Int64, {}}), {});
       },
       ErrorKind::DType, name + ": x has dtype int64"},
  };
  const auto into = [norm](DType dtype, DType out) {
    const Tensor x = zeros({2, 3}, {dtype, {}});
    call(norm, norm.residual ? Tensors{x, x, {}, {}} : Tensors{x, {}, {}}, out);
  };
  const std::string argument = norm.residual ? "residual" : "x";
  errors.push_back({[=] { into(DType::Float32, DType::Float64); }, ErrorKind::DType,
                    name + ": out is float64, takes float32, bfloat16 or float16 for " + argument +
                        " of float32"});
  errors.push_back({[=] { into(DType::BFloat16, DType::Float32); }, ErrorKind::DType,
                    name + ": out is float32, takes bfloat16 for " + argument + " of bfloat16"});
  errors.push_back({[=] { into(DType::Float64, DType::BFloat16); }, ErrorKind::DType,
                    name + ": out is bfloat16, takes float64 for " + argument + " of float64"});
  if (norm.residual) {
    for (const ErrorCase& error : residual_errors(norm, name)) errors.push_back(error);
  }
  return errors;
}

Row norm_row(const std::string& name, bool layer, bool residual) {
  const Norm norm{layer, residual, kEps};
  return {.name = name,
          .cases = [norm](Sampler& s) -> std::vector<Case> {
            return {norm_case(norm, s, {3, 5}, true, norm.layer),
                    norm_case(norm, s, {2, 2, 4}, true, false),
                    norm_case(norm, s, {7}, false, norm.layer),
                    norm_case(norm, s, {3, 6}, false, false),
                    norm_case(norm, s, {0, 4}, true, norm.layer),
                    norm_case(norm, s, {3, 1}, true, norm.layer, true, 1),
                    norm_case(norm, s, {300, 129}, true, norm.layer, false),
                    norm_case(norm, s, {3, 1030}, true, norm.layer, false)};
          },
          .errors = norm_errors(norm, name),
          // Sums of many rows grow with their number.
          .tolerance = {.units = 4, .gradient_units = 16},
          .second = Second::Refused};
}

}  // namespace

std::vector<Row> normalization_rows() {
  return {
      softmax_row("softmax", softmax, softmax_of),
      softmax_row("log_softmax", log_softmax, log_softmax_of),
      norm_row("layer_norm", true, false),
      norm_row("rms_norm", false, false),
      norm_row("add_layer_norm", true, true),
      norm_row("add_rms_norm", false, true),
  };
}

}  // namespace plinth::op_table
