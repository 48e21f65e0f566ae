// The losses of models that are trained on a GPU leave nothing to the host within a step, so that a
// CUDA graph can be made of it: CLIP, a masked autoencoder, a segmenter, T5, BERT's classifiers.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "core/cuda/graph.h"
#include "core/ops/factories.h"
#include "core/random.h"
#include "core/stream.h"
#include "models/bert/classifier.h"
#include "models/clip/clip.h"
#include "models/encoder_decoder_registry.h"
#include "models/segmenter/segmenter.h"
#include "models/vit_mae/vit_mae.h"
#include "tests/cuda/device.h"
#include "tests/models/fixture.h"

namespace plinth {
namespace {

using CapturedLoss = OnDevice;

// The gradients of one step, launched one by one and by a graph.
void expect_captured(nn::Module& model, const std::function<Tensor()>& loss) {
  model.to(kDevice);
  const auto step = [&] {
    for (Tensor parameter : model.parameters()) {
      if (parameter.grad().defined()) parameter.grad().zero_();
    }
    loss().backward();
  };
  const auto gradients = [&] {
    std::vector<std::vector<double>> all;
    for (const Tensor& parameter : model.parameters()) {
      if (parameter.grad().defined()) all.push_back(to_vector(parameter.grad()));
    }
    return all;
  };
  step();
  step();
  const auto expected = gradients();
  EXPECT_GT(expected.size(), 4U);
  const cuda::CapturedGraph graph(kDevice, step);
  for (Tensor parameter : model.parameters()) {
    if (parameter.grad().defined()) parameter.grad().fill_(7);
  }
  graph.launch();
  EXPECT_EQ(gradients(), expected);
}

// A block of sizes that an emulator takes; `part` is a tower or an encoder.
void shrink(auto& part) {
  part.dim = 16;
  part.layers = 1;
  part.heads = 2;
  part.ffn_dim = 32;
}

Tensor images() {
  return uniform({2, 3, 16, 16}, -1, 1, {.seed = 4}).to(kDevice);
}

TEST_F(CapturedLoss, OfClip) {
  ClipConfig config;
  config.text.vocab_size = 11;
  config.text.context = 8;
  config.text.eos_token = 10;
  config.vision.image_size = 16;
  config.vision.patch_size = 4;
  config.projection_dim = 8;
  shrink(config.text);
  shrink(config.vision);
  Clip model(config);
  const Tensor ids = from_values<int64_t>({9, 1, 2, 10, 0, 0, 9, 3, 4, 5, 6, 10}, {2, 6});
  const Tensor pixels = images(), there = ids.to(kDevice);
  expect_captured(model, [&] { return model.loss(pixels, there); });
}

TEST_F(CapturedLoss, OfAMaskedAutoencoder) {
  ViTMaeConfig config;
  config.vit.image_size = 16;
  config.vit.patch_size = 4;
  shrink(config.vit);
  config.decoder_dim = 16;
  config.decoder_layers = 1;
  config.decoder_heads = 2;
  config.decoder_ffn_dim = 32;
  ViTMae model(config);
  const std::vector<int64_t> samples = {0, 1};
  const MaeMask drawn = mae_mask(mae_noise(1, 0, samples, 16), config.kept());
  const MaeMask mask{drawn.kept.to(kDevice), drawn.restored.to(kDevice)};
  const Tensor pixels = images();
  expect_captured(model, [&] { return model.loss(pixels, mask); });
}

TEST_F(CapturedLoss, OfT5) {
  const std::unique_ptr<EncoderDecoder> model = load_encoder_decoder(fixture("t5"));
  model->eval();
  const TensorOptions there{DType::Int64, kDevice};
  const Tensor ids = full({1, 8}, 3, there), labels = full({1, 4}, 5, there);
  expect_captured(*model, [&] { return model->loss(ids, labels); });
}

TEST_F(CapturedLoss, OfT5WithPadding) {
  const std::unique_ptr<EncoderDecoder> model = load_encoder_decoder(fixture("t5"));
  model->eval();
  const TensorOptions there{DType::Int64, kDevice};
  const Tensor ids = full({2, 8}, 3, there), labels = full({2, 4}, 5, there);
  const Tensor lengths = from_values<int64_t>({8, 3}, {2}).to(kDevice);
  expect_captured(*model, [&] { return model->loss(ids, labels, lengths); });
}

TEST_F(CapturedLoss, OfAClassifierOfPaddedTexts) {
  BertClassifierConfig config;
  config.bert.vocab_size = 11;
  config.bert.context = 8;
  shrink(config.bert);
  config.bert.hidden_dropout = config.bert.attention_dropout = config.dropout = 0;
  BertClassifier model(config);
  const Tensor ids = from_values<int64_t>({9, 1, 2, 10, 9, 3, 0, 0}, {2, 4}).to(kDevice);
  const Tensor lengths = from_values<int64_t>({4, 2}, {2}).to(kDevice);
  const Tensor targets = from_values<int64_t>({1, 0}, {2}).to(kDevice);
  expect_captured(model, [&] { return model.loss(ids, {.lengths = lengths}, targets); });
}

TEST_F(CapturedLoss, OfASegmenter) {
  SegmenterConfig config;
  config.vit.image_size = 16;
  config.vit.patch_size = 4;
  shrink(config.vit);
  config.vit.labels = {"ground", "sky"};
  Segmenter model(config);
  const Tensor pixels = images(), masks = full({2, 16, 16}, 1, {DType::Int64, kDevice});
  expect_captured(model, [&] { return model.loss(pixels, masks); });
}

}  // namespace
}  // namespace plinth
