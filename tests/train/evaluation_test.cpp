#include "train/evaluation.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/autograd.h"
#include "core/ops/factories.h"
#include "models/registry.h"
#include "tests/core/io/expect_error.h"

namespace plinth {
namespace {

std::unique_ptr<LanguageModel> small_model() {
  ModelSize size;
  size.vocab_size = 300;
  size.context = 5;
  size.layers = 1;
  size.dim = 8;
  size.heads = 2;
  size.dropout = 0.5;
  return make_model(size, 2);
}

std::vector<int32_t> tokens_of(int count) {
  std::vector<int32_t> tokens;
  for (int i = 0; i < count; ++i) tokens.push_back(i * i % 23);
  return tokens;
}

// The nats of tokens [begin + 1, end] from those before them from begin on.
double nats(LanguageModel& model, const std::vector<int32_t>& tokens, int begin, int end) {
  const NoGradGuard no_grad;
  model.eval();
  std::vector<int64_t> ids(tokens.begin() + begin, tokens.begin() + end);
  std::vector<int64_t> targets(tokens.begin() + begin + 1, tokens.begin() + end + 1);
  const int64_t count = end - begin;
  return model.loss(from_values(ids, {1, count}), from_values(targets, {1, count})).item() *
         static_cast<double>(count);
}

TEST(Evaluate, PredictsEachTokenButTheFirstOnceInWindowsOfTheContext) {
  const auto model = small_model();
  const std::vector<int32_t> tokens = tokens_of(13);  // windows of 5, 5 and 2
  const double expected =
      nats(*model, tokens, 0, 5) + nats(*model, tokens, 5, 10) + nats(*model, tokens, 10, 12);
  for (const int64_t batch : {1, 2, 8}) {
    const Evaluation result = evaluate(*model, tokens, {.batch = batch});
    EXPECT_EQ(result.tokens, 12);
    EXPECT_NEAR(result.loss, expected / 12, 1e-6);
    EXPECT_NEAR(result.perplexity(), std::exp(expected / 12), 1e-3);
    EXPECT_TRUE(std::isnan(result.bits_per_byte()));
  }
}

TEST(Evaluate, OfSomeWindowsSpreadsThemOverTheText) {
  const auto model = small_model();
  const std::vector<int32_t> tokens = tokens_of(21);  // four windows, of which the first and third
  const Evaluation result = evaluate(*model, tokens, {.max_windows = 2});
  EXPECT_EQ(result.tokens, 10);
  EXPECT_NEAR(result.loss, (nats(*model, tokens, 0, 5) + nats(*model, tokens, 10, 15)) / 10, 1e-6);
}

TEST(Evaluate, CountsBitsPerByteOfTheTextBehindTheTokens) {
  const std::string_view text = "ab ab ab ab";
  const Tokenizer tokenizer = Tokenizer::train(std::span(&text, 1), {.vocab_size = 258});
  const std::vector<int32_t> tokens = tokenizer.encode(text);
  ASSERT_LT(tokens.size(), text.size());
  const auto model = small_model();
  const Evaluation result = evaluate(*model, tokens, {.tokenizer = &tokenizer});
  EXPECT_EQ(result.bytes,
            static_cast<int64_t>(text.size() - tokenizer.token_bytes(tokens[0]).size()));
  const double bits = result.loss * static_cast<double>(result.tokens) / std::log(2);
  EXPECT_NEAR(result.bits_per_byte(), bits / static_cast<double>(result.bytes), 1e-9);
}

TEST(Evaluate, RefusesATextWithNothingToPredict) {
  const auto model = small_model();
  const std::vector<int32_t> one = {1};
  expect_error(ErrorKind::Argument, "got 1 tokens, takes at least 2",
               [&] { evaluate(*model, one); });
}

TEST(UnigramEntropy, IsThatOfTheFrequencies) {
  const std::vector<int32_t> tokens = {0, 1, 1, 2};
  EXPECT_NEAR(unigram_entropy(tokens, 3),
              0.25 * std::log(4) + 0.5 * std::log(2) + 0.25 * std::log(4), 1e-12);
  const std::vector<int32_t> same(100000, 2);
  EXPECT_EQ(unigram_entropy(same, 3), 0);
  expect_error(ErrorKind::Format, "token 3 is 2, the vocabulary has 2",
               [&] { unigram_entropy(tokens, 2); });
}

}  // namespace
}  // namespace plinth
