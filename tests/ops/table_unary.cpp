// Functions of one tensor.

#include <cmath>

#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "naive.h"
#include "op_table.h"

namespace plinth::op_table {
namespace {

template <class Op, class Formula>
Row unary_row(const std::string& name, Op op, Formula formula, double low, double high) {
  return {
      .name = name,
      .cases =
          [=](Sampler& sample) {
            const Function call = [op](const Tensors& in) { return Tensors{op(in[0])}; };
            const Function reference = [formula](const Tensors& in) {
              return Tensors{naive::map(in[0], formula)};
            };
            std::vector<Case> cases;
            for (const Shape& shape : kPointwiseShapes) {
              cases.push_back({detail::concat(shape), {sample(shape, low, high)}, call, reference});
            }
            cases.push_back(
                {"large", {sample({130, 257}, low, high)}, call, reference, /*gradcheck=*/false});
            return cases;
          },
      .errors = {{[op] {
                    op(zeros({2}, {DType::Bool, {}}));
                  },
                  ErrorKind::DType, name + ": got dtype bool, takes float64"}},
  };
}

Row step_row(const std::string& name, Tensor (*op)(const Tensor&), double (*formula)(double)) {
  Row result = unary_row(name, op, formula, -3, 3);
  result.second = Second::Zero;
  return result;
}

Row clamp_row() {
  Row result = unary_row(
      "clamp", [](const Tensor& x) { return clamp(x, -0.5, 1); },
      [](double x) { return std::fmin(std::fmax(x, -0.5), 1); }, -2, 2);
  result.errors = {{[] { clamp(zeros({2}), 1, 0); }, ErrorKind::Argument,
                    "clamp: low is 1, expected at most high, 0"}};
  return result;
}

}  // namespace

std::vector<Row> unary_rows() {
  using F = Tensor (*)(const Tensor&);
  const auto d = [](double (*f)(double)) { return f; };
  std::vector<Row> rows = {
      unary_row(
          "neg", F(neg), [](double x) { return -x; }, -3, 3),
      unary_row("abs", F(abs), d(std::fabs), -3, 3),
      unary_row("exp", F(exp), d(std::exp), -3, 3),
      unary_row("log", F(log), d(std::log), 0.2, 4),
      unary_row("sqrt", F(sqrt), d(std::sqrt), 0.2, 4),
      unary_row(
          "rsqrt", F(rsqrt), [](double x) { return 1 / std::sqrt(x); }, 0.2, 4),
      unary_row(
          "reciprocal", F(reciprocal), [](double x) { return 1 / x; }, 0.4, 3),
      unary_row("sin", F(sin), d(std::sin), -4, 4),
      unary_row("cos", F(cos), d(std::cos), -4, 4),
      unary_row("tanh", F(tanh), d(std::tanh), -4, 4),
      unary_row(
          "sigmoid", F(sigmoid), [](double x) { return 1 / (1 + std::exp(-x)); }, -6, 6),
      unary_row("erf", F(erf), d(std::erf), -3, 3),
      unary_row(
          "square", F(square), [](double x) { return x * x; }, -3, 3),
      step_row("sign", sign, [](double x) { return double(x > 0) - double(x < 0); }),
      step_row("floor", floor, std::floor),
      step_row("round", round, std::nearbyint),
      clamp_row(),
  };
  return rows;
}

}  // namespace plinth::op_table
