// Against vocabularies that the package gguf wrote (fixtures/make_gguf_fixtures.py).

#include "data/tokenizer/gguf_tokenizer.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"
#include "tests/data/tokenizer_text.h"
#include "tests/fixtures.h"

namespace plinth {
namespace {

using nlohmann::json;
using testing::read_fixture;

const std::vector<std::string>& texts() {
  static const std::vector<std::string> all = {
      "Hello, world!",  "In the beginning God created the heaven and the earth.",
      "  two  spaces ", "1066 and 2024's été\n\n",
      "中文 🙂",    ""};
  return all;
}

void expect_same(const Tokenizer& one, const Tokenizer& other, const std::string& what) {
  for (const std::string& text : texts()) {
    // SentencePiece puts a space before every text; tokenizer.json's Metaspace leaves one that has
    // one as it is.
    if (!one.is_byte_level() && text.starts_with(' ')) continue;
    const std::vector<int32_t> ids = other.encode(text);
    EXPECT_EQ(one.encode(text), ids) << what << ": " << text;
    EXPECT_EQ(one.decode(ids), other.decode(ids)) << what << ": " << text;
  }
}

GgufFile gguf_fixture(const std::string& name) {
  return GgufFile::open(std::string(PLINTH_FIXTURES "/gguf/") + name);
}

Tokenizer from_gguf(const GgufFile& file) {
  const TemporaryDirectory folder;
  for (const auto& [name, text] : gguf_tokenizer_files(file))
    write_file_atomically(folder / name, text);
  return Tokenizer::load(folder.path());
}

// A file of nothing but a tokenizer.
GgufFile file_of(const Tokenizer& tokenizer, const TemporaryDirectory& folder, int64_t size) {
  GgufWriter writer(folder / "t.gguf", gguf_fields(tokenizer, size), {});
  writer.commit();
  return GgufFile::open(folder / "t.gguf");
}

TEST(GgufTokenizer, ReadsVocabulariesOfTheReferenceImplementation) {
  for (const char* name : {"gpt2", "llama3", "pieces"}) {
    const std::string source = name == std::string("pieces") ? "pieces/bpe" : name;
    const Tokenizer expected = Tokenizer::parse(read_fixture("tokenizer/" + source + ".json"));
    const Tokenizer tokenizer = from_gguf(gguf_fixture(std::string(name) + ".gguf"));
    expect_same(tokenizer, expected, name);
    EXPECT_EQ(tokenizer.vocab_size(), expected.vocab_size()) << name;
  }
}

TEST(GgufTokenizer, ReadsWhatItWrote) {
  for (const char* name : {"gpt2.json", "llama3.json", "pieces/bpe.json", "pieces/bpe"}) {
    const TemporaryDirectory folder;
    const Tokenizer tokenizer = Tokenizer::load(std::string(PLINTH_FIXTURES "/tokenizer/") + name);
    const int64_t padded = tokenizer.vocab_size() + 3;
    const GgufFile file = file_of(tokenizer, folder, padded);
    EXPECT_EQ(std::ssize(file.texts("tokenizer.ggml.tokens")), padded);
    const Tokenizer again = from_gguf(file);
    expect_same(again, tokenizer, name);
    EXPECT_EQ(again.vocab_size(), tokenizer.vocab_size()) << name;
    EXPECT_EQ(again.eos_id(), tokenizer.eos_id()) << name;
    for (int32_t id = 0; id < tokenizer.vocab_size(); ++id)
      EXPECT_EQ(again.is_special(id), tokenizer.is_special(id)) << name << " " << id;
  }
}

TEST(GgufTokenizer, WritesTheNamesThatLlamaCppKnows) {
  const TemporaryDirectory folder;
  const Tokenizer llama3 = Tokenizer::parse(read_fixture("tokenizer/llama3.json"));
  const GgufFile file = file_of(llama3, folder, llama3.vocab_size());
  EXPECT_EQ(file.text("tokenizer.ggml.model"), "gpt2");
  EXPECT_EQ(file.text("tokenizer.ggml.pre"), "llama-bpe");
  EXPECT_TRUE(file.boolean("tokenizer.ggml.add_bos_token", false));
  const GgufFile expected = gguf_fixture("llama3.gguf");
  for (const char* list : {"tokenizer.ggml.tokens", "tokenizer.ggml.merges"})
    EXPECT_EQ(file.texts(list), expected.texts(list)) << list;
  EXPECT_EQ(file.numbers("tokenizer.ggml.token_type"),
            expected.numbers("tokenizer.ggml.token_type"));
}

// An unknown token that is added behind the vocabulary has a type as any other.
TEST(GgufTokenizer, WritesAnUnknownTokenBehindTheVocabulary) {
  const TemporaryDirectory folder;
  json source = json::parse(read_fixture("tokenizer/pieces/bpe.json"));
  json& vocabulary = source["model"]["vocab"];
  vocabulary["another"] = vocabulary["<unk>"];
  vocabulary.erase("<unk>");
  source["added_tokens"][0]["id"] = vocabulary.size();
  const Tokenizer tokenizer = Tokenizer::parse(source.dump());
  ASSERT_EQ(tokenizer.id("<unk>"), std::ssize(vocabulary));
  const GgufFile file = file_of(tokenizer, folder, tokenizer.vocab_size());
  EXPECT_EQ(file.numbers("tokenizer.ggml.token_type").back(), 2);
  EXPECT_EQ(file.texts("tokenizer.ggml.tokens").back(), "<unk>");
}

// Each beginning of a long run of one letter is a token: a million bytes of them have more pairs
// than a machine's memory.
TEST(GgufTokenizer, RefusesMoreMergesThanMemory) {
  std::vector<std::string> tokens;
  for (const char letter : {'a', 'b', 'c', 'd'}) {
    for (size_t length = 1; length <= 1024; ++length) tokens.emplace_back(length, letter);
  }
  const TemporaryDirectory folder;
  const std::vector<double> scores(tokens.size(), 0);
  const std::vector<GgufField> fields = {
      {"tokenizer.ggml.model", GgufValue::of(std::string("llama"))},
      {"tokenizer.ggml.tokens", GgufValue::list(std::move(tokens))},
      {"tokenizer.ggml.scores", GgufValue::list(GgufType::Float32, scores)}};
  GgufWriter writer(folder / "t.gguf", fields, {});
  writer.commit();
  const GgufFile file = GgufFile::open(folder / "t.gguf");
  expect_error(ErrorKind::Format, "t.gguf: field tokenizer.ggml.tokens has tokens of",
               [&] { gguf_tokenizer_files(file); });
}

// What changes ids, and has no word in GGUF, is not left out in silence.
TEST(GgufTokenizer, RefusesStepsThatGgufHasNoWordsFor) {
  const json base = json::parse(read_fixture("tokenizer/pieces/bpe.json"));
  const json mark = "\u2581";
  const json prepend = {{"type", "Prepend"}, {"prepend", mark}},
             replace = {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", mark}},
             collapse = {{"type", "Replace"}, {"pattern", {{"Regex", " {2,}"}}}, {"content", " "}},
             strip = {{"type", "Strip"}, {"strip_left", true}, {"strip_right", true}};
  const auto fields = [](const json& source) {
    const Tokenizer tokenizer = Tokenizer::parse(source.dump());
    return gguf_fields(tokenizer, tokenizer.vocab_size());
  };
  const auto refuses = [&](const std::string& text, const json& source) {
    expect_error(ErrorKind::Argument, "gguf: tokenizer has " + text, [&] { fields(source); });
  };
  const auto normalized = [&](const json& steps) {
    json source = base;
    source["normalizer"] = {{"type", "Sequence"}, {"normalizers", steps}};
    source["pre_tokenizer"] = nullptr;
    source["model"]["byte_fallback"] = true;
    return source;
  };
  EXPECT_NO_THROW(fields(normalized({prepend, replace})));
  refuses("the normalizer Replace '{\"content\":\" \",", normalized({collapse, replace}));
  refuses("the normalizer Strip", normalized({strip, prepend, replace}));
  refuses("the normalizer Prepend", normalized({prepend, prepend, replace}));
  refuses("spaces as they are", normalized(json::array({prepend})));
  json precompiled = base;
  precompiled["normalizer"] =
      json::parse(read_fixture("tokenizer/pieces/unigram.json"))["normalizer"];
  refuses("the normalizer Precompiled", precompiled);

  json words = base, crossing = base;
  words["pre_tokenizer"] = {
      {"type", "Sequence"},
      {"pretokenizers", {{{"type", "WhitespaceSplit"}}, base["pre_tokenizer"]}}};
  refuses("the pre_tokenizer WhitespaceSplit", words);
  crossing["pre_tokenizer"]["split"] = true;
  EXPECT_NO_THROW(fields(crossing));
  crossing["model"]["vocab"]["\u2581\u2581"] = base["model"]["vocab"].size();
  refuses("the pre_tokenizer Metaspace with split, and the token", crossing);
}

TEST(GgufTokenizer, RefusesAModelThatRemovesSpaces) {
  const TemporaryDirectory folder;
  // A second normalizer_spec, which adds remove_extra_whitespaces to the first.
  write_file_atomically(folder / "tokenizer.model",
                        read_fixture("tokenizer/pieces/bpe/tokenizer.model") + "\x1a\x02\x20\x01");
  const Tokenizer tokenizer = Tokenizer::load(folder.path());
  ASSERT_EQ(tokenizer.encode("two  spaces"), tokenizer.encode("two spaces"));
  expect_error(ErrorKind::Argument, "gguf: tokenizer has remove_extra_whitespaces",
               [&] { gguf_fields(tokenizer, tokenizer.vocab_size()); });
}

TEST(GgufTokenizer, NamesWhatItDoesNotTake) {
  const auto refuses = [](const std::string& text, const std::string& path, int64_t size) {
    const Tokenizer tokenizer = Tokenizer::load(PLINTH_FIXTURES "/tokenizer/" + path);
    expect_error(ErrorKind::Argument, text, [&] { gguf_fields(tokenizer, size); });
  };
  refuses("gguf: tokenizer has word pieces, takes byte pairs", "word_piece.json", 1 << 20);
  refuses("tokenizer is a unigram model", "pieces/unigram.json", 1 << 20);
  refuses("tokenizer is a unigram model", "pieces/unigram", 1 << 20);
  refuses("gguf: tokenizer has tokens that end words", "word_end.json", 1 << 20);
  refuses("tokenizer has 1500 tokens, the model takes at most 97", "gpt2.json", 97);

  const TemporaryDirectory folder;
  const auto refuses_fields = [&](const std::string& text, std::vector<GgufField> fields) {
    GgufWriter writer(folder / "t.gguf", fields, {});
    writer.commit();
    const GgufFile file = GgufFile::open(folder / "t.gguf");
    expect_error(ErrorKind::Format, text, [&] { gguf_tokenizer_files(file); });
  };
  const auto text = [](const char* value) { return GgufValue::of(std::string(value)); };
  const GgufValue tokens = GgufValue::list(std::vector<std::string>{"a", "b"});
  refuses_fields("field tokenizer.ggml.model is missing, takes a text", {});
  refuses_fields("field tokenizer.ggml.model is 'bert', takes gpt2 or llama",
                 {{"tokenizer.ggml.model", text("bert")}, {"tokenizer.ggml.tokens", tokens}});
  refuses_fields("field tokenizer.ggml.tokens has 0 elements",
                 {{"tokenizer.ggml.model", text("gpt2")}});
  refuses_fields("field tokenizer.ggml.pre is 'qwen2', takes gpt-2 or llama-bpe",
                 {{"tokenizer.ggml.model", text("gpt2")},
                  {"tokenizer.ggml.pre", text("qwen2")},
                  {"tokenizer.ggml.tokens", tokens}});
  refuses_fields("field tokenizer.ggml.scores has 0 elements, takes one for each of 2 tokens",
                 {{"tokenizer.ggml.model", text("llama")}, {"tokenizer.ggml.tokens", tokens}});
  refuses_fields("field tokenizer.ggml.eos_token_id is 2, takes one of 2 tokens",
                 {{"tokenizer.ggml.model", text("gpt2")},
                  {"tokenizer.ggml.tokens", tokens},
                  {"tokenizer.ggml.eos_token_id", GgufValue::of(uint32_t{2})}});
}

}  // namespace
}  // namespace plinth
