// BERT's inputs, against transformers' tokenizers, through fixtures/make_task_fixtures.py.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "data/tasks/bert_encoder.h"
#include "tests/core/io/expect_error.h"
#include "tests/data/tokenizer_text.h"

namespace plinth {
namespace {

using nlohmann::json;
using Ids = std::vector<int32_t>;

const Tokenizer& tokenizer() {
  static const Tokenizer one = Tokenizer::parse(testing::read_fixture("tokenizer/word_piece.json"));
  return one;
}

const json& encodings(const char* kind) {
  static const json all = json::parse(testing::read_fixture("tasks/encodings.json"));
  return all[kind];
}

TEST(BertEncoder, CutsTextsAndPairsAsTransformers) {
  for (const json& one : encodings("texts")) {
    SCOPED_TRACE(one.dump());
    const BertEncoder encoder(tokenizer(), one["length"]);
    const auto first = one["first"].get<std::string>();
    const EncodedText text = one["second"].is_null()
                                 ? encoder.encode(first)
                                 : encoder.encode(first, one["second"].get<std::string>());
    EXPECT_EQ(text.ids, one["ids"].get<Ids>());
    EXPECT_EQ(text.second, one["at"].get<int64_t>());
  }
}

TEST(BertEncoder, FindsTheFirstTokenOfEachWordAsTransformers) {
  for (const json& one : encodings("words")) {
    const EncodedWords words = BertEncoder(tokenizer(), one["length"])
                                   .encode_words(one["words"].get<std::vector<std::string>>());
    EXPECT_EQ(words.ids, one["ids"].get<Ids>());
    EXPECT_EQ(words.first, one["first"].get<std::vector<int64_t>>());
  }
}

TEST(BertEncoder, CutsContextsIntoWindowsAsTransformers) {
  size_t most = 0;
  for (const json& one : encodings("windows")) {
    SCOPED_TRACE(one.dump());
    const auto windows = BertEncoder(tokenizer(), one["length"])
                             .encode_windows(one["question"].get<std::string>(),
                                             one["context"].get<std::string>(), one["stride"]);
    ASSERT_EQ(windows.size(), one["windows"].size());
    most = std::max(most, windows.size());
    for (size_t i = 0; i < windows.size(); ++i) {
      EXPECT_EQ(windows[i].ids, one["windows"][i]["ids"].get<Ids>());
      EXPECT_EQ(windows[i].second, one["windows"][i]["at"].get<int64_t>());
      std::vector<std::vector<size_t>> spans;
      for (const TokenSpan& token : windows[i].context) spans.push_back({token.begin, token.end});
      EXPECT_EQ(json(spans), one["windows"][i]["spans"]);
    }
  }
  EXPECT_GE(most, 4u);
}

TEST(BertEncoder, CutsAQuestionThatLeavesNoRoom) {
  const std::string question(200, 'q');
  const auto windows = BertEncoder(tokenizer(), 12).encode_windows(question, "a b c d", 2);
  for (const EncodedWindow& window : windows) EXPECT_LE(window.ids.size(), 12u);
  EXPECT_EQ(windows.back().context.back().end, 7u);
}

TEST(BertEncoder, SpansGoWithTheTokensOfEveryText) {
  for (const std::string& text : testing::tokenizer_text()) {
    const std::string part = text.substr(0, text.find('\n'));
    Ids ids;
    for (const TokenSpan& token : tokenizer().encode_spans(part)) {
      ids.push_back(token.id);
      ASSERT_LT(token.begin, token.end);
      ASSERT_LE(token.end, part.size());
    }
    ASSERT_EQ(ids, tokenizer().encode(part)) << part;
  }
}

TEST(BertEncoder, RefusesWhatItCannotUse) {
  expect_error(ErrorKind::Argument, "length got 4", [] { BertEncoder(tokenizer(), 4); });
  expect_error(ErrorKind::Argument, "stride got 9, takes 0 to 8",
               [] { BertEncoder(tokenizer(), 12).encode_windows("q", "c", 9); });
  const Tokenizer bytes = Tokenizer::parse(testing::read_fixture("tokenizer/gpt2.json"));
  expect_error(ErrorKind::Format, "has no [CLS]", [&] { BertEncoder(bytes, 12); });
  expect_error(ErrorKind::Argument, "has byte pairs", [&] { bytes.encode_spans("a"); });
  expect_error(ErrorKind::Argument, "is not UTF-8", [] { tokenizer().encode_spans("a\xFF"); });
}

}  // namespace
}  // namespace plinth
