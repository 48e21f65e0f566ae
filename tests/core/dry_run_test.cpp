#include "core/dry_run.h"

#include <gtest/gtest.h>

#include <map>

#include "core/allocator.h"
#include "core/ops/activation.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/matmul.h"
#include "core/ops/reduce.h"
#include "tests/core/io/expect_error.h"

namespace plinth {
namespace {

constexpr int64_t kHuge = int64_t{1} << 20;  // rows and columns: 4 TiB of float32

TEST(DryRun, ComputesNothingAndCountsAll) {
  const DryRun dry;
  Tensor x = Tensor::empty({kHuge, kHuge});
  x.set_requires_grad();
  const Tensor loss = sum(relu(matmul(x, x)));
  loss.backward();
  EXPECT_EQ(x.grad().shape(), x.shape());
  EXPECT_EQ(loss.item(), 0);
  const MemoryStats stats = allocator(Device{}).stats();
  EXPECT_GE(stats.allocated, 2 * kHuge * kHuge * 4);
  EXPECT_GE(stats.peak_allocated, 4 * kHuge * kHuge * 4);
}

TEST(DryRun, ValuesAreZerosButForWhatTheHostWrites) {
  const DryRun dry;
  EXPECT_EQ(to_vector(Tensor::empty({3})), (std::vector<double>{0, 0, 0}));
  EXPECT_EQ(to_vector(from_values<double>({1, 2, 3}, {3})), (std::vector<double>{1, 2, 3}));
  EXPECT_EQ(full({}, 7).item(), 7);
  EXPECT_EQ(to_vector(full({2}, 7)), (std::vector<double>{0, 0}));
  EXPECT_EQ((full({}, 7) + full({}, 7)).item(), 0);
  // Memory that was written, and is given away again.
  for (const int64_t count : {3, 3000}) {
    { from_values(std::vector<double>(count, 1), {count}); }
    EXPECT_EQ(to_vector(Tensor::empty({count}, {DType::Float64})), std::vector<double>(count));
  }
}

TEST(DryRun, CountsAsTheAllocatorCounts) {
  const auto work = [] {
    Allocator& memory = allocator(Device{});
    const int64_t before = memory.stats().allocated;
    memory.reset_peak();
    const Tensor a = ones({300, 7}), b = ones({7, 100'000});
    const Tensor c = matmul(a, b) + 1.0;
    return std::pair(memory.stats().allocated - before, memory.stats().peak_allocated - before);
  };
  const auto real = work();
  const DryRun dry;
  EXPECT_EQ(work(), real);
}

TEST(DryRun, TensorsMayBeginBeforeItAndOutliveIt) {
  Allocator& memory = allocator(Device{});
  const int64_t before = memory.stats().allocated;
  Tensor old = ones({1000}), kept;
  {
    const DryRun dry;
    EXPECT_EQ(memory.stats().allocated, 0);
    old = {};
    kept = ones({1000});
    EXPECT_GT(memory.stats().allocated, 0);
  }
  EXPECT_EQ(memory.stats().allocated, before);
  {
    const DryRun another;
    kept = {};
    EXPECT_EQ(memory.stats().allocated, 0);
  }
  EXPECT_EQ(to_vector(ones({2})), (std::vector<double>{1, 1}));
}

TEST(DryRun, OneAtATime) {
  const DryRun dry;
  expect_error(ErrorKind::Argument, "another one is under way", [] { const DryRun second; });
  EXPECT_TRUE(is_dry_run());
}

TEST(DryRun, TellsOfEveryBlock) {
  struct Listener : MemoryListener {
    void allocated(const void* block, int64_t bytes) override { alive[block] = bytes; }
    void shaped(const void*, const Shape& shape, DType dtype) override {
      shapes.push_back(shape);
      dtypes.push_back(dtype);
    }
    void freed(const void* block) noexcept override { alive.erase(block); }
    std::map<const void*, int64_t> alive;
    std::vector<Shape> shapes;
    std::vector<DType> dtypes;
  } listener;
  const DryRun dry(&listener);
  {
    const Tensor a = Tensor::empty({2, 3}), b = Tensor::empty({5}, {DType::BFloat16});
    const Tensor view = a.transpose(0, 1);
    EXPECT_EQ(listener.shapes, (std::vector<Shape>{{2, 3}, {5}}));
    EXPECT_EQ(listener.dtypes, (std::vector<DType>{DType::Float32, DType::BFloat16}));
    ASSERT_EQ(listener.alive.size(), 2);
    EXPECT_EQ(listener.alive.at(a.storage()->data()), 512);
  }
  EXPECT_TRUE(listener.alive.empty());
}

}  // namespace
}  // namespace plinth
