// Masked language models: their samples, and whole runs on one and several ranks.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/autograd.h"
#include "core/ops/factories.h"
#include "data/loader/sample_source.h"
#include "tests/core/io/expect_error.h"
#include "tests/train/layout_draw.h"
#include "train/evaluation.h"
#include "train/generation/generate.h"
#include "train/pretrain/masked_batches.h"

namespace plinth {
namespace {

using Words = std::vector<std::string>;

TokenMasker masker() {
  return TokenMasker({.mask_token = 29, .vocab_size = 32, .first = 30, .last = 31, .seed = 3});
}

// Batches that a rank has of `steps` steps of 4 micro-batches of 2 samples.
std::vector<std::vector<double>> batches(int64_t rank, int64_t ranks, int64_t steps) {
  const LoaderOptions options{
      .samples = {.seed = 3}, .rows = 2, .rank = rank, .ranks = ranks, .micro_batches = 4 / ranks};
  MaskedBatches source(layouts::dataset(), options, masker(), 12);
  std::vector<std::vector<double>> all;
  for (int64_t i = 0; i < steps * options.micro_batches; ++i) {
    const Batch batch = source.next(2);
    EXPECT_EQ(batch[0].shape(), Shape({2, 12}));
    all.push_back(to_vector(batch[0]));
    all.push_back(to_vector(batch[1]));
  }
  return all;
}

TEST(MaskedBatches, RanksHaveTogetherWhatOneProcessHas) {
  const auto alone = batches(0, 1, 2);
  for (const double first : {alone[0][0], alone[0][12]}) EXPECT_EQ(first, 30);
  for (const double last : {alone[0][11], alone[0][23]}) EXPECT_EQ(last, 31);
  const auto first = batches(0, 2, 2), second = batches(1, 2, 2);
  for (size_t step = 0; step < 2; ++step) {
    for (size_t i = 0; i < 4; ++i) {
      EXPECT_EQ(first[4 * step + i], alone[8 * step + i]);
      EXPECT_EQ(second[4 * step + i], alone[8 * step + 4 + i]);
    }
  }
}

TEST(MaskedBatches, GoOnWhereTheyWere) {
  const LoaderOptions options{.samples = {.seed = 3}, .rows = 2};
  MaskedBatches source(layouts::dataset(), options, masker(), 12),
      other(layouts::dataset(), options, masker(), 12);
  source.next(2);
  const std::string place = source.state();
  const Batch expected = source.next(2);
  other.restore(place);
  const Batch batch = other.next(2);
  for (const size_t i : {0, 1}) EXPECT_EQ(to_vector(batch[i]), to_vector(expected[i]));
  expect_error(ErrorKind::Argument, "next got 3 samples, gives 2", [&] { other.next(3); });
  expect_error(ErrorKind::Config, "model.context: got 2, takes more than the 2 tokens",
               [&] { MaskedBatches(layouts::dataset(), options, masker(), 2); });
}

TEST(MaskingOptions, ComeFromTheTokenizer) {
  const std::string_view text = "ab ab ab";
  const Tokenizer bare = Tokenizer::train(std::span(&text, 1), {.vocab_size = 258});
  const Tokenizer whole = Tokenizer::train(
      std::span(&text, 1),
      {.vocab_size = 262, .special_tokens = {"[PAD]", "[CLS]", "[SEP]", "[MASK]"}});
  const MaskingOptions options = masking_options(&whole, 300, -1);
  EXPECT_EQ(options.mask_token, 3);
  EXPECT_EQ(options.first, 1);
  EXPECT_EQ(options.last, 2);
  EXPECT_THAT(options.kept, testing::ElementsAre(0, 1, 2, 3));
  EXPECT_EQ(masking_options(&bare, 300, 299).mask_token, 299);
  EXPECT_EQ(masking_options(&bare, 300, 299).first, std::nullopt);
  expect_error(ErrorKind::Config, "the tokenizer has no [MASK]",
               [&] { masking_options(&bare, 300, -1); });
  expect_error(ErrorKind::Config, "there is no tokenizer with a [MASK]",
               [&] { masking_options(nullptr, 300, -1); });
  expect_error(ErrorKind::Config, "masking.token: got 300, takes an id below the 300",
               [&] { masking_options(&bare, 300, 300); });
}

std::unique_ptr<LanguageModel> small_bert() {
  ModelSize size;
  size.type = "bert";
  size.vocab_size = 32;
  size.context = 12;
  size.layers = 1;
  size.dim = 8;
  size.heads = 2;
  size.dropout = 0.5;
  return make_model(size, 2);
}

TEST(Evaluate, OfMaskedTokensIsTheMeanOverThem) {
  const auto model = small_bert();
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < 35; ++i) tokens.push_back(i % 29);  // three windows of ten, and a rest
  const TokenMasker masks = masker();
  model->eval();
  double expected = 0;
  for (int64_t window = 0; window < 3; ++window) {
    const NoGradGuard no_grad;
    std::vector<int64_t> own(tokens.begin() + window * 10, tokens.begin() + window * 10 + 10);
    std::vector<int64_t> ids(12), targets(12);
    masks.mask(window, own, ids.data(), targets.data());
    expected += model->loss(from_values(ids, {1, 12}), from_values(targets, {1, 12})).item() / 3;
  }
  for (const int64_t batch : {1, 2, 8}) {
    const Evaluation result = evaluate(*model, tokens, {.batch = batch, .masker = &masks});
    EXPECT_EQ(result.tokens, 6);
    EXPECT_NEAR(result.loss, expected, 1e-6);
    EXPECT_EQ(result.bytes, 0);
  }
  expect_error(ErrorKind::Argument, "got no masker for bert, which predicts masked tokens",
               [&] { evaluate(*model, tokens); });
  expect_error(ErrorKind::Argument, "context is 2, takes more than what stands around a sequence",
               [&] { evaluate(*model, tokens, {.context = 2, .masker = &masks}); });
}

TEST(Generate, RefusesAModelThatFillsInMaskedTokens) {
  const auto model = small_bert();
  const std::vector<int32_t> prompt = {1};
  expect_error(ErrorKind::Argument, "got a bert, which fills in masked tokens",
               [&] { generate(*model, prompt, {}, {}); });
}

const Words kBert = {"model.type=bert",     "model.layers=2",      "model.heads=3",
                     "model.dim=24",        "model.context=16",    "model.vocab_size=32",
                     "model.dropout=0.1",   "masking.token=31",    "train.batch=16",
                     "train.micro_batch=2", "train.clip_norm=0.5", "train.ema_decay=0"};

TEST(MaskedPretraining, OnRanksIsThatOfOneProcess) {
  struct Sharing {
    int ranks;
    Words words;
    bool same_bits;
  };
  const TemporaryDirectory directory;
  layouts::write_tokens(directory / "train.bin");
  layouts::pretrain_ranks(directory.path(), "alone", kBert, 1);
  const nn::StateDict alone = layouts::weights_of(directory / "alone");
  const Sharing table[] = {{2, {}, true},
                           {8, {"parallel.zero=1"}, true},
                           {4, {"parallel.zero=2"}, true},
                           {4, {"parallel.zero=3", "parallel.dp_shard=2"}, true},
                           {2, {"parallel.tp=2"}, false},
                           {4, {"parallel.tp=2", "parallel.sequence=true"}, false},
                           {2, {"parallel.pp=2"}, false},
                           {4, {"parallel.pp=2", "parallel.schedule=zb-h1"}, false}};
  for (const Sharing& sharing : table) {
    SCOPED_TRACE(testing::Message()
                 << sharing.ranks << " ranks " << testing::PrintToString(sharing.words));
    Words words = kBert;
    words.insert(words.end(), sharing.words.begin(), sharing.words.end());
    layouts::pretrain_ranks(directory.path(), "ranks", words, sharing.ranks);
    const double apart = nn::relative_distance(layouts::weights_of(directory / "ranks"), alone);
    EXPECT_LE(apart, sharing.same_bits ? 0 : layouts::kRounding);
    std::filesystem::remove_all(directory / "ranks");
  }
}

TEST(MaskedPretraining, NamesTheKeyThatDoesNotFit) {
  const TemporaryDirectory directory;
  layouts::write_tokens(directory / "train.bin");
  const auto refused = [&](const Words& more, int ranks, const char* message) {
    Words words = kBert;
    words.insert(words.end(), more.begin(), more.end());
    expect_error(ErrorKind::Config, message,
                 [&] { layouts::pretrain_ranks(directory.path(), "run", words, ranks); });
  };
  refused({"masking.token=-1"}, 1, "masking.token: is missing");
  refused({"masking.token=32"}, 1, "masking.token: got 32, takes an id below the 32");
  refused({"sample.every=2"}, 1, "sample.every: got 2, takes 0 for bert");
  refused({"parallel.cp=2"}, 2, "parallel.cp: takes 1 for bert");
}

}  // namespace
}  // namespace plinth
