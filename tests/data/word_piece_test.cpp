// BERT's tokenizer, against Hugging Face's, through fixtures/make_word_piece_fixtures.py.
// scripts/check_tokenizer_parity.py compares the two on every code point.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/io/file.h"
#include "data/tokenizer/tokenizer.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"
#include "tests/data/tokenizer_text.h"

namespace plinth {
namespace {

using nlohmann::json;
using Ids = std::vector<int32_t>;

json word_piece_json() {
  return json::parse(testing::read_fixture("tokenizer/word_piece.json"));
}

const json& word_piece_cases() {
  static const json parsed = json::parse(testing::read_fixture("tokenizer/word_piece_cases.json"));
  return parsed;
}

Tokenizer variant(const json& one) {
  json file = word_piece_json();
  file["normalizer"].update(one["normalizer"]);
  return Tokenizer::parse(file.dump());
}

TEST(WordPiece, TellsWhichTokensGoOnWithAWord) {
  const TemporaryDirectory here;
  write_file_atomically(here / "vocab.txt",
                        "[UNK]\n[CLS]\n[SEP]\n##\n##ing\nplay\n\u4e2d\n##\u4e2d\n##,\n");
  const Tokenizer tokenizer = Tokenizer::load(here.path());
  EXPECT_THAT(tokenizer.word_continuations(),
              ::testing::ElementsAre(false, false, false, false, true, false, false, false, true));
  const std::string_view text = "ab ab";
  EXPECT_TRUE(
      Tokenizer::train(std::span(&text, 1), {.vocab_size = 258}).word_continuations().empty());
}

TEST(WordPiece, EncodesEveryBlockAsHuggingFace) {
  for (const json& one : word_piece_cases()) {
    SCOPED_TRACE(one["name"].get<std::string>());
    const auto encoded = variant(one).encode_batch(testing::views_of(testing::tokenizer_text()));
    ASSERT_EQ(encoded.size(), one["blocks"].size());
    for (size_t i = 0; i < encoded.size(); ++i) {
      EXPECT_EQ(encoded[i].size(), one["blocks"][i][0].get<size_t>()) << "block " << i;
      EXPECT_EQ(testing::hash_of(encoded[i]), one["blocks"][i][1].get<uint64_t>()) << "block " << i;
    }
  }
}

TEST(WordPiece, PassesOverLengthsThatAFileCutsAndFillsTextsTo) {
  json file = word_piece_json();
  file["truncation"] = {{"max_length", 3}, {"strategy", "LongestFirst"}, {"stride", 0}};
  file["padding"] = {{"strategy", {{"Fixed", 128}}}, {"pad_id", 0}};
  const std::string text = "the house by the river";
  EXPECT_EQ(Tokenizer::parse(file.dump()).encode(text),
            Tokenizer::parse(word_piece_json().dump()).encode(text));
}

TEST(WordPiece, EncodesAndDecodesEachVariantAsHuggingFace) {
  for (const json& one : word_piece_cases()) {
    const Tokenizer tokenizer = variant(one);
    const Tokenizer saved_and_read = Tokenizer::parse(tokenizer.to_json());
    for (const json& row : one["rows"]) {
      SCOPED_TRACE(one["name"].get<std::string>() + " on " + row[0].dump());
      const auto text = row[0].get<std::string>();
      for (const Tokenizer* each : {&tokenizer, &saved_and_read}) {
        const Ids ids = each->encode(text, {.allow_special = true, .add_special = true});
        EXPECT_EQ(ids, row[1].get<Ids>());
        EXPECT_EQ(each->encode(text), row[2].get<Ids>());
        EXPECT_EQ(each->decode(ids), row[3].get<std::string>());
      }
    }
  }
}

TEST(WordPiece, AStreamDecodesToTheSameText) {
  const Tokenizer tokenizer = Tokenizer::parse(word_piece_json().dump());
  const Ids ids = tokenizer.encode("Hello, wonderful world!");
  StreamDecoder decoder(tokenizer);
  std::string text;
  for (const int32_t id : ids) text += decoder.push(id);
  EXPECT_EQ(text + decoder.finish(), tokenizer.decode(ids));
  EXPECT_FALSE(tokenizer.is_byte_level());
}

// All threads encode parts of a long text, which end between words.
TEST(WordPiece, ALongTextIsEncodedAsItsParts) {
  const Tokenizer tokenizer = Tokenizer::parse(word_piece_json().dump());
  std::string text;
  Ids expected;
  for (const std::string& block : testing::tokenizer_text()) {
    text += block + " ";
    const Ids ids = tokenizer.encode(block);
    expected.insert(expected.end(), ids.begin(), ids.end());
  }
  ASSERT_GT(text.size(), size_t{1} << 20);
  EXPECT_EQ(tokenizer.encode(text), expected);
}

// vocab.txt, as it lies beside BERT's checkpoints, with a token a line.
void write_vocabulary(const std::filesystem::path& folder, const std::string& config = "") {
  const json file = word_piece_json();
  std::vector<std::string> tokens(file["model"]["vocab"].size());
  for (const auto& [token, id] : file["model"]["vocab"].items()) tokens[id.get<size_t>()] = token;
  std::string text;
  for (const std::string& token : tokens) text += token + "\n";
  write_file_atomically(folder / "vocab.txt", text);
  if (!config.empty()) write_file_atomically(folder / "tokenizer_config.json", config);
}

TEST(WordPiece, ReadsAVocabularyOfLines) {
  const auto expect_variant = [](size_t index, const std::string& config) {
    const TemporaryDirectory folder;
    write_vocabulary(folder.path(), config);
    const Tokenizer tokenizer = Tokenizer::load(folder.path());
    for (const json& row : word_piece_cases()[index]["rows"]) {
      const auto text = row[0].get<std::string>();
      EXPECT_EQ(tokenizer.encode(text, {.allow_special = true, .add_special = true}),
                row[1].get<Ids>())
          << row[0].dump();
    }
  };
  expect_variant(0, "");
  expect_variant(1, R"({"do_lower_case": false})");
  expect_variant(2, R"({"do_lower_case": false, "strip_accents": true})");
}

TEST(WordPiece, SavesWhatOthersRead) {
  const TemporaryDirectory folder, copy;
  write_vocabulary(folder.path());
  Tokenizer::load(folder.path()).save(copy.path());
  const json roles = json::parse(read_text_file(copy / "tokenizer_config.json"));
  EXPECT_EQ(roles["mask_token"], "[MASK]");
  EXPECT_EQ(roles["cls_token"], "[CLS]");
  EXPECT_EQ(roles["sep_token"], "[SEP]");
  EXPECT_EQ(roles["pad_token"], "[PAD]");
  const Tokenizer again = Tokenizer::load(copy.path());
  EXPECT_EQ(again.eos_id(), again.id("[SEP]"));
  EXPECT_EQ(again.encode("Hello", {.allow_special = false, .add_special = true}),
            Tokenizer::load(folder.path()).encode("Hello", {.add_special = true}));
}

TEST(WordPiece, RefusesByNameWhatItWouldDoDifferently) {
  const auto refused = [](const std::function<void(json&)>& edit, const char* message) {
    json file = word_piece_json();
    edit(file);
    expect_error(ErrorKind::Format, message, [&] { Tokenizer::parse(file.dump(), "t.json"); });
  };
  refused([](json& file) { file["normalizer"] = nullptr; },
          "normalizer of a WordPiece model is 'null'");
  refused(
      [](json& file) {
        file["normalizer"] = {{"type", "NFC"}};
      },
      "normalizer of a WordPiece model is 'NFC'");
  refused(
      [](json& file) {
        file["pre_tokenizer"] = {{"type", "Whitespace"}};
      },
      "pre_tokenizer of a WordPiece model is 'Whitespace'");
  refused([](json& file) { file["decoder"] = nullptr; }, "decoder of a WordPiece model");
  refused([](json& file) { file["decoder"]["prefix"] = "@@"; }, "decoder prefix is '@@'");
  refused([](json& file) { file["model"]["unk_token"] = "<unk>"; },
          "the vocabulary lacks the unknown token, '<unk>'");
  refused([](json& file) { file["model"]["max_input_chars_per_word"] = -1; },
          "max_input_chars_per_word is -1");
  refused([](json& file) { file["model"].erase("continuing_subword_prefix"); },
          "continuing_subword_prefix");
  refused([](json& file) { file["added_tokens"][0]["normalized"] = true; },
          "an added token that is normalized is '[PAD]'");
  const TemporaryDirectory folder;
  write_file_atomically(folder / "vocab.txt", "[UNK]\n[CLS]\nb\n");
  expect_error(ErrorKind::Format, "vocab.txt lacks [CLS] or [SEP]",
               [&] { Tokenizer::load(folder.path()); });
  write_file_atomically(folder / "vocab.txt", "[UNK]\n[CLS]\n[SEP]\nb\nb\n");
  expect_error(ErrorKind::Format, "token 'b' is given twice",
               [&] { Tokenizer::load(folder.path()); });
  write_file_atomically(folder / "vocab.txt", "[UNK]\n[CLS]\n[SEP]\n\xff\n");
  expect_error(ErrorKind::Format, "vocab.txt is not UTF-8",
               [&] { Tokenizer::load(folder.path()); });
}

// What scripts/check_tokenizer_parity.py words says of a corpus, on the fixtures' text.
TEST(WordPiece, TrainsWhatItThenReads) {
  const std::vector<std::string_view> texts = testing::views_of(testing::tokenizer_text());
  const TrainOptions options{.kind = TokenizerKind::WordPiece, .vocab_size = 9000};
  const Tokenizer trained = Tokenizer::train(texts, options);
  EXPECT_LE(trained.vocab_size(), 9000);
  EXPECT_EQ(trained.id("[PAD]"), 0);
  EXPECT_EQ(trained.id("[MASK]"), 4);
  const Tokenizer read = Tokenizer::parse(trained.to_json());
  for (const std::string_view text : texts) {
    const Ids ids = trained.encode(text);
    EXPECT_EQ(read.encode(text), ids);
    EXPECT_THAT(ids, ::testing::Not(::testing::Contains(*trained.id("[UNK]"))));
  }
}

TEST(WordPiece, TrainingKeepsCaseIfTold) {
  const std::string text = "Ros\u00e9 Ros\u00e9 rose rose";
  const TrainOptions lower{.kind = TokenizerKind::WordPiece, .vocab_size = 100};
  TrainOptions cased = lower;
  cased.lowercase = false;
  const std::string_view view = text;
  EXPECT_TRUE(Tokenizer::train(std::span(&view, 1), lower).id("rose").has_value());
  const Tokenizer tokenizer = Tokenizer::train(std::span(&view, 1), cased);
  EXPECT_TRUE(tokenizer.id("Ros\u00e9").has_value());
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
}

TEST(WordPiece, TrainingNeedsRoomForTheCharacters) {
  const std::string_view text = "abc";
  expect_error(ErrorKind::Argument, "Tokenizer::train: vocab_size is 9, expected at least 10", [&] {
    Tokenizer::train(std::span(&text, 1), {.kind = TokenizerKind::WordPiece, .vocab_size = 9});
  });
}

}  // namespace
}  // namespace plinth
