#include "nn/layers/share.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "core/ops/attention.h"
#include "core/ops/factories.h"
#include "core/random.h"
#include "nn/layers.h"
#include "tests/core/io/expect_error.h"

namespace plinth::nn {
namespace {

using testing::ElementsAre;
using testing::FieldsAre;

TEST(SequencePart, HasTwoChunksAsFarFromEitherEnd) {
  EXPECT_THAT((SequencePart{}.runs(5)), ElementsAre(FieldsAre(0, 5)));
  // Of 24 tokens in 6 chunks, numbers 1 and 4.
  const SequencePart context{.ranks = 3, .rank = 1};
  EXPECT_THAT(context.runs(8), ElementsAre(FieldsAre(4, 4), FieldsAre(16, 4)));
  // Thirds of 18 tokens of 36: the second has the end of one chunk and the start of the other.
  const SequencePart both{.ranks = 2, .rank = 0, .parts = 3, .part = 1};
  EXPECT_THAT(both.runs(6), ElementsAre(FieldsAre(6, 3), FieldsAre(27, 3)));
  EXPECT_EQ(both.multiple(), 12);
}

// Each token is some rank's, and its mask is that of the whole.
TEST(SequencePart, PartsTogetherAreTheWholeAndItsMask) {
  constexpr int64_t kTokens = 24;
  const Tensor x = normal({2, kTokens, 3}, 0, 1, {.seed = 1});
  Dropout dropout(0.4);
  manual_seed(2);
  const Tensor dropped = dropout(x);
  for (const int64_t ranks : {1, 2, 3}) {
    for (const int64_t parts : {1, 2, 4}) {
      std::set<double> found;
      for (int64_t rank = 0; rank < ranks; ++rank) {
        for (int64_t part = 0; part < parts; ++part) {
          const SequencePart own{.ranks = ranks, .rank = rank, .parts = parts, .part = part};
          for (const double value : to_vector(own.take(x))) found.insert(value);
          dropout.share(own);
          manual_seed(2);
          EXPECT_EQ(to_vector(dropout(own.take(x))), to_vector(own.take(dropped)))
              << ranks << " " << rank << " " << parts << " " << part;
        }
      }
      EXPECT_EQ(found.size(), static_cast<size_t>(x.numel()));
    }
  }
  expect_error(ErrorKind::Shape, "[2, 24, 3], expected [batch, tokens, ...] with a multiple of 10",
               [&] { SequencePart{.ranks = 5}.take(x); });
}

// Heads 1 and 2, and queries 3 to 6, drop the weights that they drop among all.
TEST(AttentionPart, DropsWhatTheWholeDrops) {
  const Tensor q = normal({2, 4, 9, 8}, 0, 1, {.seed = 1});
  const Tensor k = normal({2, 4, 13, 8}, 0, 1, {.seed = 2});
  const AttentionOptions options{.dropout = 0.5};
  const auto run = [&](const Tensor& queries, const Tensor& keys, const AttentionPart& part) {
    AttentionOptions own = options;
    own.part = part;
    manual_seed(3);
    return attention(queries, keys, keys, own);
  };
  const Tensor whole = run(q, k, {});
  EXPECT_EQ(to_vector(run(q.narrow(1, 1, 2), k.narrow(1, 1, 2), {.head = 1})),
            to_vector(whole.narrow(1, 1, 2)));
  // Few queries are computed in another order.
  EXPECT_THAT(to_vector(run(q.narrow(2, 3, 4), k, {.query = 3, .queries = 9})),
              testing::Pointwise(testing::DoubleNear(1e-6), to_vector(whole.narrow(2, 3, 4))));
  expect_error(ErrorKind::Argument,
               "key 3, expected none below 0, and a key that is a multiple of 4",
               [&] { run(q, k, {.key = 3, .keys = 20}); });
  expect_error(ErrorKind::Argument, "queries from 3 of 9 and keys from 0 of 0, which do not hold",
               [&] { run(q, k, {.query = 3, .queries = 9}); });
}

}  // namespace
}  // namespace plinth::nn
