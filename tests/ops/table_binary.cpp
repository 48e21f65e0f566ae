// Arithmetic of two tensors.

#include <cmath>

#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "naive.h"
#include "op_table.h"

namespace plinth::op_table {
namespace {

struct Range {
  double low, high;
};

// Equal shapes, each way of broadcasting, nothing, and enough for several threads.
const std::pair<Shape, Shape> kShapePairs[] = {
    {{}, {}},        {{3, 5}, {3, 5}},    {{3, 5}, {5}}, {{5}, {3, 5}},    {{3, 1}, {1, 5}},
    {{2, 3, 4}, {}}, {{2, 1, 3}, {4, 1}}, {{0, 3}, {3}}, {{3, 1}, {3, 0}},
};

template <class Op, class Formula>
Row binary_row(const std::string& name, Op op, Formula formula, Range a, Range b) {
  return {
      .name = name,
      .cases =
          [=](Sampler& sample) {
            const Function call = [op](const Tensors& in) { return Tensors{op(in[0], in[1])}; };
            const Function reference = [formula](const Tensors& in) {
              return Tensors{naive::map(in[0], in[1], formula)};
            };
            std::vector<Case> cases;
            for (const auto& [left, right] : kShapePairs) {
              cases.push_back({detail::concat(left, " and ", right),
                               {sample(left, a.low, a.high), sample(right, b.low, b.high)},
                               call,
                               reference});
            }
            cases.push_back({"large",
                             {sample({130, 257}, a.low, a.high), sample({257}, b.low, b.high)},
                             call,
                             reference,
                             /*gradcheck=*/false});
            return cases;
          },
      .errors = {{[op] {
                    op(zeros({2, 3}), zeros({2}));
                  },
                  ErrorKind::Shape, name + ": shapes [2, 3] and [2] do not broadcast"},
                 {[op] {
                    op(zeros({2}, {DType::Bool, {}}), zeros({2}, {DType::Bool, {}}));
                  },
                  ErrorKind::DType, name + ": got dtype bool, takes float64"},
                 {[op] {
                    op(zeros({2}, {DType::Float8_e4m3, {}}), zeros({2}));
                  },
                  ErrorKind::DType, "float8 does not combine with another dtype"}},
      // Gradients are rounded once an op of which they are made.
      .tolerance = {.units = 1, .gradient_units = 6},
  };
}

// op(x, number) as a function of one tensor.
template <class Op, class Formula>
Case scalar_case(const std::string& label, const Tensor& x, Op op, Formula formula) {
  return {label,
          {x},
          [op](const Tensors& in) { return Tensors{op(in[0])}; },
          [formula](const Tensors& in) { return Tensors{naive::map(in[0], formula)}; }};
}

// Adds cases with a number for an operand.
Row with_numbers(Row row, std::function<std::vector<Case>(Sampler&)> more) {
  row.cases = [first = row.cases, more](Sampler& sample) {
    std::vector<Case> cases = first(sample);
    for (Case& c : more(sample)) cases.push_back(std::move(c));
    return cases;
  };
  return row;
}

Row add_row() {
  return with_numbers(
      binary_row(
          "add", [](const Tensor& a, const Tensor& b) { return add(a, b); },
          [](double a, double b) { return a + b; }, {-2, 2}, {-2, 2}),
      [](Sampler& sample) -> std::vector<Case> {
        const auto op = [](const Tensor& x) { return 1.5 + x; };
        return {scalar_case("1.5 + x", sample({3, 5}), op, [](double x) { return 1.5 + x; })};
      });
}

Row sub_row() {
  return with_numbers(
      binary_row("sub", sub, [](double a, double b) { return a - b; }, {-2, 2}, {-2, 2}),
      [](Sampler& sample) -> std::vector<Case> {
        const auto op = [](const Tensor& x) { return 1.5 - x; };
        return {scalar_case("1.5 - x", sample({3, 5}), op, [](double x) { return 1.5 - x; }),
                scalar_case(
                    "x - 1.5", sample({3, 5}), [](const Tensor& x) { return x - 1.5; },
                    [](double x) { return x - 1.5; })};
      });
}

Row mul_row() {
  return with_numbers(
      binary_row(
          "mul", [](const Tensor& a, const Tensor& b) { return mul(a, b); },
          [](double a, double b) { return a * b; }, {-2, 2}, {-2, 2}),
      [](Sampler& sample) -> std::vector<Case> {
        const auto op = [](const Tensor& x) { return -1.5 * x; };
        return {scalar_case("-1.5 * x", sample({3, 5}), op, [](double x) { return -1.5 * x; }),
                // Both operands are one tensor.
                scalar_case(
                    "x * x", sample({3, 5}), [](const Tensor& x) { return x * x; },
                    [](double x) { return x * x; })};
      });
}

Row div_row() {
  return with_numbers(binary_row(
                          "div", [](const Tensor& a, const Tensor& b) { return div(a, b); },
                          [](double a, double b) { return a / b; }, {-2, 2}, {0.5, 2}),
                      [](Sampler& sample) -> std::vector<Case> {
                        const auto op = [](const Tensor& x) { return 1.5 / x; };
                        return {scalar_case("1.5 / x", sample({3, 5}, 0.5, 2), op,
                                            [](double x) { return 1.5 / x; }),
                                scalar_case(
                                    "x / 4", sample({3, 5}), [](const Tensor& x) { return x / 4; },
                                    [](double x) { return x / 4; })};
                      });
}

Row pow_row() {
  return with_numbers(
      binary_row(
          "pow", [](const Tensor& a, const Tensor& b) { return pow(a, b); },
          [](double a, double b) { return std::pow(a, b); }, {0.3, 2}, {-1.5, 2}),
      [](Sampler& sample) -> std::vector<Case> {
        const auto op = [](const Tensor& x) { return pow(x, 3); };
        return {scalar_case("x ^ 3", sample({3, 5}), op, [](double x) { return x * x * x; })};
      });
}

}  // namespace

std::vector<Row> binary_rows() {
  return {
      add_row(),
      sub_row(),
      mul_row(),
      div_row(),
      pow_row(),
      binary_row("maximum", maximum, [](double a, double b) { return std::fmax(a, b); }, {-2, 2},
                 {-2, 2}),
      binary_row("minimum", minimum, [](double a, double b) { return std::fmin(a, b); }, {-2, 2},
                 {-2, 2}),
  };
}

}  // namespace plinth::op_table
