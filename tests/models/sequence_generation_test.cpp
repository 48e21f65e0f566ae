// What an encoder-decoder generates, against transformers' generate(): tests/fixtures/README.md.

#include "models/sequence_generation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "core/autograd.h"
#include "core/io/json.h"
#include "core/ops/factories.h"
#include "core/ops/softmax.h"
#include "models/encoder_decoder_registry.h"
#include "tests/core/io/expect_error.h"
#include "tests/models/fixture.h"

namespace plinth {
namespace {

struct Case {
  explicit Case(const std::string& name)
      : model(load_encoder_decoder(fixture(name))),
        values(read_tensors(fixture(name) / "expected.safetensors")),
        ids(value(values, "input_ids")),
        lengths(value(values, "lengths")) {
    model->eval();
  }

  std::unique_ptr<EncoderDecoder> model;
  nn::StateDict values;
  Tensor ids, lengths;
};

SequenceGenerationOptions options_of(const nlohmann::json& json) {
  SequenceGenerationOptions options{.max_tokens = json["max_new_tokens"],
                                    .beams = json["num_beams"],
                                    .length_penalty = json.value("length_penalty", 1.0)};
  const nlohmann::json& ends = json["eos_token_id"];
  options.stop_tokens =
      ends.is_array() ? ends.get<std::vector<int64_t>>() : std::vector{ends.get<int64_t>()};
  const nlohmann::json early = json.value("early_stopping", nlohmann::json(false));
  if (early.is_string()) options.early_stopping = EarlyStopping::Never;
  if (early.is_boolean() && early.get<bool>()) options.early_stopping = EarlyStopping::Yes;
  return options;
}

class SequenceGeneration : public testing::TestWithParam<const char*> {};

TEST_P(SequenceGeneration, FindsWhatTransformersFinds) {
  Case with(GetParam());
  const nlohmann::json searches = read_json(fixture(GetParam()) / "generated.json");
  ASSERT_EQ(searches.size(), 12U);
  for (const nlohmann::json& search : searches) {
    SCOPED_TRACE(search["options"].dump());
    const auto found =
        generate_sequences(*with.model, with.ids, with.lengths, options_of(search["options"]));
    ASSERT_EQ(found.size(), search["ids"].size());
    for (size_t row = 0; row < found.size(); ++row) {
      EXPECT_EQ(nlohmann::json(found[row].ids), search["ids"][row]);
      if (search["scores"].is_null()) continue;
      const double score = search["scores"][row];
      EXPECT_NEAR(found[row].score, score, 2e-5 * std::abs(score));
    }
  }
}

// A row's sequence does not depend on the rows beside it.
TEST_P(SequenceGeneration, RowsAreIndependent) {
  Case with(GetParam());
  const SequenceGenerationOptions options{.max_tokens = 8, .beams = 3, .stop_tokens = {7}};
  const auto together = generate_sequences(*with.model, with.ids, with.lengths, options);
  for (int64_t row = 0; row < 3; ++row) {
    const auto alone = generate_sequences(*with.model, with.ids.narrow(0, row, 1),
                                          with.lengths.narrow(0, row, 1), options);
    EXPECT_EQ(alone.front().ids, together[static_cast<size_t>(row)].ids);
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, SequenceGeneration, testing::Values("t5", "t5_gated"),
                         [](const auto& info) { return std::string(info.param); });

// Whatever the penalty, the score is the sum over the length's power, and the best is found.
TEST(SequenceGenerations, TakeLargePenaltiesOfEitherSign) {
  Case with("t5");
  SequenceGenerationOptions options{.max_tokens = 12, .beams = 3, .stop_tokens = {21}};
  const auto found_with = [&](double penalty) {
    options.length_penalty = penalty;
    return generate_sequences(*with.model, with.ids, with.lengths, options);
  };
  for (const double penalty : {-200., -50., -10., 50., 200.}) {
    for (const GeneratedSequence& found : found_with(penalty)) {
      // Of the length's logarithm, of which the end token is a part unless there was no room.
      const double length = std::min<double>(std::ssize(found.ids) + 1, options.max_tokens);
      const double sum = found.score * std::pow(length, penalty);
      EXPECT_LT(sum, 0) << penalty;
      EXPECT_GT(sum, -60) << penalty;
    }
  }
  for (size_t row = 0; row < 3; ++row)
    EXPECT_LE(found_with(-200)[row].ids.size(), found_with(200)[row].ids.size());
}

// The greedy sequence goes on from a prompt as it would from its own first tokens.
TEST(SequenceGenerations, GoOnFromAPrompt) {
  Case with("t5_gated");
  SequenceGenerationOptions options{.max_tokens = 7, .stop_tokens = {1}};
  const auto whole = generate_sequences(*with.model, with.ids.narrow(0, 0, 1),
                                        with.lengths.narrow(0, 0, 1), options);
  std::vector<int64_t> ids = whole.front().ids;
  ASSERT_EQ(ids.size(), 7U);
  options.prompt = {0, ids[0], ids[1]};
  options.max_tokens = 5;
  const auto rest = generate_sequences(*with.model, with.ids.narrow(0, 0, 1),
                                       with.lengths.narrow(0, 0, 1), options);
  EXPECT_EQ(rest.front().ids, std::vector<int64_t>(ids.begin() + 2, ids.end()));
}

// A prompt for each source gives what each source gives alone.
TEST(SequenceGenerations, TakeAPromptForEachSource) {
  Case with("t5_gated");
  SequenceGenerationOptions options{.max_tokens = 5, .beams = 2, .stop_tokens = {1}};
  options.prompts = {{0, 4}, {0, 9}, {0, 17}};
  const auto together = generate_sequences(*with.model, with.ids, with.lengths, options);
  for (int64_t row = 0; row < 3; ++row) {
    SequenceGenerationOptions alone = options;
    alone.prompts = {options.prompts[static_cast<size_t>(row)]};
    const auto found = generate_sequences(*with.model, with.ids.narrow(0, row, 1),
                                          with.lengths.narrow(0, row, 1), alone);
    EXPECT_EQ(found.front().ids, together[static_cast<size_t>(row)].ids);
  }
}

// Forbids a token, and the last one again.
class NoRepetition final : public TokenRule {
 public:
  void apply(std::span<const int64_t> ids, std::span<float> log_probabilities) const override {
    log_probabilities[1] = -INFINITY;
    if (!ids.empty()) log_probabilities[static_cast<size_t>(ids.back())] = -INFINITY;
  }
};

TEST(SequenceGenerations, KeepToRules) {
  Case with("t5");
  for (const int64_t beams : {1, 3}) {
    SequenceGenerationOptions options{.max_tokens = 8, .beams = beams, .stop_tokens = {1}};
    options.rules = {std::make_shared<NoRepetition>()};
    for (const auto& found : generate_sequences(*with.model, with.ids, with.lengths, options)) {
      ASSERT_EQ(found.ids.size(), 8U);
      EXPECT_EQ(std::ranges::adjacent_find(found.ids), found.ids.end());
      EXPECT_THAT(found.ids, testing::Each(testing::Ne(1)));
    }
  }
}

// What transformers' RepetitionPenaltyLogitsProcessor makes of logits.
std::vector<double> penalized(std::vector<double> logits, const std::vector<int64_t>& history,
                              double penalty) {
  const std::set<int64_t> seen(history.begin(), history.end());
  for (const int64_t token : seen) {
    double& logit = logits[static_cast<size_t>(token)];
    logit = logit > 0 ? logit / penalty : logit * penalty;
  }
  return logits;
}

// The penalty acts on the logits, whose sign counts, and for the prompt's tokens too: a loop that
// reads the whole text each time finds the same.
TEST(SequenceGenerations, PenaliseRepetitionsAsTransformersDoes) {
  Case with("t5");
  const NoGradGuard no_grad;
  const EncoderStates source =
      with.model->encode(with.ids.narrow(0, 0, 1), with.lengths.narrow(0, 0, 1));
  std::vector<std::vector<int64_t>> found;
  for (const double penalty : {1.0, 1.6, 2.5}) {
    const std::vector<int64_t> prompt = {0, 17, 9};
    std::vector<int64_t> text = prompt;
    double score = 0;
    for (int i = 0; i < 8; ++i) {
      const Tensor x = with.model->decode(from_values(text, {1, std::ssize(text)}), source);
      const Tensor logits = with.model->head(x.narrow(1, x.size(1) - 1, 1)).flatten();
      const std::vector<double> left = penalized(to_vector(logits), text, penalty);
      text.push_back(std::ranges::max_element(left) - left.begin());
      score += to_vector(log_softmax(logits, 0))[static_cast<size_t>(text.back())];
    }
    SequenceGenerationOptions options{.max_tokens = 8, .prompt = prompt, .stop_tokens = {42}};
    options.sampling = {.temperature = 0, .repetition_penalty = penalty};
    const auto all = generate_sequences(*with.model, with.ids.narrow(0, 0, 1),
                                        with.lengths.narrow(0, 0, 1), options);
    const std::vector<int64_t> expected(text.begin() + std::ssize(prompt), text.end());
    EXPECT_EQ(all.front().ids, expected) << penalty;
    EXPECT_NEAR(all.front().score, score, 1e-4) << penalty;
    found.push_back(all.front().ids);
  }
  EXPECT_NE(found[0], found[1]);
}

TEST(SequenceGenerations, AreDrawnByTheSeedAlone) {
  Case with("t5");
  SequenceGenerationOptions options{.max_tokens = 8, .stop_tokens = {1}};
  options.sampling = {.temperature = 1.5, .seed = 5};
  const auto found = generate_sequences(*with.model, with.ids, with.lengths, options);
  for (int64_t row = 0; row < 3; ++row) {
    const auto alone = generate_sequences(*with.model, with.ids.narrow(0, row, 1),
                                          with.lengths.narrow(0, row, 1), options);
    EXPECT_EQ(alone.front().ids, found[static_cast<size_t>(row)].ids);
  }
  options.sampling.seed = 6;
  EXPECT_NE(generate_sequences(*with.model, with.ids, with.lengths, options).front().ids,
            found.front().ids);
  // Of one token alone the most likely is drawn.
  options.sampling.top_k = 1;
  const auto likeliest = generate_sequences(*with.model, with.ids, with.lengths,
                                            {.max_tokens = 8, .stop_tokens = {1}});
  EXPECT_EQ(generate_sequences(*with.model, with.ids, with.lengths, options).front().ids,
            likeliest.front().ids);
}

TEST(SequenceGenerations, RefuseOptionsOutOfRange) {
  Case with("t5");
  const auto refused = [&](const SequenceGenerationOptions& options, const char* message) {
    expect_error(ErrorKind::Argument, message,
                 [&] { generate_sequences(*with.model, with.ids, with.lengths, options); });
  };
  refused({.max_tokens = 0}, "got max_tokens 0 and beams 1");
  refused({.beams = 0}, "takes at least 1 of each");
  refused({.max_tokens = INT64_MAX}, "at most 1048576 tokens");
  refused({.beams = 22},
          "beams is 22, takes at most 21: each has 2 ways to go on in a vocabulary of 43");
  refused({.beams = 15, .stop_tokens = {1, 2}}, "beams is 15, takes at most 14: each has 3 ways");
  refused({.length_penalty = NAN}, "length_penalty is nan, takes at most 103.05");
  for (const double penalty : {-1000., 1000.})
    refused({.length_penalty = penalty}, "either way for max_tokens 128");
  refused({.prompt = {43}}, "43");
  refused({.prompts = {{0}, {0}}}, "got 2 prompts for 3 sources");
  refused({.prompts = {{0}, {0, 1}, {0}}}, "got prompts of 1 and 2 tokens");
  refused({.beams = 2, .sampling = {.temperature = 1}}, "beams is 2, takes 1 with a temperature");
  refused({.sampling = {.temperature = -1}}, "temperature got -1");
  with.model->train();
  refused({}, "the model is in training mode");
}

}  // namespace
}  // namespace plinth
