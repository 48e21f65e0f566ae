// The masked autoencoder against values that transformers and PyTorch computed: see
// tests/fixtures/README.md.

#include "models/vit_mae/vit_mae.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/io/file.h"
#include "core/io/json.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"
#include "tests/models/fixture.h"

namespace plinth {
namespace {

std::unique_ptr<ViTMae> load_mae(const std::filesystem::path& directory) {
  return load_image_model_as<ViTMae>(directory);
}

class ViTMaeParity : public testing::TestWithParam<const char*> {
 protected:
  std::unique_ptr<ViTMae> model_ = load_mae(fixture(GetParam()));
  nn::StateDict values_ = read_tensors(fixture(GetParam()) / "expected.safetensors");
  Tensor pixels_ = value(values_, "pixels");
  MaeMask mask_ = mae_mask(value(values_, "noise"), model_->config().kept());
};

TEST_P(ViTMaeParity, LogitsMaskAndLossAreThoseOfTransformers) {
  model_->eval();
  EXPECT_LT(relative_distance(model_->forward(pixels_, mask_), value(values_, "logits")), 1e-5);
  EXPECT_NEAR(model_->loss(pixels_, mask_).item(), value(values_, "loss").item(), 5e-6);
  const std::vector<double> places = to_vector(mask_.restored),
                            hidden = to_vector(value(values_, "mask"));
  for (size_t i = 0; i < places.size(); ++i)
    EXPECT_EQ(places[i] >= static_cast<double>(model_->config().kept()), hidden[i] == 1) << i;
}

TEST_P(ViTMaeParity, EveryGradientIsThatOfPyTorch) {
  model_->eval();
  for (const bool checkpointing : {false, true}) {
    SCOPED_TRACE(checkpointing ? "with activation checkpointing" : "plain");
    model_->set_activation_checkpointing(checkpointing);
    model_->zero_grad();
    model_->loss(pixels_, mask_).backward();
    expect_gradients(exported_gradients(*model_, model_->weight_slices()), values_);
  }
}

// The decoder's blocks keep the name that every version of transformers reads.
TEST_P(ViTMaeParity, SavedModelLoadsToTheSameBits) {
  std::set<std::string> names;
  for (std::string name : weight_names(fixture(GetParam()))) {
    const std::string theirs = "decoder.decoder_encoder.layer.";
    if (name.starts_with(theirs)) name = "decoder.decoder_layers." + name.substr(theirs.size());
    names.insert(name);
  }
  const TemporaryDirectory folder;
  save_image_model(*model_, folder.path(), {.max_shard_bytes = 3000});
  EXPECT_EQ(weight_names(folder.path()), names);
  const auto loaded = load_mae(folder.path());
  expect_same_state(*model_, *loaded);
  const nlohmann::json saved = read_json(folder / "config.json");
  const nlohmann::json original = read_json(fixture(GetParam()) / "config.json");
  for (const auto& [key, setting] : original.items()) {
    if (key == "transformers_version") continue;
    EXPECT_EQ(saved.value(key, nlohmann::json()), setting) << key;
  }
}

// Those of the fixture are sines, too.
TEST_P(ViTMaeParity, PositionsAreSinesAndStay) {
  ViTMae drawn(model_->config());
  drawn.reset_parameters(3);
  for (const char* name : {"encoder.embedding.position", "decoder_position"}) {
    const Tensor own = nn::find(drawn.named_parameters(), name);
    EXPECT_LT(relative_distance(own, nn::find(model_->named_parameters(), name)), 1e-7) << name;
    EXPECT_FALSE(own.requires_grad());
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, ViTMaeParity, testing::Values("vit_mae", "vit_mae_norm"),
                         [](const auto& info) { return std::string(info.param); });

TEST(ViTMae, NoiseDependsOnSeedEpochAndSampleAlone) {
  const std::vector<int64_t> samples = {7, 3}, other = {3};
  const Tensor noise = mae_noise(1, 2, samples, 9);
  EXPECT_EQ(to_vector(mae_noise(1, 2, other, 9)), to_vector(noise.narrow(0, 1, 1)));
  EXPECT_NE(to_vector(mae_noise(1, 2, other, 9)), to_vector(noise.narrow(0, 0, 1)));
  EXPECT_NE(to_vector(mae_noise(1, 3, samples, 9)), to_vector(noise));
  EXPECT_NE(to_vector(mae_noise(2, 2, samples, 9)), to_vector(noise));
}

TEST(ViTMae, MaskKeepsTheLeastNoise) {
  const Tensor noise = from_values<float>({0.5F, 0.1F, 0.9F, 0.1F, 0.3F, 0.2F, 0.2F, 0.0F}, {2, 4});
  const MaeMask mask = mae_mask(noise, 2);
  EXPECT_EQ(to_vector(mask.kept), (std::vector<double>{1, 3, 3, 1}));
  EXPECT_EQ(to_vector(mask.restored), (std::vector<double>{2, 0, 3, 1, 3, 1, 2, 0}));
}

// What the encoder does not see changes nothing of it.
TEST(ViTMae, TheEncoderSeesWhatIsKept) {
  const auto model = load_mae(fixture("vit_mae"));
  const nn::StateDict values = read_tensors(fixture("vit_mae") / "expected.safetensors");
  const MaeMask mask = mae_mask(value(values, "noise").narrow(0, 0, 1), model->config().kept());
  model->eval();
  const Tensor pixels = value(values, "pixels").narrow(0, 0, 1);
  const std::vector<double> x = to_vector(model->encode(pixels, mask));
  const std::vector<double> places = to_vector(mask.restored);
  for (int64_t patch = 0; patch < 9; ++patch) {
    Tensor changed = pixels.clone();
    changed.narrow(2, patch / 3 * 4, 4).narrow(3, patch % 3 * 4, 4).fill_(5);
    const bool is_seen =
        places[static_cast<size_t>(patch)] < static_cast<double>(model->config().kept());
    EXPECT_EQ(to_vector(model->encode(changed, mask)) != x, is_seen) << patch;
  }
}

TEST(ViTMae, ItsEncoderBeginsAClassifier) {
  const auto model = load_mae(fixture("vit_mae"));
  const auto classifier = make_classifier(*model, model->config().vit, {"cat", "dog"}, 1);
  const nn::StateDict ours = classifier->state_dict();
  for (const auto& [name, tensor] : model->state_dict()) {
    if (!name.starts_with("encoder.")) continue;
    EXPECT_EQ(to_vector(nn::find(ours, name)), to_vector(tensor)) << name;
  }
  EXPECT_EQ(classifier->forward(zeros({2, 2, 12, 12})).shape(), Shape({2, 2}));
}

TEST(ViTMae, RefusesWhatItDoesNotTake) {
  const auto model = load_mae(fixture("vit_mae"));
  const Tensor pixels = zeros({2, 2, 12, 12}), noise = uniform({2, 9}, 0, 1, {.seed = 1});
  expect_error(ErrorKind::Shape, "mask is not of 2 images of which 2 of 9 patches are kept",
               [&] { model->loss(pixels, mae_mask(noise, 3)); });
  expect_error(ErrorKind::Shape, "mask is not of", [&] { model->loss(pixels, {}); });
  expect_error(ErrorKind::Shape, "expected images of 12 x 12", [&] {
    model->loss(zeros({2, 2, 16, 16}), mae_mask(noise, 2));
  });
  expect_error(ErrorKind::Argument, "kept is 9, takes 1 or more, but not all of 9 patches",
               [&] { mae_mask(noise, 9); });
  expect_error(ErrorKind::Shape, "noise has shape [9]", [] { mae_mask(zeros({9}), 2); });
  const auto refused = [](const char* key, nlohmann::json setting, const char* message) {
    nlohmann::json config = read_json(fixture("vit_mae") / "config.json");
    config[key] = std::move(setting);
    expect_error(ErrorKind::Format, message,
                 [&] { make_image_model(ConfigJson::parse(config.dump(), "config.json")); });
  };
  refused("mask_ratio", 1, "mask_ratio is 1, takes a share that leaves some of 9 patches");
  refused("mask_ratio", 0, "mask_ratio is 0");
  refused("image_size", 13, "image_size is 13, takes a multiple of patch_size 4");
  refused("decoder_num_attention_heads", 5, "decoder_hidden_size is 12, takes a multiple of");
  refused("decoder_hidden_size", 15, "takes multiples of 4");
  refused("architectures", {"ViTMAEModel"}, "architectures is [");
}

}  // namespace
}  // namespace plinth
