// Reductions.

#include <cmath>

#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/reduce.h"
#include "naive.h"
#include "op_table.h"

namespace plinth::op_table {
namespace {

using Values = std::vector<double>;
using ReduceFn = std::function<Tensor(const Tensor&, const Shape& dims, bool keepdim)>;
using Formula = std::function<double(const Values&)>;

struct ReduceShape {
  Shape x, dims;
  bool keepdim = false;
};

const ReduceShape kReduceShapes[] = {
    {{3, 5}, {}}, {{3, 5}, {1}}, {{3, 5}, {0}, true}, {{2, 3, 4}, {0, -1}}, {{2, 3, 4}, {1}, true},
    {{}, {}},     {{7}, {0}},    {{0, 3}, {1}},       {{3, 1, 2}, {1}},
};

Case reduce_case(const ReduceShape& shape, const Tensor& x, const ReduceFn& op,
                 const Formula& formula) {
  return {detail::concat(shape.x, " over ", shape.dims, shape.keepdim ? " kept" : ""),
          {x},
          [=](const Tensors& in) { return Tensors{op(in[0], shape.dims, shape.keepdim)}; },
          [=](const Tensors& in) {
            return Tensors{naive::reduce(in[0], shape.dims, shape.keepdim, formula)};
          }};
}

struct InputRange {
  double low = -2, high = 2;
};

Row reduction_row(const std::string& name, ReduceFn op, Formula formula, InputRange range = {},
                  Tolerance tolerance = {.units = 2, .gradient_units = 6}) {
  return {.name = name,
          .cases =
              [=](Sampler& sample) {
                std::vector<Case> cases;
                for (const ReduceShape& shape : kReduceShapes) {
                  cases.push_back(
                      reduce_case(shape, sample(shape.x, range.low, range.high), op, formula));
                }
                return cases;
              },
          .errors = {{[op] {
                        op(zeros({2, 3}), {2}, false);
                      },
                      ErrorKind::Shape, ": dimension 2 is out of range for 2 dimensions"},
                     {[op] {
                        op(zeros({2, 3}), {1, -1}, false);
                      },
                      ErrorKind::Shape, ": dimension -1 is given twice"},
                     {[op] {
                        op(zeros({2}, {DType::Float8_e5m2, {}}), {0}, false);
                      },
                      ErrorKind::DType, "float8"}},
          .tolerance = tolerance};
}

// With cases where many elements go into one result, and nothing does.
Row with_large(Row row, ReduceFn op, Formula formula, double of_nothing) {
  row.cases = [=, first = row.cases](Sampler& sample) {
    std::vector<Case> cases = first(sample);
    const ReduceShape nothing{{2, 0}, {1}};
    cases.push_back(
        reduce_case(nothing, sample({2, 0}), op, [=](const Values&) { return of_nothing; }));
    cases.back().gradcheck = false;
    for (const ReduceShape& shape :
         {ReduceShape{{3, 20000}, {1}}, {{20000, 3}, {0}}, {{300, 257}, {}}, {{300, 257}, {1}}}) {
      cases.push_back(reduce_case(shape, sample(shape.x, 0.1, 0.4), op, formula));
      cases.back().label += ", large";
      cases.back().gradcheck = false;
      cases.back().reference = [=](const Tensors& in) {
        // The general loop visits every element for every result.
        const int64_t d = shape.dims.empty() ? -1 : shape.dims[0];
        if (d < 0) return Tensors{scalar(formula(to_vector(in[0])), {DType::Float64, {}})};
        const Tensor kept =
            naive::along(in[0], d, [&](const Values& v) { return Values{formula(v)}; });
        return Tensors{from_values(to_vector(kept), {shape.x[1 - d]})};
      };
    }
    return cases;
  };
  return row;
}

double product_of(const Values& v) {
  double result = 1;
  for (double x : v) result *= x;
  return result;
}

double variance(const Values& v, double divisor) {
  const double mean = naive::sum(v) / static_cast<double>(v.size());
  double squares = 0;
  for (double x : v) squares += (x - mean) * (x - mean);
  return squares / divisor;
}

double log_sum_exp(const Values& v) {
  double total = 0;
  for (double x : v) total += std::exp(x);
  return std::log(total);
}

double euclidean(const Values& v) {
  double squares = 0;
  for (double x : v) squares += x * x;
  return std::sqrt(squares);
}

Row sum_row() {
  const ReduceFn op = [](const Tensor& x, const Shape& d, bool keep) { return sum(x, d, keep); };
  return with_large(reduction_row("sum", op, naive::sum), op, naive::sum, 0);
}

Row mean_row() {
  const Formula formula = [](const Values& v) { return naive::sum(v) / double(v.size()); };
  const ReduceFn op = [](const Tensor& x, const Shape& d, bool keep) { return mean(x, d, keep); };
  Row result = with_large(reduction_row("mean", op, formula), op, formula, NAN);
  result.errors.push_back({[] {
                             mean(zeros({2}, {DType::Int64, {}}));
                           },
                           ErrorKind::DType, "mean: got dtype int64, takes floating point"});
  return result;
}

Row var_row() {
  Row result = reduction_row(
      "var", [](const Tensor& x, const Shape& d, bool keep) { return var(x, d, 0, keep); },
      [](const Values& v) { return variance(v, double(v.size())); }, {},
      {.units = 6, .gradient_units = 16});
  result.cases = [first = result.cases](Sampler& sample) {
    std::vector<Case> cases = first(sample);
    cases.push_back({"unbiased",
                     {sample({3, 5})},
                     [](const Tensors& in) { return Tensors{var(in[0], {1})}; },
                     [](const Tensors& in) {
                       return Tensors{naive::reduce(in[0], {1}, false, [](const Values& v) {
                         return variance(v, double(v.size()) - 1);
                       })};
                     }});
    // A mean that narrow floats round to one of the values, and squares beyond float16.
    for (const Values& values : {Values{100, 100.5, 100.5, 100}, Values{300, 0, 0, 0, 0, 0}}) {
      const Tensor x = from_values(values, {std::ssize(values)});
      cases.push_back({detail::concat("of ", values[0]),
                       {x},
                       [](const Tensors& in) { return Tensors{var(in[0], {}, 0)}; },
                       [](const Tensors& in) {
                         return Tensors{naive::reduce(in[0], {}, false, [](const Values& v) {
                           return variance(v, double(v.size()));
                         })};
                       }});
    }
    return cases;
  };
  return result;
}

Row prod_row() {
  return reduction_row("prod",
                       [](const Tensor& x, const Shape& d, bool keep) { return prod(x, d, keep); },
                       product_of, {0.5, 1.6}, {.units = 16, .gradient_units = 32});
}

Row extremum_row(const std::string& name, Tensor (*op)(const Tensor&, const Shape&, bool),
                 double (*pick)(const Values&)) {
  Row result = reduction_row(name, op, pick);
  result.errors.push_back({[op] {
                             op(zeros({2, 0}), {1}, false);
                           },
                           ErrorKind::Shape,
                           name + ": x has shape [2, 0]: nothing has no extremum"});
  return result;
}

Row cumsum_row() {
  const auto cumsum_case = [](const Tensor& x, int64_t d, bool gradcheck) {
    return Case{detail::concat(x.shape(), " along ", d),
                {x},
                [=](const Tensors& in) { return Tensors{cumsum(in[0], d)}; },
                [=](const Tensors& in) {
                  return Tensors{naive::along(in[0], d, [](const Values& v) {
                    Values sums(v.size());
                    std::partial_sum(v.begin(), v.end(), sums.begin());
                    return sums;
                  })};
                },
                gradcheck};
  };
  return {.name = "cumsum",
          .cases = [=](Sampler& s) -> std::vector<Case> {
            return {cumsum_case(s({3, 5}), 1, true), cumsum_case(s({3, 2, 2}), 0, true),
                    cumsum_case(s({0, 3}), 0, true), cumsum_case(s({70, 1030}), 1, false)};
          },
          .errors = {{[] { cumsum(zeros({2}), 1); }, ErrorKind::Shape,
                      "cumsum: dimension 1 is out of range for 1 dimensions"},
                     {[] {
                        cumsum(zeros({2}, {DType::Bool, {}}), 0);
                      },
                      ErrorKind::DType, "cumsum: got dtype bool"}},
          .tolerance = {.units = 8, .gradient_units = 64}};
}

Row topk_row() {
  return {
      .name = "topk",
      .cases = [](Sampler& s) -> std::vector<Case> {
        return {{"three of seven",
                 {s({2, 7})},
                 [](const Tensors& in) {
                   const TopK top = topk(in[0], 3);
                   return Tensors{top.values, top.indices};
                 },
                 [](const Tensors& in) {
                   const auto order = [](const Values& v) {
                     std::vector<size_t> by(v.size());
                     std::iota(by.begin(), by.end(), size_t{0});
                     std::ranges::stable_sort(by, [&](size_t a, size_t b) { return v[a] > v[b]; });
                     return by;
                   };
                   const auto values = [&](const Values& v) {
                     const auto by = order(v);
                     return Values{v[by[0]], v[by[1]], v[by[2]]};
                   };
                   const auto indices = [&](const Values& v) {
                     const auto by = order(v);
                     return Values{double(by[0]), double(by[1]), double(by[2])};
                   };
                   return Tensors{naive::along(in[0], 1, values), naive::along(in[0], 1, indices)};
                 }}};
      },
      .errors = {{[] {
                    topk(zeros({2, 3}), 4);
                  },
                  ErrorKind::Argument, "topk: k is 4, x has shape [2, 3]"}}};
}

}  // namespace

std::vector<Row> reduction_rows() {
  return {
      sum_row(),
      mean_row(),
      var_row(),
      prod_row(),
      extremum_row("amax", amax, [](const Values& v) { return std::ranges::max(v); }),
      extremum_row("amin", amin, [](const Values& v) { return std::ranges::min(v); }),
      reduction_row(
          "logsumexp",
          [](const Tensor& x, const Shape& d, bool keep) { return logsumexp(x, d, keep); },
          log_sum_exp, {}, {.units = 4, .gradient_units = 12}),
      reduction_row("norm",
                    [](const Tensor& x, const Shape& d, bool keep) { return norm(x, d, keep); },
                    euclidean, {}, {.units = 4, .gradient_units = 12}),
      cumsum_row(),
      topk_row(),
  };
}

}  // namespace plinth::op_table
