// YOLOS against values that transformers and PyTorch computed: see tests/fixtures/README.md.

#include "models/yolos/yolos.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/io/json.h"
#include "models/vit/vit.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"
#include "tests/models/fixture.h"

namespace plinth {
namespace {

std::unique_ptr<Yolos> load_yolos(const std::filesystem::path& directory,
                                  DType dtype = DType::Float32) {
  return load_image_model_as<Yolos>(directory, dtype);
}

class YolosParity : public testing::TestWithParam<const char*> {
 protected:
  Tensor of(const std::string& name) const { return value(values_, name); }
  SetTargets targets(const std::string& prefix = "") const {
    return {of(prefix + "labels"), of(prefix + "targets")};
  }

  std::unique_ptr<Yolos> model_ = load_yolos(fixture(GetParam()));
  nn::StateDict values_ = expected_of(GetParam());
};

TEST_P(YolosParity, LogitsAndBoxesAreThoseOfTransformers) {
  model_->eval();
  const SetPrediction found = model_->forward(of("pixels"));
  EXPECT_LT(relative_distance(found.logits, of("logits")), 1e-5);
  EXPECT_LT(relative_distance(found.boxes, of("boxes")), 1e-5);
  const SetPrediction larger = model_->forward(of("larger"), true);
  EXPECT_LT(relative_distance(larger.logits, of("larger_logits")), 1e-5);
  EXPECT_LT(relative_distance(larger.boxes, of("larger_boxes")), 1e-5);
}

TEST_P(YolosParity, ObjectsAreGivenToTheSamePredictions) {
  for (const std::string prefix : {"", "larger_"}) {
    const auto matches = match_objects({of(prefix + "logits"), of(prefix + "boxes")},
                                       targets(prefix), model_->config().loss);
    std::vector<double> flat;
    for (const auto& image : matches) flat.insert(flat.end(), image.begin(), image.end());
    EXPECT_EQ(flat, to_vector(of(prefix + "matches")));
  }
}

TEST_P(YolosParity, LossAndEveryGradientAreThoseOfPyTorch) {
  model_->eval();
  for (const bool checkpointing : {false, true}) {
    SCOPED_TRACE(checkpointing ? "with activation checkpointing" : "plain");
    model_->set_activation_checkpointing(checkpointing);
    model_->zero_grad();
    const Tensor loss = model_->loss(of("pixels"), targets());
    EXPECT_NEAR(loss.item(), of("loss").item(), 5e-6);
    loss.backward();
    const Tensor larger = model_->loss(of("larger"), targets("larger_"), true);
    EXPECT_NEAR(larger.item(), of("larger_loss").item(), 5e-6);
    larger.backward();
    expect_gradients(exported_gradients(*model_, model_->weight_slices()), values_);
  }
}

TEST_P(YolosParity, SavedModelLoadsToTheSameBits) {
  const TemporaryDirectory folder;
  save_image_model(*model_, folder.path());
  EXPECT_EQ(weight_names(folder.path()), weight_names(fixture(GetParam())));
  expect_same_state(*model_, *load_yolos(folder.path()));
  const nlohmann::json saved = read_json(folder / "config.json");
  const nlohmann::json original = read_json(fixture(GetParam()) / "config.json");
  for (const auto& [key, setting] : original.items()) {
    if (key == "transformers_version") continue;
    EXPECT_EQ(saved.value(key, nlohmann::json()).dump(), setting.dump()) << key;
  }
}

TEST_P(YolosParity, NarrowWeightsAreNear) {
  model_->eval();
  const SetPrediction reference = model_->forward(of("pixels"));
  const TemporaryDirectory folder;
  save_image_model(*model_, folder.path(), {.dtype = DType::BFloat16});
  const auto narrow = load_yolos(folder.path(), DType::BFloat16);
  narrow->eval();
  const SetPrediction found = narrow->forward(of("pixels"));
  EXPECT_LT(relative_distance(found.boxes, reference.boxes), 0.05);
  EXPECT_EQ(set_loss(found, targets()).dtype(), DType::Float32);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, YolosParity, testing::Values("yolos", "yolos_plain"),
                         [](const auto& info) { return std::string(info.param); });

TEST(SetLoss, WithoutObjectsIsThatOfSayingSo) {
  const nn::StateDict values = expected_of("yolos");
  Tensor logits = value(values, "logits").clone(), boxes = value(values, "boxes").clone();
  logits.set_requires_grad(true);
  boxes.set_requires_grad(true);
  const SetTargets none{full({4, 2}, -1, {DType::Int64, {}}), zeros({4, 2, 4})};
  const Tensor loss = set_loss({logits, boxes}, none);
  const SetTargets no_room{zeros({4, 0}, {DType::Int64, {}}), zeros({4, 0, 4})};
  EXPECT_EQ(loss.item(), set_loss({logits, boxes}, no_room).item());
  loss.backward();
  EXPECT_GT(largest_of(logits.grad()), 0);
  EXPECT_TRUE(!boxes.grad().defined() || largest_of(boxes.grad()) == 0);
}

// A number that is none is the trainer's to see, in the loss.
TEST(SetLoss, OfNumbersThatAreNoneIsNone) {
  const nn::StateDict values = expected_of("yolos");
  Tensor logits = value(values, "logits").clone();
  logits.fill_(NAN);
  const SetTargets targets{value(values, "labels"), value(values, "targets")};
  EXPECT_TRUE(std::isnan(set_loss({logits, value(values, "boxes")}, targets).item()));
}

TEST(SetLoss, RefusesWhatDoesNotGoTogether) {
  const SetPrediction prediction{zeros({2, 5, 4}), full({2, 5, 4}, 0.5)};
  const auto labels = [](int64_t label) {
    return full({2, 1}, static_cast<double>(label), {DType::Int64, {}});
  };
  const Tensor boxes = full({2, 1, 4}, 0.5);
  expect_error(ErrorKind::Argument, "label got 3, takes 0 to 2", [&] {
    set_loss(prediction, {labels(3), boxes});
  });
  expect_error(ErrorKind::Shape, "targets have labels int64 [2, 1] and boxes [2, 4]", [&] {
    set_loss(prediction, {labels(1), zeros({2, 4})});
  });
  expect_error(ErrorKind::Shape, "predictions have logits [2, 5, 4] and boxes [2, 4, 4]", [&] {
    set_loss({prediction.logits, zeros({2, 4, 4})}, {labels(1), boxes});
  });
}

TEST(GeneralizedIou, OfBoxesThatAreApartIsNegative) {
  const Tensor a =
      from_values<float>({0.5, 0.5, 0.2, 0.2, 0.1, 0.5, 0.2, 1, 0.2, 0.2, 0.2, 0.2}, {3, 4});
  const Tensor b =
      from_values<float>({0.5, 0.5, 0.2, 0.2, 0.9, 0.5, 0.2, 1, 0.3, 0.2, 0.2, 0.2}, {3, 4});
  const std::vector<double> found = to_vector(generalized_iou(a, b));
  EXPECT_NEAR(found[0], 1, 1e-6);
  EXPECT_NEAR(found[1], -0.6, 1e-6);     // 0.6 of the hull lies between them
  EXPECT_NEAR(found[2], 1.0 / 3, 1e-5);  // half of each
}

TEST(Yolos, ADetectorBeginsWithAPretrainedEncoder) {
  const auto vit = load_image_model_as<ViT>(fixture("vit"));
  const YolosConfig config{.vit = vit->config(),
                           .image_size = vit->config().image_size,
                           .detection_tokens = 3,
                           .mid_positions = false,
                           .loss = {}};
  const auto model = make_detector(*vit, config, {"cat", "dog"}, 1);
  const nn::StateDict own = model->state_dict(), theirs = vit->state_dict();
  for (const auto& [name, tensor] : theirs) {
    if (!name.starts_with("encoder.")) continue;
    const Tensor copy = nn::find(own, name);
    ASSERT_TRUE(copy.defined()) << name;
    EXPECT_EQ(to_vector(copy.narrow(0, 0, tensor.size(0))), to_vector(tensor)) << name;
  }
  const Tensor position = nn::find(own, "encoder.embedding.position");
  EXPECT_EQ(position.size(0), 1 + 9 + 3);
  EXPECT_GT(largest_of(position.narrow(0, 10, 3)), 0);
  EXPECT_EQ(model->forward(zeros({2, 3, 12, 12})).logits.shape(), Shape({2, 3, 3}));

  const auto other = load_yolos(fixture("yolos"));
  const auto again = make_detector(*other, other->config(), {"one"}, 2);
  EXPECT_EQ(to_vector(nn::find(again->state_dict(), "encoder.mid_position")),
            to_vector(nn::find(other->state_dict(), "encoder.mid_position")));
}

TEST(Yolos, RefusesWhatItDoesNotTake) {
  const auto model = load_yolos(fixture("yolos"));
  expect_error(ErrorKind::Shape, "expected images of 12 x 16 where positions are not interpolated",
               [&] {
                 model->forward(zeros({1, 3, 16, 12}));
               });
  const auto refused = [](const char* key, nlohmann::json setting, const char* message) {
    nlohmann::json config = read_json(fixture("yolos") / "config.json");
    config[key] = std::move(setting);
    expect_error(ErrorKind::Format, message,
                 [&] { make_image_model(ConfigJson::parse(config.dump(), "config.json")); });
  };
  refused("image_size", {12}, "image_size is [12], takes a height and a width from 1");
  refused("image_size", {12, "x"}, "image_size is [12,\"x\"]");
  refused("image_size", {12, 3}, "patch_size is 4, takes at most image_size 3");
  refused("auxiliary_loss", true, "auxiliary_loss is true, takes false only");
  refused("num_detection_tokens", 0, "num_detection_tokens is 0");
  refused("eos_coefficient", -1, "eos_coefficient is -1");
  refused("architectures", {"YolosModel"}, "architectures is [");
}

}  // namespace
}  // namespace plinth
