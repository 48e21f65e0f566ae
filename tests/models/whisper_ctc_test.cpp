// Connectionist temporal classification against values that PyTorch computed: see
// tests/fixtures/README.md.

#include "models/whisper/ctc.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/autograd.h"
#include "core/ops/ctc_loss.h"
#include "core/ops/reduce.h"
#include "core/ops/softmax.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"
#include "tests/models/fixture.h"

namespace plinth {
namespace {

// Also where a number is infinite, or none.
void expect_equal(const Tensor& actual, const Tensor& expected) {
  const std::vector<double> a = to_vector(actual), e = to_vector(expected);
  ASSERT_EQ(a.size(), e.size());
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(e[i]) ? std::isnan(a[i]) : a[i] == e[i]) continue;
    ASSERT_NEAR(a[i], e[i], 1e-12) << "element " << i;
  }
}

TEST(CtcLossParity, LossesAndGradientsAreThoseOfPyTorch) {
  const nn::StateDict expected = read_tensors(fixture("ctc") / "losses.safetensors");
  const std::vector<std::pair<std::string, Reduction>> reductions = {
      {"none", Reduction::None}, {"sum", Reduction::Sum}, {"mean", Reduction::Mean}};
  for (const auto& [word, reduction] : reductions) {
    for (const bool zero_infinity : {false, true}) {
      const std::string name = word + (zero_infinity ? "_zero_infinity" : "");
      SCOPED_TRACE(name);
      const Tensor logits = value(expected, "logits").clone().set_requires_grad();
      const Tensor loss =
          ctc_loss(log_softmax(logits, -1), value(expected, "targets"),
                   value(expected, "input_lengths"), value(expected, "target_lengths"),
                   {.reduction = reduction, .zero_infinity = zero_infinity});
      expect_equal(loss, value(expected, "loss." + name));
      sum(loss).backward();
      expect_equal(logits.grad(), value(expected, "grad." + name));
    }
  }
}

TEST(WhisperCtcParity, LogitsLossAndGradientsAreThoseOfPyTorch) {
  const std::unique_ptr<WhisperCtc> model = load_whisper_ctc(fixture("ctc"));
  model->eval();
  const nn::StateDict expected = read_tensors(fixture("ctc") / "expected.safetensors");
  const Tensor logits = model->forward(value(expected, "features"));
  EXPECT_LT(relative_distance(logits, value(expected, "logits")), 1e-5);
  const Tensor steps = from_values<int64_t>({11, 11}, {2});
  const Tensor loss = ctc_loss(log_softmax(logits, -1).transpose(0, 1), value(expected, "targets"),
                               steps, value(expected, "lengths"));
  EXPECT_NEAR(loss.item(), value(expected, "loss").item(), 1e-5);
  loss.backward();
  expect_gradients(exported_gradients(*model, model->weight_slices()), expected, 3e-5);
}

TEST(WhisperCtc, KeepsItsSettings) {
  const WhisperCtcConfig config =
      WhisperCtcConfig::from_json(ConfigJson::read(fixture("ctc") / "config.json"));
  EXPECT_EQ(config.labels, (std::vector<std::string>{"<blank>", " ", "a", "b", "c"}));
  EXPECT_FALSE(config.words);
  const std::string text = config.to_json(DType::Float32);
  EXPECT_EQ(WhisperCtcConfig::from_json(ConfigJson::parse(text, "again")).to_json(DType::Float32),
            text);
}

TEST(WhisperCtc, TakesTheEncoderOfAWhisper) {
  const std::unique_ptr<WhisperCtc> model =
      make_whisper_ctc(fixture("whisper"), {"<blank>", "a", "b"}, true, 1);
  const nn::StateDict file = read_tensors(fixture("whisper") / "model.safetensors");
  for (const WeightSlice& slice : model->weight_slices()) {
    if (slice.parameter.starts_with("head")) continue;
    EXPECT_EQ(relative_distance(nn::find(model->state_dict(), slice.parameter),
                                value(file, slice.file_name)),
              0)
        << slice.file_name;
  }
  EXPECT_EQ(model->forward(zeros({2, 6, 22})).shape(), (Shape{2, 11, 3}));
}

TEST(WhisperCtc, RefusesWhatItIsNot) {
  expect_error(ErrorKind::Format, "holds a whisper, takes a whisper_ctc",
               [] { load_whisper_ctc(fixture("whisper")); });
  expect_error(ErrorKind::Format, "holds a t5, takes a whisper", [] {
    make_whisper_ctc(fixture("t5"), {"<blank>", "a"}, false, 1);
  });
  expect_error(ErrorKind::Format, "has no id2label", [] {
    WhisperCtcConfig::from_json(ConfigJson::parse(
        R"({"d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 8})",
        "config.json"));
  });
  const std::unique_ptr<WhisperCtc> model = load_whisper_ctc(fixture("ctc"));
  expect_error(ErrorKind::Shape,
               "whisper_ctc: features have shape [2, 6, 20], expected [batch, 6, 22]", [&] {
                 model->forward(zeros({2, 6, 20}));
               });
}

}  // namespace
}  // namespace plinth
