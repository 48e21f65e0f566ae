#pragma once

// Tests of the CUDA backend. They run on a GPU, and on every machine on the emulator's device.

#include <gtest/gtest.h>

#include "core/cuda/runtime.h"
#include "core/device.h"
#include "core/ops/factories.h"

#ifdef PLINTH_EMULATE
#include "core/cuda/emulated/emulated.h"
#endif

namespace plinth {

inline constexpr Device kDevice{DeviceType::CUDA, 0};

// Of [-1, 1) and on the CPU; other values for every number.
inline Tensor uniform_values(const Shape& shape, uint32_t number) {
  return uniform(shape, -1, 1, {.seed = 3, .op = number});
}

class OnDevice : public testing::Test {
 protected:
  void SetUp() override {
    if (cuda::device_count() == 0) GTEST_SKIP() << cuda::why_no_device();
  }

#ifdef PLINTH_EMULATE
  void TearDown() override {
    cuda::emulated::set_memory(int64_t{1} << 30);
    cuda::emulated::set_busy(false);
    cuda::emulated::set_failed(false);
  }
  void limit_memory(int64_t bytes) {
    cuda::emulated::set_memory(bytes);
  }
#endif
};

}  // namespace plinth
