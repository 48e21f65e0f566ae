// The emulator's guarantees. For each, a small kernel that is right, and wrong ones that must fail.

#include <array>
#include <numeric>

#include "tests/emulator/vocabulary/basics.h"
#include "tests/emulator/vocabulary_testing.h"

namespace plinth::device {
namespace {

using emulate::GlobalRange;

// ---- barriers: reversing an array through shared memory ----

template <bool with_barrier>
PLINTH_KERNEL void reverse(Global<float> x) {
  const Shared<float> tile = shared_array<float>(0, block_threads());
  const uint32_t i = thread_index();
  tile[i] = x[i];
  if constexpr (with_barrier) block_sync();
  const float mirrored = tile[block_threads() - 1 - i];
  x[i] = mirrored;
}

template <bool with_barrier>
std::string run_reverse(uint64_t seed) {
  emulation_seed() = seed;
  std::vector<float> x(96);
  std::iota(x.begin(), x.end(), 0.0f);
  const GlobalRange range(x.data(), x.size() * sizeof(float), true);
  const std::string result = outcome([&] {
    launch("reverse", reverse<with_barrier>, {{1}, {96}, 96 * sizeof(float)}, nullptr, x.data());
  });
  if (result == "ran") {
    for (int i = 0; i < 96; ++i) EXPECT_EQ(x[i], 95 - i);
  }
  return result;
}

TEST(Emulator, BarrierOrdersSharedMemory) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) EXPECT_EQ(run_reverse<true>(seed), "ran");
}

TEST(Emulator, MissingBarrierFailsForEverySeed) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    EXPECT_THAT(run_reverse<false>(seed),
                AnyOf(HasSubstr("which nobody has written"), HasSubstr("no barrier in between")));
  }
}

// Writing the tile anew without a barrier after the reads.
PLINTH_KERNEL void reuse_without_barrier(Global<float> x) {
  const Shared<float> tile = shared_array<float>(0, 64);
  const uint32_t i = thread_index();
  tile[i] = x[i];
  block_sync();
  const float other = tile[63 - i];
  tile[i] = other;
  x[i] = other;
}

TEST(Emulator, WriteAfterReadWithoutBarrierFailsForEverySeed) {
  std::vector<float> x(64, 1.0f);
  const GlobalRange range(x.data(), x.size() * sizeof(float), true);
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    emulation_seed() = seed;
    EXPECT_THAT(outcome([&] {
                  launch("reuse", reuse_without_barrier, {{1}, {64}, 256}, nullptr, x.data());
                }),
                HasSubstr("with no barrier in between"));
  }
}

PLINTH_KERNEL void divergent_barrier() {
  if (thread_index() < 32) block_sync();
}

TEST(Emulator, BarrierThatSomeThreadsSkipIsADeadlock) {
  EXPECT_THAT(outcome([] {
                launch("divergent", divergent_barrier, {{1}, {64}, 0}, nullptr);
              }),
              HasSubstr("divergent: block (0, 0, 0): deadlock: 32 threads (first 0) wait for "
                        "barrier 0 of 64 threads"));
}

PLINTH_KERNEL void disagreeing_barrier() {
  named_sync(1, thread_index() < 32 ? 64 : 32);
}

TEST(Emulator, BarrierWithDifferentCountsFails) {
  EXPECT_THAT(outcome([] {
                launch("disagree", disagreeing_barrier, {{1}, {64}, 0}, nullptr);
              }),
              HasSubstr("divergent barrier 1"));
}

TEST(Emulator, NamedBarrierHandsOver) {
  std::vector<float> x(32);
  const GlobalRange range(x.data(), x.size() * sizeof(float), true);
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    emulation_seed() = seed;
    EXPECT_EQ(outcome([&] {
                launch("hand_over", hand_over<true>, {{1}, {64}, 4}, nullptr, x.data());
              }),
              "ran");
    EXPECT_EQ(x[31], 7.0f);
    EXPECT_NE(outcome([&] {
                launch("hand_over", hand_over<false>, {{1}, {64}, 4}, nullptr, x.data());
              }),
              "ran");
  }
}

// ---- warps ----

PLINTH_KERNEL void warp_sums(Global<float> out) {
  out[thread_index()] = warp_reduce<Sum>(static_cast<float>(thread_index()));
}

TEST(Emulator, ButterflyGivesEveryLaneTheSum) {
  std::vector<float> x(64);
  const GlobalRange range(x.data(), x.size() * sizeof(float), true);
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    emulation_seed() = seed;
    launch("warp_sums", warp_sums, {{1}, {64}, 0}, nullptr, x.data());
    for (int i = 0; i < 64; ++i) EXPECT_EQ(x[i], i < 32 ? 496.0f : 1520.0f);
  }
}

PLINTH_KERNEL void divergent_shuffle(Global<float> out) {
  float v = 1.0f;
  if (lane_index() < 16) {
    v = shuffle_xor(v, 1);
  } else {
    v = shuffle_xor(v, 2);
  }
  out[thread_index()] = v;
}

TEST(Emulator, WarpOperationInDivergentBranchesFails) {
  std::vector<float> x(32);
  const GlobalRange range(x.data(), x.size() * sizeof(float), true);
  EXPECT_THAT(outcome([&] {
                launch("shuffles", divergent_shuffle, {{1}, {32}, 0}, nullptr, x.data());
              }),
              HasSubstr("divergent warp operation"));
}

template <bool with_sync>
PLINTH_KERNEL void pass_through_warp(Global<float> out) {
  const Shared<float> cell = shared_array<float>(0, 32);
  cell[lane_index()] = static_cast<float>(lane_index());
  if constexpr (with_sync) warp_sync();
  const float next = cell[(lane_index() + 1) % 32];
  out[lane_index()] = next;
}

TEST(Emulator, WarpSyncOrdersSharedMemoryWithinAWarp) {
  std::vector<float> x(32);
  const GlobalRange range(x.data(), x.size() * sizeof(float), true);
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    emulation_seed() = seed;
    EXPECT_EQ(outcome([&] {
                launch("pass", pass_through_warp<true>, {{1}, {32}, 128}, nullptr, x.data());
              }),
              "ran");
    EXPECT_EQ(x[31], 0.0f);
    EXPECT_NE(outcome([&] {
                launch("pass", pass_through_warp<false>, {{1}, {32}, 128}, nullptr, x.data());
              }),
              "ran");
  }
}

// ---- cp.async ----

enum class Mistake { None, NoWait, NoBarrier, WaitForTooFew };

template <Mistake mistake>
PLINTH_KERNEL void copy_two_tiles(Global<const float> x, Global<float> y) {
  const Shared<float> tile = shared_array<float>(0, 256);
  const uint32_t i = thread_index() * 4;
  copy_async<16>(tile + i, x + i);
  copy_async_commit();
  copy_async<16>(tile + 128 + i, x + 128 + i, i < 64);
  copy_async_commit();
  if constexpr (mistake == Mistake::WaitForTooFew) {
    copy_async_wait<1>();
  } else if constexpr (mistake != Mistake::NoWait) {
    copy_async_wait<0>();
  }
  if constexpr (mistake != Mistake::NoBarrier) block_sync();
  for (uint32_t j = thread_index(); j < 256; j += block_threads()) {
    const float v = tile[j];
    y[j] = v;
  }
}

template <Mistake mistake>
std::string run_copy(uint64_t seed) {
  emulation_seed() = seed;
  std::vector<float> x(256), y(256, -1.0f);
  std::iota(x.begin(), x.end(), 0.0f);
  const GlobalRange from(x.data(), x.size() * sizeof(float), false),
      to(y.data(), y.size() * sizeof(float), true);
  const std::string result = outcome([&] {
    launch("copy", copy_two_tiles<mistake>, {{1}, {32}, 1024}, nullptr, x.data(), y.data());
  });
  if (result == "ran") {
    for (int i = 0; i < 256; ++i) EXPECT_EQ(y[i], i < 192 ? static_cast<float>(i) : 0.0f);
  }
  return result;
}

TEST(Emulator, AsyncCopyArrivesAtItsWait) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) EXPECT_EQ(run_copy<Mistake::None>(seed), "ran");
}

TEST(Emulator, AsyncCopyWithoutItsWaitFails) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    EXPECT_THAT(run_copy<Mistake::NoWait>(seed), HasSubstr("has not been waited for"));
    EXPECT_THAT(run_copy<Mistake::WaitForTooFew>(seed), HasSubstr("has not been waited for"));
    EXPECT_THAT(run_copy<Mistake::NoBarrier>(seed),
                AnyOf(HasSubstr("has not been waited for"), HasSubstr("no barrier in between"),
                      HasSubstr("nobody has written")));
  }
}

template <int kBytes>
void expect_copied() {
  Buffer<float> x(64), y(64);
  x.fill_random(1);
  launch("copy", copy_array<kBytes>, {{1}, {32}, 256}, nullptr, static_cast<const float*>(x.data()),
         y.data());
  EXPECT_EQ(x.values(), y.values());
}

TEST(Emulator, AsyncCopiesOfEverySize) {
  expect_copied<4>();
  expect_copied<8>();
  expect_copied<16>();
}

// ---- bounds and alignment ----

PLINTH_KERNEL void read_at(Global<const float> x, int64_t i, Global<float> y) {
  y[0] = x[i];
}

PLINTH_KERNEL void read_vector_at(Global<const float> x, int64_t i, Global<float> y) {
  const auto v = load_vector<Vector<float, 4>>(x + i);
  y[0] = v[0];
}

PLINTH_KERNEL void write_at(Global<float> x, int64_t i) {
  x[i] = 1.0f;
}

PLINTH_KERNEL void shared_array_too_long() {
  shared_array<float>(0, 65);
}

TEST(Emulator, AccessesOutsideBuffersFail) {
  alignas(16) std::array<float, 64> x{}, y{};
  const GlobalRange from(x.data(), sizeof(x), false), to(y.data(), sizeof(y), true);
  const auto read = [&](int64_t i) {
    return outcome([&] {
      launch("read_at", read_at, {{1}, {1}, 0}, nullptr, static_cast<const float*>(x.data()), i,
             y.data());
    });
  };
  EXPECT_EQ(read(63), "ran");
  EXPECT_THAT(read(64), HasSubstr("out-of-bounds read of 4 bytes"));
  EXPECT_THAT(read(-1), HasSubstr("out-of-bounds read of 4 bytes"));
  EXPECT_THAT(read(64), HasSubstr("read_at: block (0, 0, 0), thread 0: "));
  EXPECT_THAT(read(64), HasSubstr("emulator_test.cpp:"));
  EXPECT_THAT(outcome([&] {
                launch("write_at", write_at, {{1}, {1}, 0}, nullptr, x.data(), 0);
              }),
              HasSubstr("write to a constant buffer"));
  EXPECT_THAT(outcome([] {
                launch("shared", shared_array_too_long, {{1}, {1}, 256}, nullptr);
              }),
              HasSubstr("does not fit the launch's 256 bytes"));
}

TEST(Emulator, MisalignedVectorFails) {
  alignas(16) std::array<float, 64> x{}, y{};
  const GlobalRange from(x.data(), sizeof(x), false), to(y.data(), sizeof(y), true);
  const auto read = [&](int64_t i) {
    return outcome([&] {
      launch("vector", read_vector_at, {{1}, {1}, 0}, nullptr, static_cast<const float*>(x.data()),
             i, y.data());
    });
  };
  EXPECT_EQ(read(60), "ran");
  EXPECT_THAT(read(2), HasSubstr("misaligned read of 16 bytes"));
}

// Two threads write the two bytes of a cell of the memory's history.
PLINTH_KERNEL void write_neighbouring_bytes(Global<uint8_t> out) {
  const Shared<uint8_t> bytes = shared_array<uint8_t>(0, 32);
  bytes[thread_index()] = static_cast<uint8_t>(thread_index());
  block_sync();
  const uint8_t value = bytes[31 - thread_index()];
  out[thread_index()] = value;
}

TEST(Emulator, NeighbouringBytesDoNotRace) {
  std::vector<uint8_t> out(32);
  const GlobalRange range(out.data(), out.size(), true);
  for_seeds([&] {
    EXPECT_EQ(outcome([&] {
                launch("bytes", write_neighbouring_bytes, {{1}, {32}, 32}, nullptr, out.data());
              }),
              "ran");
    EXPECT_EQ(out[0], 31);
  });
}

// ---- order ----

PLINTH_KERNEL void record_order(Global<int32_t> next, Global<int32_t> order) {
  const int32_t turn = atomic_add(next, 1);
  order[turn] = static_cast<int32_t>(block_index().x * 32 + thread_index());
}

TEST(Emulator, OrderOfThreadsFollowsTheSeed) {
  const auto order = [](uint64_t seed) {
    emulation_seed() = seed;
    std::vector<int32_t> next(1), turns(128);
    const GlobalRange a(next.data(), 4, true), b(turns.data(), 512, true);
    launch("order", record_order, {{4}, {32}, 0}, nullptr, next.data(), turns.data());
    return turns;
  };
  EXPECT_EQ(order(1), order(1));
  EXPECT_NE(order(1), order(2));
}

}  // namespace
}  // namespace plinth::device
