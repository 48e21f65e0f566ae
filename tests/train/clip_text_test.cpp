// Texts as a CLIP takes them.

#include "train/clip_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/io/file.h"
#include "core/ops/factories.h"
#include "tests/core/io/expect_error.h"
#include "tests/fixtures.h"

namespace plinth {
namespace {

using testing::ElementsAreArray;

const Tokenizer& word_ends() {
  static const Tokenizer tokenizer = Tokenizer::parse(
      read_text_file(std::string(PLINTH_FIXTURES) + "/tokenizer/word_end.json", 1 << 20));
  return tokenizer;
}

ClipTextConfig config_of(int64_t eos_token) {
  ClipTextConfig config;
  config.vocab_size = 1200;
  config.context = 12;
  config.bos_token = 0;
  config.eos_token = eos_token;
  return config;
}

TEST(ClipText, TakesTheTokenizersTokensWhereTheConfigurationNamesNone) {
  const Tokenizer& tokenizer = word_ends();
  ClipTextConfig old = config_of(2);
  old.bos_token = 7;  // as little true as the end
  const std::string text = "a cat";
  EXPECT_NO_THROW(check_clip_tokenizer(tokenizer, old, "model", "here"));
  std::vector<double> expected = {0};  // <|startoftext|>
  for (const int32_t id : tokenizer.encode(text)) expected.push_back(id);
  ASSERT_LT(expected.size(), 11U);
  expected.resize(12, 1);  // <|endoftext|>
  EXPECT_THAT(to_vector(clip_ids(tokenizer, old, std::span(&text, 1))), ElementsAreArray(expected));
  EXPECT_THAT(to_vector(clip_ids(tokenizer, config_of(1), std::span(&text, 1))),
              ElementsAreArray(expected));
}

TEST(ClipText, RefusesTokenizersOfOtherModels) {
  expect_error(ErrorKind::Config, "here ends a text with token 1, takes",
               [] { check_clip_tokenizer(word_ends(), config_of(3), "model", "here"); });
  ClipTextConfig small = config_of(2);
  small.vocab_size = 1000;
  expect_error(ErrorKind::Config, "here has 1200 tokens, the model takes 1000",
               [&] { check_clip_tokenizer(word_ends(), small, "model", "here"); });
}

}  // namespace
}  // namespace plinth
