// Against Hugging Face's tokenizers, through fixtures/make_tokenizer_fixtures.py. To see the first
// difference of a block that fails, run scripts/check_tokenizer_parity.py --fixtures.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "data/tokenizer/tokenizer.h"
#include "tests/data/tokenizer_text.h"

namespace plinth {
namespace {

using testing::hash_of;
using testing::read_fixture;
using testing::tokenizer_text;
using testing::views_of;

Tokenizer tokenizer_fixture(const std::string& name) {
  return Tokenizer::parse(read_fixture("tokenizer/" + name + ".json"));
}

const nlohmann::json& expected() {
  static const nlohmann::json json = nlohmann::json::parse(read_fixture("tokenizer/expected.json"));
  return json;
}

TEST(TokenizerParity, GeneratorGivesTheFixturesText) {
  const std::vector<std::string>& blocks = tokenizer_text();
  ASSERT_EQ(blocks.size(), expected()["text_hashes"].size());
  size_t characters = 0;
  for (size_t i = 0; i < blocks.size(); ++i) {
    const std::vector<uint8_t> bytes(blocks[i].begin(), blocks[i].end());
    ASSERT_EQ(hash_of(bytes), expected()["text_hashes"][i].get<uint64_t>()) << "block " << i;
    for (const uint8_t byte : bytes) characters += (byte & 0xC0) != 0x80;
  }
  EXPECT_GE(characters, 1'000'000u);
}

class TokenizerParity : public ::testing::TestWithParam<const char*> {};

TEST_P(TokenizerParity, EncodesEveryBlockAlike) {
  const Tokenizer tokenizer = tokenizer_fixture(GetParam());
  const auto encoded = tokenizer.encode_batch(views_of(tokenizer_text()), {.allow_special = true});
  const nlohmann::json& blocks = expected()[GetParam()];
  ASSERT_EQ(encoded.size(), blocks.size());
  for (size_t i = 0; i < encoded.size(); ++i) {
    EXPECT_EQ(encoded[i].size(), blocks[i][0].get<size_t>()) << "block " << i;
    EXPECT_EQ(hash_of(encoded[i]), blocks[i][1].get<uint64_t>()) << "block " << i;
    EXPECT_EQ(tokenizer.decode(encoded[i]), tokenizer_text()[i]) << "block " << i;
  }
}

TEST_P(TokenizerParity, LearnsTheSameVocabularyAndMerges) {
  const auto reference =
      nlohmann::json::parse(read_fixture(std::string("tokenizer/") + GetParam() + ".json"));
  TrainOptions options;
  options.vocab_size = static_cast<int64_t>(reference["model"]["vocab"].size());
  options.special_tokens.clear();
  for (const auto& token : reference["added_tokens"]) {
    if (token["id"] < options.vocab_size) options.special_tokens.push_back(token["content"]);
  }
  if (reference["pre_tokenizer"]["type"] == "Sequence") options.pattern = kLlama3Pattern;
  const Tokenizer trained = Tokenizer::train(views_of(tokenizer_text()), options);
  const auto ours = nlohmann::json::parse(trained.to_json());
  EXPECT_EQ(ours["model"]["vocab"], reference["model"]["vocab"]);
  EXPECT_EQ(ours["model"]["merges"], reference["model"]["merges"]);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, TokenizerParity, ::testing::Values("gpt2", "llama3"),
                         [](const auto& info) { return info.param; });

// Added tokens and their flags, prefixes, other patterns, post-processors, ignore_merges.
TEST(TokenizerParity, EncodesEachVariantAlike) {
  const auto cases = nlohmann::json::parse(read_fixture("tokenizer/cases.json"));
  for (const auto& variant : cases) {
    auto json = nlohmann::json::parse(
        read_fixture("tokenizer/" + variant["base"].get<std::string>() + ".json"));
    const nlohmann::json& patch = variant["patch"];
    for (const auto& [key, value] : patch.items()) {
      if (key == "model") {
        json[key].update(value);
      } else {
        json[key] = value;
      }
    }
    const Tokenizer tokenizer = Tokenizer::parse(json.dump());
    const Tokenizer saved_and_read = Tokenizer::parse(tokenizer.to_json());
    for (const auto& row : variant["rows"]) {
      using Ids = std::vector<int32_t>;
      const auto text = row[0].get<std::string>();
      const std::string where = patch.dump() + " on " + row[0].dump();
      for (const Tokenizer* each : {&tokenizer, &saved_and_read}) {
        EXPECT_EQ(each->encode(text, {.allow_special = true}), row[1].get<Ids>()) << where;
        EXPECT_EQ(each->encode(text, {.allow_special = true, .add_special = true}),
                  row[2].get<Ids>())
            << where;
        EXPECT_EQ(each->encode(text), row[3].get<Ids>()) << where;
      }
    }
  }
}

}  // namespace
}  // namespace plinth
