// Features of sound against those of transformers' WhisperFeatureExtractor:
// tests/fixtures/README.md.

#include "data/audio/log_mel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "core/io/checkpoint_files.h"
#include "core/ops/factories.h"
#include "data/audio/audio_file.h"
#include "tests/core/io/expect_error.h"
#include "tests/fixtures.h"

namespace plinth {
namespace {

std::vector<float> expected(const std::string& name) {
  static const SafetensorsCheckpoint file =
      SafetensorsCheckpoint::open(PLINTH_FIXTURES "/whisper/features.safetensors");
  const auto bytes = file.data(name);
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

class LogMelParity : public ::testing::TestWithParam<int64_t> {};

TEST_P(LogMelParity, FeaturesAreThoseOfTransformers) {
  const std::string bins = std::to_string(GetParam());
  const std::vector<float> sound = read_audio(PLINTH_FIXTURES "/whisper/sound.wav");
  ASSERT_EQ(sound.size(), 5600U);
  const LogMel extract({.bins = GetParam(), .seconds = 1});
  EXPECT_EQ(extract.frames(), 100);
  const Tensor features = extract(sound);
  ASSERT_EQ(features.shape(), Shape({GetParam(), 100}));
  const std::vector<double> got = to_vector(features);
  const std::vector<float> reference = expected("features" + bins);
  const float silence = expected("silence" + bins).front();
  ASSERT_EQ(reference.size(), static_cast<size_t>(GetParam() * 40));
  for (size_t i = 0; i < got.size(); ++i) {
    const size_t bin = i / 100, frame = i % 100;
    const float value = frame < 40 ? reference[40 * bin + frame] : silence;
    // They are computed in float32 there.
    ASSERT_NEAR(got[i], static_cast<double>(value), 2e-5) << bin << ", " << frame;
  }
}

TEST_P(LogMelParity, BandsAreThoseOfTransformers) {
  const std::vector<float> sums = expected("filters" + std::to_string(GetParam()));
  const std::vector<MelBand> bands = mel_bands({.bins = GetParam()});
  ASSERT_EQ(bands.size(), sums.size());
  for (size_t bin = 0; bin < bands.size(); ++bin) {
    const std::vector<double>& weights = bands[bin].weights;
    const auto sum = static_cast<double>(sums[bin]);
    EXPECT_NEAR(std::accumulate(weights.begin(), weights.end(), 0.0), sum, 1e-6 * sum);
    EXPECT_TRUE(std::ranges::all_of(weights, [](double weight) { return weight > 0; }));
  }
}

INSTANTIATE_TEST_SUITE_P(Bins, LogMelParity, ::testing::Values(80, 128));

// The tone's band is the loudest.
TEST(LogMel, HearsATone) {
  std::vector<float> sound(16000);
  for (size_t i = 0; i < sound.size(); ++i)
    sound[i] = static_cast<float>(0.5 * std::sin(2 * M_PI * 440 * static_cast<double>(i) / 16000));
  const std::vector<double> features = to_vector(LogMel({.seconds = 1})(sound));
  const std::vector<MelBand> bands = mel_bands({});
  size_t loudest = 0;
  for (size_t bin = 1; bin < bands.size(); ++bin) {
    if (features[100 * bin + 50] > features[100 * loudest + 50]) loudest = bin;
  }
  EXPECT_LE(40.0 * static_cast<double>(bands[loudest].first), 440);
  EXPECT_GE(40.0 * static_cast<double>(bands[loudest].first + std::ssize(bands[loudest].weights)),
            440);
}

TEST(LogMel, CutsLongSoundsAndTakesNone) {
  const LogMel extract({.seconds = 0.5});
  std::vector<float> sound(20000);
  for (size_t i = 0; i < sound.size(); ++i) sound[i] = static_cast<float>(i % 37) / 37;
  EXPECT_EQ(to_vector(extract(sound)), to_vector(extract(std::span(sound).first(8000))));
  const std::vector<double> silence = to_vector(extract({}));
  EXPECT_TRUE(std::ranges::all_of(silence, [](double x) { return x == -1.5; }));
}

TEST(LogMel, RefusesOptionsOutOfRange) {
  const auto refused = [](const LogMelOptions& options, const char* message) {
    expect_error(ErrorKind::Argument, message, [&] { LogMel{options}; });
  };
  refused({.bins = 0}, "got 0 bins");
  refused({.window = 401}, "an even window");
  refused({.seconds = NAN}, "seconds is nan");
  refused({.seconds = 0.02}, "0.02 s are 320 samples, takes more than the window of 400");
}

}  // namespace
}  // namespace plinth
