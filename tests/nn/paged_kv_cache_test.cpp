#include "nn/layers/paged_kv_cache.h"

#include "core/autograd.h"
#include "core/ops/attention.h"
#include "core/ops/factories.h"
#include "core/ops/paged_attention.h"
#include "core/ops/views.h"
#include "tests/nn/nn_testing.h"

namespace plinth::nn {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

PagedKVCacheOptions small_cache() {
  return {.sequences = 3, .kv_heads = 2, .head_dim = 4, .pages = 6, .page_size = 2};
}

std::vector<int64_t> lengths_of(const PagedKVCache& cache) {
  const Tensor lengths = cache.kv_lengths();
  return {lengths.data<int64_t>(), lengths.data<int64_t>() + lengths.numel()};
}

// Sequences that begin and end at different times, each against attention over its own tokens.
TEST(PagedKVCache, GivesEachSequenceItsOwnTokens) {
  PagedKVCache cache(small_cache());
  const Tensor k = values({3, 2, 9, 4}).to(DType::Float32);
  const Tensor v = values({3, 2, 9, 4}, 1).to(DType::Float32);
  const Tensor q = values({3, 4, 1, 4}, 2).to(DType::Float32);
  std::vector<int64_t> held(3);
  const auto step = [&](const std::vector<int64_t>& sequences, int64_t tokens) {
    cache.activate(sequences);
    Tensors keys, some, queries;
    for (const int64_t i : sequences) {
      keys.push_back(k.narrow(0, i, 1).narrow(2, held[i], tokens));
      some.push_back(v.narrow(0, i, 1).narrow(2, held[i], tokens));
      queries.push_back(q.narrow(0, i, 1));
    }
    const Tensor next = cache.next_positions(tokens);
    cache.append(cat(keys, 0), cat(some, 0));
    const Tensor y = paged_attention(cat(queries, 0), cache.key_pages(), cache.value_pages(),
                                     cache.block_table(), cache.kv_lengths());
    for (size_t row = 0; row < sequences.size(); ++row) {
      const int64_t i = sequences[row];
      EXPECT_EQ(next.data<int64_t>()[row * tokens], held[i]);
      held[i] += tokens;
      EXPECT_EQ(cache.length(i), held[i]);
      const auto seen = [&](const Tensor& x) { return x.narrow(0, i, 1).narrow(2, 0, held[i]); };
      const Tensor expected = attention(q.narrow(0, i, 1), seen(k), seen(v));
      expect_close(y.narrow(0, static_cast<int64_t>(row), 1), expected, 0);
    }
  };
  step({1}, 3);
  step({0, 2}, 2);
  step({2, 1, 0}, 1);
  EXPECT_EQ(cache.free_pages(), 6 - 2 - 2 - 2);
  cache.truncate(1, 0);
  held[1] = 0;
  EXPECT_EQ(cache.free_pages(), 2);
  step({0, 2}, 2);
  cache.truncate(0, 1);
  held[0] = 1;
  EXPECT_EQ(cache.free_pages(), 2);
  step({1, 0}, 2);
  EXPECT_EQ(lengths_of(cache), (std::vector<int64_t>{2, 3}));
}

TEST(PagedKVCache, RefusesWhatDoesNotFitAndStaysAsItWas) {
  PagedKVCacheOptions options = small_cache();
  options.max_length = 7;
  PagedKVCache cache(options);
  const auto append = [&](int64_t rows, int64_t tokens) {
    return message_of([&] {
      cache.append(ones({rows, 2, tokens, 4}), ones({rows, 2, tokens, 4}));
    });
  };
  EXPECT_EQ(append(3, 3), "no error");
  EXPECT_THAT(append(3, 2), HasSubstr("PagedKVCache: 2 tokens do not fit: they need 3 pages, and 0 "
                                      "of 6 are free"));
  EXPECT_THAT(append(3, 5), HasSubstr("sequence 0 has 3 of at most 7"));
  EXPECT_THAT(append(2, 1), HasSubstr("got keys [2, 2, 1, 4] and values [2, 2, 1, 4], expected "
                                      "[3, 2, tokens, 4]"));
  EXPECT_THAT(message_of([&] {
                const Tensor tracked = ones({3, 2, 1, 4}).set_requires_grad();
                cache.append(tracked, tracked);
              }),
              HasSubstr("hold a NoGradGuard"));
  EXPECT_EQ(lengths_of(cache), (std::vector<int64_t>{3, 3, 3}));
  EXPECT_EQ(append(3, 1), "no error");
  EXPECT_THAT(message_of([&] { cache.truncate(0, 5); }),
              HasSubstr("cannot truncate sequence 0 to 5 tokens: it has 4"));
  EXPECT_THAT(message_of([&] { cache.truncate(3, 0); }),
              HasSubstr("got sequence 3, expected within [0, 3)"));
  EXPECT_THAT(message_of([&] { cache.length(-1); }), HasSubstr("got sequence -1"));
  EXPECT_THAT(message_of([&] { cache.activate({0, 1, 0}); }), HasSubstr("got sequence 0 twice"));
  EXPECT_THAT(cache.active(), ElementsAre(0, 1, 2));
  options.page_size = 0;
  EXPECT_THAT(message_of([&] { PagedKVCache{options}; }), HasSubstr("page_size 0"));
}

TEST(PagedKVCache, KeepsItsOwnDtype) {
  PagedKVCache cache({.head_dim = 2, .pages = 1, .options = {DType::BFloat16, {}}});
  cache.append(full({1, 1, 1, 2}, 3), full({1, 1, 1, 2}, 4));
  EXPECT_EQ(cache.key_pages().dtype(), DType::BFloat16);
  EXPECT_EQ(to_vector(cache.key_pages())[1], 3);
  EXPECT_EQ(to_vector(cache.value_pages())[0], 4);
}

}  // namespace
}  // namespace plinth::nn
