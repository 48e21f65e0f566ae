#pragma once

// What the tests of the C interface share. They run on the library as it is installed, on the CPU,
// and compiled against the emulator, as a GPU.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <memory>
#include <new>
#include <random>
#include <vector>

#include "kernels/c_api/plinth_kernels.h"
#include "kernels/dtype.h"

#ifdef PLINTH_EMULATE
#include "kernels/device/emulate/global_memory.h"
#endif

namespace plinth {

#ifdef PLINTH_EMULATE
inline constexpr plinth_device kTested = PLINTH_CUDA;
#else
inline constexpr plinth_device kTested = PLINTH_CPU;
#endif

template <class T>
inline constexpr auto kDtype = static_cast<plinth_dtype>(dtype_of<T>);

// Memory of the tested device: normal numbers by a seed, or zeros for the seed 0.
template <class T>
class Array {
 public:
  explicit Array(int64_t count, uint64_t seed = 0)
      : count_(count), memory_(new (std::align_val_t(64)) T[static_cast<size_t>(count) + 1]) {
    std::mt19937_64 random(seed);
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < count; ++i)
      memory_.get()[i] = static_cast<T>(seed ? normal(random) : 0);
  }
  Array(std::initializer_list<T> values) : Array(static_cast<int64_t>(values.size())) {
    std::copy(values.begin(), values.end(), data());
  }

  T* data() { return memory_.get(); }
  int64_t size() const { return count_; }
  std::vector<double> values() const {
    std::vector<double> result;
    for (int64_t i = 0; i < count_; ++i)
      result.push_back(static_cast<double>(static_cast<compute_t<T>>(memory_.get()[i])));
    return result;
  }

 private:
  struct Free {
    void operator()(T* p) const { ::operator delete[](p, std::align_val_t(64)); }
  };
  int64_t count_;
  std::unique_ptr<T, Free> memory_;
#ifdef PLINTH_EMULATE
  emulate::GlobalRange range_{memory_.get(), static_cast<size_t>(count_) * sizeof(T), true};
#endif
};

// Of as many bytes as `ask(size_t*)` says.
class Workspace {
 public:
  template <class Ask>
  explicit Workspace(Ask ask) {
    EXPECT_EQ(ask(&bytes_), PLINTH_OK) << plinth_last_error();
    memory_ = std::make_unique<Array<uint8_t>>(static_cast<int64_t>(bytes_));
  }
  void* data() { return memory_->data(); }
  size_t bytes() const { return bytes_; }

 private:
  size_t bytes_ = 0;
  std::unique_ptr<Array<uint8_t>> memory_;
};

inline void expect_near(const std::vector<double>& actual, const std::vector<double>& expected,
                        double tolerance = 2e-5) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i)
    ASSERT_NEAR(actual[i], expected[i], tolerance * (1 + std::abs(expected[i]))) << "element " << i;
}

#define EXPECT_OK(call) EXPECT_EQ(call, PLINTH_OK) << plinth_last_error()

}  // namespace plinth
