// A ViT that labels pixels, against values that transformers' encoder and PyTorch computed: see
// tests/fixtures/README.md.

#include "models/segmenter/segmenter.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/io/json.h"
#include "models/vision/interpolation.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"
#include "tests/models/fixture.h"

namespace plinth {
namespace {

class SegmenterParity : public testing::Test {
 protected:
  Tensor of(const std::string& name) const { return value(values_, name); }

  std::unique_ptr<Segmenter> model_ = load_image_model_as<Segmenter>(fixture("segmenter"));
  nn::StateDict values_ = read_tensors(fixture("segmenter") / "expected.safetensors");
};

TEST_F(SegmenterParity, LogitsAreThoseOfPyTorch) {
  model_->eval();
  const Tensor logits = model_->forward(of("pixels"));
  EXPECT_LT(relative_distance(logits, of("logits")), 1e-5);
  EXPECT_LT(relative_distance(bilinear(logits, 12), of("pixel_logits")), 1e-5);
}

TEST_F(SegmenterParity, BilinearIsPyTorchsUpAndDown) {
  EXPECT_LT(relative_distance(bilinear(of("logits"), {7, 31}), of("wide_logits")), 1e-6);
  EXPECT_LT(relative_distance(bilinear(of("logits"), {2, 1}), of("small_logits")), 1e-6);
  EXPECT_EQ(to_vector(bilinear(of("logits"), 3)), to_vector(of("logits")));
  expect_error(ErrorKind::Shape, "takes [..., rows, columns]", [] { bilinear(zeros({3}), 4); });
  expect_error(ErrorKind::Shape, "size 0 x 4", [] { bilinear(zeros({3, 3}), {0, 4}); });
}

TEST_F(SegmenterParity, LossAndEveryGradientAreThoseOfPyTorch) {
  model_->eval();
  for (const bool checkpointing : {false, true}) {
    model_->set_activation_checkpointing(checkpointing);
    model_->zero_grad();
    const Tensor loss = model_->loss(of("pixels"), of("masks"));
    EXPECT_NEAR(loss.item(), of("loss").item(), 2e-6);
    loss.backward();
    expect_gradients(exported_gradients(*model_, model_->weight_slices()), values_);
  }
}

TEST_F(SegmenterParity, SavedModelLoadsToTheSameBits) {
  const TemporaryDirectory folder;
  save_image_model(*model_, folder.path());
  EXPECT_EQ(weight_names(folder.path()), weight_names(fixture("segmenter")));
  expect_same_state(*model_, *load_image_model_as<Segmenter>(folder.path()));
}

TEST_F(SegmenterParity, BeginsWithAPretrainedEncoder) {
  const auto vit = load_image_model(fixture("vit"));
  const auto model = make_segmenter(*vit, model_->config(), {"sky", "sea"}, 1);
  const nn::StateDict own = model->state_dict();
  for (const auto& [name, tensor] : vit->state_dict()) {
    if (!name.starts_with("encoder.")) continue;
    EXPECT_EQ(to_vector(nn::find(own, name)), to_vector(tensor)) << name;
  }
  EXPECT_EQ(model->forward(of("pixels")).shape(), Shape({3, 2, 3, 3}));
}

TEST_F(SegmenterParity, RefusesWhatItDoesNotTake) {
  expect_error(ErrorKind::Shape, "masks have shape [3, 6, 6], expected [3, 12, 12]", [&] {
    model_->loss(of("pixels"), zeros({3, 6, 6}, {DType::Int64, {}}));
  });
  expect_error(ErrorKind::Argument, "got 1 labels, takes 2 or more",
               [&] { make_segmenter(*model_, model_->config(), {"all"}, 1); });
  const auto refused = [](const char* key, nlohmann::json setting, const char* message) {
    nlohmann::json config = read_json(fixture("segmenter") / "config.json");
    config[key] = std::move(setting);
    expect_error(ErrorKind::Format, message,
                 [&] { make_image_model(ConfigJson::parse(config.dump(), "config.json")); });
  };
  refused("image_size", 14, "image_size is 14, takes a multiple of patch_size 4");
  refused("architectures", {"ViTModel"}, "architectures is [");
  nlohmann::json names;
  for (int i = 0; i < 256; ++i) names[std::to_string(i)] = std::to_string(i);
  refused("id2label", names, "id2label has 256 labels, takes at most 255");
}

}  // namespace
}  // namespace plinth
