#include "data/tokenizer/tokenizer.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <nlohmann/json.hpp>

#include "core/io/file.h"
#include "core/io/text.h"
#include "data/tokenizer/byte_alphabet.h"
#include "data/tokenizer/utf8.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"
#include "tests/data/tokenizer_text.h"

namespace plinth {
namespace {

using testing::read_fixture;
using testing::SplitMix64;
using testing::tokenizer_text;
using testing::views_of;
using Ids = std::vector<int32_t>;

const Tokenizer& gpt2() {
  static const Tokenizer tokenizer = Tokenizer::parse(read_fixture("tokenizer/gpt2.json"));
  return tokenizer;
}

std::string random_bytes(SplitMix64& random, size_t size) {
  std::string bytes;
  for (size_t i = 0; i < size; ++i) bytes.push_back(static_cast<char>(random.next()));
  return bytes;
}

// Text with bytes changed, dropped and cut inside characters.
std::string damaged_text(SplitMix64& random) {
  std::string text = tokenizer_text()[random.below(100)].substr(random.below(1000), 500);
  for (int i = 0; i < 20; ++i) text[random.below(text.size())] = static_cast<char>(random.next());
  return text;
}

TEST(ByteAlphabet, HasADifferentCharacterForEachByte) {
  for (int b = 0; b < 256; ++b) {
    const std::string byte(1, static_cast<char>(b));
    EXPECT_EQ(bytes_of_spelling(spell_bytes(byte)), byte);
  }
  EXPECT_EQ(spell_bytes(" a\n\x7F\xAD"), "Ġa\u010A\u0121\u0143");
  EXPECT_EQ(bytes_of_spelling("a b"), std::nullopt);
  EXPECT_EQ(bytes_of_spelling("\xFF"), std::nullopt);
}

TEST(Tokenizer, AnyBytesSurviveTheRoundTrip) {
  SplitMix64 random(1);
  for (int round = 0; round < 300; ++round) {
    const std::string bytes =
        round % 2 ? random_bytes(random, random.below(400)) : damaged_text(random);
    EXPECT_EQ(gpt2().decode(gpt2().encode(bytes)), bytes);
  }
  for (int b = 0; b < 256; ++b) {
    const std::string byte(1, static_cast<char>(b));
    EXPECT_EQ(gpt2().encode(byte).size(), 1u);
    EXPECT_EQ(gpt2().decode(gpt2().encode(byte)), byte);
  }
}

// An ill-formed part is cut as U+FFFD would be: with punctuation, not with letters.
TEST(Tokenizer, IllFormedBytesAreCutAsReplacementCharacters) {
  const Ids ids = gpt2().encode("the\x80 \xFF, the");
  Ids expected = gpt2().encode("the");
  for (const char* piece : {"\x80", " \xFF,", " the"}) {
    for (const int32_t id : gpt2().encode(piece)) expected.push_back(id);
  }
  EXPECT_EQ(ids, expected);
}

TEST(Tokenizer, ThreadsDoNotChangeTheIds) {
  SplitMix64 random(2);
  std::string text;
  while (text.size() < (size_t{3} << 19)) {
    for (const std::string& block : tokenizer_text()) text += block;
    text += "<|endoftext|>";
    text += random_bytes(random, 1000);
  }
  std::vector<std::string_view> texts = views_of(tokenizer_text());
  texts.push_back(text);
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  const auto one = gpt2().encode_batch(texts, {.allow_special = true});
  omp_set_num_threads(4);
  const auto four = gpt2().encode_batch(texts, {.allow_special = true});
  const std::string trained_by_four = Tokenizer::train(texts, {.vocab_size = 600}).to_json();
  omp_set_num_threads(1);
  const std::string trained_by_one = Tokenizer::train(texts, {.vocab_size = 600}).to_json();
  omp_set_num_threads(threads);
  EXPECT_EQ(one, four);
  EXPECT_EQ(trained_by_one, trained_by_four);
  EXPECT_EQ(gpt2().decode(one.back()), text);
}

TEST(Tokenizer, SpecialTokensAreTextUnlessAllowed) {
  const int32_t end = *gpt2().id("<|endoftext|>");
  const Ids allowed = gpt2().encode("a<|endoftext|>b", {.allow_special = true});
  EXPECT_EQ(std::count(allowed.begin(), allowed.end(), end), 1);
  const Ids text = gpt2().encode("a<|endoftext|>b");
  EXPECT_EQ(std::count(text.begin(), text.end(), end), 0);
  EXPECT_EQ(gpt2().decode(allowed), "a<|endoftext|>b");
  EXPECT_EQ(gpt2().decode(allowed, {.skip_special = true}), "ab");
  EXPECT_TRUE(gpt2().is_special(end));
  EXPECT_EQ(gpt2().eos_id(), end);
  EXPECT_EQ(gpt2().bos_id(), std::nullopt);
}

TEST(Tokenizer, KnowsItsTokens) {
  EXPECT_EQ(gpt2().vocab_size(), 1500);
  EXPECT_EQ(gpt2().token_bytes(*gpt2().id(" ")), " ");
  EXPECT_EQ(gpt2().id("no such token"), std::nullopt);
  expect_error(ErrorKind::Argument, "id 1500 is no token's; the vocabulary has ids below 1500",
               [] { gpt2().decode(Ids{1500}); });
  expect_error(ErrorKind::Argument, "id -1 is no token's", [] { gpt2().decode(Ids{-1}); });
}

TEST(Tokenizer, SavedAndLoadedItIsTheSame) {
  const TemporaryDirectory dir;
  TrainOptions options{.vocab_size = 400,
                       .special_tokens = {"<eos>", "<pad>"},
                       .pattern = std::string(kLlama3Pattern)};
  const std::string_view text = tokenizer_text()[0];
  const Tokenizer trained = Tokenizer::train(std::span(&text, 1), options);
  trained.save(dir / "a" / "b");
  for (const auto& path : {dir / "a" / "b", dir / "a" / "b" / "tokenizer.json"}) {
    const Tokenizer loaded = Tokenizer::load(path);
    EXPECT_EQ(loaded.to_json(), trained.to_json());
    EXPECT_EQ(loaded.encode(tokenizer_text()[1]), trained.encode(tokenizer_text()[1]));
    EXPECT_EQ(loaded.eos_id(), 0);
  }
}

TEST(Tokenizer, LoadsVocabularyAndMergesAsGpt2PublishedThem) {
  const TemporaryDirectory dir;
  const auto json = nlohmann::json::parse(read_fixture("tokenizer/gpt2.json"));
  std::string merges = "#version: 0.2\n";
  for (const auto& merge : json["model"]["merges"]) {
    merges += merge[0].get<std::string>() + " " + merge[1].get<std::string>() + "\r\n";
  }
  write_file_atomically(dir / "vocab.json", json["model"]["vocab"].dump());
  write_file_atomically(dir / "merges.txt", merges);
  const Tokenizer loaded = Tokenizer::load(dir.path());
  for (const std::string& block : {tokenizer_text()[3], std::string("a<|endoftext|>b")}) {
    EXPECT_EQ(loaded.encode(block, {.allow_special = true}),
              gpt2().encode(block, {.allow_special = true}));
  }
}

TEST(Tokenizer, ReadsRolesFromTheFilesBesideIt) {
  const TemporaryDirectory dir;
  write_file_atomically(dir / "tokenizer.json", read_fixture("tokenizer/llama3.json"));
  EXPECT_EQ(Tokenizer::load(dir.path()).eos_id(), 1);  // <|end_of_text|>
  write_file_atomically(dir / "special_tokens_map.json",
                        R"({"eos_token": {"content": "<pad>"}, "bos_token": "<|begin_of_text|>"})");
  EXPECT_EQ(Tokenizer::load(dir.path()).bos_id(), 0);
  EXPECT_EQ(Tokenizer::load(dir.path()).eos_id(), 1300);
  write_file_atomically(dir / "tokenizer_config.json",
                        R"({"eos_token": "<|begin_of_text|>", "pad_token": "<pad>"})");
  EXPECT_EQ(Tokenizer::load(dir.path()).eos_id(), 0);
  EXPECT_EQ(Tokenizer::load(dir.path()).pad_id(), 1300);
  EXPECT_EQ(Tokenizer::load(dir.path()).bos_id(), 0);  // which the other file names
  write_file_atomically(dir / "tokenizer_config.json", R"({"pad_token": "<|end_of_text|>"})");
  EXPECT_EQ(Tokenizer::load(dir.path()).pad_id(), 1);
  EXPECT_EQ(Tokenizer::load(dir.path()).eos_id(), 1300);
}

TEST(Tokenizer, LoadErrorsNameTheFile) {
  const TemporaryDirectory dir;
  expect_error(ErrorKind::Io,
               dir.path().string() +
                   ": no tokenizer here: expected tokenizer.json, tokenizer.model, spiece.model, "
                   "vocab.txt, or vocab.json and merges.txt",
               [&] { Tokenizer::load(dir.path()); });
  expect_error(ErrorKind::Io, "absent.json", [&] { Tokenizer::load(dir / "absent.json"); });
  write_file_atomically(dir / "vocab.json", R"({"a": 0, "b": 1})");
  write_file_atomically(dir / "merges.txt", "a b\n");
  expect_error(ErrorKind::Format, "a merge needs the token 'ab', which the vocabulary lacks",
               [&] { Tokenizer::load(dir.path()); });
  write_file_atomically(dir / "merges.txt", "ab\n");
  expect_error(ErrorKind::Format, "a merge is 'ab', expected two tokens",
               [&] { Tokenizer::load(dir.path()); });
}

// Each change makes the file ask for something that would be read differently, or that is wrong.
TEST(Tokenizer, RefusesByNameWhatItDoesNotSupport) {
  using Json = nlohmann::json;
  const Json original = Json::parse(read_fixture("tokenizer/gpt2.json"));
  const struct {
    std::string pointer;
    Json value;
    std::string message;
  } cases[] = {
      {"/model/type", "WordLevel", "model type is '\"WordLevel\"'"},
      {"/model/dropout", 0.1, "dropout is '0.1', which is not supported"},
      {"/model/end_of_word_suffix", "</w>", "normalizer beside end_of_word_suffix is"},
      {"/model/continuing_subword_prefix", "##", "continuing_subword_prefix is"},
      {"/model/ignore_merges", 1, "ignore_merges must be true or false, got number"},
      {"/model/vocab", Json::array(), "vocab must be an object, got array"},
      {"/model/vocab/a", "x", "token 'a' has id '\"x\"', expected"},
      {"/model/vocab/a", -1, "token 'a' has id '-1', expected 0 to 16777215"},
      {"/model/vocab/a", 1000000, "the id of token 'a' is too high for the number of tokens"},
      {"/model/vocab/a", 5, "has the same id as another"},
      {"/model/vocab/", 5000, "the token with id '5000' is empty"},
      {"/model/merges", "x", "merges must be an array"},
      {"/model/merges/0", Json::array({"a"}), "merge must be"},
      {"/model/merges/0", "a b c", "expected two tokens with one space between"},
      {"/model/merges/0", Json::array({"a", "zzz"}), "which the vocabulary lacks"},
      {"/normalizer", {{"type", "NFC"}}, "normalizer is 'NFC', which is not supported"},
      {"/pre_tokenizer", nullptr, "pre_tokenizer is 'null'"},
      {"/pre_tokenizer/type", "Whitespace", "pre_tokenizer is 'Whitespace'"},
      {"/pre_tokenizer/add_prefix_space", 3, "add_prefix_space must be true or false"},
      {"/pre_tokenizer",
       {{"type", "Sequence"}, {"pretokenizers", Json::array()}},
       "pre_tokenizer Sequence is empty"},
      {"/pre_tokenizer",
       {{"type", "Sequence"}, {"pretokenizers", {{{"type", "ByteLevel"}}, {{"type", "Digits"}}}}},
       "a pre_tokenizer before the last is 'ByteLevel'"},
      {"/pre_tokenizer",
       {{"type", "Sequence"},
        {"pretokenizers",
         {{{"type", "Split"}, {"behavior", "Removed"}, {"pattern", {{"Regex", "a"}}}},
          {{"type", "ByteLevel"}}}}},
       "pre_tokenizer Split behavior is 'Removed'"},
      {"/pre_tokenizer",
       {{"type", "Sequence"},
        {"pretokenizers",
         {{{"type", "Split"}, {"behavior", "Isolated"}, {"pattern", {{"Regex", "\\w"}}}},
          {{"type", "ByteLevel"}}}}},
       "pattern has \\w"},
      {"/decoder/type", "Metaspace", "decoder is 'Metaspace'"},
      {"/post_processor", {{"type", "Other"}}, "post_processor is 'Other'"},
      {"/post_processor",
       {{"type", "TemplateProcessing"}, {"single", Json::array()}},
       "post_processor drops the text"},
      {"/added_tokens/0/id", 7,
       "added token '<|endoftext|>' has id 7, expected 0 (its id in the vocabulary)"},
      {"/added_tokens/0/content", "new", "expected 1500 (the next free one)"},
      {"/added_tokens/0/content", "", "an added token is empty"},
      {"/added_tokens", 3, "added_tokens must be an array"},
      {"/model", nullptr, "has no field 'model'"},
  };
  for (const auto& c : cases) {
    Json json = original;
    json[Json::json_pointer(c.pointer)] = c.value;
    expect_error(ErrorKind::Format,
                 "some.json: ", [&] { Tokenizer::parse(json.dump(), "some.json"); });
    expect_error(ErrorKind::Format, c.message, [&] { Tokenizer::parse(json.dump(), "some.json"); });
  }
  expect_error(ErrorKind::Format, "some.json: ", [] { Tokenizer::parse("{", "some.json"); });
  expect_error(ErrorKind::Format, "some.json: ", [] { Tokenizer::parse("[]", "some.json"); });
}

// Whatever is done to a file, it is read or refused with Error.
TEST(Tokenizer, AnyChangeOfAFileIsReadOrRefused) {
  const std::string_view text = "ab ab abc abc";
  const std::string original = Tokenizer::train(std::span(&text, 1), {.vocab_size = 270}).to_json();
  SplitMix64 random(5);
  int refused = 0;
  for (int round = 0; round < 400; ++round) {
    std::string json = original;
    for (uint64_t i = 0; i <= random.below(2); ++i) {
      const size_t at = random.below(json.size());
      if (random.below(2) == 0) {
        json[at] = "\"{}[],:0a\\"[random.below(10)];
      } else {
        json.erase(at, random.below(20));
      }
    }
    try {
      const Tokenizer tokenizer = Tokenizer::parse(json);
      tokenizer.encode("ab abc<|endoftext|>", {.allow_special = true, .add_special = true});
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::Format) << error.what();
      ++refused;
    }
  }
  EXPECT_GT(refused, 100);
}

TEST(Tokenizer, TrainRefusesOptionsThatMakeNoSense) {
  const auto refuses = [](const std::string& message, const TrainOptions& options,
                          ErrorKind kind = ErrorKind::Argument) {
    expect_error(kind, "Tokenizer::train: " + message, [&] { Tokenizer::train({}, options); });
  };
  refuses("vocab_size is 256, expected 257", {.vocab_size = 256});
  refuses("special token '<a>' is given twice", {.special_tokens = {"<a>", "<a>"}});
  refuses("a special token is empty or not UTF-8", {.special_tokens = {""}});
  refuses("a special token is empty or not UTF-8", {.special_tokens = {"\xFF"}});
  refuses("pattern has an anchor", {.pattern = "^x"}, ErrorKind::Format);
  EXPECT_EQ(Tokenizer::train({}, {.vocab_size = 1000}).vocab_size(), 257);
}

TEST(StreamDecoder, GivesWholeCharactersOnly) {
  SplitMix64 random(8);
  for (int round = 0; round < 200; ++round) {
    const std::string text = round % 2 ? random_bytes(random, 60) : damaged_text(random);
    StreamDecoder decoder(gpt2());
    std::string streamed;
    for (const int32_t id : gpt2().encode(text)) {
      const std::string part = decoder.push(id);
      EXPECT_FALSE(first_invalid_utf8(part)) << part;
      streamed += part;
    }
    streamed += decoder.finish();
    EXPECT_EQ(streamed, RepairedText(text).text());
  }
}

// A vocabulary may leave gaps, and a model has rows for them, which it may choose.
TEST(StreamDecoder, PassesOverIdsOfNoToken) {
  const Tokenizer tokenizer =
      Tokenizer::parse(R"({"model":{"type":"BPE","merges":[],"vocab":{"a":0,"b":3}},)"
                       R"("pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false}})");
  StreamDecoder decoder(tokenizer);
  std::string text;
  for (const int32_t id : {0, 2, 3, 4, -1, 0}) text += decoder.push(id);
  EXPECT_EQ(text + decoder.finish(), "aba");
}

TEST(StreamDecoder, HoldsBackAnUnfinishedCharacter) {
  StreamDecoder decoder(gpt2(), {.skip_special = true});
  const Ids bytes = {*gpt2().id("\xF0"), *gpt2().id("\x9F"), *gpt2().id("\x98"),
                     *gpt2().id("\x80")};
  EXPECT_EQ(decoder.push(bytes[0]), "");
  EXPECT_EQ(decoder.push(bytes[1]), "");
  EXPECT_EQ(decoder.push(*gpt2().id("<|endoftext|>")), "");
  EXPECT_EQ(decoder.push(bytes[2]), "");
  EXPECT_EQ(decoder.push(bytes[3]), "\xF0\x9F\x98\x80");
  EXPECT_EQ(decoder.push(bytes[0]), "");
  EXPECT_EQ(decoder.finish(), "\xEF\xBF\xBD");
  EXPECT_EQ(decoder.finish(), "");
}

}  // namespace
}  // namespace plinth
