// Connectionist temporal classification.

#include "core/ops/ctc_loss.h"

#include <cmath>

#include "core/ops/factories.h"
#include "core/ops/softmax.h"
#include "naive.h"
#include "op_table.h"

namespace plinth::op_table {
namespace {

// The targets and lengths of a call, and its options.
struct Problem {
  Tensor targets, input_lengths, target_lengths;
  CtcLossOptions options = {};

  Tensor operator()(const Tensor& log_probs) const {
    const Device device = log_probs.device();
    return ctc_loss(log_probs, targets.to(device), input_lengths.to(device),
                    target_lengths.to(device), options);
  }
};

std::vector<int64_t> numbers(const Tensor& x) {
  const std::vector<double> values = to_vector(x);
  return {values.begin(), values.end()};
}

// By its definition: every path of classes is written down, and counts if it becomes the target.
double loss_of(const Tensor& log_probs, const Problem& problem, int64_t i) {
  const int64_t classes = log_probs.size(2), blank = problem.options.blank;
  const int64_t steps = numbers(problem.input_lengths)[i];
  std::vector<int64_t> wanted = numbers(problem.targets[i]);
  wanted.resize(numbers(problem.target_lengths)[i]);
  int64_t paths = 1;
  for (int64_t t = 0; t < steps; ++t) paths *= classes;
  double total = 0;
  for (int64_t path = 0; path < paths; ++path) {
    double log_probability = 0;
    std::vector<int64_t> text;
    int64_t rest = path, last = -1;
    for (int64_t t = 0; t < steps; ++t, rest /= classes) {
      const int64_t c = rest % classes;
      log_probability += naive::at(log_probs, {t, i, c});
      if (c != last && c != blank) text.push_back(c);
      last = c;
    }
    if (text == wanted) total += std::exp(log_probability);
  }
  const double loss = -std::log(total);
  return problem.options.zero_infinity && std::isinf(loss) ? 0 : loss;
}

Tensor reference(const Tensor& log_probs, const Problem& problem) {
  const int64_t batch = log_probs.size(1);
  const std::vector<int64_t> lengths = numbers(problem.target_lengths);
  std::vector<double> losses;
  double sum = 0, mean = 0;
  for (int64_t i = 0; i < batch; ++i) {
    losses.push_back(loss_of(log_probs, problem, i));
    sum += losses.back();
    mean += losses.back() / static_cast<double>(std::max<int64_t>(1, lengths[i]) * batch);
  }
  switch (problem.options.reduction) {
    case Reduction::Mean: return scalar(mean, {DType::Float64, {}});
    case Reduction::Sum: return scalar(sum, {DType::Float64, {}});
    default: return from_values(losses, {batch});
  }
}

Tensor log_probabilities(Sampler& sample, const Shape& shape) {
  return log_softmax(sample(shape, -2, 2), -1);
}

Case ctc_case(Sampler& sample, const std::string& label, const Shape& shape,
              const Problem& problem) {
  return {label,
          {log_probabilities(sample, shape)},
          [problem](const Tensors& in) { return Tensors{problem(in[0])}; },
          [problem](const Tensors& in) { return Tensors{reference(in[0], problem)}; }};
}

// A label that repeats, one that does not, none at all, and one of all the steps' length; fewer
// steps than there are.
Problem some(Reduction reduction, int64_t blank) {
  const int64_t a = blank == 0 ? 1 : 0, b = 2;
  return {from_values<int64_t>({a, a, 9, b, a, 9, 9, 9, 9, a, b, a}, {4, 3}),
          from_values<int64_t>({5, 4, 5, 3}, {4}),
          from_values<int64_t>({2, 2, 0, 3}, {4}),
          {.blank = blank, .reduction = reduction}};
}

// The second needs more steps than it has, the third has no step.
Problem too_long(bool zero_infinity) {
  return {from_values<int64_t>({1, 2, 1, 1, 1, 2}, {3, 2}),
          from_values<int64_t>({4, 2, 0}, {3}),
          from_values<int64_t>({2, 2, 0}, {3}),
          {.reduction = Reduction::Sum, .zero_infinity = zero_infinity}};
}

// Of a length that no one writes down: the same in float64 stands for it.
Case long_case(Sampler& sample) {
  std::vector<int64_t> targets;
  for (int64_t i = 0; i < 3 * 40; ++i) targets.push_back(1 + i * i % 29);
  const Problem problem{from_values(targets, {3, 40}), from_values<int64_t>({150, 120, 149}, {3}),
                        from_values<int64_t>({40, 33, 0}, {3})};
  return {.label = "150 steps",
          .inputs = {log_probabilities(sample, {150, 3, 30})},
          .op = [problem](const Tensors& in) { return Tensors{problem(in[0])}; },
          .gradcheck = false};
}

}  // namespace

std::vector<Row> ctc_loss_rows() {
  const Tensor x = zeros({4, 2, 3});
  const auto ids = [](const std::vector<int64_t>& values, const Shape& shape) {
    return from_values(values, shape);
  };
  const Tensor targets = ids({1, 2, 1, 2}, {2, 2}), steps = ids({4, 4}, {2}),
               two = ids({2, 2}, {2});
  return {{
      .name = "ctc_loss",
      .cases =
          [](Sampler& s) {
            std::vector<Case> cases;
            for (const Reduction reduction : {Reduction::Mean, Reduction::Sum, Reduction::None})
              for (const int64_t blank : {0, 3})
                cases.push_back(ctc_case(s, detail::concat("blank ", blank), {5, 4, 4},
                                         some(reduction, blank)));
            cases.push_back(ctc_case(s, "too long", {4, 3, 3}, too_long(true)));
            cases.push_back(
                ctc_case(s, "no samples", {4, 0, 3},
                         {from_values<int64_t>({}, {0, 2}), from_values<int64_t>({}, {0}),
                          from_values<int64_t>({}, {0})}));
            cases.push_back(long_case(s));
            return cases;
          },
      .errors =
          {{[=] {
              ctc_loss(zeros({4, 3}), targets, steps, two);
            },
            ErrorKind::Shape,
            "ctc_loss: log_probs has shape [4, 3], expected [time, batch, classes]"},
           {[=] { ctc_loss(x, two, steps, two); }, ErrorKind::Shape,
            "ctc_loss: targets has shape [2], expected [2, labels]"},
           {[=] {
              ctc_loss(x, zeros({2, 2}), steps, two);
            },
            ErrorKind::DType, "ctc_loss: targets has dtype float32, expected int64"},
           {[=] { ctc_loss(x, targets, ids({4}, {1}), two); }, ErrorKind::Shape,
            "ctc_loss: input_length has shape [1], expected [2]"},
           {[=] {
              ctc_loss(x, targets, ids({4, 5}, {2}), two);
            },
            ErrorKind::Argument, "ctc_loss: input_length 5 (sample 1) is not within [0, 4]"},
           {[=] {
              ctc_loss(x, targets, steps, ids({-1, 2}, {2}));
            },
            ErrorKind::Argument, "ctc_loss: target_length -1 (sample 0) is not within [0, 2]"},
           {[=] {
              ctc_loss(x, ids({1, 2, 1, 3}, {2, 2}), steps, two);
            },
            ErrorKind::Argument,
            "ctc_loss: target 3 (sample 1, label 1) is no class in [0, 3) other than blank 0"},
           {[=] {
              ctc_loss(x, ids({0, 2, 1, 2}, {2, 2}), steps, two);
            },
            ErrorKind::Argument, "ctc_loss: target 0 (sample 0, label 0) is no class"},
           {[=] { ctc_loss(x, targets, steps, two, {.blank = 3}); }, ErrorKind::Argument,
            "ctc_loss: blank is 3, expected a class in [0, 3)"}},
      // The gradient of bfloat16 is rounded, and so are what it is made of.
      .tolerance = {.units = 4, .gradient_units = 8},
      .second = Second::Refused,
  }};
}

}  // namespace plinth::op_table
