#pragma once

// Tests that run on the CPU and, where there is one, on a GPU.

#include <gtest/gtest.h>

#include "core/cuda/runtime.h"
#include "core/tensor.h"

namespace plinth::op_table {

// Of a suite that is instantiated as Cpu with Device{}, and as Gpu with Device{CUDA, 0}.
class EachDevice : public testing::TestWithParam<Device> {
 protected:
  void SetUp() override {
    if (GetParam().is_cuda() && cuda::device_count() == 0) GTEST_SKIP() << cuda::why_no_device();
  }
};

}  // namespace plinth::op_table
