#include "data/audio/audio_dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sndfile.h>

#include <cmath>
#include <fstream>

#include "data/audio/audio_file.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"

namespace plinth {
namespace {

namespace fs = std::filesystem;

constexpr int kWav = SF_FORMAT_WAV | SF_FORMAT_PCM_16, kFlac = SF_FORMAT_FLAC | SF_FORMAT_PCM_16;

// Half a second of a tone of 440 Hz; of several channels, channel c has amplitude (c + 1) / 4.
std::vector<float> tone(int rate, int channels = 1) {
  std::vector<float> samples;
  for (int i = 0; i < rate / 2; ++i) {
    for (int c = 0; c < channels; ++c)
      samples.push_back(static_cast<float>(0.25 * (c + 1) * std::sin(2 * M_PI * 440 * i / rate)));
  }
  return samples;
}

void write_sound(const fs::path& path, int format, int rate, int channels,
                 const std::vector<float>& samples) {
  SF_INFO info{};
  info.samplerate = rate, info.channels = channels, info.format = format;
  SNDFILE* file = sf_open(path.c_str(), SFM_WRITE, &info);
  ASSERT_NE(file, nullptr);
  const auto frames = static_cast<sf_count_t>(samples.size()) / channels;
  EXPECT_EQ(sf_writef_float(file, samples.data(), frames), frames);
  sf_close(file);
}

void write_text(const fs::path& path, const std::string& text) {
  std::ofstream(path) << text;
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b, size_t margin) {
  double largest = 0;
  for (size_t i = margin; i + margin < std::min(a.size(), b.size()); ++i)
    largest = std::max(largest, static_cast<double>(std::abs(a[i] - b[i])));
  return largest;
}

TEST(AudioFile, ReadsWavAndFlac) {
  const TemporaryDirectory folder;
  for (const auto& [name, format] : {std::pair{"a.wav", kWav}, {"a.flac", kFlac}}) {
    write_sound(folder / name, format, 16000, 1, tone(16000));
    const std::vector<float> sound = read_audio(folder / name);
    ASSERT_EQ(sound.size(), 8000U);
    EXPECT_LT(largest_difference(sound, tone(16000), 0), 1.0 / 32767);
  }
}

TEST(AudioFile, MixesChannels) {
  const TemporaryDirectory folder;
  write_sound(folder / "stereo.wav", kWav, 16000, 2, tone(16000, 2));
  std::vector<float> expected = tone(16000);
  for (float& sample : expected) sample *= 1.5F;
  EXPECT_LT(largest_difference(read_audio(folder / "stereo.wav"), expected, 0), 1.0 / 32767);
}

// Away from its ends, a tone at another rate is the tone at this.
TEST(AudioFile, Resamples) {
  const TemporaryDirectory folder;
  for (const int rate : {8000, 22050, 44100, 48000}) {
    SCOPED_TRACE(rate);
    write_sound(folder / "a.wav", kWav, rate, 1, tone(rate));
    const std::vector<float> sound = read_audio(folder / "a.wav");
    EXPECT_NEAR(static_cast<double>(sound.size()), 8000, 2);
    EXPECT_LT(largest_difference(sound, tone(16000), 400), 2e-3);
  }
}

TEST(AudioFile, RefusesWhatIsNoSound) {
  const TemporaryDirectory folder;
  const auto refused = [&](const char* name, ErrorKind kind, const char* message) {
    expect_error(kind, message, [&] { read_audio(folder / name); });
  };
  refused("absent.wav", ErrorKind::Io, "absent.wav: no such file");
  write_text(folder / "text.wav", "RIFF of words");
  refused("text.wav", ErrorKind::Format, "text.wav: is no sound");
  write_sound(folder / "empty.wav", kWav, 16000, 1, {});
  refused("empty.wav", ErrorKind::Format, "empty.wav: holds no samples");
  write_sound(folder / "nan.wav", SF_FORMAT_WAV | SF_FORMAT_FLOAT, 16000, 1, {0, NAN, 0});
  refused("nan.wav", ErrorKind::Format, "nan.wav: holds a sample that is not finite");
  write_sound(folder / "short.wav", kWav, 600000, 1, std::vector<float>(8));
  refused("short.wav", ErrorKind::Format, "short.wav: holds 8 samples, too few to resample");
  write_sound(folder / "long.wav", kWav, 10, 1, std::vector<float>(10 * 3601));
  refused("long.wav", ErrorKind::Format, "long.wav: lasts longer than 3600 seconds at 10 Hz");
  expect_error(ErrorKind::Argument, "sample_rate is 0", [&] { read_audio(folder / "nan.wav", 0); });
}

// A file that was cut short gives what it has, or is an error that names it.
TEST(AudioFile, SurvivesTruncatedFiles) {
  const TemporaryDirectory folder;
  for (const auto& [name, format] : {std::pair{"a.wav", kWav}, {"a.flac", kFlac}}) {
    write_sound(folder / name, format, 16000, 1, tone(16000));
    for (auto bytes = static_cast<int64_t>(fs::file_size(folder / name)); bytes > 0;
         bytes -= 1 + bytes / 6) {
      fs::resize_file(folder / name, static_cast<uintmax_t>(bytes));
      try {
        EXPECT_LE(read_audio(folder / name).size(), 8000U);
      } catch (const Error& error) {
        EXPECT_THAT(error.what(), ::testing::HasSubstr(name));
      }
    }
  }
}

TEST(AudioDataset, SkipsBadFilesAndNamesThem) {
  const TemporaryDirectory folder;
  fs::create_directory(folder / "clips");
  write_sound(folder / "clips/1.flac", kFlac, 16000, 1, tone(16000));
  write_sound(folder / "clips/2.wav", kWav, 8000, 1, tone(8000));
  write_text(folder / "clips/bad.wav", "no sound");
  write_text(folder / "manifest.jsonl",
             "{\"audio\": \"clips/1.flac\", \"text\": \"one\"}\n\n"
             "{\"audio\": \"clips/bad.wav\", \"text\": \"bad\"}\n"
             "{\"audio\": \"clips/absent.wav\", \"text\": \"absent\"}\r\n"
             "{\"audio\": \"" +
                 (folder / "clips/2.wav").string() + "\", \"text\": \"zwei \\u00fc\"}");
  AudioDataset dataset(folder / "manifest.jsonl");
  ASSERT_EQ(dataset.size(), 4);
  EXPECT_TRUE(dataset.skipped().empty());
  std::vector<std::string> texts;
  for (int epoch = 0; epoch < 2; ++epoch) {
    for (int64_t i = dataset.size() - 1; i >= 0; --i) {
      const auto sample = dataset.sample(i);
      if (!sample) continue;
      texts.push_back(sample->text);
      EXPECT_NEAR(static_cast<double>(sample->sound.size()), 8000, 2);
    }
  }
  EXPECT_THAT(texts, ::testing::ElementsAre("zwei ü", "one", "zwei ü", "one"));
  const std::vector<SkippedAudio> skipped = dataset.skipped();
  ASSERT_EQ(skipped.size(), 2U);
  EXPECT_EQ(skipped[0].file, folder / "clips/bad.wav");
  EXPECT_THAT(skipped[0].reason, ::testing::HasSubstr("is no sound"));
  EXPECT_EQ(skipped[1].file, folder / "clips/absent.wav");
  EXPECT_THAT(skipped[1].reason, ::testing::HasSubstr("no such file"));
  expect_error(ErrorKind::Argument, "there is no entry 4, it has 4", [&] { dataset.sample(4); });
}

TEST(AudioDataset, RefusesMalformedManifests) {
  const TemporaryDirectory folder;
  const auto refused = [&](const std::string& text, const char* message) {
    write_text(folder / "manifest.jsonl", text);
    expect_error(ErrorKind::Format, message, [&] { AudioDataset(folder / "manifest.jsonl"); });
  };
  refused("", "lists no sounds");
  refused("\n{\"audio\": 1, \"text\": \"x\"}", "manifest.jsonl:2: ");
  refused("{\"audio\": \"a.wav\"}", "text");
  refused("{\"audio\": \"\", \"text\": \"x\"}", "audio is empty");
  refused("[]", "takes an object");
  refused("{", "manifest.jsonl:1: ");
}

}  // namespace
}  // namespace plinth
