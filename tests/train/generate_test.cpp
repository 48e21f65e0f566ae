#include "train/generation/generate.h"

#include <gtest/gtest.h>

#include "core/allocator.h"
#include "models/registry.h"
#include "tests/core/io/expect_error.h"

namespace plinth {
namespace {

std::unique_ptr<LanguageModel> untrained_model(const std::string& type) {
  ModelSize size;
  size.type = type;
  size.vocab_size = 40;
  size.context = 12;
  size.layers = 2;
  size.dim = 16;
  size.heads = 2;
  size.dropout = type == "gpt2" ? 0.3 : 0;
  return make_model(size, 7);
}

const std::vector<int32_t> kPrompt = {3, 1, 4};

TEST(Generate, GivesTheSameTokensWithAndWithoutACacheEvenBeyondTheContext) {
  for (const char* type : {"gpt2", "llama", "mixtral"}) {
    const auto model = untrained_model(type);
    GenerateOptions options;
    options.max_tokens = 30;  // the context is forgotten by halves several times
    options.sampling.seed = 5;
    const std::vector<int32_t> cached = generate(*model, kPrompt, options);
    options.use_cache = false;
    EXPECT_EQ(generate(*model, kPrompt, options), cached) << type;
    EXPECT_EQ(cached.size(), 30u);
  }
}

// Keys and values of the whole context would be 8 MiB here.
TEST(Generate, KeepsNoMoreOfTheContextThanTheTextNeeds) {
  ModelSize size;
  size.type = "llama";
  size.vocab_size = 40;
  size.context = 1 << 15;
  size.layers = 2;
  size.dim = 16;
  size.heads = 2;
  const auto model = make_model(size, 7);
  Allocator& memory = allocator(Device{});
  const int64_t before = memory.stats().allocated;
  memory.reset_peak();
  GenerateOptions options;
  options.max_tokens = 20;
  options.sampling.temperature = 0;
  const std::vector<int32_t> cached = generate(*model, kPrompt, options);
  EXPECT_LT(memory.stats().peak_allocated - before, 1 << 20);
  EXPECT_EQ(cached.size(), 20u);
  options.use_cache = false;
  EXPECT_EQ(generate(*model, kPrompt, options), cached);
  options.max_tokens = INT64_MAX;  // no room is made for what cannot be
  options.stop_tokens = {cached[9]};
  options.use_cache = true;
  EXPECT_LE(generate(*model, kPrompt, options).size(), 9u);
}

TEST(Generate, TakesAPromptLongerThanTheContext) {
  const auto model = untrained_model("gpt2");
  const std::vector<int32_t> prompt(50, 2);
  GenerateOptions options;
  options.max_tokens = 4;
  EXPECT_EQ(generate(*model, prompt, options).size(), 4u);
}

TEST(Generate, EndsAtTheStopTokenWithoutGivingIt) {
  const auto model = untrained_model("gpt2");
  GenerateOptions options;
  options.max_tokens = 20;
  const std::vector<int32_t> all = generate(*model, kPrompt, options);
  options.stop_tokens = {all[6]};
  const auto first = std::find(all.begin(), all.end(), all[6]);
  EXPECT_EQ(generate(*model, kPrompt, options), std::vector<int32_t>(all.begin(), first));
}

TEST(Generate, EndsAtTheFirstOfSeveralStopTokens) {
  const auto model = untrained_model("gpt2");
  GenerateOptions options;
  options.max_tokens = 20;
  const std::vector<int32_t> all = generate(*model, kPrompt, options);
  options.stop_tokens = {all[9], all[6]};
  const auto first = std::ranges::find_first_of(all, options.stop_tokens);
  EXPECT_EQ(generate(*model, kPrompt, options), std::vector<int32_t>(all.begin(), first));
}

TEST(Generate, TellsEachTokenAndStopsWhenAsked) {
  const auto model = untrained_model("gpt2");
  std::vector<int32_t> told;
  const auto tokens = generate(*model, kPrompt, {}, [&](int32_t token) {
    told.push_back(token);
    return told.size() < 5;
  });
  EXPECT_EQ(told.size(), 5u);
  EXPECT_EQ(tokens, told);
}

TEST(Generate, LeavesTheModelInTrainingAsItWas) {
  const auto model = untrained_model("gpt2");
  model->train();
  generate(*model, kPrompt, {});
  EXPECT_TRUE(model->is_training());
  model->eval();
  generate(*model, kPrompt, {});
  EXPECT_FALSE(model->is_training());
}

TEST(Generate, RefusesPromptsThatAreEmptyOrOutsideTheVocabulary) {
  const auto model = untrained_model("llama");
  expect_error(ErrorKind::Argument, "the prompt has no tokens",
               [&] { generate(*model, std::vector<int32_t>(), {}); });
  expect_error(ErrorKind::Argument, "40", [&] { generate(*model, std::vector<int32_t>{40}, {}); });
}

}  // namespace
}  // namespace plinth
