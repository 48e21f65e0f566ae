#include "core/cuda/caching_allocator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "core/cuda/direct_allocator.h"
#include "core/cuda/runtime.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/stream.h"
#include "tests/cuda/device.h"

namespace plinth {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

class CachingAllocator : public OnDevice {
 protected:
  void* allocate(size_t bytes) { return allocate(bytes, stream); }
  void* allocate(size_t bytes, Stream on) { return memory->allocate(bytes, on); }
  void give_back(void* block) { memory->deallocate(block, 0, stream); }
  int64_t segments() const { return memory->stats().system_allocations; }

  void SetUp() override {
    OnDevice::SetUp();
    if (IsSkipped()) return;
    stream = current_stream(kDevice);
    memory.emplace(kDevice);
  }

  Stream stream;
  std::optional<cuda::CachingAllocator> memory;
};

TEST_F(CachingAllocator, GivesTheSameBlockAgainToTheSameStream) {
  void* first = allocate(3000);
  give_back(first);
  EXPECT_EQ(allocate(2900), first);
  EXPECT_EQ(segments(), 1);
  give_back(first);
}

TEST_F(CachingAllocator, TakesTheSmallestBlockThatIsLargeEnough) {
  void* const large = allocate(40 * kMiB);
  void* const small = allocate(24 * kMiB);
  give_back(large);
  give_back(small);
  void* const got = allocate(22 * kMiB);
  EXPECT_EQ(got, small);
  give_back(got);
}

TEST_F(CachingAllocator, SplitsASegmentAndJoinsItAgain) {
  std::vector<void*> blocks;
  for (int i = 0; i < 4; ++i) blocks.push_back(allocate(512 << 10));
  EXPECT_EQ(segments(), 1);
  for (int i = 1; i < 4; ++i)
    EXPECT_EQ(static_cast<char*>(blocks[i]) - static_cast<char*>(blocks[i - 1]), 512 << 10);
  // In an order that joins a block with both its neighbours.
  for (const int i : {0, 2, 1, 3}) give_back(blocks[i]);
  void* const whole = allocate(kMiB);
  EXPECT_EQ(whole, blocks[0]);
  EXPECT_EQ(segments(), 1);
  give_back(whole);
}

TEST_F(CachingAllocator, SmallBlocksDoNotPinLargeSegments) {
  void* const large = allocate(30 * kMiB);
  give_back(large);
  void* const small = allocate(100);
  memory->release_cached();
  EXPECT_EQ(memory->stats().reserved, int64_t(2 * kMiB));
  give_back(small);
}

TEST_F(CachingAllocator, CountsWhatIsInUseAndItsPeak) {
  void* const a = allocate(1000);
  void* const b = allocate(5 * kMiB);
  EXPECT_EQ(memory->stats().allocated, int64_t(1024 + 5 * kMiB));
  give_back(b);
  EXPECT_EQ(memory->stats().allocated, 1024);
  EXPECT_EQ(memory->stats().peak_allocated, int64_t(1024 + 5 * kMiB));
  EXPECT_EQ(memory->stats().reserved, int64_t(22 * kMiB));
  EXPECT_EQ(memory->stats().allocations, 2);
  memory->reset_peak();
  EXPECT_EQ(memory->stats().peak_allocated, 1024);
  give_back(a);
}

TEST_F(CachingAllocator, AnotherStreamTakesABlockOnlyBehindWhatUsedIt) {
  const OwnedStream other(kDevice);
  auto* const block = static_cast<float*>(allocate(30 * kMiB));
  const float written = 3;
  cuda::copy(block, &written, sizeof(float), stream);
  give_back(block);
  void* const again = allocate(30 * kMiB, other.get());
  ASSERT_EQ(again, block);
  EXPECT_EQ(segments(), 1);
  // The new owner's read comes after the old owner's write, though nobody waited for it.
  float read = 0;
  cuda::copy(&read, again, sizeof(float), other.get());
  synchronize(other.get());
  EXPECT_EQ(read, 3);
  give_back(again);
}

TEST_F(CachingAllocator, BlocksOutliveTheOwnerOfTheirStream) {
  void* block = nullptr;
  {
    const OwnedStream other(kDevice);
    block = allocate(30 * kMiB, other.get());
    give_back(block);
  }
  void* const again = allocate(30 * kMiB);
  EXPECT_EQ(again, block);
  give_back(again);
}

TEST_F(CachingAllocator, KeepsABlockWhileAnotherStreamUsesIt) {
  const OwnedStream other(kDevice);
  void* const block = allocate(3000);
#ifndef PLINTH_EMULATE
  // What a device does for longer than it takes to ask for another block.
  const Tensor much = Tensor::empty({int64_t{1} << 28}, {DType::Float32, kDevice});
  for (int i = 0; i < 8; ++i) cuda::fill_bytes(much.raw_data(), 0, int64_t{1} << 30, other.get());
#endif
  memory->used_on(block, other.get());
  cuda::fill_bytes(block, 0, 3000, other.get());
  give_back(block);
  EXPECT_EQ(memory->stats().allocated, 0);
  void* const second = allocate(3000);
  EXPECT_NE(second, block);
  synchronize(other.get());
  void* const third = allocate(3000);
  EXPECT_EQ(third, block);
  give_back(second);
  give_back(third);
}

// A GPU's memory is as large as it is.
#ifdef PLINTH_EMULATE
TEST_F(CachingAllocator, ReturnsCachedSegmentsBeforeItGivesUp) {
  limit_memory(100 * kMiB);
  for (const size_t mib : {60, 90, 94}) {
    void* const block = allocate(mib * kMiB);
    EXPECT_EQ(memory->stats().reserved, int64_t(mib * kMiB));
    give_back(block);
  }
}

TEST_F(CachingAllocator, OutOfMemorySaysWhatIsHeldAndByWhom) {
  limit_memory(100 * kMiB);
  std::vector<void*> blocks;
  {
    const OpScope attention("attention");
    blocks = {allocate(30 * kMiB), allocate(20 * kMiB)};
    const OpScope norm("layer_norm");
    blocks.push_back(allocate(12 * kMiB));
  }
  try {
    const OpScope scope("linear");
    allocate(50 * kMiB);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::OutOfMemory);
    EXPECT_THAT(error.what(),
                testing::AllOf(
                    testing::StartsWith("linear: no 52428800 bytes left on cuda:0 (100 MiB in all, "
                                        "38 MiB with the driver): tensors hold 62 MiB"),
                    testing::HasSubstr("held by attention 50 MiB in 2, layer_norm 12 MiB in 1")));
  }
  for (void* block : blocks) give_back(block);
  // What failed has spoilt nothing.
  void* const block = allocate(90 * kMiB);
  give_back(block);
}
#endif

TEST_F(CachingAllocator, SnapshotListsEveryBlock) {
  const OpScope scope("softmax");
  void* const a = allocate(1000);
  void* const b = allocate(2000);
  give_back(a);
  const auto json = nlohmann::json::parse(memory->snapshot());
  EXPECT_EQ(json["device"], "cuda:0");
  ASSERT_EQ(json["segments"].size(), 1);
  const auto& blocks = json["segments"][0]["blocks"];
  ASSERT_EQ(blocks.size(), 3);
  EXPECT_EQ(blocks[0]["state"], "free");
  EXPECT_EQ(blocks[1]["state"], "in use");
  EXPECT_EQ(blocks[1]["holder"], "softmax");
  EXPECT_EQ(blocks[1]["offset"], 1024);
  EXPECT_EQ(blocks[1]["bytes"], 2048);
  EXPECT_EQ(blocks[2]["bytes"], 2 * kMiB - 3072);
  give_back(b);
}

TEST_F(CachingAllocator, APoolIsKeptApartUntilItIsReleased) {
  memory->choose_pool(7);
  void* const inside = allocate(1000);
  memory->choose_pool(0);
  void* const outside = allocate(1000);
  EXPECT_EQ(segments(), 2);
  give_back(inside);
  void* const second = allocate(1000);
  EXPECT_EQ(segments(), 2);
  EXPECT_NE(second, inside);
  memory->release_cached();
  EXPECT_EQ(memory->stats().reserved, int64_t(4 * kMiB));
  memory->release_pool(7);
  EXPECT_EQ(memory->stats().reserved, int64_t(2 * kMiB));
  give_back(outside);
  give_back(second);
}

TEST_F(CachingAllocator, RefusesAnAddressThatIsNoTensors) {
  EXPECT_THROW(memory->used_on(this, stream), Error);
}

class DirectAllocator : public OnDevice {};

// How much of the device's memory a block of 40 MiB takes, and is taken once it is given back.
std::pair<int64_t, int64_t> taken_by_a_block(cuda::DirectAllocator& memory, Stream stream) {
  const int64_t before = cuda::memory_info(kDevice).free;
  void* const block = memory.allocate(40 * kMiB, stream);
  const int64_t between = cuda::memory_info(kDevice).free;
  memory.deallocate(block, 40 * kMiB, stream);
  return {before - between, before - cuda::memory_info(kDevice).free};
}

TEST_F(DirectAllocator, AsksTheDriverForEachBlockAndGivesItBack) {
  const Stream stream = current_stream(kDevice);
  cuda::DirectAllocator memory(kDevice);
  bool seen = false;  // other processes may take and give memory at any time
  for (int attempt = 0; attempt < 50 && !seen; ++attempt) {
    const auto [taken, left] = taken_by_a_block(memory, stream);
    seen = taken >= static_cast<int64_t>(40 * kMiB) && taken < static_cast<int64_t>(44 * kMiB) &&
           left == 0;
  }
  EXPECT_TRUE(seen);
  void* const block = memory.allocate(40 * kMiB, stream);
  EXPECT_EQ(memory.stats().allocated, static_cast<int64_t>(40 * kMiB));
  EXPECT_THAT(memory.snapshot(), testing::HasSubstr("\"bytes\": 41943040"));
  memory.deallocate(block, 40 * kMiB, stream);
  EXPECT_EQ(memory.stats().allocated, 0);
  EXPECT_EQ(memory.stats().peak_allocated, static_cast<int64_t>(40 * kMiB));
}

TEST_F(DirectAllocator, IsChosenByTheEnvironment) {
  ASSERT_EQ(setenv("PLINTH_CUDA_ALLOCATOR", "direct", 1), 0);
  EXPECT_TRUE(cuda::wants_direct_allocator());
  setenv("PLINTH_CUDA_ALLOCATOR", "none", 1);
  EXPECT_THAT(
      [] { cuda::wants_direct_allocator(); },
      testing::ThrowsMessage<Error>(testing::HasSubstr("got 'none', takes caching or direct")));
  unsetenv("PLINTH_CUDA_ALLOCATOR");
  EXPECT_FALSE(cuda::wants_direct_allocator());
}

}  // namespace
}  // namespace plinth
