// ViT against values that transformers and PyTorch computed: see tests/fixtures/README.md.

#include "models/vit/vit.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <numeric>

#include "core/io/file.h"
#include "core/io/json.h"
#include "core/ops/loss.h"
#include "models/vision/image_model.h"
#include "models/vision/interpolation.h"
#include "models/vision/mixed_loss.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"
#include "tests/models/fixture.h"

namespace plinth {
namespace {

std::unique_ptr<ViT> load_vit(const std::filesystem::path& directory,
                              DType dtype = DType::Float32) {
  return load_image_model_as<ViT>(directory, dtype);
}

class ViTParity : public testing::TestWithParam<const char*> {
 protected:
  std::unique_ptr<ViT> model_ = load_vit(fixture(GetParam()));
  nn::StateDict values_ = expected_of(GetParam());
  Tensor pixels_ = value(values_, "pixels"), larger_ = value(values_, "larger");
  Tensor targets_ = value(values_, "targets");
};

TEST_P(ViTParity, LogitsAndLossAreThoseOfTransformers) {
  model_->eval();
  EXPECT_LT(relative_distance(model_->forward(pixels_), value(values_, "logits")), 1e-5);
  EXPECT_LT(relative_distance(model_->forward(larger_, true), value(values_, "larger_logits")),
            1e-5);
  EXPECT_NEAR(model_->loss(pixels_, targets_).item(), value(values_, "loss").item(), 2e-6);
}

TEST_P(ViTParity, EveryGradientIsThatOfPyTorch) {
  model_->eval();
  for (const bool checkpointing : {false, true}) {
    SCOPED_TRACE(checkpointing ? "with activation checkpointing" : "plain");
    model_->set_activation_checkpointing(checkpointing);
    model_->zero_grad();
    model_->loss(pixels_, targets_).backward();
    const Tensor loss = model_->loss(larger_, targets_.narrow(0, 0, 2), true);
    EXPECT_NEAR(loss.item(), value(values_, "larger_loss").item(), 2e-6);
    loss.backward();
    expect_gradients(exported_gradients(*model_, model_->weight_slices()), values_);
  }
}

TEST_P(ViTParity, NarrowFilesAndWeights) {
  model_->eval();
  const Tensor reference = model_->forward(pixels_);
  for (const auto& [dtype, bound] : {std::pair{DType::BFloat16, 0.05}, {DType::Float16, 0.01}}) {
    SCOPED_TRACE(name(dtype));
    const TemporaryDirectory folder;
    save_image_model(*model_, folder.path(), {.dtype = dtype});
    for (const DType loaded : {DType::Float32, dtype}) {
      const auto model = load_vit(folder.path(), loaded);
      model->eval();
      EXPECT_LE(relative_distance(model->forward(pixels_), reference), bound);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, ViTParity, testing::Values("vit", "vit_plain"),
                         [](const auto& info) { return std::string(info.param); });

class ViTFiles : public testing::TestWithParam<const char*> {};

TEST_P(ViTFiles, SavedModelLoadsToTheSameBits) {
  const auto model = load_vit(fixture(GetParam()));
  for (const uint64_t bytes : {uint64_t{1} << 30, uint64_t{3000}}) {
    const TemporaryDirectory folder;
    save_image_model(*model, folder.path(), {.max_shard_bytes = bytes});
    EXPECT_EQ(weight_names(folder.path()), weight_names(fixture(GetParam())));
    expect_same_state(*model, *load_vit(folder.path()));
    const nlohmann::json saved = read_json(folder / "config.json");
    const nlohmann::json original = read_json(fixture(GetParam()) / "config.json");
    for (const auto& [key, setting] : original.items()) {
      if (key == "transformers_version" || key == "encoder_stride") continue;
      EXPECT_EQ(saved.value(key, nlohmann::json()), setting) << key;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, ViTFiles, testing::Values("vit", "vit_plain", "vit_model"),
                         [](const auto& info) { return std::string(info.param); });

TEST(ViT, TheEncoderAloneHasAPoolerOrNone) {
  const auto model = load_vit(fixture("vit_model"));
  const nn::StateDict values = expected_of("vit_model");
  model->eval();
  const Tensor x = model->encode(value(values, "pixels"));
  EXPECT_LT(relative_distance(x, value(values, "hidden")), 1e-5);
  EXPECT_LT(relative_distance(model->pool(x), value(values, "pooled")), 1e-5);
  expect_error(ErrorKind::Argument, "has no classifier",
               [&] { model->forward(value(values, "pixels")); });

  const TemporaryDirectory folder;
  nn::StateDict weights = read_tensors(fixture("vit_model") / "model.safetensors");
  std::erase_if(weights, [](const auto& entry) { return entry.name.starts_with("pooler."); });
  write_safetensors(folder / "model.safetensors", entries_of(weights));
  std::filesystem::copy(fixture("vit_model") / "config.json", folder / "config.json");
  const auto bare = load_vit(folder.path());
  bare->eval();
  EXPECT_EQ(to_vector(bare->encode(value(values, "pixels"))), to_vector(x));
  expect_error(ErrorKind::Argument, "has no pooler", [&] { bare->pool(x); });
}

TEST(ViT, AClassifierBeginsWithAPretrainedEncoder) {
  const auto pretrained = load_vit(fixture("vit"));
  const Tensor pixels = value(expected_of("vit"), "pixels");
  const auto make = [&](uint64_t seed) {
    auto model = make_classifier(*pretrained, pretrained->config(), {"cat", "dog", "bird"}, seed);
    model->eval();
    return model;
  };
  const auto model = make(1), other = make(2);
  pretrained->eval();
  EXPECT_EQ(to_vector(model->encode(pixels)), to_vector(pretrained->encode(pixels)));
  EXPECT_EQ(model->forward(pixels).shape(), Shape({3, 3}));
  EXPECT_NE(to_vector(model->forward(pixels)), to_vector(other->forward(pixels)));
}

TEST(ViT, DropsNothingInEvaluation) {
  ViTConfig config = load_vit(fixture("vit"))->config();
  config.hidden_dropout = config.attention_dropout = 0.5;
  ViT model(config);
  const Tensor pixels = value(expected_of("vit"), "pixels");
  const auto logits = [&] { return to_vector(model.forward(pixels)); };
  EXPECT_NE(logits(), logits());
  model.eval();
  EXPECT_EQ(logits(), logits());
}

// Constants stay constant, and the same size is the same.
TEST(ImageEmbedding, BicubicWeightsAddUpToOne) {
  for (const auto& [rows, columns] : {std::pair{3, 3}, {7, 2}, {1, 5}}) {
    const std::vector<double> weights = to_vector(bicubic_weights(3, {rows, columns}));
    for (size_t i = 0; i < weights.size(); i += 9)
      EXPECT_NEAR(std::accumulate(weights.begin() + static_cast<std::ptrdiff_t>(i),
                                  weights.begin() + static_cast<std::ptrdiff_t>(i) + 9, 0.0),
                  1, 1e-6);
  }
  EXPECT_EQ(to_vector(bicubic_weights(3, 3)), to_vector(eye(9)));
}

TEST(MixedCrossEntropy, WeighsBothLabels) {
  const Tensor logits = value(expected_of("vit"), "logits");
  const Tensor labels = from_values<int64_t>({2, 0, 1}, {3});
  const Tensor others = from_values<int64_t>({0, 3, 4}, {3});
  const double own = cross_entropy(logits, labels).item();
  const double other = cross_entropy(logits, others).item();
  for (const double share : {0.0, 0.25, 1.0})
    EXPECT_NEAR(mixed_cross_entropy(logits, labels, others, full({3}, share)).item(),
                share * own + (1 - share) * other, 1e-6);
  expect_error(ErrorKind::Shape, "share have shapes [3], [3] and [2]",
               [&] { mixed_cross_entropy(logits, labels, others, ones({2})); });
}

TEST(ViT, RefusesWhatItDoesNotTake) {
  const auto model = load_vit(fixture("vit"));
  expect_error(ErrorKind::Shape, "expected images of 12 x 12 where positions are not interpolated",
               [&] {
                 model->encode(zeros({1, 3, 12, 16}));
               });
  expect_error(ErrorKind::Shape, "expected [batch, 3, height, width] of at least 4 pixels a side",
               [&] {
                 model->encode(zeros({1, 1, 12, 12}));
               });
  expect_error(ErrorKind::Shape, "of at least 4 pixels a side", [&] {
    model->encode(zeros({1, 3, 12, 3}), true);
  });
  expect_error(ErrorKind::Shape, "targets have shape [3], expected one for each image", [&] {
    model->loss(zeros({2, 3, 12, 12}), zeros({3}, {DType::Int64, {}}));
  });
  const auto refused = [](const char* key, nlohmann::json setting, const char* message) {
    nlohmann::json config = read_json(fixture("vit") / "config.json");
    config[key] = std::move(setting);
    expect_error(ErrorKind::Format, message,
                 [&] { make_image_model(ConfigJson::parse(config.dump(), "config.json")); });
  };
  refused("model_type", "vti", "model_type is \"vti\", takes");
  refused("image_size", {12, 16}, "image_size is [12,16], takes an integer");
  refused("patch_size", 13, "patch_size is 13, takes at most image_size 12");
  refused("num_attention_heads", 3, "hidden_size is 16, takes a multiple of num_attention_heads 3");
  refused("hidden_act", "relu", "hidden_act is \"relu\"");
  refused("pooler_act", "relu", "pooler_act is \"relu\"");
  refused("problem_type", "regression", "problem_type is \"regression\"");
  refused("id2label", {{"0", "only"}}, "id2label has 1 label");
  refused("architectures", {"ViTForMaskedImageModeling"}, "architectures is [");
  expect_error(ErrorKind::Format, "model_type is \"bert\"",
               [] { load_image_model(fixture("bert")); });
}

}  // namespace
}  // namespace plinth
