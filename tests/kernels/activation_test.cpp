#include "kernels/activation/activation.h"

#include "kernels/bias_gelu/bias_gelu.h"
#include "kernels/swiglu/swiglu.h"
#include "tests/kernels/fused_testing.h"

namespace plinth::kernels::cpu {
namespace {

double logistic(double x) {
  return 1 / (1 + std::exp(-x));
}
double gelu_of(double x) {
  return x * 0.5 * std::erfc(-x / std::sqrt(2.0));
}
double gelu_tanh_of(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

double gelu_quick_of(double x) {
  return x * logistic(1.702 * x);
}

template <class T>
using Forward = void (*)(int64_t, const T*, T*);
template <class T>
using Backward = void (*)(int64_t, const T*, const T*, T*);

template <class T>
struct Activation {
  const char* name;
  Forward<T> forward;
  Backward<T> backward;
  bool backward_takes_output;
  double (*reference)(double);
  double slack;
};

template <class T>
std::vector<Activation<T>> activations() {
  return {
      {"gelu", gelu_forward<T>, gelu_backward<T>, false, gelu_of, 10},
      {"gelu_tanh", gelu_tanh_forward<T>, gelu_tanh_backward<T>, false, gelu_tanh_of, 4},
      {"gelu_quick", gelu_quick_forward<T>, gelu_quick_backward<T>, false, gelu_quick_of, 4},
      {"silu", silu_forward<T>, silu_backward<T>, false, [](double x) { return x * logistic(x); },
       4},
      {"relu", relu_forward<T>, relu_backward<T>, false, [](double x) { return x > 0 ? x : 0; }, 0},
      {"sigmoid", sigmoid_forward<T>, sigmoid_backward<T>, true, logistic, 4},
      {"tanh", tanh_forward<T>, tanh_backward<T>, true, [](double x) { return std::tanh(x); }, 4},
  };
}

const int64_t kElementCounts[] = {0, 1, 15, 16, 31, 511, 512, 513, 1100, 40000};

template <class T>
class Activations : public ::testing::Test {};
TYPED_TEST_SUITE(Activations, FloatTypes);

TYPED_TEST(Activations, ForwardMatchesFloat64) {
  for (const auto& a : activations<TypeParam>()) {
    for (int64_t n : kElementCounts) {
      const auto x = random_values<TypeParam>(n, 1, 3);
      std::vector<TypeParam> y(n);
      a.forward(n, x.data(), y.data());
      std::vector<double> expected = as_doubles(x);
      for (double& v : expected) v = a.reference(v);
      expect_close(y, expected, a.slack, a.name);
    }
  }
}

TYPED_TEST(Activations, BackwardMatchesFloat64) {
  const auto wide = activations<double>();
  const auto narrow = activations<TypeParam>();
  for (size_t k = 0; k < wide.size(); ++k) {
    for (int64_t n : kElementCounts) {
      const auto x = random_values<TypeParam>(n, 1, narrow[k].backward_takes_output ? 0.3 : 3);
      const auto dy = random_values<TypeParam>(n, 2);
      std::vector<TypeParam> dx(n);
      std::vector<double> expected(n);
      narrow[k].backward(n, dy.data(), x.data(), dx.data());
      wide[k].backward(n, as_doubles(dy).data(), as_doubles(x).data(), expected.data());
      expect_close(dx, expected, 16, narrow[k].name, 2);
    }
  }
}

TEST(ActivationGradient, MatchesFiniteDifferences) {
  for (const auto& a : activations<double>()) {
    const auto x = random_values<double>(200, 1, 2), dy = random_values<double>(200, 2);
    std::vector<double> y(200), dx(200);
    a.forward(200, x.data(), y.data());
    a.backward(200, dy.data(), a.backward_takes_output ? y.data() : x.data(), dx.data());
    for (int i = 0; i < 200; ++i) {
      const double numeric = (a.reference(x[i] + 1e-5) - a.reference(x[i] - 1e-5)) / 2e-5;
      EXPECT_NEAR(dx[i], dy[i] * numeric, 1e-8) << a.name << " at " << x[i];
    }
  }
}

TYPED_TEST(Activations, LimitsAndSpecialValues) {
  const double infinity = std::numeric_limits<double>::infinity();
  const auto x = cast_vector<TypeParam>({-60000, 60000, infinity, std::nan("")});
  const std::vector<std::vector<double>> expected = {{0, 60000, infinity},
                                                     {0, 60000, infinity},
                                                     {0, 60000, infinity},
                                                     {0, 60000, infinity},
                                                     {0, 60000, infinity},
                                                     {0, 1, 1},
                                                     {-1, 1, 1}};
  const auto all = activations<TypeParam>();
  for (size_t k = 0; k < all.size(); ++k) {
    std::vector<TypeParam> y(4);
    all[k].forward(4, x.data(), y.data());
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(as_double(y[i]), as_double(TypeParam(compute_t<TypeParam>(expected[k][i]))))
          << all[k].name << " of " << as_double(x[i]);
    }
    EXPECT_TRUE(std::isnan(as_double(y[3]))) << all[k].name;
  }
}

// Numbers of T whose squares and cubes leave its range, and so that of what it is computed in.
template <class T>
std::vector<T> huge_values() {
  std::vector<double> values;
  for (const double x : {4096.0, 60000.0, 2e13, 2e19, 1e30, 3e38, 1e110, 1e160, 1e308}) {
    if (!std::isfinite(as_double(T(compute_t<T>(x))))) break;
    values.insert(values.end(), {x, -x});
  }
  return cast_vector<T>(values);
}

TYPED_TEST(Activations, HugeValuesGiveThemselvesOrZero) {
  const auto x = huge_values<TypeParam>();
  const auto n = std::ssize(x);
  const std::vector<TypeParam> dy(x.size(), TypeParam(3.0f));
  for (const auto& a : activations<TypeParam>()) {
    if (a.backward_takes_output) continue;
    std::vector<TypeParam> y(x.size()), dx(x.size());
    a.forward(n, x.data(), y.data());
    a.backward(n, dy.data(), x.data(), dx.data());
    for (size_t i = 0; i < x.size(); ++i) {
      const double at = as_double(x[i]);
      EXPECT_EQ(as_double(y[i]), std::max(at, 0.0)) << a.name << " of " << at;
      EXPECT_EQ(as_double(dx[i]), at > 0 ? 3 : 0) << a.name << " at " << at;
    }
  }
}

TYPED_TEST(Activations, ReluGradientIsZeroAtZeroAndPassesNaN) {
  const auto x = cast_vector<TypeParam>({-1, -0.0, 0, 1, std::nan("")});
  const auto dy = cast_vector<TypeParam>({5, 5, 5, 5, 5});
  std::vector<TypeParam> dx(5);
  relu_backward<TypeParam>(5, dy.data(), x.data(), dx.data());
  EXPECT_EQ(as_doubles(dx), (std::vector<double>{0, 0, 0, 5, 5}));
}

TYPED_TEST(Activations, OutputsMayOverwriteInputs) {
  for (const auto& a : activations<TypeParam>()) {
    auto x = random_values<TypeParam>(1100, 1), dy = random_values<TypeParam>(1100, 2);
    std::vector<TypeParam> y(1100), dx(1100);
    a.forward(1100, x.data(), y.data());
    a.backward(1100, dy.data(), x.data(), dx.data());
    a.backward(1100, dy.data(), x.data(), dy.data());
    EXPECT_TRUE(same_bits(dy, dx)) << a.name;
    a.forward(1100, x.data(), x.data());
    EXPECT_TRUE(same_bits(x, y)) << a.name;
  }
}

// SwiGLU

template <class T>
struct Swiglu {
  int64_t rows, cols;
  std::vector<T> both, dy;  // both: gate and up as the halves of one buffer
  std::vector<T> y = std::vector<T>(rows * cols), dboth = std::vector<T>(2 * rows * cols);

  Swiglu(int64_t rows, int64_t cols)
      : rows(rows),
        cols(cols),
        both(random_values<T>(2 * rows * cols, 1, 2)),
        dy(random_values<T>(rows * cols, 2)) {}
  void forward() {
    swiglu_forward<T>(rows, cols, both.data(), 2 * cols, both.data() + cols, 2 * cols, y.data());
  }
  void backward(std::vector<T>& out) {
    swiglu_backward<T>(rows, cols, dy.data(), both.data(), 2 * cols, both.data() + cols, 2 * cols,
                       out.data(), 2 * cols, out.data() + cols, 2 * cols);
  }
};

std::vector<double> swiglu_reference(int64_t rows, int64_t cols, const std::vector<double>& both) {
  std::vector<double> y(rows * cols);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < cols; ++j) {
      const double g = both[i * 2 * cols + j], u = both[i * 2 * cols + cols + j];
      y[i * cols + j] = g * logistic(g) * u;
    }
  }
  return y;
}

TYPED_TEST(Activations, SwigluOfBufferHalvesMatchesFloat64) {
  for (const Shape& s : kShapes) {
    Swiglu<TypeParam> p(s.rows, s.cols);
    Swiglu<double> wide(s.rows, s.cols);
    wide.both = as_doubles(p.both);
    wide.dy = as_doubles(p.dy);
    p.forward();
    expect_close(p.y, swiglu_reference(s.rows, s.cols, wide.both), 8, text(s), 4);
    p.backward(p.dboth);
    wide.backward(wide.dboth);
    expect_close(p.dboth, wide.dboth, 16, text(s), 8);
    p.backward(p.both);
    EXPECT_TRUE(same_bits(p.both, p.dboth)) << "in place";
  }
}

TEST(ActivationGradient, SwigluMatchesFiniteDifferences) {
  Swiglu<double> p(3, 7);
  p.backward(p.dboth);
  const auto loss = [&](auto& both) { return dot(swiglu_reference(3, 7, both), p.dy); };
  expect_gradient(p.dboth, finite_difference(loss, p.both), "gate and up");
}

// Bias and GELU

template <class T>
struct BiasGeluForm {
  const char* name;
  void (*forward)(int64_t, int64_t, const T*, const T*, T*);
  void (*backward)(int64_t, int64_t, const T*, const T*, const T*, T*, T*);
  double (*reference)(double);
  Backward<double> gradient;
};

template <class T>
std::vector<BiasGeluForm<T>> bias_gelu_forms() {
  return {{"exact", bias_gelu_forward<T>, bias_gelu_backward<T>, gelu_of, gelu_backward<double>},
          {"tanh", bias_gelu_tanh_forward<T>, bias_gelu_tanh_backward<T>, gelu_tanh_of,
           gelu_tanh_backward<double>},
          {"quick", bias_gelu_quick_forward<T>, bias_gelu_quick_backward<T>, gelu_quick_of,
           gelu_quick_backward<double>}};
}

template <class T>
void expect_bias_gelu(const Shape& s, const BiasGeluForm<T>& form) {
  SCOPED_TRACE(form.name);
  const int64_t n = s.rows * s.cols;
  const auto x = random_values<T>(n, 1, 2), dy = random_values<T>(n, 2);
  const auto bias = random_values<T>(s.cols, 3);
  std::vector<T> y(n), dx(n), dbias(s.cols);
  form.forward(s.rows, s.cols, x.data(), bias.data(), y.data());
  form.backward(s.rows, s.cols, dy.data(), x.data(), bias.data(), dx.data(), dbias.data());
  std::vector<double> sum(n), expected_y(n), expected_dx(n), expected_dbias(s.cols);
  for (int64_t i = 0; i < n; ++i) {
    sum[i] = as_double(x[i]) + as_double(bias[i % s.cols]);
    expected_y[i] = form.reference(sum[i]);
  }
  form.gradient(n, as_doubles(dy).data(), sum.data(), expected_dx.data());
  for (int64_t i = 0; i < n; ++i) expected_dbias[i % s.cols] += expected_dx[i];
  expect_close(y, expected_y, 10, "y of " + text(s));
  expect_close(dx, expected_dx, 16, "dx of " + text(s), 2);
  expect_close(dbias, expected_dbias, 16, "dbias of " + text(s), 4 * std::sqrt(s.rows));
}

TYPED_TEST(Activations, BiasGeluMatchesFloat64) {
  for (const Shape& s : kShapes)
    for (const auto& form : bias_gelu_forms<TypeParam>()) expect_bias_gelu<TypeParam>(s, form);
}

TEST(BiasGelu, BiasGradientHasTheSameBitsOnAnyNumberOfThreads) {
  const auto x = random_values<float>(1500 * 96, 1), dy = random_values<float>(1500 * 96, 2);
  const auto bias = random_values<float>(96, 3);
  expect_same_on_any_threads([&] {
    std::vector<float> dx(x.size()), dbias(96);
    bias_gelu_tanh_backward<float>(1500, 96, dy.data(), x.data(), bias.data(), dx.data(),
                                   dbias.data());
    return dbias;
  });
}

}  // namespace
}  // namespace plinth::kernels::cpu
