// Bulk copies and TMA tiles: where bytes go, and what must be waited for and fenced.

#include "tests/emulator/vocabulary/tma.h"

#include "tests/emulator/vocabulary_testing.h"

namespace plinth::device {
namespace {

template <TmaMistake mistake, Swizzle swizzle, int kColumns>
std::string run_double() {
  // The last tile has 3 of its 8 rows, and each row ends 2 elements before its tile does.
  constexpr int kTiles = 5, kRows = 8, kAllRows = 8 * (kTiles - 1) + 3, kUsed = kColumns - 2;
  Buffer<float> x(kAllRows * kColumns), y(kAllRows * kColumns);
  x.fill_random(1);
  const auto map = [&](const float* data) {
    return make_tensor_map(data, {kUsed, kAllRows}, {kColumns}, {kColumns, kRows}, swizzle);
  };
  const std::string result = outcome([&] {
    launch("double", double_tiles<mistake, swizzle, kRows, kColumns>,
           {{1}, {64}, 1024 + 64 + 2 * kRows * kColumns * sizeof(float)}, nullptr, map(x.data()),
           map(y.data()), kTiles);
  });
  if (result == "ran") {
    for (int row = 0; row < kAllRows; ++row) {
      for (int column = 0; column < kColumns; ++column) {
        const int i = row * kColumns + column;
        if (column < kUsed) {
          EXPECT_EQ(y.data()[i], 2 * x.data()[i]);
        } else {
          EXPECT_TRUE(std::isnan(y.data()[i])) << "written outside the tensor";
        }
      }
    }
  }
  return result;
}

TEST(TmaTiles, ComeAndGoInEverySwizzle) {
  for_seeds([] {
    EXPECT_EQ((run_double<TmaMistake::None, Swizzle::None, 12>()), "ran");
    EXPECT_EQ((run_double<TmaMistake::None, Swizzle::Bytes32, 8>()), "ran");
    EXPECT_EQ((run_double<TmaMistake::None, Swizzle::Bytes64, 16>()), "ran");
    EXPECT_EQ((run_double<TmaMistake::None, Swizzle::Bytes128, 32>()), "ran");
  });
}

template <TmaMistake mistake>
std::string run_mistake() {
  return run_double<mistake, Swizzle::Bytes128, 32>();
}

TEST(TmaTiles, MistakesOfLoadingFailForEverySeed) {
  for_seeds([] {
    EXPECT_THAT(run_mistake<TmaMistake::NoInitFence>(), HasSubstr("no mbarrier_fence_init()"));
    EXPECT_THAT(run_mistake<TmaMistake::NoExpect>(),
                AnyOf(HasSubstr("has not been waited for"), HasSubstr("nobody has written"),
                      HasSubstr("more bytes came"), HasSubstr("no barrier in between")));
    EXPECT_THAT(run_mistake<TmaMistake::ExpectsTooMuch>(),
                HasSubstr("wait for phase 0 of the mbarrier"));
    EXPECT_THAT(run_mistake<TmaMistake::NoWait>(),
                AnyOf(HasSubstr("has not been waited for"), HasSubstr("nobody has written")));
    EXPECT_THAT(run_mistake<TmaMistake::WrongParity>(),
                AnyOf(HasSubstr("has not been waited for"), HasSubstr("nobody has written")));
    EXPECT_THAT(run_mistake<TmaMistake::Misaligned>(), HasSubstr("misaligned tile copy"));
  });
}

TEST(TmaTiles, MistakesOfStoringFailForEverySeed) {
  for_seeds([] {
    EXPECT_THAT(run_mistake<TmaMistake::NoAsyncFence>(),
                HasSubstr("with ordinary stores and no async proxy fence since"));
    EXPECT_THAT(run_mistake<TmaMistake::NoBarrierBeforeStore>(), HasSubstr("race: read"));
    EXPECT_THAT(run_mistake<TmaMistake::OverwritesUnread>(),
                HasSubstr("which a bulk copy of thread 0 read with no"));
    EXPECT_THAT(run_mistake<TmaMistake::OverwritesUnwaited>(),
                HasSubstr("which a bulk copy of thread 0 read with no"));
    EXPECT_THAT(run_mistake<TmaMistake::NoCommit>(), HasSubstr("never committed"));
    EXPECT_THAT(run_mistake<TmaMistake::NoReadWait>(), HasSubstr("may still read shared memory"));
  });
}

TEST(TmaTiles, SwizzledTileReadWithoutItsSwizzleIsWrong) {
  EXPECT_EQ(swizzled(0x090, Swizzle::Bytes32), 0x080u);
  EXPECT_EQ(swizzled(0x080, Swizzle::Bytes32), 0x090u);
  EXPECT_EQ(swizzled(0x180, Swizzle::Bytes64), 0x1b0u);
  EXPECT_EQ(swizzled(0x3a4, Swizzle::Bytes128), 0x3d4u);
  EXPECT_EQ(swizzled(0x3a4, Swizzle::None), 0x3a4u);
}

// ---- one to five dimensions ----

// A tensor of n dimensions of 9, 3, 4, 3, 2 elements, rows padded to 12, in boxes of 8, 2, 2, ...
template <int n>
struct Boxes {
  static constexpr int64_t kSizes[] = {9, 3, 4, 3, 2};
  static constexpr int64_t kStrides[] = {1, 12, 36, 144, 432};

  Buffer<float> x{1000};
  TensorMap map;
  Boxes() {
    x.fill_random(2);
    const float* data = x.data();
    if constexpr (n == 1) map = make_tensor_map(data, {9}, {}, {8}, Swizzle::None);
    if constexpr (n == 2) map = make_tensor_map(data, {9, 3}, {12}, {8, 2}, Swizzle::None);
    if constexpr (n == 3)
      map = make_tensor_map(data, {9, 3, 4}, {12, 36}, {8, 2, 2}, Swizzle::None);
    if constexpr (n == 4)
      map = make_tensor_map(data, {9, 3, 4, 3}, {12, 36, 144}, {8, 2, 2, 2}, Swizzle::None);
    if constexpr (n == 5)
      map = make_tensor_map(data, {9, 3, 4, 3, 2}, {12, 36, 144, 432}, {8, 2, 2, 2, 2},
                            Swizzle::None);
  }

  static constexpr int kElements = 8 << (n - 1);

  // The place in x of element e of the box whose first corner is (first, first + 1, ...); -1 if
  // that is outside the tensor.
  static int64_t place(int first, int e) {
    int64_t at = 0, rest = e;
    for (int i = 0; i < n; ++i) {
      const int side = i == 0 ? 8 : 2;
      const int64_t index = first + i + rest % side;
      rest /= side;
      if (index < 0 || index >= kSizes[i]) return -1;
      at += index * kStrides[i];
    }
    return at;
  }
};

template <int n>
void expect_box(int first) {
  Boxes<n> boxes;
  Buffer<float> out(Boxes<n>::kElements);
  launch("load_box", load_box<n>, {{1}, {1}, 1024}, nullptr, boxes.map, first, Boxes<n>::kElements,
         out.data());
  for (int e = 0; e < Boxes<n>::kElements; ++e) {
    const int64_t at = Boxes<n>::place(first, e);
    EXPECT_EQ(out.data()[e], at < 0 ? 0.0f : boxes.x.data()[at]) << n << " dimensions, " << e;
  }
  // The box goes back as ones.
  Buffer<float> ones(Boxes<n>::kElements);
  std::fill_n(ones.data(), Boxes<n>::kElements, 1.0f);
  const std::vector<double> before = boxes.x.values();
  launch("store_box", store_box<n>, {{1}, {1}, 1024}, nullptr, boxes.map, first,
         Boxes<n>::kElements, static_cast<const float*>(ones.data()));
  std::vector<double> expected = before;
  for (int e = 0; e < Boxes<n>::kElements; ++e) {
    const int64_t at = Boxes<n>::place(first, e);
    if (at >= 0) expected[at] = 1.0;
  }
  EXPECT_EQ(boxes.x.values(), expected) << n << " dimensions";
}

TEST(TmaBoxes, OutsideTheTensorAreZerosAndNotWritten) {
  for (int first : {-3, -1, 0, 1, 2, 20}) {
    expect_box<1>(first);
    expect_box<2>(first);
    expect_box<3>(first);
    expect_box<4>(first);
    expect_box<5>(first);
  }
}

TEST(TmaBoxes, CoordinatesOfAnotherRankFail) {
  Boxes<2> boxes;
  Buffer<float> out(32);
  EXPECT_THAT(
      outcome([&] {
        launch("load_box", load_box<3>, {{1}, {1}, 1024}, nullptr, boxes.map, 0, 32, out.data());
      }),
      HasSubstr("3 coordinates for a tensor of 2 dimensions"));
}

// ---- other guarantees ----

TEST(BulkCopy, WrittenBytesMayBeReadOnlyAfterTheFullWait) {
  Buffer<float> x(4);
  for_seeds([&] {
    EXPECT_EQ(outcome([&] {
                launch("read_back", read_back<true>, {{1}, {1}, 16}, nullptr, x.data());
              }),
              "ran");
    EXPECT_EQ(x.data()[0], 3.0f);
    EXPECT_THAT(outcome([&] {
                  launch("read_back", read_back<false>, {{1}, {1}, 16}, nullptr, x.data());
                }),
                HasSubstr("written by a bulk copy of thread 0 with no barrier in between"));
  });
}

TEST(BulkCopy, OwnStoresToGlobalMemoryNeedAFence) {
  Buffer<float> x(4), y(1);
  EXPECT_EQ(outcome([&] {
              launch("own", copy_own_stores<true>, {{1}, {1}, 32}, nullptr, x.data(), y.data());
            }),
            "ran");
  EXPECT_EQ(y.data()[0], 3.0f);
  EXPECT_THAT(outcome([&] {
                launch("own", copy_own_stores<false>, {{1}, {1}, 32}, nullptr, x.data(), y.data());
              }),
              HasSubstr("no async proxy fence since"));
}

TEST(BulkCopy, OnItsWayAsTheBlockEndsFails) {
  Buffer<float> x(4);
  EXPECT_THAT(outcome([&] {
                launch("end", end_before_the_copy, {{1}, {1}, 32}, nullptr,
                       static_cast<const float*>(x.data()));
              }),
              HasSubstr("ends while an asynchronous copy"));
}

TEST(TensorMap, RefusesWhatTheDriverRefuses) {
  Buffer<float> x(4096);
  const auto refusal = [](auto make) -> std::string {
    try {
      make();
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "made";
  };
  const float* data = x.data();
  constexpr Swizzle kNone = Swizzle::None;
  EXPECT_EQ(refusal([&] { make_tensor_map(data, {64, 8}, {64}, {32, 8}, kNone); }), "made");
  EXPECT_THAT(refusal([&] {
                make_tensor_map(data + 1, {64, 8}, {64}, {32, 8}, kNone);
              }),
              HasSubstr("aligned to 16 bytes"));
  EXPECT_THAT(refusal([&] {
                make_tensor_map(data, {64, 8}, {66}, {32, 8}, kNone);
              }),
              HasSubstr("stride"));
  EXPECT_THAT(refusal([&] {
                make_tensor_map(data, {64, 8}, {64}, {32, 257}, kNone);
              }),
              HasSubstr("between 1 and 256"));
  EXPECT_THAT(refusal([&] {
                make_tensor_map(data, {64, 8}, {64}, {30, 8}, kNone);
              }),
              HasSubstr("multiple of 16 bytes"));
  EXPECT_THAT(refusal([&] {
                make_tensor_map(data, {64, 0}, {64}, {32, 8}, kNone);
              }),
              HasSubstr("between 1 and 2^32"));
  EXPECT_THAT(refusal([&] {
                make_tensor_map(data, {64, 8}, {64}, {64, 8}, Swizzle::Bytes128);
              }),
              HasSubstr("as long as the swizzle's span"));
  EXPECT_THAT(refusal([&] {
                make_tensor_map(data, {64, 8}, {}, {64, 8}, kNone);
              }),
              HasSubstr("of 1 to 5 dimensions, alike"));
}

}  // namespace
}  // namespace plinth::device
