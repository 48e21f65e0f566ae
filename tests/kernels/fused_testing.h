#pragma once

// What the tests of the fused kernels share: random inputs of every element type, comparison with
// float64 references in units of the type's own precision, finite differences, and the check that
// results have the same bits on any number of threads.

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "kernels/types.h"

namespace plinth::kernels {

using FloatTypes = ::testing::Types<double, float, BFloat16, Float16>;
// What kernels may read and write beside rows of float32.
using NarrowTypes = ::testing::Types<BFloat16, Float16>;

// The distance from 1 to the next value.
template <class T>
constexpr double epsilon() {
  if constexpr (std::is_same_v<T, double>) return 0x1p-52;
  if constexpr (std::is_same_v<T, float>) return 0x1p-23;
  if constexpr (std::is_same_v<T, BFloat16>) return 0x1p-7;
  return 0x1p-10;
}

template <class T>
double as_double(T x) {
  return static_cast<double>(static_cast<compute_t<T>>(x));
}

template <class T>
std::vector<T> cast_vector(const std::vector<double>& x) {
  std::vector<T> out;
  out.reserve(x.size());
  for (double v : x) out.push_back(T(static_cast<compute_t<T>>(v)));
  return out;
}

template <class T>
std::vector<double> as_doubles(const std::vector<T>& x) {
  std::vector<double> out;
  out.reserve(x.size());
  for (const T& v : x) out.push_back(as_double(v));
  return out;
}

template <class T>
std::vector<T> rounded_to(const std::vector<float>& x) {
  return {x.begin(), x.end()};
}

// Normal values, rounded to T.
template <class T>
std::vector<T> random_values(int64_t n, unsigned seed, double scale = 1, double mean = 0) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal(mean, scale);
  std::vector<T> out(n);
  for (T& v : out) v = T(static_cast<compute_t<T>>(normal(generator)));
  return out;
}

// |actual - expected| <= half an ulp of T at `expected`, plus `slack` roundings of the compute type
// at `magnitude`, which is the size of the terms that the value was summed from. NaN matches NaN,
// an infinity itself.
template <class T>
void expect_close(const std::vector<T>& actual, const std::vector<double>& expected, double slack,
                  const std::string& what, double magnitude = 1) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double a = as_double(actual[i]), e = expected[i];
    if (std::isnan(e) && std::isnan(a)) continue;
    if (std::isinf(e) && a == e) continue;
    const double tolerance = 0.6 * epsilon<T>() * std::abs(e) +
                             slack * epsilon<compute_t<T>>() * std::max(magnitude, std::abs(e)) +
                             (std::is_same_v<T, Float16> ? 0x1p-25 : 0);  // of a subnormal
    ASSERT_LE(std::abs(a - e), tolerance) << what << ", element " << i << ": " << a << " vs " << e;
  }
}

// expect_close for gradients by finite differences, whose own error is about 1e-9.
inline void expect_gradient(const std::vector<double>& actual, const std::vector<double>& numeric,
                            const std::string& what) {
  ASSERT_EQ(actual.size(), numeric.size()) << what;
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_NEAR(actual[i], numeric[i], 2e-7 * std::max(1.0, std::abs(numeric[i])))
        << what << ", element " << i;
  }
}

// d f / d x_i by central differences.
inline std::vector<double> finite_difference(
    const std::function<double(const std::vector<double>&)>& f, std::vector<double> x) {
  constexpr double kStep = 1e-5;
  std::vector<double> gradient(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const double saved = x[i];
    x[i] = saved + kStep;
    const double above = f(x);
    x[i] = saved - kStep;
    const double below = f(x);
    x[i] = saved;
    gradient[i] = (above - below) / (2 * kStep);
  }
  return gradient;
}

inline double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  if (a.size() != b.size()) return false;
  return a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

// run() must return the same bits on 1, 2 and 5 threads.
template <class Run>
void expect_same_on_any_threads(Run run) {
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  const auto expected = run();
  for (int count : {2, 5}) {
    omp_set_num_threads(count);
    EXPECT_TRUE(same_bits(run(), expected)) << count << " threads";
  }
  omp_set_num_threads(threads);
}

struct Shape {
  int64_t rows, cols;
};
// One element, remainders of every vector width, more rows than a block, wide rows.
inline const Shape kShapes[] = {{1, 1},  {3, 2},   {5, 7},    {2, 16},   {4, 33},
                                {7, 64}, {3, 255}, {130, 67}, {2, 1030}, {300, 129}};

inline std::string text(const Shape& s) {
  return std::to_string(s.rows) + "x" + std::to_string(s.cols);
}

}  // namespace plinth::kernels
