// Clusters: their barrier, each other's shared memory, multicast.

#include "tests/emulator/vocabulary/cluster.h"

#include "tests/emulator/vocabulary_testing.h"

namespace plinth::device {
namespace {

template <ClusterMistake mistake>
std::string run_read_next() {
  Buffer<int32_t> out(8 * 32);
  const std::string result = outcome([&] {
    launch("next", read_next_block<mistake>, {{8}, {32}, 128, {4}}, nullptr, out.data());
  });
  if (result == "ran") {
    for (int i = 0; i < 8 * 32; ++i) {
      const int block = i / 32;
      EXPECT_EQ(out.data()[i], (block + 1) % 4 * 100 + 31 - i % 32);
    }
  }
  return result;
}

TEST(Cluster, BlocksReadEachOthersSharedMemory) {
  for_seeds([] {
    EXPECT_EQ(run_read_next<ClusterMistake::None>(), "ran");
    EXPECT_THAT(run_read_next<ClusterMistake::NoSyncBeforeRead>(),
                AnyOf(HasSubstr("nobody has written"), HasSubstr("of the cluster's block")));
    EXPECT_THAT(run_read_next<ClusterMistake::NoSyncAtEnd>(),
                AnyOf(HasSubstr("which has ended"), HasSubstr("ends while others")));
    EXPECT_THAT(run_read_next<ClusterMistake::WaitsWithoutArriving>(),
                HasSubstr("without having arrived"));
  });
}

template <MulticastMistake mistake>
std::string run_multicast() {
  constexpr int kTiles = 3;
  Buffer<float> x(kTiles * 256), sums(4 * 32);
  for (int i = 0; i < kTiles * 256; ++i) x.data()[i] = static_cast<float>(i % 7);
  const float* data = x.data();
  const TensorMap map = make_tensor_map(data, {kTiles * 256}, {}, {256}, Swizzle::None);
  const std::string result = outcome([&] {
    launch("multicast", sum_multicast_tiles<mistake>, {{4}, {32}, 1040, {2}}, nullptr, map, kTiles,
           sums.data());
  });
  if (result != "ran") return result;
  for (int i = 0; i < 4 * 32; ++i) {
    float sum = 0;
    for (int j = i % 32; j < kTiles * 256; j += 32) sum += data[j];
    EXPECT_EQ(sums.data()[i], sum);
  }
  return result;
}

TEST(Cluster, MulticastReachesAllBlocksAtTheirOwnBarriers) {
  for_seeds([] { EXPECT_EQ(run_multicast<MulticastMistake::None>(), "ran"); });
}

TEST(Cluster, MulticastMistakesFailForEverySeed) {
  for_seeds([] {
    EXPECT_THAT(run_multicast<MulticastMistake::NoClusterSync>(),
                AnyOf(HasSubstr("no mbarrier was made"), HasSubstr("no barrier in between")));
    EXPECT_THAT(run_multicast<MulticastMistake::OthersDoNotExpect>(), HasSubstr("deadlock"));
    EXPECT_THAT(run_multicast<MulticastMistake::NoClusterWait>(),
                HasSubstr("with no barrier in between"));
    EXPECT_THAT(run_multicast<MulticastMistake::NoRemoteArrive>(), HasSubstr("deadlock"));
    EXPECT_THAT(run_multicast<MulticastMistake::NoSyncAtEnd>(),
                AnyOf(HasSubstr("which has ended"), HasSubstr("ends while others may")));
    EXPECT_THAT(run_multicast<MulticastMistake::NoWait>(),
                AnyOf(HasSubstr("has not been waited for"), HasSubstr("nobody has written")));
  });
}

TEST(Cluster, GridsThatClustersDoNotDivideFail) {
  Buffer<int32_t> out(6 * 32);
  EXPECT_THAT(outcome([&] {
                launch("next", read_next_block<ClusterMistake::None>, {{6}, {32}, 128, {4}},
                       nullptr, out.data());
              }),
              HasSubstr("next: a grid of (6, 1, 1) blocks in clusters of (4, 1, 1)"));
}

TEST(Launch, RefusesMoreThanABlockCanHave) {
  Buffer<float> x(1);
  const auto run = [&](uint32_t threads, size_t bytes) {
    return outcome([&] {
      launch("launch", overlap_previous, {{1}, {threads}, bytes, {1}, true}, nullptr, x.data());
    });
  };
  x.data()[0] = 0;
  EXPECT_EQ(run(1, 227 * 1024), "ran");
  EXPECT_EQ(x.data()[0], 1.0f);
  EXPECT_THAT(run(1, 227 * 1024 + 1), HasSubstr("bytes of shared memory"));
  EXPECT_THAT(run(1025, 0), HasSubstr("threads"));
}

TEST(Launch, RefusesGridsThatCudaDoes) {
  Buffer<float> x(1);
  for (const Dim3 grid : {Dim3{0}, Dim3{1, 0}, Dim3{1, 65536}, Dim3{1, 1, 65536}}) {
    EXPECT_THAT(outcome([&] {
                  launch("launch", overlap_previous, {grid, {1}}, nullptr, x.data());
                }),
                HasSubstr("launch: a grid of ("));
  }
}

}  // namespace
}  // namespace plinth::device
