#include "data/tokenizer/pre_tokenizer.h"

#include <gtest/gtest.h>

#include "tests/data/tokenizer_text.h"

namespace plinth {
namespace {

bool same(const Piece& a, const Piece& b) {
  return a.begin == b.begin && a.end == b.end && a.prefixed == b.prefixed;
}

// A long text's pieces come from several threads' guesses; they must be those of one scan.
void expect_split_long_agrees(const PreTokenizer& pre_tokenizer, const std::string& text) {
  PieceBlock expected;
  pre_tokenizer.split(text, expected);
  PieceBlock pieces;
  pre_tokenizer.split_long(text, [&](std::span<const PieceBlock> blocks) {
    for (const PieceBlock& block : blocks) pieces.insert(pieces.end(), block.begin(), block.end());
  });
  ASSERT_EQ(pieces.size(), expected.size());
  size_t covered = 0;
  for (size_t i = 0; i < pieces.size(); ++i) {
    ASSERT_TRUE(same(pieces[i], expected[i])) << "piece " << i;
    ASSERT_EQ(pieces[i].begin, covered);
    covered = pieces[i].end;
  }
  EXPECT_EQ(covered, text.size());
}

std::string text_of_size(size_t size) {
  std::string text;
  while (text.size() < size) {
    for (const std::string& block : testing::tokenizer_text()) text += block;
  }
  return text;
}

TEST(PreTokenizer, LongTextsAreCutAsByOneScan) {
  // More than is cut at once.
  expect_split_long_agrees(PreTokenizer(PreTokenizerSpec{}, "test"), text_of_size(size_t{9} << 20));
  const std::string text = text_of_size(size_t{1} << 20);
  PreTokenizerSpec llama;
  llama.splits = {std::string(kLlama3Pattern)};
  llama.use_gpt2_pattern = false;
  PreTokenizerSpec digits;
  digits.splits = {R"(\p{N})"};
  PreTokenizerSpec prefix;
  prefix.add_prefix_space = true;
  for (const PreTokenizerSpec& spec : {llama, digits, prefix}) {
    expect_split_long_agrees(PreTokenizer(spec, "test"), text);
  }
}

TEST(PreTokenizer, LongTextsMayBeOnePieceOrNone) {
  const PreTokenizer gpt2(PreTokenizerSpec{}, "test");
  const size_t size = size_t{3} << 20;
  expect_split_long_agrees(gpt2, std::string(size, 'a'));
  expect_split_long_agrees(gpt2, std::string(size, ' ') + "x");
  expect_split_long_agrees(gpt2, std::string(size / 2, 'a') + std::string(size / 2, '1') + " b");
  expect_split_long_agrees(gpt2, "");
}

// Matches of a pattern that counts from where it stands never meet those of a wrong guess: here
// chunks of three, while the guesses begin at other remainders.
TEST(PreTokenizer, GuessesThatNeverMeetAreWalkedThrough) {
  PreTokenizerSpec spec;
  spec.splits = {R"(\p{N}{3})"};
  spec.use_gpt2_pattern = false;
  expect_split_long_agrees(PreTokenizer(spec, "test"), "x" + std::string(size_t{1} << 20, '7'));
}

TEST(PreTokenizer, PatternsSeeOnlyTheirPiece) {
  PreTokenizerSpec spec;
  spec.splits = {"b", R"(\s+(?!\S))"};
  spec.use_gpt2_pattern = false;
  PieceBlock pieces;
  PreTokenizer(spec, "test").split("a  b", pieces);
  // Behind the cut before b, both spaces stand at an end: the second pattern takes them whole.
  ASSERT_EQ(pieces.size(), 3u);
  EXPECT_EQ(pieces[1].begin, 1u);
  EXPECT_EQ(pieces[1].end, 3u);
}

}  // namespace
}  // namespace plinth
