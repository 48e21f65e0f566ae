// Encoder-decoders compute and generate on the device what they do on the CPU.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/cuda/runtime.h"
#include "models/encoder_decoder_registry.h"
#include "models/sequence_generation.h"
#include "tests/cuda/device.h"
#include "tests/models/fixture.h"

namespace plinth {
namespace {

// A fixture's model and the second row of its inputs, on a device.
struct Example {
  Example(const std::string& name, Device device) : model(load_encoder_decoder(fixture(name))) {
    const nn::StateDict values = read_tensors(fixture(name) / "expected.safetensors");
    const bool is_text = nn::find(values, "input_ids").defined();
    const auto row = [&](const char* key) { return value(values, key).narrow(0, 1, 1).to(device); };
    source = row(is_text ? "input_ids" : "features");
    labels = row("labels");
    if (is_text) lengths = row("lengths");
    model->to(device);
    model->eval();
  }

  std::unique_ptr<EncoderDecoder> model;
  Tensor source, labels, lengths;
};

using EncoderDecoderOnDevice = OnDevice;

TEST_F(EncoderDecoderOnDevice, LossAndGradientsAreThoseOfTheCpu) {
  for (const char* name : {"t5", "whisper"}) {
    SCOPED_TRACE(name);
    const Example here(name, Device{}), there(name, kDevice);
    const Tensor loss = here.model->loss(here.source, here.labels, here.lengths);
    const Tensor on_device = there.model->loss(there.source, there.labels, there.lengths);
    EXPECT_NEAR(on_device.item(), loss.item(), 1e-4);
    loss.backward();
    on_device.backward();
    const Tensors a = here.model->parameters(), b = there.model->parameters();
    ASSERT_EQ(a.size(), b.size());
    double largest = 0, furthest = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      const std::vector<double> x = to_vector(a[i].grad()), y = to_vector(b[i].grad());
      for (size_t j = 0; j < x.size(); ++j) {
        largest = std::max(largest, std::abs(x[j]));
        furthest = std::max(furthest, std::abs(x[j] - y[j]));
      }
    }
    EXPECT_LT(furthest, 1e-4 * largest);
  }
}

TEST_F(EncoderDecoderOnDevice, GeneratesTheSame) {
  const SequenceGenerationOptions options{.max_tokens = 3, .beams = 2};
  const Example here("t5", Device{}), there("t5", kDevice);
  const auto a = generate_sequences(*here.model, here.source, here.lengths, options);
  const auto b = generate_sequences(*there.model, there.source, there.lengths, options);
  ASSERT_EQ(b.size(), 1U);
  EXPECT_EQ(a[0].ids, b[0].ids);
  EXPECT_NEAR(a[0].score, b[0].score, 1e-4);
}

}  // namespace
}  // namespace plinth
