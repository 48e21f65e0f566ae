#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "kernels/embedding/embedding_cuda.h"
#include "kernels/index/index_cuda.h"
#include "kernels/index/sort_cuda.h"
#include "tests/emulator/kernel_testing.h"

namespace plinth::kernels::cuda {
namespace {

// Small whole numbers, whose sums every type holds exactly.
template <class T>
void fill_whole(Buffer<T>& buffer, int64_t n, uint64_t seed) {
  std::mt19937_64 random(seed);
  for (int64_t i = 0; i < n; ++i) {
    const auto value = static_cast<int64_t>(random() % 5);
    if constexpr (std::is_integral_v<T>) {
      buffer[i] = static_cast<T>(value);
    } else {
      buffer[i] = T(static_cast<float>(value));
    }
  }
}

// Indices below `length`, half of them 0 where `crowded`.
void fill_indices(Buffer<int64_t>& buffer, int64_t n, int64_t length, bool crowded) {
  std::mt19937_64 random(3);
  for (int64_t i = 0; i < n; ++i) {
    const auto index = static_cast<int64_t>(random() % static_cast<uint64_t>(length));
    buffer[i] = crowded && random() % 2 == 0 ? 0 : index;
  }
}

Buffer<double> workspace_of(size_t bytes) {
  return Buffer<double>(static_cast<int64_t>((bytes + sizeof(double) - 1) / sizeof(double)));
}

// ---- the sort ----

void expect_sorted(int64_t count, int64_t length, bool crowded) {
  SCOPED_TRACE(testing::Message() << count << " indices below " << length);
  Buffer<int64_t> index(count);
  fill_indices(index, count, length, crowded);
  Buffer<uint32_t> workspace(
      static_cast<int64_t>(sort_indices_workspace(count, length) / sizeof(uint32_t)));
  const SortedIndices sorted = sort_indices(nullptr, count, length, index.data(), workspace.data());
  std::vector<uint32_t> expected(count);
  std::iota(expected.begin(), expected.end(), 0u);
  std::ranges::stable_sort(expected, {}, [&](uint32_t i) { return index.data()[i]; });
  for (int64_t i = 0; i < count; ++i) {
    ASSERT_EQ(sorted.positions[i], expected[i]) << "place " << i;
    ASSERT_EQ(sorted.keys[i], index[expected[i]]) << "place " << i;
  }
}

TEST(SortKernel, IsStableForEveryCountAndLength) {
  for (const bool crowded : {false, true}) {
    expect_sorted(1, 1, crowded);
    expect_sorted(7, 3, crowded);
    expect_sorted(2048, 16, crowded);
    expect_sorted(2049, 17, crowded);
    expect_sorted(5000, 50257, crowded);
  }
  expect_sorted(100, int64_t{1} << 31, false);
}

TEST(SortKernel, PutsBadIndicesLast) {
  Buffer<int64_t> index(4);
  index.copy_from({5, -1, 2, 100});
  Buffer<uint32_t> workspace(
      static_cast<int64_t>(sort_indices_workspace(4, 10) / sizeof(uint32_t)));
  const SortedIndices sorted = sort_indices(nullptr, 4, 10, index.data(), workspace.data());
  EXPECT_EQ(std::vector<uint32_t>(sorted.positions, sorted.positions + 4),
            (std::vector<uint32_t>{2, 0, 1, 3}));
  EXPECT_EQ(sorted.keys[2], 10);
}

// ---- one index list ----

const IndexShape kShapes[] = {
    {1, 50, 300, 8},  {3, 7, 20, 5}, {2, 300, 130, 1}, {1, 1, 200, 33},
    {1, 40, 64, 700}, {5, 9, 1, 16}, {1, 4, 0, 3},     {0, 4, 3, 2},
};

int64_t size_of_big(const IndexShape& s) {
  return s.outer * s.length * s.inner;
}
int64_t size_of_small(const IndexShape& s) {
  return s.outer * s.indices * s.inner;
}

template <class T>
void expect_select(const IndexShape& s, int64_t first) {
  const int64_t big = size_of_big(s), small = size_of_small(s);
  Buffer<T> x(big + first), actual(small + first), expected(small + first);
  Buffer<int64_t> index(s.indices);
  fill_whole(x, big + first, 1);
  fill_indices(index, s.indices, s.length, false);
  index_select(nullptr, s, sizeof(T), x.data() + first, index.data(), actual.data() + first);
  cpu::index_select(s, sizeof(T), x.data() + first, index.data(), expected.data() + first);
  EXPECT_EQ(std::memcmp(actual.data() + first, expected.data() + first, small * sizeof(T)), 0);
}

TEST(IndexKernel, SelectMatchesTheCpu) {
  for (const IndexShape& s : kShapes) {
    for (const int64_t first : {0, 1}) {
      SCOPED_TRACE(testing::Message() << s.outer << ", " << s.length << ", " << s.indices << ", "
                                      << s.inner << " from " << first);
      expect_select<uint8_t>(s, first);
      expect_select<BFloat16>(s, first);
      expect_select<float>(s, first);
      expect_select<double>(s, first);
    }
  }
}

template <class T>
void expect_index_add(const IndexShape& s, bool crowded, int64_t first) {
  const int64_t big = size_of_big(s), small = size_of_small(s);
  Buffer<T> x(small + first), actual(big + first), expected(big + first);
  Buffer<int64_t> index(s.indices);
  fill_whole(x, small + first, 1);
  fill_whole(actual, big + first, 2);
  fill_whole(expected, big + first, 2);
  fill_indices(index, s.indices, s.length, crowded);
  Buffer<double> workspace = workspace_of(index_add_workspace<T>(s));
  index_add(nullptr, s, x.data() + first, index.data(), actual.data() + first, workspace.data());
  cpu::index_add(s, x.data() + first, index.data(), expected.data() + first);
  expect_close<T>(actual.values(), expected.values(), std::is_integral_v<T> ? 0 : 1);
}

TEST(IndexKernel, AddMatchesTheCpu) {
  for (const IndexShape& s : kShapes) {
    for (const bool crowded : {false, true}) {
      SCOPED_TRACE(testing::Message() << s.outer << ", " << s.length << ", " << s.indices << ", "
                                      << s.inner << " crowded " << crowded);
      expect_index_add<double>(s, crowded, 0);
      expect_index_add<float>(s, crowded, 0);
      expect_index_add<float>(s, crowded, 1);
      expect_index_add<int64_t>(s, crowded, 0);
      expect_index_add<uint8_t>(s, crowded, 0);
    }
  }
}

// The CPU rounds to bfloat16 after every addition, the GPU once.
TEST(IndexKernel, AddRoundsNarrowSumsOnce) {
  const IndexShape s{1, 2, 300, 8};
  Buffer<BFloat16> x(300 * 8), out(16);
  Buffer<int64_t> index(300);
  for (int64_t i = 0; i < 300 * 8; ++i) x[i] = BFloat16(1.0f);
  for (int64_t i = 0; i < 16; ++i) out[i] = BFloat16(0.0f);
  for (int64_t i = 0; i < 300; ++i) index[i] = 1;
  Buffer<double> workspace = workspace_of(index_add_workspace<BFloat16>(s));
  index_add(nullptr, s, x.data(), index.data(), out.data(), workspace.data());
  EXPECT_EQ(static_cast<float>(out[3]), 0.0f);
  EXPECT_EQ(static_cast<float>(out[8]), 300.0f);
}

// ---- an index an element ----

TEST(IndexKernel, GatherAndScattersMatchTheCpu) {
  for (const IndexShape& s : kShapes) {
    SCOPED_TRACE(testing::Message()
                 << s.outer << ", " << s.length << ", " << s.indices << ", " << s.inner);
    const int64_t big = size_of_big(s), small = size_of_small(s);
    Buffer<float> table(big), x(small), actual(small), expected(small);
    Buffer<float> sum(big), expected_sum(big);
    Buffer<int64_t> index(small);
    fill_whole(table, big, 1);
    fill_whole(x, small, 2);
    fill_indices(index, small, s.length, true);
    gather(nullptr, s, sizeof(float), table.data(), index.data(), actual.data());
    cpu::gather(s, sizeof(float), table.data(), index.data(), expected.data());
    EXPECT_EQ(std::memcmp(actual.data(), expected.data(), small * sizeof(float)), 0);

    fill_whole(sum, big, 3);
    fill_whole(expected_sum, big, 3);
    scatter_add(nullptr, s, x.data(), index.data(), sum.data());
    cpu::scatter_add(s, x.data(), index.data(), expected_sum.data());
    EXPECT_EQ(sum.values(), expected_sum.values());
    scatter(nullptr, s, sizeof(float), x.data(), index.data(), sum.data());
    cpu::scatter(s, sizeof(float), x.data(), index.data(), expected_sum.data());
    EXPECT_EQ(sum.values(), expected_sum.values());
  }
}

TEST(IndexKernel, BadIndicesReadZerosAndWriteNothing) {
  const IndexShape s{1, 3, 4, 1};
  Buffer<float> table(3), out(4), sum(3);
  Buffer<int64_t> index(4);
  table.copy_from({1, 2, 3});
  index.copy_from({2, 3, -1, 0});
  index_select(nullptr, s, sizeof(float), table.data(), index.data(), out.data());
  EXPECT_EQ(out.values(), (std::vector<double>{3, 0, 0, 1}));
  gather(nullptr, s, sizeof(float), table.data(), index.data(), out.data());
  EXPECT_EQ(out.values(), (std::vector<double>{3, 0, 0, 1}));
  out.copy_from({10, 20, 30, 40});
  sum.copy_from({0, 0, 0});
  scatter_add(nullptr, s, out.data(), index.data(), sum.data());
  EXPECT_EQ(sum.values(), (std::vector<double>{40, 0, 10}));
  Buffer<double> workspace = workspace_of(index_add_workspace<float>(s));
  index_add(nullptr, s, out.data(), index.data(), sum.data(), workspace.data());
  EXPECT_EQ(sum.values(), (std::vector<double>{80, 0, 20}));
}

TEST(IndexKernel, FirstBadIndexIsFound) {
  Buffer<int64_t> index(9000);
  for (int64_t i = 0; i < 9000; ++i) index[i] = i % 100;
  const auto first_bad = [&](int64_t count) {
    OnDevice<IndexFault> fault{};
    report_bad_index(nullptr, count, 100, index.data(), 7, &fault.value);
    const int64_t expected = cpu::first_bad_index(count, 100, index.data());
    EXPECT_EQ(fault.value.check, expected < 0 ? 0 : 7);
    if (expected < 0) return expected;
    EXPECT_EQ(fault.value.value, index[expected]);
    return fault.value.element;
  };
  EXPECT_EQ(first_bad(9000), -1);
  EXPECT_EQ(first_bad(0), -1);
  index[8999] = 100;
  EXPECT_EQ(first_bad(9000), 8999);
  index[4097] = -1;
  EXPECT_EQ(first_bad(9000), 4097);
  index[3] = int64_t{1} << 40;
  EXPECT_EQ(first_bad(9000), 3);
}

// ---- embedding ----

template <class T>
void expect_embedding(int64_t n, int64_t vocab, int64_t dim, bool crowded) {
  SCOPED_TRACE(testing::Message() << n << " tokens of " << vocab << " by " << dim);
  Buffer<int64_t> ids(n);
  Buffer<T> w(vocab * dim), y(n * dim), expected_y(n * dim), dy(n * dim);
  Buffer<compute_t<T>> dw(vocab * dim), expected_dw(vocab * dim);
  fill_indices(ids, n, vocab, crowded);
  w.fill_random(1);
  dy.fill_random(2);
  for (int64_t i = 0; i < vocab * dim; ++i) dw[i] = expected_dw[i] = compute_t<T>(i % 3);
  embedding_forward(nullptr, n, vocab, dim, ids.data(), w.data(), y.data());
  cpu::embedding_forward(n, vocab, dim, ids.data(), w.data(), expected_y.data());
  EXPECT_EQ(y.values(), expected_y.values());
  Buffer<double> workspace = workspace_of(embedding_backward_workspace<T>(n, vocab, dim));
  embedding_backward(nullptr, n, vocab, dim, ids.data(), dy.data(), dw.data(), workspace.data());
  cpu::embedding_backward(n, vocab, dim, ids.data(), dy.data(), expected_dw.data());
  expect_close<compute_t<T>>(dw.values(), expected_dw.values(), 16);
}

TEST(EmbeddingKernel, MatchesTheCpu) {
  for (const bool crowded : {false, true}) {
    expect_embedding<float>(1, 1, 1, crowded);
    expect_embedding<float>(700, 50, 24, crowded);
    expect_embedding<BFloat16>(700, 50, 24, crowded);
    expect_embedding<Float16>(130, 1000, 33, crowded);
    expect_embedding<double>(200, 3, 6, crowded);
  }
  expect_embedding<float>(0, 5, 8, false);
}

TEST(EmbeddingKernel, GradientHasTheSameBitsInEveryOrderOfThreads) {
  const auto gradient = [](uint64_t seed) {
    device::emulation_seed() = seed;
    Buffer<int64_t> ids(500);
    fill_indices(ids, 500, 20, true);
    Buffer<float> dy(500 * 8), dw(20 * 8);
    dy.fill_random(2);
    for (int64_t i = 0; i < 20 * 8; ++i) dw[i] = 0;
    Buffer<double> workspace = workspace_of(embedding_backward_workspace<float>(500, 20, 8));
    embedding_backward(nullptr, 500, 20, 8, ids.data(), dy.data(), dw.data(), workspace.data());
    return dw.values();
  };
  EXPECT_EQ(gradient(1), gradient(2));
}

}  // namespace
}  // namespace plinth::kernels::cuda
