// Activations and dropout.

#include "core/ops/activation.h"

#include <cmath>

#include "core/ops/dropout.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/softplus.h"
#include "core/random.h"
#include "naive.h"
#include "op_table.h"

namespace plinth::op_table {
namespace {

double gelu_of(double x) {
  return x * 0.5 * std::erfc(-x * M_SQRT1_2);
}
double gelu_tanh_of(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}
double silu_of(double x) {
  return x / (1 + std::exp(-x));
}

double softplus_of(double x) {
  return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));
}
double log_sigmoid_of(double x) {
  return -softplus_of(-x);
}

double gelu_quick_of(double x) {
  return x / (1 + std::exp(-1.702 * x));
}

struct NamedForm {
  GeluForm form;
  const char* name;
  double (*formula)(double);
};
constexpr NamedForm kGeluForms[] = {{GeluForm::Exact, "", gelu_of},
                                    {GeluForm::Tanh, ", tanh", gelu_tanh_of},
                                    {GeluForm::Quick, ", quick", gelu_quick_of}};

template <class Op>
std::vector<Case> cases_of(Sampler& sample, Op op, double (*formula)(double)) {
  const Function call = [op](const Tensors& in) { return Tensors{op(in[0])}; };
  const Function reference = [formula](const Tensors& in) {
    return Tensors{naive::map(in[0], formula)};
  };
  std::vector<Case> cases;
  for (const Shape& shape : kPointwiseShapes)
    cases.push_back({detail::concat(shape), {sample(shape, -4, 4)}, call, reference});
  cases.push_back({"large", {sample({130, 257}, -4, 4)}, call, reference, /*gradcheck=*/false});
  return cases;
}

template <class Op>
std::vector<ErrorCase> errors_of(const std::string& name, Op op) {
  return {{[op] {
             op(zeros({2}, {DType::Int64, {}}));
           },
           ErrorKind::DType, name + ": x has dtype int64, takes float64"},
          {[op] { op({}); }, ErrorKind::Argument, name + ": x is undefined"}};
}

// float64's exact GELU cancels in 1 + erf.
constexpr Tolerance kTolerance{.units = 8, .gradient_units = 12};

Row activation_row(const std::string& name, Tensor (*op)(const Tensor&),
                   double (*formula)(double)) {
  return {.name = name,
          .cases = [=](Sampler& sample) { return cases_of(sample, op, formula); },
          .errors = errors_of(name, op),
          .tolerance = kTolerance};
}

Row gelu_row() {
  return {.name = "gelu",
          .cases =
              [](Sampler& sample) {
                std::vector<Case> cases;
                for (const NamedForm& form : kGeluForms) {
                  const auto op = [form](const Tensor& x) { return gelu(x, form.form); };
                  for (Case& c : cases_of(sample, op, form.formula)) {
                    c.label += form.name;
                    cases.push_back(std::move(c));
                  }
                }
                return cases;
              },
          .errors = errors_of("gelu", [](const Tensor& x) { return gelu(x); }),
          .tolerance = kTolerance};
}

// Gate and up as two tensors, or as the halves of one.
Case swiglu_case(Sampler& sample, const Shape& shape, bool halves, bool gradcheck = true) {
  Shape whole = shape;
  whole[whole.dim() - 1] *= 2;
  const auto parts = [halves](const Tensors& in) {
    return halves ? in[0].split({in[0].size(-1) / 2, in[0].size(-1) / 2}, -1) : in;
  };
  return {detail::concat(shape, halves ? ", halves of one tensor" : ""),
          halves ? Tensors{sample(whole, -3, 3)} : Tensors{sample(shape, -3, 3), sample(shape)},
          [parts](const Tensors& in) {
            const Tensors p = parts(in);
            return Tensors{swiglu(p[0], p[1])};
          },
          [parts](const Tensors& in) {
            const Tensors p = parts(in);
            return Tensors{
                naive::map(p[0], p[1], [](double gate, double up) { return silu_of(gate) * up; })};
          },
          gradcheck};
}

Row swiglu_row() {
  return {.name = "swiglu",
          .cases = [](Sampler& s) -> std::vector<Case> {
            return {swiglu_case(s, {3, 5}, false),
                    swiglu_case(s, {2, 2, 3}, true),
                    swiglu_case(s, {1}, false),
                    swiglu_case(s, {0, 3}, false),
                    swiglu_case(s, {3, 1}, true),
                    swiglu_case(s, {260, 129}, true, false),
                    swiglu_case(s, {300, 129}, false, false)};
          },
          .errors = {{[] {
                        swiglu(zeros({2, 3}), zeros({2}));
                      },
                      ErrorKind::Shape, "swiglu: up has shape [2], expected [2, 3] (that of gate)"},
                     {[] {
                        swiglu(zeros({2}), zeros({2}, {DType::Float16, {}}));
                      },
                      ErrorKind::DType, "swiglu: up has dtype float16, expected float32"},
                     {[] { swiglu(zeros({}), zeros({})); }, ErrorKind::Shape,
                      "swiglu: gate has shape [], expected at least one dimension"}},
          .tolerance = kTolerance};
}

Case bias_gelu_case(Sampler& sample, const Shape& shape, const NamedForm& form,
                    bool gradcheck = true) {
  return {detail::concat(shape, form.name),
          {sample(shape, -3, 3), sample({shape.back()})},
          [form](const Tensors& in) { return Tensors{bias_gelu(in[0], in[1], form.form)}; },
          [form](const Tensors& in) {
            return Tensors{naive::map(
                in[0], in[1], [form](double x, double bias) { return form.formula(x + bias); })};
          },
          gradcheck};
}

Row bias_gelu_row() {
  return {.name = "bias_gelu",
          .cases =
              [](Sampler& s) {
                std::vector<Case> cases;
                for (const NamedForm& form : kGeluForms) {
                  for (const Shape& shape : {Shape{3, 5}, {2, 2, 3}, {4}, {0, 3}})
                    cases.push_back(bias_gelu_case(s, shape, form));
                  cases.push_back(bias_gelu_case(s, {300, 129}, form, false));
                }
                return cases;
              },
          .errors = {{[] {
                        bias_gelu(zeros({2, 3}), zeros({2}));
                      },
                      ErrorKind::Shape,
                      "bias_gelu: bias has shape [2], expected [3] (last dimension of x)"},
                     {[] {
                        bias_gelu(zeros({2}), zeros({2}, {DType::Float64, {}}));
                      },
                      ErrorKind::DType, "bias_gelu: bias has dtype float64, expected float32"}},
          .tolerance = {.units = 4, .gradient_units = 16}};
}

// Which elements are kept is tested in dropout_test.cpp; here, that one mask serves forward,
// backward, and every dtype and layout.
Row dropout_row() {
  const auto dropout_case = [](Sampler& sample, const Shape& shape, double p,
                               bool gradcheck = true) {
    return Case{detail::concat(shape, ", p ", p),
                {sample(shape)},
                [p](const Tensors& in) {
                  manual_seed(3);
                  return Tensors{dropout(in[0], p)};
                },
                {},
                gradcheck};
  };
  return {.name = "dropout",
          .cases = [=](Sampler& s) -> std::vector<Case> {
            return {dropout_case(s, {3, 5}, 0.4),  dropout_case(s, {}, 0.4),
                    dropout_case(s, {0, 3}, 0.4),  dropout_case(s, {3, 5}, 0),
                    dropout_case(s, {2, 3, 3}, 1), dropout_case(s, {20, 3000}, 0.1, false)};
          },
          .errors = {{[] { dropout(zeros({2}), 1.5); }, ErrorKind::Argument,
                      "dropout: p is 1.5, expected within [0, 1]"},
                     {[] { dropout(zeros({2}), NAN); }, ErrorKind::Argument, "dropout: p is nan"},
                     {[] {
                        dropout(zeros({2}, {DType::Int32, {}}), 0.5);
                      },
                      ErrorKind::DType, "dropout: x has dtype int32"}}};
}

}  // namespace

std::vector<Row> activation_rows() {
  return {
      activation_row("relu", relu, [](double x) { return x > 0 ? x : 0; }),
      activation_row("silu", silu, silu_of),
      activation_row("softplus", softplus, softplus_of),
      activation_row("log_sigmoid", log_sigmoid, log_sigmoid_of),
      gelu_row(),
      swiglu_row(),
      bias_gelu_row(),
      dropout_row(),
  };
}

}  // namespace plinth::op_table
