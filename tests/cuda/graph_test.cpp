// Work that is captured once and replayed with new data.

#include "core/cuda/graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/allocator.h"
#include "core/autograd.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/ops/dropout.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/matmul.h"
#include "core/random.h"
#include "core/stream.h"
#include "tests/cuda/device.h"

namespace plinth {
namespace {

class DeviceGraph : public OnDevice {};

TEST_F(DeviceGraph, ReplaysWithNewDataAndAllocatesNothing) {
  const NoGradGuard no_grad;
  const Tensor w = uniform_values({4, 4}, 0).to(kDevice);
  Tensor x = zeros({2, 4}, {DType::Float32, kDevice}), y = x.clone();
  const cuda::CapturedGraph graph(kDevice, [&] { y.copy_(square(matmul(x, w)) + 1.0); });
  EXPECT_EQ(to_vector(y), std::vector<double>(8)) << "nothing is done at the capture";
  for (const uint32_t number : {1, 2, 3}) {
    const Tensor data = uniform_values({2, 4}, number);
    x.copy_(data.to(kDevice));
    const MemoryStats before = allocator(kDevice).stats();
    graph.launch();
    const MemoryStats after = allocator(kDevice).stats();
    EXPECT_EQ(after.allocations, before.allocations);
    EXPECT_EQ(after.allocated, before.allocated);
    EXPECT_EQ(to_vector(y), to_vector(square(matmul(data.to(kDevice), w)) + 1.0));
  }
}

TEST_F(DeviceGraph, RandomMasksFollowTheirPlaceInDeviceMemory) {
  const NoGradGuard no_grad;
  const Tensor x = ones({3, 64}).to(kDevice);
  const Tensor place = zeros({2}, {DType::Int64, kDevice});
  Tensor y = zeros({3, 64}, {DType::Float32, kDevice});
  manual_seed(5);
  generator().begin_step(0, 0, static_cast<const kernels::PhiloxPlace*>(place.raw_data()));
  const cuda::CapturedGraph graph(kDevice, [&] { y.copy_(dropout(dropout(x, 0.2), 0.3)); });
  for (const int64_t step : {4, 7}) {
    Tensor(place).copy_(from_values<int64_t>(std::vector<int64_t>{step, 100 * step}, {2}));
    graph.launch();
    generator().begin_step(static_cast<uint64_t>(step), 100 * step);
    EXPECT_EQ(to_vector(y), to_vector(dropout(dropout(ones({3, 64}), 0.2), 0.3)));
  }
  generator().begin_step(0, 0, static_cast<const kernels::PhiloxPlace*>(place.raw_data()));
  EXPECT_THROW(dropout(ones({3}), 0.5), Error) << "the CPU cannot read there";
  generator().begin_step(0);
}

TEST_F(DeviceGraph, AnOpThatWaitsIsNamedAndTheStreamGoesOn) {
  const Tensor x = uniform_values({3}, 4).to(kDevice);
  const int64_t reserved = [&] {
    allocator(kDevice).release_cached();
    return allocator(kDevice).stats().reserved;
  }();
  const auto expect_refused = [&](const std::function<void()>& wait, const std::string& act) {
    try {
      const cuda::CapturedGraph graph(kDevice, [&] {
        const Tensor some = x + 1.0;
        const OpScope scope("some_op");
        wait();
      });
      ADD_FAILURE() << "captured something that " << act;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::Cuda);
      EXPECT_THAT(error.what(), testing::MatchesRegex("[a-z_]+: " + act + ", which a CUDA .*"));
    }
  };
  expect_refused([&] { x.select(0, 1).item(); }, "copies from the device to the CPU");
  expect_refused([&] { uniform_values({3}, 5).to(kDevice); }, "copies from the CPU to the device");
  expect_refused([] { synchronize(kDevice); }, "waits for the device");
  expect_refused([] { synchronize(current_stream(kDevice)); }, "waits for the device");
  expect_refused([] { Event(kDevice).synchronize(); }, "waits for the device");
  EXPECT_EQ(to_vector(x), to_vector(uniform_values({3}, 4)));
  allocator(kDevice).release_cached();
  EXPECT_EQ(allocator(kDevice).stats().reserved, reserved);
}

TEST_F(DeviceGraph, TheErrorIsThatOfTheInnermostOp) {
  const OpScope outer("outer_op");
  const auto wait = [] {
    const OpScope inner("inner_op");
    synchronize(kDevice);
  };
  try {
    const cuda::CapturedGraph graph(kDevice, wait);
    ADD_FAILURE() << "captured a wait";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::StartsWith("inner_op: waits for the device"));
  }
}

TEST_F(DeviceGraph, GivesItsMemoryBackWhenItGoes) {
  const Tensor x = uniform_values({1 << 20}, 6).to(kDevice);
  allocator(kDevice).release_cached();
  const int64_t before = allocator(kDevice).stats().reserved;
  {
    const cuda::CapturedGraph graph(kDevice, [&] { square(x); });
    EXPECT_GT(allocator(kDevice).stats().reserved, before);
    graph.launch();
  }
  EXPECT_EQ(allocator(kDevice).stats().reserved, before);
}

}  // namespace
}  // namespace plinth
