// T5 against values that transformers computed: see tests/fixtures/README.md.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/autograd.h"
#include "core/io/file.h"
#include "core/io/json.h"
#include "core/ops/elementwise.h"
#include "models/encoder_decoder_registry.h"
#include "models/t5/t5.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"
#include "tests/models/fixture.h"

namespace plinth {
namespace {

std::unique_ptr<T5> load_t5(const std::filesystem::path& directory, DType dtype = DType::Float32) {
  return std::unique_ptr<T5>(dynamic_cast<T5*>(load_encoder_decoder(directory, dtype).release()));
}

// A fixture's inputs and values: of three sources the last two are padded.
struct T5Expected {
  explicit T5Expected(const std::string& name)
      : values(read_tensors(fixture(name) / "expected.safetensors")),
        ids(value(values, "input_ids")),
        lengths(value(values, "lengths")),
        labels(value(values, "labels")) {}

  nn::StateDict values;
  Tensor ids, lengths, labels;
};

class T5Parity : public testing::TestWithParam<const char*> {
 protected:
  T5Parity() { model_->eval(); }
  Tensor logits(T5& model) {
    return model.forward(expected_.ids, model.shift_right(expected_.labels), expected_.lengths);
  }

  std::unique_ptr<T5> model_ = load_t5(fixture(GetParam()));
  T5Expected expected_{GetParam()};
};

TEST_P(T5Parity, LogitsAndLossAreThoseOfTransformers) {
  EXPECT_LT(relative_distance(logits(*model_), value(expected_.values, "logits")), 1e-5);
  EXPECT_NEAR(model_->loss(expected_.ids, expected_.labels, expected_.lengths).item(),
              value(expected_.values, "loss").item(), 2e-5);
}

TEST_P(T5Parity, EveryGradientIsThatOfPyTorch) {
  for (const bool checkpointing : {false, true}) {
    SCOPED_TRACE(checkpointing ? "with activation checkpointing" : "plain");
    model_->set_activation_checkpointing(checkpointing);
    model_->zero_grad();
    model_->loss(expected_.ids, expected_.labels, expected_.lengths).backward();
    expect_gradients(exported_gradients(*model_, model_->weight_slices()), expected_.values, 5e-5);
  }
}

TEST_P(T5Parity, SavedModelLoadsToTheSameBits) {
  for (const uint64_t bytes : {uint64_t{1} << 30, uint64_t{9000}}) {
    const TemporaryDirectory folder;
    save_pretrained(*model_, folder.path(), {.max_shard_bytes = bytes});
    EXPECT_EQ(weight_names(folder.path()), weight_names(fixture(GetParam())));
    const auto loaded = load_t5(folder.path());
    expect_same_state(*loaded, *model_);
    EXPECT_EQ(loaded->config_json(DType::Float32), model_->config_json(DType::Float32));
  }
}

TEST_P(T5Parity, NarrowFilesAndWeights) {
  const Tensor reference = logits(*model_);
  for (const auto& [dtype, bound] : {std::pair{DType::BFloat16, 0.1}, {DType::Float16, 0.02}}) {
    SCOPED_TRACE(name(dtype));
    const TemporaryDirectory folder;
    save_pretrained(*model_, folder.path(), {.dtype = dtype});
    for (const DType weights : {DType::Float32, dtype}) {
      const auto model = load_t5(folder.path(), weights);
      model->eval();
      EXPECT_LE(relative_distance(logits(*model), reference), bound);
    }
  }
}

// A token at a time, or a few, from the same logits as all at once; the source's keys are there
// after the first call.
TEST_P(T5Parity, CachesGiveTheSameLogits) {
  const NoGradGuard no_grad;
  const Tensor ids = model_->shift_right(expected_.labels), reference = logits(*model_);
  const EncoderStates source = model_->encode(expected_.ids, expected_.lengths);
  DecoderCaches caches = model_->make_caches(3, ids.size(1), source.states.size(1));
  int64_t before = 0;
  for (const int64_t count : {1, 1, 4, 1, 6}) {
    const Tensor some = model_->decode(ids.narrow(1, before, count), source, &caches);
    EXPECT_LT(relative_distance(model_->head(some), reference.narrow(1, before, count)), 2e-5);
    before += count;
    EXPECT_EQ(caches.length(), before);
    for (const nn::KVCache& cross : caches.cross) EXPECT_EQ(cross.length(), 17);
  }
}

TEST_P(T5Parity, PaddingIsNotSeen) {
  const Tensor other =
      where(eq(expected_.ids, 0.0), full({3, 17}, 5, {DType::Int64, {}}), expected_.ids);
  EXPECT_EQ(
      to_vector(model_->forward(other, model_->shift_right(expected_.labels), expected_.lengths)),
      to_vector(logits(*model_)));
}

INSTANTIATE_TEST_SUITE_P(Fixtures, T5Parity, testing::Values("t5", "t5_gated"),
                         [](const auto& info) { return std::string(info.param); });

// Those of every distance from -300 to 300, as transformers computes them in float32.
TEST(T5, BucketsAreThoseOfTransformers) {
  const nn::StateDict expected = read_tensors(fixture("t5") / "buckets.safetensors");
  ASSERT_EQ(expected.size(), 6U);
  for (const auto& [name, buckets] : expected) {
    const int64_t count = std::stoll(name);
    const nn::RelativePositionOptions options{
        .buckets = count,
        .max_distance = std::stoll(name.substr(name.find('.') + 1)),
        .bidirectional = name.ends_with("both")};
    const std::vector<double> values = to_vector(buckets);
    for (size_t i = 0; i < values.size(); ++i)
      EXPECT_EQ(nn::relative_position_bucket(static_cast<int64_t>(i) - 300, options), values[i])
          << name << ", " << static_cast<int64_t>(i) - 300;
  }
}

TEST(T5, TrainsWithDropout) {
  const auto model = load_t5(fixture("t5"));
  const T5Expected expected("t5");
  const auto loss = [&] { return model->loss(expected.ids, expected.labels).item(); };
  EXPECT_NE(loss(), loss());
  model->eval();
  EXPECT_EQ(loss(), loss());
}

TEST(T5, ShiftsLabelsRight) {
  const auto model = load_t5(fixture("t5"));
  const Tensor labels = from_values<int64_t>({5, 6, -100, 7, -100, -100, 8, 9}, {2, 4});
  EXPECT_THAT(to_vector(model->shift_right(labels)), testing::ElementsAre(0, 5, 6, 0, 0, 0, 0, 8));
}

// Tied copies, and a table that early checkpoints have though nothing reads it.
TEST(T5, ReadsEarlyCheckpoints) {
  const TemporaryDirectory folder;
  nn::StateDict weights = read_tensors(fixture("t5") / "model.safetensors");
  const Tensor table = value(weights, "shared.weight");
  for (const char* copy :
       {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"})
    weights.push_back({copy, table});
  weights.push_back(
      {"decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight", zeros({8, 3})});
  write_safetensors(folder / "model.safetensors", entries_of(weights));
  nlohmann::json config = read_json(fixture("t5") / "config.json");
  for (const char* key : {"scale_decoder_outputs", "tie_word_embeddings", "decoder_start_token_id"})
    config.erase(key);
  write_file_atomically(folder / "config.json", config.dump());
  expect_same_state(*load_t5(folder.path()), *load_t5(fixture("t5")));
  // Version 1.1 as it was published.
  nlohmann::json untied = read_json(fixture("t5_gated") / "config.json");
  untied.erase("scale_decoder_outputs");
  untied["tie_word_embeddings"] = false;
  const T5Config read =
      T5Config::from_json(ConfigJson::parse(untied.dump(), "config.json"), nullptr);
  EXPECT_FALSE(read.tied);
  EXPECT_FALSE(read.scaled_head);
}

TEST(T5, RefusesWhatItDoesNotTake) {
  const auto model = load_t5(fixture("t5"));
  const T5Expected expected("t5");
  expect_error(ErrorKind::Shape, "ids have shape [3], expected [batch, time]",
               [&] { model->encode(expected.lengths); });
  expect_error(ErrorKind::Shape, "lengths have shape [3, 17], expected [3]",
               [&] { model->encode(expected.ids, expected.ids); });
  expect_error(ErrorKind::Shape, "expected one batch", [&] {
    model->decode(expected.labels.narrow(0, 0, 2), model->encode(expected.ids));
  });
  const Tensor ids = model->shift_right(expected.labels);
  DecoderCaches short_of = model->make_caches(3, ids.size(1), expected.ids.size(1));
  short_of.cross.pop_back();
  expect_error(ErrorKind::Argument, "t5: caches are for 1 and 0 layers",
               [&] { model->decode(ids, model->encode(expected.ids), &short_of); });
  DecoderCaches none;
  expect_error(ErrorKind::Argument, "t5: caches are for 0 and 0 layers",
               [&] { model->decode(ids, model->encode(expected.ids), &none); });
  expect_error(ErrorKind::DType, "labels are float32, takes int64", [&] {
    model->loss(expected.ids, zeros({3, 4}));
  });
  const auto refused = [](const char* key, nlohmann::json value, const char* message) {
    nlohmann::json config = read_json(fixture("t5") / "config.json");
    config[key] = value;
    expect_error(ErrorKind::Format, message,
                 [&] { make_encoder_decoder(ConfigJson::parse(config.dump(), "config.json")); });
  };
  refused("feed_forward_proj", "gated-silu", "nearest: gated-gelu");
  refused("is_decoder", true, "is_decoder is true, takes false only");
  refused("num_heads", 0, "num_heads is 0");
  refused("model_type", "t6", "model_type got 't6', takes one of t5");
}

}  // namespace
}  // namespace plinth
