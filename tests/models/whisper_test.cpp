// Whisper against values that transformers computed: see tests/fixtures/README.md.

#include "models/whisper/whisper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/autograd.h"
#include "core/io/json.h"
#include "models/encoder_decoder_registry.h"
#include "models/sequence_generation.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"
#include "tests/models/fixture.h"

namespace plinth {
namespace {

std::unique_ptr<Whisper> load_whisper(const std::filesystem::path& directory,
                                      DType dtype = DType::Float32) {
  std::unique_ptr<EncoderDecoder> model = load_encoder_decoder(directory, dtype);
  model->eval();
  return std::unique_ptr<Whisper>(dynamic_cast<Whisper*>(model.release()));
}

class WhisperParity : public testing::TestWithParam<const char*> {
 protected:
  Tensor logits(Whisper& model) { return model.forward(features_, model.shift_right(labels_)); }

  std::unique_ptr<Whisper> model_ = load_whisper(fixture(GetParam()));
  nn::StateDict expected_ = read_tensors(fixture(GetParam()) / "expected.safetensors");
  Tensor features_ = value(expected_, "features"), labels_ = value(expected_, "labels");
};

TEST_P(WhisperParity, LogitsAndLossAreThoseOfTransformers) {
  EXPECT_LT(relative_distance(logits(*model_), value(expected_, "logits")), 1e-5);
  EXPECT_NEAR(model_->loss(features_, labels_).item(), value(expected_, "loss").item(), 1e-5);
}

// Positions of the encoder, which are not trained, have none.
TEST_P(WhisperParity, EveryGradientIsThatOfPyTorch) {
  for (const bool checkpointing : {false, true}) {
    SCOPED_TRACE(checkpointing ? "with activation checkpointing" : "plain");
    model_->set_activation_checkpointing(checkpointing);
    model_->zero_grad();
    model_->loss(features_, labels_).backward();
    expect_gradients(exported_gradients(*model_, model_->weight_slices()), expected_, 3e-5);
    EXPECT_FALSE(nn::find(expected_, "grad.model.encoder.embed_positions.weight").defined());
  }
}

TEST_P(WhisperParity, GeneratesWhatTransformersGenerates) {
  for (const nlohmann::json& search : read_json(fixture(GetParam()) / "generated.json")) {
    const nlohmann::json& given = search["options"];
    const auto found = generate_sequences(*model_, features_, {},
                                          {.max_tokens = given["max_new_tokens"],
                                           .beams = given["num_beams"],
                                           .prompt = given["prompt"]});
    ASSERT_EQ(found.size(), 2U);
    for (size_t row = 0; row < 2; ++row)
      EXPECT_EQ(nlohmann::json(found[row].ids), search["ids"][row]) << given.dump();
  }
}

TEST_P(WhisperParity, SavedModelLoadsToTheSameBits) {
  for (const uint64_t bytes : {uint64_t{1} << 30, uint64_t{9000}}) {
    const TemporaryDirectory folder;
    save_pretrained(*model_, folder.path(), {.max_shard_bytes = bytes});
    EXPECT_EQ(weight_names(folder.path()), weight_names(fixture(GetParam())));
    const auto loaded = load_whisper(folder.path());
    expect_same_state(*loaded, *model_);
    EXPECT_EQ(loaded->config_json(DType::Float32), model_->config_json(DType::Float32));
  }
}

TEST_P(WhisperParity, NarrowFilesAndWeights) {
  const Tensor reference = logits(*model_);
  for (const auto& [dtype, bound] : {std::pair{DType::BFloat16, 0.1}, {DType::Float16, 0.02}}) {
    SCOPED_TRACE(name(dtype));
    const TemporaryDirectory folder;
    save_pretrained(*model_, folder.path(), {.dtype = dtype});
    for (const DType weights : {DType::Float32, dtype})
      EXPECT_LE(relative_distance(logits(*load_whisper(folder.path(), weights)), reference), bound);
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, WhisperParity, testing::Values("whisper", "whisper_untied"),
                         [](const auto& info) { return std::string(info.param); });

// A new model's positions are those that transformers computes, and stay as they are.
TEST(Whisper, PositionsAreSinesAndCosines) {
  const auto loaded = load_whisper(fixture("whisper"));
  Whisper made(loaded->config());
  made.reset_parameters(3);
  const Tensor positions = nn::find(made.state_dict(), "encoder.positions");
  ASSERT_TRUE(positions.defined());
  EXPECT_LT(relative_distance(positions, nn::find(loaded->state_dict(), "encoder.positions")),
            1e-6);
  for (const auto& [name, parameter] : made.named_parameters())
    EXPECT_NE(name, "encoder.positions");
}

TEST(Whisper, RefusesWhatItDoesNotTake) {
  const auto model = load_whisper(fixture("whisper"));
  expect_error(ErrorKind::Shape, "features have shape [1, 6, 20], expected [batch, 6, 22]", [&] {
    model->encode(zeros({1, 6, 20}));
  });
  expect_error(ErrorKind::DType, "features are int64", [&] {
    model->encode(zeros({1, 6, 22}, {DType::Int64, {}}));
  });
  expect_error(ErrorKind::Argument, "takes no lengths", [&] {
    model->encode(zeros({1, 6, 22}), zeros({1}, {DType::Int64, {}}));
  });
  const EncoderStates source = model->encode(zeros({1, 6, 22}));
  expect_error(ErrorKind::Shape, "ids have shape [1, 15], the context is 14", [&] {
    model->decode(zeros({1, 15}, {DType::Int64, {}}), source);
  });
  expect_error(ErrorKind::Argument, "a cache of 15 positions exceeds the context of 14", [&] {
    generate_sequences(*model, zeros({1, 6, 22}), {}, {.max_tokens = 15});
  });
  const auto refused = [](const char* key, nlohmann::json value, const char* message) {
    nlohmann::json config = read_json(fixture("whisper") / "config.json");
    config[key] = value;
    expect_error(ErrorKind::Format, message,
                 [&] { make_encoder_decoder(ConfigJson::parse(config.dump(), "config.json")); });
  };
  refused("scale_embedding", true, "scale_embedding is true, takes false only");
  refused("encoder_layerdrop", 0.1, "encoder_layerdrop is 0.1, takes 0 only");
  refused("decoder_attention_heads", 3,
          "d_model is 16, takes a multiple of decoder_attention_heads 3");
  refused("d_model", 2, "d_model is 2, takes an even number above 2");
  refused("activation_function", "relu", "activation_function is \"relu\"");
}

}  // namespace
}  // namespace plinth
