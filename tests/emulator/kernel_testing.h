#pragma once

// What the tests of emulated kernels share.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "kernels/device/device.h"
#ifdef __CUDACC__
#include "tests/cuda/device_buffer.cuh"
#endif

namespace plinth {

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();

#ifndef __CUDACC__
// Device memory of a test: `shift` elements beyond what is aligned as cudaMalloc's is, filled with
// NaN, its end known to the emulator.
template <class T>
class Buffer {
 public:
  explicit Buffer(int64_t count, int64_t shift = 0)
      : count_(count),
        memory_(static_cast<T*>(::operator new(static_cast<size_t>(count + shift) * sizeof(T) + 1,
                                               std::align_val_t(256)))),
        data_(memory_.get() + shift),
        range_(data_, static_cast<size_t>(count) * sizeof(T), true) {
    if constexpr (!std::is_integral_v<T>)
      for (int64_t i = 0; i < count; ++i) data_[i] = T(std::numeric_limits<float>::quiet_NaN());
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  T* host() { return data_; }
  const T* host() const { return data_; }
  std::vector<double> values() const {
    std::vector<double> result(count_);
    for (int64_t i = 0; i < count_; ++i)
      result[i] = static_cast<double>(static_cast<compute_t<T>>(data_[i]));
    return result;
  }
  T& operator[](int64_t i) { return data_[i]; }
  void copy_from(const std::vector<T>& values) { std::copy(values.begin(), values.end(), data_); }
  // Normal numbers, by the seed.
  void fill_random(uint64_t seed) {
    std::mt19937_64 random(seed);
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < count_; ++i) data_[i] = static_cast<T>(normal(random));
  }

 private:
  struct Free {
    void operator()(T* p) const { ::operator delete(p, std::align_val_t(256)); }
  };
  int64_t count_;
  std::unique_ptr<T, Free> memory_;
  T* data_;
  emulate::GlobalRange range_;
};

// A struct in device memory.
template <class T>
struct OnDevice {
  T value;
  emulate::GlobalRange range{&value, sizeof(T), true};
  T* pointer() { return &value; }
};
#endif

// The largest error of rounding to T, relative; for float32 a few, since the kernels add in it.
template <class T>
constexpr double rounding() {
  if constexpr (std::is_same_v<T, BFloat16>) return 0x1p-8;
  if constexpr (std::is_same_v<T, Float16>) return 0x1p-11;
  if constexpr (std::is_same_v<T, double>) return 0x1p-50;
  return 0x1p-22;
}

// |actual - expected| within `factor` roundings of the expected values' size.
template <class T>
void expect_close(const std::vector<double>& actual, const std::vector<double>& expected,
                  double factor) {
  ASSERT_EQ(actual.size(), expected.size());
  double size = 1;
  for (double value : expected) size = std::max(size, std::fabs(value));
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_NEAR(actual[i], expected[i], factor * rounding<T>() * size) << "element " << i;
  }
}

// Each |actual - expected| within `factor` roundings of that value, or of the smallest normal one.
template <class T>
void expect_relative(const std::vector<double>& actual, const std::vector<double>& expected,
                     double factor) {
  constexpr double kSmallest = std::is_same_v<T, Float16> ? 0x1p-14 : 0x1p-126;
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    const double size = std::max(kSmallest, std::fabs(expected[i]));
    ASSERT_NEAR(actual[i], expected[i], factor * rounding<T>() * size) << "element " << i;
  }
}

// Results of one rounding, from functions whose error in float32 is absolute, and a few 1e-6.
template <class T>
void expect_each(const std::vector<double>& actual, const std::vector<double>& expected) {
  const double absolute = std::is_same_v<T, double> ? 1e-13 : 6e-6;
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    const double size = std::fabs(expected[i]);
    ASSERT_NEAR(actual[i], expected[i], 2 * rounding<T>() * size + absolute) << "element " << i;
  }
}

inline std::vector<double> added(std::vector<double> a, const std::vector<double>& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] += b[i];
  return a;
}

}  // namespace plinth
