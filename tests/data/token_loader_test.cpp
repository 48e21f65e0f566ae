#include "data/loader/token_loader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "data/shards/shard_writer.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"

namespace plinth {
namespace {

using ::testing::ElementsAre;

std::shared_ptr<const TokenDataset> dataset_of(const std::vector<std::vector<int32_t>>& shards) {
  const TemporaryDirectory dir;
  std::vector<TokenShard> opened;
  for (const std::vector<int32_t>& tokens : shards) {
    const auto path = dir / (std::to_string(opened.size()) + ".bin");
    ShardWriter writer(path, 1 << 20);
    writer.append(tokens);
    writer.commit();
    opened.push_back(TokenShard::open(path));  // stays mapped when the name is gone
  }
  return std::make_shared<TokenDataset>(std::move(opened));
}

// Tokens 0, 1, 2, ...: a token is its place.
std::shared_ptr<const TokenDataset> counting_dataset(int32_t size) {
  std::vector<int32_t> tokens(static_cast<size_t>(size));
  std::iota(tokens.begin(), tokens.end(), 0);
  const auto half = tokens.begin() + size / 3;
  return dataset_of({{tokens.begin(), half}, {half, tokens.end()}});
}

void expect_equal(const TokenBatch& a, const TokenBatch& b) {
  EXPECT_EQ(a.first_sample, b.first_sample);
  EXPECT_EQ(a.epoch, b.epoch);
  EXPECT_EQ(a.inputs, b.inputs);
  EXPECT_EQ(a.targets, b.targets);
  EXPECT_EQ(a.cu_seqlens, b.cu_seqlens);
}

TEST(TokenLoader, TargetsAreTheNextTokens) {
  TokenLoader loader(counting_dataset(1000), {.samples = {.length = 7, .seed = 3}, .rows = 4});
  for (int i = 0; i < 100; ++i) {
    const TokenBatch batch = loader.next();
    ASSERT_EQ(batch.rows, 4);
    ASSERT_EQ(batch.length, 7);
    ASSERT_EQ(batch.first_sample, 4 * i);
    ASSERT_TRUE(batch.cu_seqlens.empty());
    for (size_t row = 0; row < 4; ++row) {
      EXPECT_EQ(batch.inputs[row * 7] % 7, 0);
      for (size_t t = row * 7; t < row * 7 + 7; ++t) {
        EXPECT_EQ(batch.targets[t], batch.inputs[t] + 1);
        if (t > row * 7) {
          EXPECT_EQ(batch.inputs[t], batch.targets[t - 1]);
        }
      }
    }
  }
}

TEST(TokenLoader, AnEpochHoldsEachChunkOnceAndShufflesAnew) {
  // 1 + 16 * 61 + 5: a remainder of five tokens is left out.
  const TokenLoader loader(counting_dataset(982),
                           {.samples = {.length = 16, .seed = 9}, .rows = 61});
  ASSERT_EQ(loader.samples_per_epoch(), 61);
  std::vector<std::vector<int64_t>> orders;
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    const TokenBatch batch = loader.read(epoch * 61);
    EXPECT_EQ(batch.epoch, epoch);
    std::vector<int64_t> inputs = batch.inputs;
    orders.push_back(inputs);
    std::sort(inputs.begin(), inputs.end());
    std::vector<int64_t> expected(61 * 16);
    std::iota(expected.begin(), expected.end(), 0);
    EXPECT_EQ(inputs, expected);
  }
  EXPECT_NE(orders[0], orders[1]);
  EXPECT_NE(orders[1], orders[2]);
}

TEST(TokenLoader, WithoutShuffleGivesTheDataInOrder) {
  TokenLoader loader(counting_dataset(41),
                     {.samples = {.length = 10, .shuffle = false}, .rows = 3});
  EXPECT_THAT(std::vector<int64_t>(
                  {loader.next().inputs[0], loader.next().inputs[0], loader.next().inputs[0]}),
              ElementsAre(0, 30, 20));
}

TEST(TokenLoader, ASampleDependsOnSeedAndItsNumberOnly) {
  const auto data = counting_dataset(5000);
  const LoaderOptions options{.samples = {.length = 8, .seed = 1}, .rows = 4};
  TokenLoader loader(data, options);
  TokenLoader other(data, {.samples = {.length = 8, .seed = 1}, .rows = 12, .prefetch = 0});
  for (int i = 0; i < 60; ++i) {
    const TokenBatch twelve = other.next();
    for (size_t part = 0; part < 3; ++part) {
      const TokenBatch four = loader.next();
      EXPECT_EQ(four.inputs, std::vector<int64_t>(twelve.inputs.begin() + part * 32,
                                                  twelve.inputs.begin() + (part + 1) * 32));
      expect_equal(four, loader.read(four.first_sample));
    }
  }
  TokenLoader seeded(data, {.samples = {.length = 8, .seed = 2}, .rows = 4});
  EXPECT_NE(seeded.next().inputs, loader.read(0).inputs);
}

// Every way to share a step of 8 batches among ranks gives the same 8 batches.
TEST(TokenLoader, RanksShareTheBatchesOfAStep) {
  const auto data = counting_dataset(3000);
  TokenLoader alone(data, {.samples = {.length = 8}, .rows = 2, .micro_batches = 8});
  std::map<int64_t, TokenBatch> expected;
  for (int i = 0; i < 24; ++i) {
    TokenBatch batch = alone.next();
    expected[batch.first_sample] = std::move(batch);
  }
  for (const int64_t ranks : {1, 2, 4, 8}) {
    std::map<int64_t, TokenBatch> shared;
    for (int64_t rank = 0; rank < ranks; ++rank) {
      TokenLoader loader(data, {.samples = {.length = 8},
                                .rows = 2,
                                .rank = rank,
                                .ranks = ranks,
                                .micro_batches = 8 / ranks});
      EXPECT_EQ(loader.samples_per_step(), 16);
      for (int64_t i = 0; i < 24 / ranks; ++i) {
        TokenBatch batch = loader.next();
        shared[batch.first_sample] = std::move(batch);
      }
      EXPECT_EQ(loader.position(), alone.position());
    }
    ASSERT_EQ(shared.size(), 24u);
    for (const auto& [sample, batch] : shared) expect_equal(batch, expected.at(sample));
  }
}

// Of two runs of four batches, two ranks each take every other one.
TEST(TokenLoader, RanksTakeTurns) {
  const auto data = counting_dataset(3000);
  const std::vector<std::vector<int64_t>> firsts = {{0, 4}, {2, 6}, {8, 12}, {10, 14}};
  for (int64_t rank = 0; rank < 4; ++rank) {
    TokenLoader loader(data, {.samples = {.length = 8},
                              .rows = 2,
                              .rank = rank,
                              .ranks = 4,
                              .micro_batches = 2,
                              .turns = 2});
    for (int64_t step = 0; step < 3; ++step) {
      for (const int64_t first : firsts[rank])
        EXPECT_EQ(loader.next().first_sample, 16 * step + first) << rank;
    }
  }
}

TEST(TokenLoader, RestoresTheExactNextBatch) {
  const auto data = counting_dataset(700);
  for (const bool pack : {false, true}) {
    for (const int64_t prefetch : {0, 1, 5}) {
      const LoaderOptions options{
          .samples = {.length = 8, .seed = 4, .pack_documents = pack, .documents = {.eos = 300}},
          .rows = 3,
          .rank = 1,
          .ranks = 2,
          .micro_batches = 2,
          .prefetch = prefetch};
      TokenLoader whole(data, options);
      for (int taken = 0; taken < 70; ++taken) {
        const std::string saved = to_json(whole.position());
        const TokenBatch batch = whole.next();
        TokenLoader resumed(data, options);
        if (taken % 3 == 0) resumed.next();
        resumed.restore(parse_loader_position(saved));
        expect_equal(resumed.next(), batch);
        EXPECT_EQ(resumed.position(), whole.position());
      }
    }
  }
}

TEST(TokenLoader, RestoresOnOtherRanksBetweenSteps) {
  const auto data = counting_dataset(3000);
  TokenLoader alone(data, {.samples = {.length = 8}, .rows = 2, .micro_batches = 4});
  for (int i = 0; i < 12; ++i) alone.next();
  TokenLoader half(
      data, {.samples = {.length = 8}, .rows = 2, .rank = 1, .ranks = 2, .micro_batches = 2});
  half.restore(alone.position());
  EXPECT_EQ(half.next().first_sample, 24 + 4);
  alone.next();
  expect_error(ErrorKind::Config, "behind 1 batches of a step, but the loader's steps have 1", [&] {
    TokenLoader(data, {.samples = {.length = 8}, .rows = 8}).restore(alone.position());
  });
  expect_error(ErrorKind::Config, "saved with samples_per_step 8, but the loader has 6", [&] {
    TokenLoader(data, {.samples = {.length = 8}, .rows = 2, .micro_batches = 3})
        .restore(alone.position());
  });
}

// Within a step the batches that were taken are no others' only if the step is shared out as it
// was.
TEST(TokenLoader, RefusesAnotherShareWithinAStep) {
  const auto data = counting_dataset(3000);
  TokenLoader alone(data, {.samples = {.length = 8}, .rows = 2, .micro_batches = 4});
  alone.next();
  const auto refuses = [&](const LoaderOptions& options, const char* message) {
    TokenLoader loader(data, options);
    expect_error(ErrorKind::Config, message, [&] { loader.restore(alone.position()); });
    LoaderPosition old = alone.position();
    old.place.rows = old.place.ranks = old.place.turns = 0;  // as older versions saved it
    EXPECT_NO_THROW(loader.restore(old));
  };
  refuses({.samples = {.length = 8}, .rows = 4, .micro_batches = 2},
          "saved within a step with rows 2, but the loader has 4");
  refuses({.samples = {.length = 8}, .rows = 2, .ranks = 2, .micro_batches = 2},
          "saved within a step with ranks 1, but the loader has 2");
  TokenLoader in_order(data, {.samples = {.length = 8}, .rows = 2, .ranks = 2, .micro_batches = 2});
  in_order.next();
  TokenLoader in_turns(
      data, {.samples = {.length = 8}, .rows = 2, .ranks = 2, .micro_batches = 2, .turns = 2});
  expect_error(ErrorKind::Config, "saved within a step with turns 1, but the loader has 2",
               [&] { in_turns.restore(in_order.position()); });
}

TEST(TokenLoader, RefusesAPositionOfOtherDataOrOptions) {
  const auto data = counting_dataset(700);
  const LoaderOptions options{.samples = {.length = 8, .seed = 4}, .rows = 3};
  TokenLoader loader(data, options);
  const LoaderPosition saved = loader.position();
  const auto refuses = [&](const std::string& message, LoaderPosition position) {
    loader.next();
    const LoaderPosition before = loader.position();
    expect_error(ErrorKind::Config, message, [&] { loader.restore(position); });
    EXPECT_EQ(loader.position(), before);
  };
  LoaderPosition position = saved;
  position.fingerprint ^= 1;
  refuses("saved on another data set", position);
  position = saved;
  position.seed = 5;
  refuses("saved with seed 5, but the loader has 4", position);
  position = saved;
  position.length = 16;
  refuses("saved with length 16, but the loader has 8", position);
  position = saved;
  position.pack_documents = true;
  refuses("saved with pack_documents 1", position);
  position = saved;
  position.shuffle = false;
  refuses("saved with shuffle 0", position);
  position = saved;
  position.epoch = 7;
  refuses("saved with epoch 7, but the loader has 0", position);
  position = saved;
  position.place.sample = -3;
  refuses("saved behind 0 batches", position);
  TokenLoader other(counting_dataset(701), options);
  expect_error(ErrorKind::Config, "another data set", [&] { other.restore(saved); });
  const SampleOptions packed{
      .length = 8, .seed = 4, .pack_documents = true, .documents = {.eos = 100}};
  SampleOptions repacked = packed;
  repacked.documents.eos = 101;
  TokenLoader first(data, {.samples = packed}), second(data, {.samples = repacked});
  expect_error(ErrorKind::Config, "other documents in it",
               [&] { second.restore(first.position()); });
}

TEST(LoaderPosition, SurvivesJson) {
  const LoaderPosition position{.epoch = 3,
                                .place = {.sample = INT64_MAX,
                                          .micro_batch = 2,
                                          .samples_per_step = 64,
                                          .rows = 8,
                                          .ranks = 4,
                                          .turns = 2},
                                .seed = UINT64_MAX,
                                .length = 1024,
                                .shuffle = false,
                                .pack_documents = true,
                                .fingerprint = 0xFEDCBA9876543210u};
  EXPECT_EQ(parse_loader_position(to_json(position)), position);
  EXPECT_EQ(parse_loader_position(to_json(LoaderPosition{})), LoaderPosition{});
  std::string old = to_json(position);
  for (const std::string field : {"\"rows\":8,", "\"ranks\":4,", ",\"turns\":2"})
    old.erase(old.find(field), field.size());
  EXPECT_EQ(parse_loader_position(old).place.rows, 0);
  EXPECT_EQ(parse_loader_position(old).place.samples_per_step, 64);
  const std::pair<std::string, std::string> damages[] = {
      {"\"epoch\":3", "\"epoch\":-3"},
      {"\"epoch\":3", "\"epoch\":3.5"},
      {"\"epoch\":3", "\"epoch\":9223372036854775808"},
      {"\"epoch\":3,", ""},
      {"\"shuffle\":false", "\"shuffle\":0"},
      {"fedcba9876543210", "fedcba9876543210f"},
      {"fedcba9876543210", "xyz"},
      {"fedcba9876543210", ""},
      {"{", "["}};
  for (const auto& [from, to] : damages) {
    std::string json = to_json(position);
    json.replace(json.find(from), from.size(), to);
    expect_error(ErrorKind::Format, "loader position: ", [&] { parse_loader_position(json); });
  }
}

TEST(TokenLoader, PacksDocumentsWithTheirBoundaries) {
  // Documents end in 9: of 4, 3, 12 and 2 tokens.
  const auto data =
      dataset_of({{1, 2, 3, 9, 4, 5, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 9, 6, 9}});
  TokenLoader loader(data, {.samples = {.length = 8,
                                        .shuffle = false,
                                        .pack_documents = true,
                                        .documents = {.eos = 9},
                                        .pad_id = 99},
                            .rows = 3});
  ASSERT_EQ(loader.samples_per_epoch(), 3);
  const TokenBatch batch = loader.next();
  constexpr int64_t kNone = kIgnoredTarget;
  EXPECT_THAT(batch.inputs, ElementsAre(1, 2, 3, 9, 4, 5, 9, 99,         //
                                        10, 11, 12, 13, 14, 15, 16, 17,  //
                                        18, 19, 20, 9, 6, 9, 99, 99));
  EXPECT_THAT(batch.targets, ElementsAre(2, 3, 9, kNone, 5, 9, kNone, kNone,  //
                                         11, 12, 13, 14, 15, 16, 17, 18,      //
                                         19, 20, 9, kNone, 9, kNone, kNone, kNone));
  EXPECT_THAT(batch.cu_seqlens, ElementsAre(0, 4, 7, 8, 16, 20, 22, 24));
}

TEST(TokenLoader, PackedEpochsHoldEachDocumentOnce) {
  std::vector<int32_t> tokens;
  for (int32_t d = 1; d <= 200; ++d) {
    for (int32_t i = 0; i < d % 23; ++i) tokens.push_back(1000 * d + i);
    tokens.push_back(0);
  }
  const auto data = dataset_of({tokens});
  const TokenLoader loader(data, {.samples = {.length = 32,
                                              .seed = 5,
                                              .pack_documents = true,
                                              .documents = {.eos = 0},
                                              .pad_id = 7},
                                  .rows = 1});
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    std::map<int64_t, int64_t> pairs;
    for (int64_t s = 0; s < loader.samples_per_epoch(); ++s) {
      const TokenBatch batch = loader.read(epoch * loader.samples_per_epoch() + s);
      EXPECT_EQ(batch.cu_seqlens.front(), 0);
      EXPECT_EQ(batch.cu_seqlens.back(), 32);
      for (size_t t = 0; t < 32; ++t) {
        if (batch.targets[t] == kIgnoredTarget) continue;
        EXPECT_TRUE(pairs.emplace(batch.inputs[t], batch.targets[t]).second);
      }
    }
    size_t expected = 0;
    for (size_t i = 0; i + 1 < tokens.size(); ++i) {
      if (tokens[i] == 0) continue;
      ++expected;
      EXPECT_EQ(pairs.at(tokens[i]), tokens[i + 1]);
    }
    EXPECT_EQ(pairs.size(), expected);
  }
}

TEST(TokenLoader, RefusesOptionsThatMakeNoSense) {
  const auto data = counting_dataset(100);
  const std::pair<LoaderOptions, std::string> cases[] = {
      {{.samples = {.length = 0}}, "length is 0"},
      {{.samples = {.length = 100}},
       "the data set has 100 tokens, expected at least 101 for one sample of length 100"},
      {{.samples = {.length = 1, .pack_documents = true}}, "expected at least 2 to pack documents"},
      {{.samples = {.length = 8, .pack_documents = true, .documents = {.eos = -4}}},
       "end-of-document token is -4"},
      {{.samples = {.length = 8}, .rows = 0}, "rows is 0, expected at least 1"},
      {{.samples = {.length = 8}, .rank = 2, .ranks = 2}, "rank is 2, expected 0 to 1"},
      {{.samples = {.length = 8}, .ranks = 0}, "ranks is 0"},
      {{.samples = {.length = 8}, .micro_batches = 0}, "micro_batches is 0"},
      {{.samples = {.length = 8}, .ranks = 4, .turns = 3},
       "turns is 3, expected a divisor of ranks (4)"},
      {{.samples = {.length = 8}, .prefetch = -1}, "prefetch is -1"},
  };
  for (const auto& [options, message] : cases) {
    expect_error(ErrorKind::Argument, message,
                 [&, &chosen = options] { TokenLoader(data, chosen); });
  }
  EXPECT_EQ(TokenLoader(data, {.samples = {.length = 99}}).samples_per_epoch(), 1);
}

TEST(ValidationLoader, GivesEachSampleOnceInOrder) {
  const ValidationLoader loader(counting_dataset(101), {.length = 10, .seed = 8}, 4);
  ASSERT_EQ(loader.batches(), 3);
  int64_t next = 0;
  for (int64_t i = 0; i < 3; ++i) {
    const TokenBatch batch = loader.batch(i);
    EXPECT_EQ(batch.rows, i == 2 ? 2 : 4);
    for (const int64_t input : batch.inputs) EXPECT_EQ(input, next++);
  }
  EXPECT_EQ(next, 100);
  expect_error(ErrorKind::Argument, "asked for batch 3 of 3", [&] { loader.batch(3); });
  expect_error(ErrorKind::Argument, "rows is 0",
               [] { ValidationLoader(counting_dataset(101), {.length = 10}, 0); });
}

TEST(Prefetcher, GivesItemsInOrderAndStopsAnywhere) {
  for (int taken = 0; taken < 20; ++taken) {
    Prefetcher<int64_t> prefetcher(5, 3, [](int64_t i) { return i * i; });
    for (int64_t i = 5; i < 5 + taken; ++i) EXPECT_EQ(prefetcher.next(), i * i);
  }
}

TEST(Prefetcher, MakesNoMoreThanItsDepthAhead) {
  std::atomic<int64_t> made = 0;
  Prefetcher<int64_t> prefetcher(0, 3, [&](int64_t i) {
    ++made;
    return i;
  });
  for (int64_t i = 0; i < 50; ++i) {
    EXPECT_EQ(prefetcher.next(), i);
    EXPECT_LE(made, i + 1 + 3 + 1);
  }
}

TEST(Prefetcher, CarriesTheExceptionBehindTheItemsBeforeIt) {
  Prefetcher<int64_t> prefetcher(0, 4, [](int64_t i) {
    check(i < 3, ErrorKind::Io, "shard", "cannot be read");
    return i;
  });
  for (int64_t i = 0; i < 3; ++i) EXPECT_EQ(prefetcher.next(), i);
  for (int i = 0; i < 2; ++i)
    expect_error(ErrorKind::Io, "shard: cannot be read", [&] { prefetcher.next(); });
}

}  // namespace
}  // namespace plinth
