// Losses.

#include "core/ops/loss.h"

#include <cmath>

#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "naive.h"
#include "op_table.h"

namespace plinth::op_table {
namespace {

constexpr const char* kReductions[] = {"none", "mean", "sum"};

// The reduced loss, of losses of which `counted` count.
Tensor reduced(const Tensor& losses, Reduction reduction, double counted) {
  if (reduction == Reduction::None) return losses;
  double total = naive::sum(to_vector(losses));
  if (reduction == Reduction::Mean) total = counted > 0 ? total / counted : 0;
  return scalar(total, {DType::Float64, {}});
}

// By its definition, with probabilities.
Tensor cross_entropy_reference(const Tensor& logits, const Tensor& target,
                               const CrossEntropyOptions& options) {
  const int64_t classes = logits.size(-1);
  double counted = 0;
  const Tensor losses = naive::build(target.shape(), [&](naive::Index i) {
    const auto t = static_cast<int64_t>(naive::at(target, i));
    if (t == options.ignore_index) return 0.0;
    ++counted;
    i.push_back(0);
    const auto logit = [&](int64_t c) {
      i.back() = c;
      return naive::at(logits, i);
    };
    double total = 0, loss = 0;
    for (int64_t c = 0; c < classes; ++c) total += std::exp(logit(c));
    for (int64_t c = 0; c < classes; ++c) {
      const double wanted = (c == t ? 1 - options.label_smoothing : 0) +
                            options.label_smoothing / static_cast<double>(classes);
      loss -= wanted * std::log(std::exp(logit(c)) / total);
    }
    return loss;
  });
  return reduced(losses, options.reduction, counted);
}

// Classes that repeat, with a target ignored here and there.
Tensor targets(const Shape& shape, int64_t classes, int64_t ignore_index) {
  std::vector<int64_t> values(shape.numel());
  for (size_t i = 0; i < values.size(); ++i) {
    const auto n = static_cast<int64_t>(i);
    values[i] = n % 5 == 3 ? ignore_index : n * n % classes;
  }
  return from_values(values, shape);
}

std::string label(const Shape& shape, const CrossEntropyOptions& options) {
  return detail::concat(shape, ", ", kReductions[static_cast<int>(options.reduction)],
                        ", smoothing ", options.label_smoothing);
}

Case cross_entropy_case(Sampler& sample, const Shape& shape, int64_t classes,
                        const CrossEntropyOptions& options, bool gradcheck = true) {
  Shape logits = shape;
  logits.push_back(classes);
  return {label(logits, options),
          {sample(logits, -3, 3), targets(shape, classes, options.ignore_index)},
          [options](const Tensors& in) { return Tensors{cross_entropy(in[0], in[1], options)}; },
          [options](const Tensors& in) {
            return Tensors{cross_entropy_reference(in[0], in[1], options)};
          },
          gradcheck};
}

Tensor logits_of(const Tensor& x, const Tensor& weight) {
  Shape shape = x.shape();
  shape[shape.dim() - 1] = weight.size(0);
  return naive::build(shape, [&](naive::Index i) {
    const int64_t row = i.back();
    double total = 0;
    for (int64_t p = 0; p < weight.size(1); ++p) {
      i.back() = p;
      total += naive::at(x, i) * naive::at(weight, {row, p});
    }
    return total;
  });
}

Case head_case(Sampler& sample, const Shape& shape, int64_t dim, int64_t vocab,
               const CrossEntropyOptions& options, bool gradcheck = true) {
  Shape x = shape;
  x.push_back(dim);
  return {label(x, options),
          {sample(x), sample({vocab, dim}, -1, 1), targets(shape, vocab, options.ignore_index)},
          [options](const Tensors& in) {
            return Tensors{linear_cross_entropy(in[0], in[1], in[2], options)};
          },
          [options](const Tensors& in) {
            return Tensors{cross_entropy_reference(logits_of(in[0], in[1]), in[2], options)};
          },
          gradcheck};
}

std::vector<CrossEntropyOptions> all_options() {
  std::vector<CrossEntropyOptions> all;
  for (Reduction reduction : {Reduction::Mean, Reduction::Sum, Reduction::None}) {
    all.push_back({.reduction = reduction});
    all.push_back({.ignore_index = 1, .label_smoothing = 0.2, .reduction = reduction});
  }
  return all;
}

Row cross_entropy_row() {
  const auto ids = from_values<int64_t>({0, 3}, {2});
  return {.name = "cross_entropy",
          .cases =
              [](Sampler& s) {
                std::vector<Case> cases;
                for (const auto& options : all_options())
                  cases.push_back(cross_entropy_case(s, {2, 3}, 5, options));
                cases.push_back(cross_entropy_case(s, {}, 4, {}));
                cases.push_back(cross_entropy_case(s, {0}, 4, {}));
                cases.push_back(cross_entropy_case(s, {2}, 1, {}));
                cases.push_back(cross_entropy_case(s, {70}, 1030, {.label_smoothing = 0.1}, false));
                return cases;
              },
          .errors =
              {{[=] {
                  cross_entropy(zeros({2, 3}), ids);
                },
                ErrorKind::Argument,
                "cross_entropy: target 3 (element 1) is neither a class in [0, 3) nor ignore_index "
                "-100"},
               {[=] {
                  cross_entropy(zeros({3, 4}), ids);
                },
                ErrorKind::Shape,
                "cross_entropy: target has shape [2], expected [3] (logits without its last size)"},
               {[=] {
                  cross_entropy(zeros({2, 4}), zeros({2}));
                },
                ErrorKind::DType, "cross_entropy: target has dtype float32, expected int64"},
               {[=] {
                  cross_entropy(zeros({2, 4}), ids, {.label_smoothing = 2});
                },
                ErrorKind::Argument, "cross_entropy: label_smoothing is 2, expected within [0, 1]"},
               {[=] { cross_entropy(zeros({}), ids); }, ErrorKind::Shape,
                "cross_entropy: logits has shape [], expected at least one dimension"}},
          .tolerance = {.units = 4, .gradient_units = 4},
          .second = Second::Refused};
}

Row linear_cross_entropy_row() {
  const auto ids = from_values<int64_t>({0, 4}, {2});
  return {
      .name = "linear_cross_entropy",
      .cases =
          [](Sampler& s) {
            std::vector<Case> cases;
            for (const auto& options : all_options())
              cases.push_back(head_case(s, {2, 3}, 4, 5, options));
            cases.push_back(head_case(s, {0}, 3, 4, {}));
            cases.push_back(head_case(s, {}, 3, 4, {}));
            cases.push_back(head_case(s, {130}, 33, 517, {.label_smoothing = 0.1}, false));
            return cases;
          },
      .errors =
          {{[=] {
              linear_cross_entropy(zeros({2, 3}), zeros({4, 3}), ids);
            },
            ErrorKind::Argument,
            "linear_cross_entropy: target 4 (element 1) is neither a class in [0, 4)"},
           {[=] {
              linear_cross_entropy(zeros({2, 3}), zeros({5, 2}), ids);
            },
            ErrorKind::Shape, "linear_cross_entropy: weight has shape [5, 2], expected [vocab, 3]"},
           {[=] {
              linear_cross_entropy(zeros({3, 3}), zeros({5, 3}), ids);
            },
            ErrorKind::Shape, "linear_cross_entropy: target has shape [2], expected [3]"},
           {[=] {
              linear_cross_entropy(zeros({2, 3}), zeros({5, 3}, {DType::BFloat16, {}}), ids);
            },
            ErrorKind::DType, "linear_cross_entropy: weight has dtype bfloat16, expected float32"},
           {[=] {
              linear_cross_entropy(zeros({2, 3}), zeros({5, 3}), ids, {.label_smoothing = -1});
            },
            ErrorKind::Argument, "linear_cross_entropy: label_smoothing is -1"}},
      // bfloat16 rounds the logits of Reduction::None, and gradients of 130 rows.
      .tolerance = {.units = 4, .gradient_units = 12},
      .second = Second::Refused};
}

template <class Op, class Formula>
Row pair_row(const std::string& name, const std::string& first, Op op, Formula formula,
             double target_low, double target_high) {
  const auto pair_case = [=](Sampler& sample, const Shape& shape, Reduction reduction,
                             bool gradcheck = true) {
    return Case{detail::concat(shape, ", ", kReductions[static_cast<int>(reduction)]),
                {sample(shape, -4, 4), sample(shape, target_low, target_high)},
                [=](const Tensors& in) { return Tensors{op(in[0], in[1], reduction)}; },
                [=](const Tensors& in) {
                  const Tensor losses = naive::map(in[0], in[1], formula);
                  return Tensors{reduced(losses, reduction, double(losses.numel()))};
                },
                gradcheck};
  };
  return {.name = name,
          .cases = [=](Sampler& s) -> std::vector<Case> {
            return {pair_case(s, {3, 4}, Reduction::Mean),
                    pair_case(s, {3, 4}, Reduction::Sum),
                    pair_case(s, {2, 2, 2}, Reduction::None),
                    pair_case(s, {}, Reduction::Mean),
                    pair_case(s, {0}, Reduction::Sum),
                    pair_case(s, {130, 257}, Reduction::Mean, false)};
          },
          .errors = {{[=] { op(zeros({2}), zeros({3}), Reduction::Mean); }, ErrorKind::Shape,
                      name + ": target has shape [3], expected [2] (that of " + first + ")"},
                     {[=] {
                        op(zeros({2}), zeros({2}, {DType::Int64, {}}), Reduction::Mean);
                      },
                      ErrorKind::DType, name + ": target has dtype int64, takes float64"},
                     {[=] {
                        op(zeros({2}, {DType::Bool, {}}), zeros({2}), Reduction::Mean);
                      },
                      ErrorKind::DType, name + ": " + first + " has dtype bool"}},
          .tolerance = {.units = 4, .gradient_units = 4}};
}

}  // namespace

std::vector<Row> loss_rows() {
  return {
      cross_entropy_row(),
      linear_cross_entropy_row(),
      pair_row(
          "mse_loss", "input", mse_loss, [](double x, double t) { return (x - t) * (x - t); }, -4,
          4),
      pair_row(
          "binary_cross_entropy_with_logits", "logits", binary_cross_entropy_with_logits,
          [](double x, double t) {
            const double p = 1 / (1 + std::exp(-x));
            return -t * std::log(p) - (1 - t) * std::log(1 - p);
          },
          0, 1),
  };
}

}  // namespace plinth::op_table
