// plinth finetune, eval and predict of sounds.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/apps/plinth_program.h"
#include "tests/fixtures.h"

namespace plinth {
namespace {

using testing::HasSubstr;

// 16-bit samples of one channel at 8 kHz, as a WAV file.
std::string wav_of(const std::vector<double>& samples) {
  std::string file = "RIFF";
  const auto number = [&](uint32_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) file += static_cast<char>(value >> (8 * i));
  };
  const auto bytes = static_cast<uint32_t>(2 * samples.size());
  number(36 + bytes, 4);
  file += "WAVEfmt ";
  for (const auto& [value, size] :
       {std::pair<uint32_t, int>{16, 4}, {1, 2}, {1, 2}, {8000, 4}, {16000, 4}, {2, 2}, {16, 2}})
    number(value, size);
  file += "data";
  number(bytes, 4);
  for (const double sample : samples) number(static_cast<uint32_t>(std::lround(sample * 32767)), 2);
  return file;
}

// Words are tones, and sounds have one or two; a Whisper's encoder without weights.
class SpeechWorkplace : public TemporaryDirectory {
 public:
  SpeechWorkplace() {
    std::string manifest;
    int number = 0;
    for (const char* text : {"low", "high", "low high", "high low", "low low", "high high"}) {
      for (const double pitch : {1.0, 1.1}) {
        const std::string file = std::to_string(number++) + ".wav";
        write_file_atomically(path() / file, wav_of(sound_of(text, pitch)));
        manifest += nlohmann::json{{"audio", file}, {"text", text}}.dump() + "\n";
      }
    }
    write_file_atomically(path() / "sounds.jsonl", manifest);
    std::filesystem::create_directory(path() / "whisper");
    write_file_atomically(path() / "whisper" / "config.json", kModel);
    write_file_atomically(path() / "whisper" / "preprocessor_config.json", kFeatures);
    write_file_atomically(path() / "run.toml", kSettings);
  }

  Outcome run(std::vector<std::string> arguments) const {
    return plinth_program(path(), std::move(arguments));
  }
  Outcome finetune(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments = {"finetune", "run.toml"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  }
  std::string weights(const std::string& run) const {
    return read_text_file(path() / run / "model" / "model.safetensors");
  }
  void add_line(const std::string& file, const std::string& text) const {
    write_file_atomically(path() / "sounds.jsonl",
                          read_text_file(path() / "sounds.jsonl") +
                              nlohmann::json{{"audio", file}, {"text", text}}.dump() + "\n");
  }

 private:
  static std::vector<double> sound_of(const std::string& text, double pitch) {
    std::vector<double> samples;
    std::istringstream words(text);
    for (std::string word; words >> word;) {
      const double hertz = (word == "low" ? 400 : 1600) * pitch;
      for (int i = 0; i < 1600; ++i)
        samples.push_back(i < 400 ? 0 : 0.5 * std::sin(2 * M_PI * hertz * i / 8000));
    }
    return samples;
  }

  static constexpr const char* kModel = R"({"model_type": "whisper", "num_mel_bins": 8,
      "max_source_positions": 15, "d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2,
      "encoder_ffn_dim": 24, "init_std": 0.1})";
  static constexpr const char* kFeatures = R"({"feature_size": 8, "sampling_rate": 8000,
      "n_fft": 200, "hop_length": 160, "chunk_length": 0.6})";
  static constexpr const char* kSettings = R"(
[run]
directory = "run"
[model]
directory = "whisper"
[task]
name = "speech-recognition"
[speech]
units = "words"
[data]
train = ["sounds.jsonl"]
validation = ["sounds.jsonl"]
[train]
steps = 150
batch = 12
[optimizer]
lr = 0.01
[validation]
every = 50
metric = "wer"
)";
};

TEST(FinetuneSpeech, LearnsEvaluatesAndPredicts) {
  const SpeechWorkplace here;
  const Outcome trained = here.finetune();
  ASSERT_EQ(trained.status, 0) << trained.errors;
  EXPECT_THAT(trained.output, HasSubstr("all begin at random"));
  EXPECT_THAT(trained.output, HasSubstr("3 labels"));
  const Outcome scored = here.run({"eval", "run", "--data", "sounds.jsonl", "--json"});
  ASSERT_EQ(scored.status, 0) << scored.errors;
  const auto scores = nlohmann::json::parse(scored.output);
  EXPECT_EQ(scores["examples"], 12);
  EXPECT_EQ(scores["wer"], 0);
  EXPECT_EQ(scores["cer"], 0);
  write_file_atomically(here / "broken.wav", "no sound");
  const Outcome said = here.run({"predict", "run", "4.wav", "broken.wav", "8.wav"});
  ASSERT_EQ(said.status, 0) << said.errors;
  std::istringstream lines(said.output);
  std::vector<nlohmann::json> found;
  for (std::string line; std::getline(lines, line);) found.push_back(nlohmann::json::parse(line));
  ASSERT_EQ(found.size(), 3U);
  EXPECT_EQ(found[0]["text"], "low high");
  EXPECT_EQ(found[1]["audio"], "broken.wav");
  EXPECT_THAT(found[1]["error"].get<std::string>(), HasSubstr("broken.wav"));
  EXPECT_EQ(found[2]["text"], "low low");
  // A head that knows the labels stays; another begins anew on the same encoder.
  const std::vector<std::string> again = {"model.directory=run/model", "run.directory=again",
                                          "train.steps=2"};
  const Outcome kept = here.finetune(again);
  ASSERT_EQ(kept.status, 0) << kept.errors;
  EXPECT_THAT(kept.output, testing::Not(HasSubstr("random")));
  const Outcome other = here.finetune({"model.directory=run/model", "run.directory=other",
                                       "train.steps=2", "speech.units=characters"});
  ASSERT_EQ(other.status, 0) << other.errors;
  EXPECT_THAT(other.output, HasSubstr("the head begins with random weights"));
}

TEST(FinetuneSpeech, MasksAreTheSameOnAnyNumberOfThreads) {
  const SpeechWorkplace here;
  std::vector<std::string> weights;
  for (const char* threads : {"1", "3"}) {
    const Outcome outcome =
        here.finetune({"train.steps=3", "speech.frequency_masks=1", "speech.frequency_width=3",
                       "speech.time_masks=1", "speech.time_width=5",
                       std::string("run.directory=run") + threads, "--threads", threads});
    ASSERT_EQ(outcome.status, 0) << outcome.errors;
    weights.push_back(here.weights(std::string("run") + threads));
  }
  EXPECT_EQ(weights[0], weights[1]);
  ASSERT_EQ(here.finetune({"train.steps=3", "run.directory=plain"}).status, 0);
  EXPECT_NE(here.weights("plain"), weights[0]);
}

TEST(FinetuneSpeech, LeavesOutBadSoundsAndNamesThem) {
  const SpeechWorkplace here;
  write_file_atomically(here / "broken.wav", "no sound");
  write_file_atomically(here / "long.wav", wav_of(std::vector<double>(8000, 0.1)));
  here.add_line("broken.wav", "low");
  here.add_line("long.wav", "low");
  here.add_line("0.wav", "low low low low low low low low low low");
  const Outcome outcome = here.finetune({"train.steps=2"});
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  EXPECT_THAT(outcome.output, HasSubstr("3 of 15 sounds were left out"));
  EXPECT_THAT(outcome.output, HasSubstr("broken.wav"));
  EXPECT_THAT(outcome.output, HasSubstr("long.wav: lasts 1 s, the model hears 0.6"));
  EXPECT_THAT(outcome.output, HasSubstr("its text needs 19 positions, the model has 15"));
  EXPECT_THAT(outcome.output, HasSubstr("12 training examples"));
}

TEST(FinetuneSpeech, RefusesWhatItCannotDo) {
  const SpeechWorkplace here;
  const auto refuse = [&](const std::vector<std::string>& more, int status, const char* message) {
    SCOPED_TRACE(message);
    expect_one_line(here.finetune(more), status, message);
  };
  refuse({"task.class_weights=[1, 2]"}, 2, "task.class_weights");
  refuse({"task.labels=[\"<blank>\", \"low\"]"}, 2, "has the word 'high'");
  refuse({"task.labels=[\"low\", \"high\"]"}, 2, "takes <blank> as the first");
  refuse({"speech.units=tones"}, 2, "speech.units");
  refuse({"data.train=[\"none.jsonl\"]"}, 1, "none.jsonl");
  refuse({"model.directory=" + std::string(PLINTH_FIXTURES) + "/bert"}, 2, "takes a whisper");
  ASSERT_EQ(here.run({"predict", "whisper", "0.wav"}).status, 2);
  write_file_atomically(here / "other.jsonl", R"({"audio": "0.wav", "text": "middle"})");
  refuse({"data.validation=[\"other.jsonl\"]"}, 2, "has the word 'middle'");
  write_file_atomically(here / "whisper" / "preprocessor_config.json", R"({"feature_size": 9})");
  refuse({}, 2, "preprocessor_config.json");
}

}  // namespace
}  // namespace plinth
