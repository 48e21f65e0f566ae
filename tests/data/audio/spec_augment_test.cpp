#include "data/audio/spec_augment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "core/io/file.h"
#include "core/ops/factories.h"
#include "data/audio/feature_settings.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"

namespace plinth {
namespace {

constexpr SpecAugmentOptions kOptions{
    .frequency_masks = 1, .frequency_width = 3, .time_masks = 2, .time_width = 4};

// Which bins, and which frames, are hidden as a whole.
struct Hidden {
  std::vector<int64_t> bins, frames;
};

Hidden hidden_in(const Tensor& features) {
  const int64_t bins = features.size(0), frames = features.size(1);
  const std::vector<double> values = to_vector(features);
  const auto is_hidden = [&](int64_t bin, int64_t frame) {
    return values[static_cast<size_t>(bin * frames + frame)] == 0;
  };
  Hidden hidden;
  for (int64_t bin = 0; bin < bins; ++bin) {
    bool all = true;
    for (int64_t t = 0; t < frames; ++t) all = all && is_hidden(bin, t);
    if (all) hidden.bins.push_back(bin);
  }
  for (int64_t t = 0; t < frames; ++t) {
    bool all = true;
    for (int64_t bin = 0; bin < bins; ++bin) all = all && is_hidden(bin, t);
    if (all) hidden.frames.push_back(t);
  }
  return hidden;
}

TEST(SpecAugment, HidesBandsAndSpansUpToTheirWidths) {
  const Tensor features = ones({12, 30});
  size_t most_bins = 0, most_frames = 0;
  for (int64_t sample = 0; sample < 200; ++sample) {
    const Tensor changed = spec_augment(features, {.seed = 3, .sample = sample}, kOptions);
    const Hidden hidden = hidden_in(changed);
    most_bins = std::max(most_bins, hidden.bins.size());
    most_frames = std::max(most_frames, hidden.frames.size());
    if (!hidden.bins.empty()) {
      EXPECT_EQ(hidden.bins.back() - hidden.bins.front() + 1, std::ssize(hidden.bins));
    }
    // What is in no band and no span is as it was.
    const auto kept = static_cast<double>((12 - hidden.bins.size()) * (30 - hidden.frames.size()));
    const std::vector<double> values = to_vector(changed);
    EXPECT_EQ(std::ranges::count(values, 1.0), static_cast<int64_t>(kept));
  }
  EXPECT_EQ(most_bins, 3U);
  EXPECT_GT(most_frames, 4U);
  EXPECT_LE(most_frames, 8U);
  EXPECT_EQ(std::ranges::count(to_vector(features), 1.0), 12 * 30);
}

TEST(SpecAugment, DrawsBySeedEpochAndSampleAlone) {
  const Tensor features = ones({12, 30});
  const auto with = [&](const SampleKey& key) {
    return to_vector(spec_augment(features, key, kOptions));
  };
  const SampleKey key{.seed = 1, .epoch = 2, .sample = 3};
  EXPECT_EQ(with(key), with(key));
  for (const SampleKey& other : {SampleKey{4, 2, 3}, SampleKey{1, 5, 3}, SampleKey{1, 2, 6}})
    EXPECT_NE(with(key), with(other));
}

TEST(SpecAugment, WidthsEndAtTheFeatures) {
  const SpecAugmentOptions wide{.time_masks = 1, .time_width = 1000};
  size_t most = 0;
  for (int64_t sample = 0; sample < 50; ++sample)
    most = std::max(most,
                    hidden_in(spec_augment(ones({2, 5}), {.sample = sample}, wide)).frames.size());
  EXPECT_EQ(most, 5U);
}

TEST(SpecAugment, RefusesWhatItDoesNotTake) {
  expect_error(ErrorKind::Shape, "spec_augment: features have shape [2], expected [bins, frames]",
               [] { spec_augment(ones({2}), {}, kOptions); });
  expect_error(ErrorKind::DType, "spec_augment: features are int64, takes float32", [] {
    spec_augment(zeros({2, 2}, {DType::Int64, {}}), {}, kOptions);
  });
  expect_error(ErrorKind::Argument, "spec_augment: an option is -1, takes 0 or more", [] {
    spec_augment(ones({2, 2}), {}, {.time_masks = -1});
  });
}

TEST(FeatureSettings, AreThoseOfTheFileOrWhispers) {
  const TemporaryDirectory folder;
  const LogMelOptions usual = read_feature_settings(folder.path(), 80, 3000);
  EXPECT_EQ(usual.sample_rate, 16000);
  EXPECT_EQ(usual.seconds, 30);
  const LogMelOptions options{
      .bins = 40, .sample_rate = 8000, .window = 320, .hop = 160, .seconds = 1.5};
  write_file_atomically(folder / "preprocessor_config.json", feature_settings_json(options));
  const LogMelOptions read = read_feature_settings(folder.path(), 40, 75);
  EXPECT_EQ(feature_settings_json(read), feature_settings_json(options));
}

TEST(FeatureSettings, RefuseWhatTheModelDoesNotTake) {
  const TemporaryDirectory folder;
  const auto refuse = [&](const std::string& text, const std::string& message) {
    write_file_atomically(folder / "preprocessor_config.json", text);
    expect_error(ErrorKind::Format, message,
                 [&] { read_feature_settings(folder.path(), 80, 3000); });
  };
  refuse("[1]", "is no JSON object");
  refuse(R"({"feature_size": 0})", "feature_size got 0, takes a number above 0");
  refuse(R"({"hop_length": 1.5})", "hop_length got 1.5, takes a whole number");
  refuse(R"({"n_fft": 401})", "takes 1 or more of each and an even window");
  refuse(R"({"chunk_length": 10})",
         "makes features of 80 bins and 1000 frames, the model takes 80 and 3000");
}

}  // namespace
}  // namespace plinth
