#include "core/stream.h"

#include <gtest/gtest.h>

#include <thread>

#include "core/cuda/runtime.h"
#include "core/error.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "kernels/device/launch_failure.h"
#include "tests/cuda/device.h"

namespace plinth {
namespace {

class DeviceStream : public OnDevice {};

// An integer on the device, and one in pinned memory that copies reach late.
struct Numbers {
  int* device = static_cast<int*>(cuda::device_allocate(kDevice, sizeof(int)));
  int* pinned = static_cast<int*>(cuda::host_allocate(sizeof(int)));
  Numbers() { *pinned = -1; }
  ~Numbers() {
    cuda::device_free(kDevice, device);
    cuda::host_free(pinned);
  }
  void set(int value, Stream stream) const { cuda::copy(device, &value, sizeof(int), stream); }
  void read(Stream stream) const { cuda::copy(pinned, device, sizeof(int), stream); }
};

TEST_F(DeviceStream, DoesWorkInOrder) {
  const Numbers numbers;
  const Stream stream = current_stream(kDevice);
  numbers.set(1, stream);
  numbers.set(2, stream);
  numbers.read(stream);
  numbers.set(3, stream);
  synchronize(stream);
  EXPECT_EQ(*numbers.pinned, 2);
}

TEST_F(DeviceStream, TheNextOpTellsOfAKernelThatDidNotStart) {
  const Tensor x = ones({3}, {DType::Float32, kDevice});
  device::note_launch_failure("add_kernel", "invalid configuration argument");
  device::note_launch_failure("mul_kernel", "another that follows from it");
  try {
    exp(x);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "exp: kernel add_kernel did not start: invalid configuration argument");
  }
  EXPECT_EQ(to_vector(x * 2.0), std::vector<double>(3, 2));  // told once
}

TEST_F(DeviceStream, EventsOrderTheWorkOfTwoStreams) {
  const Numbers numbers;
  const OwnedStream writes(kDevice), reads(kDevice);
  numbers.set(5, writes.get());
  Event written(kDevice);
  written.record(writes.get());
  written.hold_back(reads.get());
  numbers.read(reads.get());
  synchronize(reads.get());
  EXPECT_EQ(*numbers.pinned, 5);
}

TEST_F(DeviceStream, AnEventIsDoneWhenTheWorkBeforeItIs) {
  const Numbers numbers;
  const Stream stream = current_stream(kDevice);
  Event event(kDevice);
  EXPECT_TRUE(event.is_done());
  numbers.set(1, stream);
  numbers.read(stream);
  event.record(stream);
  event.synchronize();
  EXPECT_TRUE(event.is_done());
  EXPECT_EQ(*numbers.pinned, 1);
}

TEST_F(DeviceStream, TimedEventsMeasure) {
  const Stream stream = current_stream(kDevice);
  Event start(kDevice, true), end(kDevice, true);
  start.record(stream);
  const Numbers numbers;
  numbers.set(1, stream);
  end.record(stream);
  end.synchronize();
  EXPECT_GE(start.elapsed_ms(end), 0);
}

TEST_F(DeviceStream, GuardChoosesForThisThreadOnly) {
  const Stream before = current_stream(kDevice);
  const OwnedStream mine(kDevice);
  {
    const StreamGuard guard(mine.get());
    EXPECT_EQ(current_stream(kDevice), mine.get());
    std::thread([&] { EXPECT_EQ(current_stream(kDevice), before); }).join();
  }
  EXPECT_EQ(current_stream(kDevice), before);
}

TEST_F(DeviceStream, HostMemoryThatIsNotPinnedMayGoAtOnce) {
  const Numbers numbers;
  const Stream stream = current_stream(kDevice);
  {
    int value = 7;
    cuda::copy(numbers.device, &value, sizeof(int), stream);
    value = 8;
  }
  int result = 0;
  cuda::copy(&result, numbers.device, sizeof(int), stream);
  synchronize(stream);
  EXPECT_EQ(result, 7);
}

TEST_F(DeviceStream, AGraphReplaysItsWorkWithNewData) {
  const Numbers numbers;
  const OwnedStream stream(kDevice);
  const Numbers copied;
  cuda::begin_capture(stream.get());
  EXPECT_TRUE(cuda::is_capturing(stream.get()));
  cuda::copy(copied.device, numbers.device, sizeof(int), stream.get());
  void* const graph = cuda::end_capture(stream.get());
  EXPECT_FALSE(cuda::is_capturing(stream.get()));
  for (const int value : {4, 9}) {
    numbers.set(value, stream.get());
    cuda::graph_launch(graph, stream.get());
    copied.read(stream.get());
    synchronize(stream.get());
    EXPECT_EQ(*copied.pinned, value);
  }
  cuda::graph_destroy(graph);
}

TEST_F(DeviceStream, ADeviceThatThereIsNotIsAnError) {
  EXPECT_THROW(current_stream({DeviceType::CUDA, 99}), Error);
  EXPECT_THROW(cuda::check_device({DeviceType::CPU, 0}), Error);
}

#ifdef PLINTH_EMULATE
TEST_F(DeviceStream, EmulatedWorkIsDoneAsLateAsCudaAllows) {
  const Numbers numbers;
  const Stream stream = current_stream(kDevice);
  numbers.set(1, stream);
  numbers.read(stream);
  EXPECT_EQ(*numbers.pinned, -1);
  const OwnedStream other(kDevice);
  synchronize(other.get());
  EXPECT_EQ(*numbers.pinned, -1);
  synchronize(stream);
  EXPECT_EQ(*numbers.pinned, 1);
}
#endif

}  // namespace
}  // namespace plinth
