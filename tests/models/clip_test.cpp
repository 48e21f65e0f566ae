// CLIP against values that transformers and PyTorch computed: see tests/fixtures/README.md.

#include "models/clip/clip.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/autograd.h"
#include "core/io/file.h"
#include "core/io/json.h"
#include "core/ops/views.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"
#include "tests/models/fixture.h"

namespace plinth {
namespace {

std::unique_ptr<Clip> load_clip(const std::filesystem::path& directory) {
  return load_image_model_as<Clip>(directory);
}

class ClipParity : public testing::TestWithParam<const char*> {
 protected:
  std::unique_ptr<Clip> model_ = load_clip(fixture(GetParam()));
  nn::StateDict values_ = read_tensors(fixture(GetParam()) / "expected.safetensors");
  Tensor pixels_ = value(values_, "pixels"), ids_ = value(values_, "input_ids");
};

TEST_P(ClipParity, LogitsAndLossAreThoseOfTransformers) {
  model_->eval();
  EXPECT_LT(relative_distance(model_->forward(pixels_, ids_), value(values_, "logits")), 1e-5);
  const Tensor larger = model_->image_features(value(values_, "larger"), true);
  EXPECT_LT(relative_distance(model_->similarity(larger, model_->text_features(ids_)),
                              value(values_, "larger_logits")),
            1e-5);
  EXPECT_NEAR(model_->loss(pixels_, ids_).item(), value(values_, "loss").item(), 2e-6);
}

TEST_P(ClipParity, EveryGradientIsThatOfPyTorch) {
  model_->eval();
  for (const bool checkpointing : {false, true}) {
    SCOPED_TRACE(checkpointing ? "with activation checkpointing" : "plain");
    model_->set_activation_checkpointing(checkpointing);
    model_->zero_grad();
    model_->loss(pixels_, ids_).backward();
    expect_gradients(exported_gradients(*model_, model_->weight_slices()), values_);
  }
}

TEST_P(ClipParity, SavedModelLoadsToTheSameBits) {
  for (const uint64_t bytes : {uint64_t{1} << 30, uint64_t{3000}}) {
    const TemporaryDirectory folder;
    save_image_model(*model_, folder.path(), {.max_shard_bytes = bytes});
    EXPECT_EQ(weight_names(folder.path()), weight_names(fixture(GetParam())));
    const auto loaded = load_clip(folder.path());
    expect_same_state(*model_, *loaded);
    EXPECT_EQ(loaded->config_json(DType::Float32), model_->config_json(DType::Float32));
    const nlohmann::json saved = read_json(folder / "config.json");
    const nlohmann::json original = read_json(fixture(GetParam()) / "config.json");
    for (const char* tower : {"text_config", "vision_config"}) {
      for (const auto& [key, setting] : saved[tower].items()) {
        // A projection's width is that of the whole, whatever a tower says.
        if (key == "projection_dim") continue;
        EXPECT_EQ(original[tower].value(key, nlohmann::json()), setting) << tower << " " << key;
      }
    }
  }
}

// What follows the end of a text is padding, whatever it is.
TEST_P(ClipParity, TextsEndAtTheirEnd) {
  model_->eval();
  const Tensor features = model_->text_features(ids_);
  EXPECT_LT(relative_distance(model_->text_features(ids_.narrow(0, 1, 1).narrow(1, 0, 5)),
                              features.narrow(0, 1, 1)),
            1e-6);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, ClipParity, testing::Values("clip", "clip_gelu"),
                         [](const auto& info) { return std::string(info.param); });

TEST(Clip, ClassifiesWithoutTraining) {
  const auto model = load_clip(fixture("clip"));
  const nn::StateDict values = read_tensors(fixture("clip") / "expected.safetensors");
  const Tensor ids = value(values, "input_ids");
  model->eval();
  const Tensor images = model->image_features(value(values, "pixels"));
  // One prompt a class: the texts themselves.
  const Tensor single = model->zero_shot_classes(ids.split({1, 1, 1, 1}, 0));
  EXPECT_LT(relative_distance(model->similarity(images, single), value(values, "logits")), 1e-5);
  // Two prompts: between both.
  const Tensor classes = model->zero_shot_classes({ids.narrow(0, 0, 2), ids.narrow(0, 2, 1)});
  EXPECT_EQ(classes.shape(), Shape({2, 14}));
  const std::vector<double> a = to_vector(single[0]), b = to_vector(single[1]),
                            both = to_vector(classes[0]);
  double length = 0;
  for (size_t i = 0; i < a.size(); ++i) length += (a[i] + b[i]) * (a[i] + b[i]);
  for (size_t i = 0; i < a.size(); ++i)
    EXPECT_NEAR(both[i], (a[i] + b[i]) / std::sqrt(length), 1e-6);
  expect_error(ErrorKind::Argument, "got prompts of no class",
               [&] { model->zero_shot_classes({}); });
}

TEST(Clip, IsDrawnFromASeed) {
  const ClipConfig config = load_clip(fixture("clip"))->config();
  Clip one(config), same(config), other(config);
  one.reset_parameters(1), same.reset_parameters(1), other.reset_parameters(2);
  expect_same_state(one, same);
  EXPECT_NE(to_vector(one.parameters().back()), to_vector(other.parameters().back()));
  EXPECT_NEAR(nn::find(one.state_dict(), "logit_scale").item(), 2.6592, 1e-6);
}

TEST(Clip, MayHaveNoTokenThatBeginsATextOrFillsItUp) {
  ClipConfig config = load_clip(fixture("clip"))->config();
  config.text.bos_token = config.text.pad_token = std::nullopt;
  const ClipConfig read =
      ClipConfig::from_json(ConfigJson::parse(config.to_json(DType::Float32), "config.json"));
  EXPECT_EQ(read.text.bos_token, std::nullopt);
  EXPECT_EQ(read.text.pad_token, std::nullopt);
}

TEST(Clip, LimitsItsScale) {
  Clip model(load_clip(fixture("clip"))->config());
  Tensor scale = nn::find(model.state_dict(), "logit_scale");
  for (const auto& [set, expected] : {std::pair(3.0, 3.0), {9.0, std::log(100.0)}}) {
    const NoGradGuard no_grad;
    scale.fill_(set);
    model.limit_scale();
    EXPECT_NEAR(scale.item(), expected, 1e-6);
  }
}

// What CLIPConfig of transformers 5.24 reads.
TEST(Clip, ReadsTheSettingsThatOlderFilesHaveTwice) {
  nlohmann::json json = read_json(fixture("clip") / "config.json");
  json["text_config_dict"] = {
      {"hidden_size", 32}, {"hidden_act", "gelu"}, {"num_hidden_layers", 1}};
  json["vision_config_dict"] = nullptr;
  const ClipConfig config = ClipConfig::from_json(ConfigJson::parse(json.dump(), "config.json"));
  EXPECT_EQ(config.text.dim, 32);
  EXPECT_EQ(config.text.gelu, GeluForm::Exact);
  EXPECT_EQ(config.text.vocab_size, 49408);  // left out: not what text_config says
  EXPECT_EQ(config.text.heads, 8);
  EXPECT_EQ(config.vision.dim, json["vision_config"]["hidden_size"].get<int64_t>());
  EXPECT_EQ(config.vision.image_size, 12);
}

TEST(Clip, RefusesWhatItDoesNotTake) {
  const auto model = load_clip(fixture("clip"));
  const TensorOptions int64{DType::Int64, {}};
  expect_error(ErrorKind::Shape, "ids are int64 [1, 11], expected int64 [texts, 1 to 10 tokens]",
               [&] {
                 model->text_features(zeros({1, 11}, int64));
               });
  expect_error(ErrorKind::Shape, "ids are float32", [&] { model->text_features(zeros({1, 5})); });
  expect_error(ErrorKind::Argument, "99", [&] { model->text_features(full({1, 5}, 99, int64)); });
  expect_error(ErrorKind::Shape, "expected images of 12 x 12", [&] {
    model->image_features(zeros({1, 3, 16, 16}));
  });
  expect_error(ErrorKind::Shape, "expected one text for each image", [&] {
    model->loss(zeros({2, 3, 12, 12}), zeros({3, 5}, int64));
  });
  const auto refused = [](const char* tower, const char* key, nlohmann::json setting,
                          const char* message) {
    nlohmann::json config = read_json(fixture("clip") / "config.json");
    config[tower][key] = std::move(setting);
    expect_error(ErrorKind::Format, message,
                 [&] { make_image_model(ConfigJson::parse(config.dump(), "config.json")); });
  };
  refused("text_config", "hidden_act", "relu", "text_config.hidden_act is \"relu\"");
  refused("text_config", "num_attention_heads", 3,
          "text_config.hidden_size is 16, takes a multiple of num_attention_heads 3");
  refused("vision_config", "patch_size", 13, "takes at most image_size 12");
  refused("vision_config", "image_size", {12, 12}, "image_size is [12,12]");
}

}  // namespace
}  // namespace plinth
