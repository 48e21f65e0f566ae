#include "kernels/embedding/embedding.h"

#include "kernels/index/index.h"
#include "tests/kernels/fused_testing.h"

namespace plinth::kernels::cpu {
namespace {

// Ids in which a few dominate, as in text.
std::vector<int64_t> skewed_ids(int64_t n, int64_t vocab) {
  std::mt19937 generator(11);
  std::vector<int64_t> ids(n);
  for (int64_t& id : ids) {
    const double u = (generator() + 0.5) / 4294967296.0;
    id = static_cast<int64_t>(u * u * u * vocab);
  }
  return ids;
}

struct Size {
  int64_t n, vocab, dim;
};
const Size kSizes[] = {{1, 1, 1},     {5, 3, 7},     {100, 1000, 16}, {300, 40, 65},
                       {3000, 7, 33}, {2500, 1, 20}, {40, 5, 1100},   {5000, 50000, 8}};

std::string text(const Size& s) {
  return std::to_string(s.n) + " of " + std::to_string(s.vocab) + " x " + std::to_string(s.dim);
}

template <class T>
class Embedding : public ::testing::Test {};
TYPED_TEST_SUITE(Embedding, FloatTypes);

TYPED_TEST(Embedding, ForwardCopiesRows) {
  for (const Size& s : kSizes) {
    const auto ids = skewed_ids(s.n, s.vocab);
    const auto w = random_values<TypeParam>(s.vocab * s.dim, 1);
    std::vector<TypeParam> y(s.n * s.dim);
    embedding_forward<TypeParam>(s.n, s.vocab, s.dim, ids.data(), w.data(), y.data());
    for (int64_t i = 0; i < s.n * s.dim; ++i) {
      ASSERT_EQ(y[i], w[ids[i / s.dim] * s.dim + i % s.dim]) << text(s);
    }
  }
}

TYPED_TEST(Embedding, BackwardAddsEachTokensGradientToItsRow) {
  using C = compute_t<TypeParam>;
  for (const Size& s : kSizes) {
    const auto ids = skewed_ids(s.n, s.vocab);
    const auto dy = random_values<TypeParam>(s.n * s.dim, 1);
    auto dw = random_values<C>(s.vocab * s.dim, 2);
    auto expected = as_doubles(dw);
    for (int64_t i = 0; i < s.n * s.dim; ++i) {
      expected[ids[i / s.dim] * s.dim + i % s.dim] += as_double(dy[i]);
    }
    embedding_backward<TypeParam>(s.n, s.vocab, s.dim, ids.data(), dy.data(), dw.data());
    expect_close(dw, expected, 16, text(s), std::sqrt(s.n));
  }
}

TEST(EmbeddingBackward, HasTheSameBitsOnAnyNumberOfThreads) {
  for (const Size& s : {Size{4000, 500, 48}, Size{4000, 2, 48}, Size{900, 3, 1000}}) {
    const auto ids = skewed_ids(s.n, s.vocab);
    const auto dy = random_values<float>(s.n * s.dim, 1);
    expect_same_on_any_threads([&] {
      std::vector<float> dw(s.vocab * s.dim);
      embedding_backward<float>(s.n, s.vocab, s.dim, ids.data(), dy.data(), dw.data());
      return dw;
    });
  }
}

TEST(EmbeddingBackward, LeavesOtherRowsAndNoTokensAlone) {
  std::vector<float> dw(12, 3), dy(4, 1);
  const int64_t id = 1;
  embedding_backward<float>(1, 3, 4, &id, dy.data(), dw.data());
  EXPECT_EQ(dw, (std::vector<float>{3, 3, 3, 3, 4, 4, 4, 4, 3, 3, 3, 3}));
  embedding_backward<float>(0, 3, 4, nullptr, nullptr, dw.data());
  EXPECT_EQ(dw[4], 4);
}

TEST(EmbeddingIndex, FirstBadIndexIsFound) {
  const std::vector<int64_t> ids{0, 9, 10, -1};
  EXPECT_EQ(first_bad_index(2, 10, ids.data()), -1);
  EXPECT_EQ(first_bad_index(4, 10, ids.data()), 2);
  EXPECT_EQ(first_bad_index(4, 11, ids.data()), 3);
}

}  // namespace
}  // namespace plinth::kernels::cpu
