// Against the packages sentencepiece and tokenizers, through
// fixtures/make_sentence_piece_fixtures.py; and what no model may do.

#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "core/io/file.h"
#include "data/loader/span_corruption.h"
#include "data/tokenizer/tokenizer.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"
#include "tests/data/tokenizer_text.h"
#include "tests/fixtures.h"

namespace plinth {
namespace {

using nlohmann::json;
using testing::read_fixture;
using Ids = std::vector<int32_t>;

const json& piece_cases() {
  static const json made = json::parse(read_fixture("tokenizer/pieces/cases.json"));
  return made;
}

std::string file_of(const std::string& kind) {
  return kind == "unigram" ? "spiece.model" : "tokenizer.model";
}

std::string model_of(const std::string& kind) {
  return read_fixture("tokenizer/pieces/" + kind + "/" + file_of(kind));
}

std::filesystem::path folder_of(const std::string& kind) {
  return std::filesystem::path(PLINTH_FIXTURES) / "tokenizer" / "pieces" / kind;
}

void expect_guesses(const Tokenizer& tokenizer, const json& rows) {
  for (const json& row : rows)
    EXPECT_EQ(tokenizer.decode(row[0].get<Ids>()), row[1].get<std::string>()) << row.dump();
}

TEST(SentencePiece, EncodesAndDecodesAsThePackage) {
  for (const auto& [kind, expected] : piece_cases()["models"].items()) {
    const TemporaryDirectory copy;
    Tokenizer::load(folder_of(kind)).save(copy.path());
    for (const auto& folder : {folder_of(kind), copy.path()}) {
      const Tokenizer tokenizer = Tokenizer::load(folder);
      for (size_t i = 0; i < piece_cases()["texts"].size(); ++i) {
        const json& row = expected["rows"][i];
        const auto text = piece_cases()["texts"][i].get<std::string>();
        EXPECT_EQ(tokenizer.encode(text), row[0].get<Ids>()) << kind << ": " << text;
        EXPECT_EQ(tokenizer.decode(row[0].get<Ids>()), row[1].get<std::string>()) << kind;
      }
      expect_guesses(tokenizer, expected["guesses"]);
    }
  }
}

TEST(SentencePiece, EncodesAndDecodesConvertedFilesAsTokenizers) {
  for (const auto& [name, expected] : piece_cases()["files"].items()) {
    json file = json::parse(
        read_fixture("tokenizer/pieces/" + expected["base"].get<std::string>() + ".json"));
    file.update(expected["changes"]);
    const Tokenizer tokenizer = Tokenizer::parse(file.dump());
    const Tokenizer saved_and_read = Tokenizer::parse(tokenizer.to_json());
    for (const Tokenizer* each : {&tokenizer, &saved_and_read}) {
      for (size_t i = 0; i < piece_cases()["texts"].size(); ++i) {
        const json& row = expected["rows"][i];
        const auto text = piece_cases()["texts"][i].get<std::string>();
        const Ids ids = each->encode(text, {.allow_special = true, .add_special = true});
        EXPECT_EQ(ids, row[0].get<Ids>()) << name << ": " << text;
        EXPECT_EQ(each->decode(ids), row[1].get<std::string>()) << name;
      }
      expect_guesses(*each, expected["guesses"]);
    }
  }
}

TEST(SentencePiece, SpecialTokensComeFromTextOnlyWhereTheyAreAllowed) {
  for (const std::string kind : {"unigram", "bpe"}) {
    const Tokenizer converted =
        Tokenizer::parse(read_fixture("tokenizer/pieces/" + kind + ".json"));
    const Tokenizer original = Tokenizer::load(folder_of(kind));
    for (const Tokenizer* each : {&converted, &original}) {
      const int32_t end = each->id("</s>").value();
      const Ids plain = each->encode("a</s>");
      EXPECT_EQ(std::ranges::count(plain, end), 0) << kind;
      EXPECT_EQ(each->encode("a</s>", {.allow_special = true}).back(), end) << kind;
    }
  }
}

TEST(SentencePiece, AStreamDecodesToTheSameText) {
  for (const std::string kind : {"unigram", "bpe"}) {
    const Tokenizer converted =
        Tokenizer::parse(read_fixture("tokenizer/pieces/" + kind + ".json"));
    const Tokenizer original = Tokenizer::load(folder_of(kind));
    for (const Tokenizer* each : {&converted, &original}) {
      const Ids ids = each->encode(" the earth \xF0\x9F\x98\x80 and", {.add_special = true});
      StreamDecoder decoder(*each);
      std::string text;
      for (const int32_t id : ids) text += decoder.push(id);
      EXPECT_EQ(text + decoder.finish(), each->decode(ids)) << kind;
      EXPECT_FALSE(each->is_byte_level());
    }
  }
}

TEST(SentencePiece, PutsEndOrBeginningAroundATextAsTheFamiliesDo) {
  const Tokenizer t5 = Tokenizer::load(folder_of("unigram"));
  EXPECT_EQ(t5.encode("the", {.add_special = true}).back(), t5.eos_id());
  const Tokenizer llama = Tokenizer::load(folder_of("bpe"));
  EXPECT_EQ(llama.encode("the", {.add_special = true}).front(), llama.id("<s>"));
  EXPECT_NE(llama.encode("the", {.add_special = true}).back(), llama.eos_id());
  const TemporaryDirectory folder;
  write_file_atomically(folder / "tokenizer.model", model_of("bpe"));
  write_file_atomically(folder / "tokenizer_config.json",
                        R"({"add_bos_token": false, "add_eos_token": true,
                            "added_tokens_decoder": {"402": {"content": "<x>", "special": true}}})");
  const Tokenizer other = Tokenizer::load(folder.path());
  const Ids ids = other.encode("the<x>", {.allow_special = true, .add_special = true});
  EXPECT_NE(ids.front(), other.id("<s>"));
  EXPECT_EQ(ids[ids.size() - 2], 402);
  EXPECT_EQ(ids.back(), other.eos_id());
  EXPECT_EQ(other.decode(Ids{402}), "<x>");
}

Tokenizer trained(TokenizerKind kind, int64_t sentinels = 0) {
  std::vector<std::string> texts;
  for (int i = 0; i < 40; ++i) {
    for (const json& text : piece_cases()["texts"]) texts.push_back(text.get<std::string>());
  }
  const int64_t size = kind == TokenizerKind::Unigram ? 300 : 700;
  return Tokenizer::train(testing::views_of(texts),
                          {.kind = kind, .vocab_size = size, .sentinels = sentinels});
}

TEST(SentencePiece, TrainsModelsThatAreLoadedAgain) {
  for (const TokenizerKind kind : {TokenizerKind::Unigram, TokenizerKind::SentencePieceBpe}) {
    const Tokenizer tokenizer = trained(kind);
    const TemporaryDirectory folder;
    tokenizer.save(folder.path());
    const Tokenizer loaded = Tokenizer::load(folder.path());
    EXPECT_EQ(loaded.files(), tokenizer.files());
    EXPECT_EQ(loaded.vocab_size(), tokenizer.vocab_size());
    const std::string text = "In the beginning God created the heaven";
    EXPECT_EQ(loaded.encode(text), tokenizer.encode(text));
    EXPECT_LT(loaded.encode(text).size(), text.size());
    EXPECT_EQ(loaded.decode(loaded.encode(text)), text);
  }
  expect_error(ErrorKind::Argument, "vocab_size is 200, expected 260", [] {
    Tokenizer::train({}, {.kind = TokenizerKind::SentencePieceBpe, .vocab_size = 200});
  });
  expect_error(ErrorKind::Argument, "libsentencepiece learns no model",
               [] { Tokenizer::train({}, {.kind = TokenizerKind::Unigram, .vocab_size = 200}); });
}

// <extra_id_0> is the last, as span corruption takes them.
TEST(SentencePiece, SentinelsAreThoseOfSpanCorruption) {
  const Tokenizer tokenizer = trained(TokenizerKind::Unigram, 10);
  const TemporaryDirectory folder;
  tokenizer.save(folder.path());
  const Tokenizer loaded = Tokenizer::load(folder.path());
  const int64_t first = loaded.id("<extra_id_0>").value();
  EXPECT_EQ(first, loaded.vocab_size() - 1);
  EXPECT_EQ(loaded.id("<extra_id_9>"), first - 9);
  const SpanCorruptor corruptor(
      {.first_sentinel = first, .sentinels = 10, .end_token = loaded.eos_id()});
  const Ids ids = loaded.encode("And the earth was without form, and void; and darkness was");
  const SpanSample sample = corruptor.corrupt(0, std::vector<int64_t>(ids.begin(), ids.end()));
  const std::string shown = loaded.decode(Ids(sample.ids.begin(), sample.ids.end()));
  EXPECT_NE(shown.find("<extra_id_0>"), std::string::npos) << shown;
  EXPECT_EQ(loaded.decode(Ids(sample.targets.begin(), sample.targets.end())).find("<extra_id_0>"),
            0u);
}

void expect_refused(const std::string& bytes, const char* message) {
  const TemporaryDirectory folder;
  write_file_atomically(folder / "tokenizer.model", bytes);
  expect_error(ErrorKind::Format, message, [&] { Tokenizer::load(folder.path()); });
}

// A field of bytes, number 1.
std::string field(const std::string& content) {
  std::string bytes(1, '\x0A');
  return bytes.append(1, static_cast<char>(content.size())).append(content);
}

std::string piece(const std::string& text, const std::string& rest = "") {
  return field(field(text).append(rest));
}

TEST(SentencePiece, RefusesModelFilesByName) {
  expect_refused("", "is empty");
  expect_refused("Not a protocol buffer.", "is no SentencePiece model");
  expect_refused(model_of("unigram").substr(0, 1000), "is cut off");
  expect_refused("\x0A\xFF\xFF\xFF\xFF\x0F", "is cut off");
  expect_refused(std::string("\x10\x00", 2), "is no SentencePiece model");
  expect_refused(std::string("\x12\x02\x18\x03"), "model_type is 3");
  expect_refused(piece("a") + piece("a"), "piece 'a' is given twice");
  expect_refused(piece("\xFF"), "is empty, not UTF-8");
  expect_refused(piece("a", std::string("\x15\x00\x00\xC0\x7F", 5)), "score of piece 'a'");
  expect_refused(piece("a"), "libsentencepiece refuses it");
  expect_refused(piece("b", "\x18\x06"), "none of <0x00> to <0xFF>");
  expect_refused("\x1A\x06\x12\x04\xFF\xFF\xFF\x0F", "precompiled_charsmap");
}

// A byte that is wrong is refused, or leaves a model that works.
TEST(SentencePiece, ADamagedModelNeverCrashes) {
  const std::string whole = model_of("unigram");
  testing::SplitMix64 random(5);
  for (int i = 0; i < 200; ++i) {
    std::string bytes = whole;
    bytes[random.below(bytes.size())] = static_cast<char>(random.below(256));
    const TemporaryDirectory folder;
    write_file_atomically(folder / "tokenizer.model", bytes);
    try {
      const Tokenizer tokenizer = Tokenizer::load(folder.path());
      EXPECT_LT(tokenizer.encode("the e\xCC\x81 \xEF\xBD\x85").size(), 100u);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::Format) << error.what();
    }
  }
}

TEST(SentencePiece, RefusesConvertedFilesByName) {
  const auto refused = [](const std::string& kind, const std::function<void(json&)>& edit,
                          const char* message) {
    json file = json::parse(read_fixture("tokenizer/pieces/" + kind + ".json"));
    edit(file);
    expect_error(ErrorKind::Format, message, [&] { Tokenizer::parse(file.dump(), "t.json"); });
  };
  refused(
      "unigram",
      [](json& file) {
        file["normalizer"] = {{"type", "NFKC"}};
      },
      "normalizer is 'NFKC'");
  refused(
      "unigram", [](json& file) { file["normalizer"]["precompiled_charsmap"] = "AAAA"; },
      "precompiled_charsmap has 3 bytes");
  refused(
      "unigram", [](json& file) { file["normalizer"]["precompiled_charsmap"] = "!"; },
      "is not base64");
  refused(
      "unigram", [](json& file) { file["decoder"] = nullptr; },
      "decoder of a model of pieces is 'null'");
  refused(
      "unigram", [](json& file) { file["model"]["unk_id"] = 100000; }, "unk_id is 100000");
  refused(
      "unigram", [](json& file) { file["model"]["vocab"][5][1] = "x"; }, "[token, score]");
  refused(
      "unigram", [](json& file) { file["model"]["vocab"][5] = file["model"]["vocab"][6]; },
      "is given twice");
  refused(
      "unigram", [](json& file) { file["model"]["byte_fallback"] = true; }, "no token for byte 0");
  refused(
      "unigram",
      [](json& file) {
        file["pre_tokenizer"] = {{"type", "Punctuation"}};
      },
      "pre_tokenizer of a model of pieces is 'Punctuation'");
  refused(
      "unigram", [](json& file) { file["added_tokens"][0]["normalized"] = true; },
      "an added token that is normalized");
  refused(
      "bpe", [](json& file) { file["model"]["ignore_merges"] = true; }, "ignore_merges");
  refused(
      "bpe", [](json& file) { file["model"]["unk_token"] = "?!"; }, "unk_token is no token");
  refused(
      "bpe", [](json& file) { file["decoder"]["decoders"][0]["content"] = "_"; },
      "decoder Replace is");
  expect_error(ErrorKind::Argument, "has no tokenizer.json",
               [] { Tokenizer::load(folder_of("bpe")).to_json(); });
}

TEST(Metaspaces, EncodeALongTextAsOnePiece) {
  const Tokenizer tokenizer = Tokenizer::parse(testing::read_fixture("tokenizer/pieces/bpe.json"));
  std::string text;
  for (int i = 0; i < 200'000; ++i) text += i % 7 == 0 ? "the " : "a ";
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
}

}  // namespace
}  // namespace plinth
