#include "data/tokenizer/bpe.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "data/tokenizer/bpe_trainer.h"
#include "tests/core/io/expect_error.h"
#include "tests/data/tokenizer_text.h"

namespace plinth {
namespace {

using Ids = std::vector<int32_t>;
using Pairs = std::vector<std::pair<int32_t, int32_t>>;

// Byte b has id b; merge i makes id 256 + i.
Bpe::Spec spec_of(Pairs merges) {
  Bpe::Spec spec;
  for (size_t b = 0; b < 256; ++b) spec.byte_ids[b] = static_cast<int32_t>(b);
  for (size_t i = 0; i < merges.size(); ++i)
    spec.merged_ids.push_back(256 + static_cast<int32_t>(i));
  spec.merges = std::move(merges);
  return spec;
}

Ids encode(const Bpe& bpe, std::string_view word, BpeScratch& scratch) {
  Ids ids;
  bpe.encode(word, scratch, ids);
  return ids;
}

// The definition, as it reads.
Ids encode_plainly(const Bpe::Spec& spec, std::string_view word) {
  Ids ids;
  for (const char c : word) ids.push_back(static_cast<uint8_t>(c));
  while (true) {
    size_t best = SIZE_MAX;
    size_t best_rank = SIZE_MAX;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto found =
          std::find(spec.merges.begin(), spec.merges.end(), std::pair(ids[i], ids[i + 1]));
      const auto rank = static_cast<size_t>(found - spec.merges.begin());
      if (found != spec.merges.end() && rank < best_rank) {
        best = i;
        best_rank = rank;
      }
    }
    if (best == SIZE_MAX) return ids;
    ids[best] = spec.merged_ids[best_rank];
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}

TEST(Bpe, JoinsTheFirstLearnedPairThenTheLeftmost) {
  const Bpe bpe(spec_of({{'b', 'c'}, {'a', 'a'}, {'a', 256}, {257, 'a'}}));
  BpeScratch scratch;
  EXPECT_EQ(encode(bpe, "abc", scratch), (Ids{258}));
  EXPECT_EQ(encode(bpe, "aaa", scratch), (Ids{259}));
  EXPECT_EQ(encode(bpe, "aabc", scratch), (Ids{257, 256}));
  EXPECT_EQ(encode(bpe, "", scratch), (Ids{}));
  EXPECT_EQ(encode(bpe, "x", scratch), (Ids{'x'}));
}

// Short words take a scan, words of 49 bytes and more a heap, and those of up to 128 a cache: all
// must agree with the definition.
TEST(Bpe, AgreesWithTheDefinitionAtEveryLength) {
  testing::SplitMix64 random(11);
  for (int round = 0; round < 20; ++round) {
    Pairs merges;
    while (merges.size() < 40) {
      const auto ids = 3 + merges.size();
      const auto symbol = [&] {
        const auto pick = static_cast<int32_t>(random.below(ids));
        return pick < 3 ? 'a' + pick : 253 + pick;
      };
      const std::pair<int32_t, int32_t> pair(symbol(), symbol());
      if (std::find(merges.begin(), merges.end(), pair) == merges.end()) merges.push_back(pair);
    }
    const Bpe::Spec spec = spec_of(merges);
    const Bpe bpe(spec);
    BpeScratch scratch;
    for (const size_t size : {1, 2, 3, 7, 47, 48, 49, 50, 127, 128, 129, 300}) {
      std::string word;
      for (size_t i = 0; i < size; ++i) word.push_back(static_cast<char>('a' + random.below(3)));
      const Ids expected = encode_plainly(spec, word);
      EXPECT_EQ(encode(bpe, word, scratch), expected) << word;
      EXPECT_EQ(encode(bpe, word, scratch), expected) << word << ", seen before";
    }
  }
}

TEST(Bpe, AMegabyteInOneWordIsNotQuadratic) {
  const Bpe bpe(spec_of({{'a', 'a'}, {256, 256}, {257, 257}, {'a', 'b'}}));
  BpeScratch scratch;
  EXPECT_EQ(encode(bpe, std::string(size_t{1} << 20, 'a'), scratch).size(), size_t{1} << 17);
}

TEST(Bpe, ALaterMergeOfAPairReplacesTheEarlier) {
  Bpe::Spec spec = spec_of({{'a', 'b'}, {'b', 'c'}, {'a', 'b'}});
  spec.merged_ids[2] = 256;
  BpeScratch scratch;
  EXPECT_EQ(encode(Bpe(spec), "abc", scratch), (Ids{'a', 257}));
}

TEST(Bpe, WholeWordsComeFirst) {
  Bpe::Spec spec = spec_of({{'a', 'b'}});
  spec.whole_words = {{"abc", 300}};
  BpeScratch scratch;
  EXPECT_EQ(encode(Bpe(spec), "abc", scratch), (Ids{300}));
  EXPECT_EQ(encode(Bpe(spec), "abcd", scratch), (Ids{256, 'c', 'd'}));
}

TEST(Bpe, NamesTheByteThatTheVocabularyLacks) {
  Bpe::Spec spec = spec_of({});
  spec.byte_ids[0xE9] = -1;
  BpeScratch scratch;
  expect_error(ErrorKind::Format, "no token for byte 233",
               [&] { encode(Bpe(spec), "caf\xE9", scratch); });
}

TEST(WordCache, ForgetsWhenFullAndStaysRight) {
  WordCache cache;
  for (int32_t i = 0; i < 100'000; ++i) {
    const Ids ids = {i, i + 1};
    cache.insert("word" + std::to_string(i), ids);
    Ids found;
    ASSERT_TRUE(cache.find("word" + std::to_string(i), found));
    ASSERT_EQ(found, ids);
  }
  Ids found;
  EXPECT_FALSE(cache.find("word0", found));
  EXPECT_FALSE(cache.find("other", found));
}

TEST(TrainBpe, MergesTheMostFrequentPairThenTheLowestIds) {
  const std::vector<std::pair<std::string, int64_t>> words = {
      {"ab", 5}, {"cd", 5}, {"abc", 1}, {"xyxy", 2}};
  const BpeVocabulary learned = train_bpe(words, std::vector<std::string>{"<s>"}, 260, 2);
  ASSERT_EQ(learned.spellings.size(), 260u);
  EXPECT_EQ(learned.spellings[0], "<s>");
  EXPECT_EQ(learned.spellings[1], "!");
  EXPECT_EQ(learned.spellings[257], "ab");  // 6 times
  EXPECT_EQ(learned.spellings[258], "cd");  // 5 times
  EXPECT_EQ(learned.spellings[259], "xy");  // 4 times
  EXPECT_EQ(learned.merges[0], (std::pair<int32_t, int32_t>('a' - '!' + 1, 'b' - '!' + 1)));
}

TEST(TrainBpe, StopsAtTheLeastFrequency) {
  const std::vector<std::pair<std::string, int64_t>> words = {{"ab", 3}, {"cd", 2}};
  EXPECT_EQ(train_bpe(words, {}, 1000, 3).merges.size(), 1u);
  EXPECT_EQ(train_bpe(words, {}, 1000, 2).merges.size(), 2u);
  EXPECT_EQ(train_bpe(words, {}, 1000, 4).merges.size(), 0u);
  EXPECT_EQ(train_bpe({}, {}, 1000, 0).spellings.size(), 256u);
}

// Counts beyond 32 bits.
TEST(TrainBpe, CountsBillions) {
  const std::vector<std::pair<std::string, int64_t>> words = {{"ab", int64_t{3} << 31}, {"cd", 5}};
  EXPECT_EQ(train_bpe(words, {}, 257, 2).spellings[256], "ab");
}

// The example of Hugging Face's course, chapter 6, on byte pair encoding.
TEST(TrainWordPieces, JoinsCharactersAndKeepsThePrefixOnce) {
  const std::vector<std::pair<std::string, int64_t>> words = {
      {"hug", 10}, {"pug", 5}, {"pun", 12}, {"bun", 4}, {"hugs", 5}};
  const std::vector<std::string> special = {"[UNK]"};
  EXPECT_EQ(train_word_pieces(words, special, "##", 100, 6),
            (std::vector<std::string>{"[UNK]", "b", "g", "h", "n", "p", "s", "u", "##g", "##n",
                                      "##s", "##u", "##ug", "##un", "hug", "pun"}));
  EXPECT_EQ(train_word_pieces(words, special, "##", 13, 1).back(), "##ug");
}

TEST(TrainWordPieces, TakesCharactersOfSeveralBytesWhole) {
  const std::vector<std::pair<std::string, int64_t>> words = {{"\u00e9t\u00e9", 2}, {"\u4e2d", 9}};
  EXPECT_EQ(train_word_pieces(words, {}, "##", 100, 2),
            (std::vector<std::string>{"t", "\u00e9", "\u4e2d", "##t", "##\u00e9", "\u00e9t",
                                      "\u00e9t\u00e9"}));
}

}  // namespace
}  // namespace plinth
