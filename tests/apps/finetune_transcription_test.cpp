// plinth finetune, eval and predict of sounds by a whole Whisper.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/apps/speech_workplace.h"
#include "tests/fixtures.h"

namespace plinth {
namespace {

using testing::HasSubstr;

// A Whisper without weights that writes the tokens of a vocabulary of bytes, and, behind them,
// marks.
class TranscriptionWorkplace : public SpeechWorkplace {
 public:
  TranscriptionWorkplace() {
    write_file_atomically(path() / "texts.txt", "low high\nhigh low\nlow low\nhigh high\n");
    const Outcome made = run({"tokenize", "texts.txt", "--documents", "line", "--train-vocab",
                              "262", "--out", "whisper"});
    EXPECT_EQ(made.status, 0) << made.errors;
    write_file_atomically(path() / "whisper" / "config.json", kModel);
    write_file_atomically(path() / "whisper" / "generation_config.json", kMarks);
    write_file_atomically(path() / "run.toml", kSettings);
  }

  std::vector<nlohmann::json> predict(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {"predict", "run"});
    const Outcome said = run(arguments);
    EXPECT_EQ(said.status, 0) << said.errors;
    std::istringstream lines(said.output);
    std::vector<nlohmann::json> found;
    for (std::string line; std::getline(lines, line);) found.push_back(nlohmann::json::parse(line));
    return found;
  }

 private:
  static constexpr const char* kModel = R"({"model_type": "whisper", "is_encoder_decoder": true,
      "vocab_size": 290, "num_mel_bins": 8, "max_source_positions": 15, "max_target_positions": 12,
      "d_model": 32, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 64,
      "decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 64, "init_std": 0.1,
      "decoder_start_token_id": 264, "eos_token_id": 0, "pad_token_id": 0, "bos_token_id": 0})";
  static constexpr const char* kMarks = R"({"lang_to_id": {"<|en|>": 265, "<|es|>": 266},
      "task_to_id": {"transcribe": 268, "translate": 267}, "no_timestamps_token_id": 269})";
  static constexpr const char* kSettings = R"(
[run]
directory = "run"
[model]
directory = "whisper"
[task]
name = "speech-seq2seq"
[speech]
language = "en"
[data]
train = ["sounds.jsonl"]
validation = ["sounds.jsonl"]
[train]
steps = 120
batch = 12
[optimizer]
lr = 0.01
[validation]
every = 60
metric = "wer"
)";
};

TEST(FinetuneTranscription, LearnsEvaluatesAndPredicts) {
  const TranscriptionWorkplace here;
  const Outcome trained = here.finetune();
  ASSERT_EQ(trained.status, 0) << trained.errors;
  EXPECT_THAT(trained.output, HasSubstr("all begin at random"));
  const Outcome scored =
      here.run({"eval", "run", "--data", "sounds.jsonl", "--language", "en", "--json"});
  ASSERT_EQ(scored.status, 0) << scored.errors;
  const auto scores = nlohmann::json::parse(scored.output);
  EXPECT_EQ(scores["examples"], 12);
  EXPECT_EQ(scores["wer"], 0);
  EXPECT_EQ(scores["cer"], 0);
  write_file_atomically(here / "broken.wav", "no sound");
  write_file_atomically(here / "long.wav", wav_of(std::vector<double>(8000, 0.1)));
  const auto found = here.predict({"4.wav", "broken.wav", "long.wav", "8.wav"});
  ASSERT_EQ(found.size(), 4U);
  EXPECT_EQ(found[0]["text"], "low high");
  EXPECT_EQ(found[0]["language"], "en");  // the one that it was trained on, told from the sound
  EXPECT_FALSE(found[0].contains("segments"));
  EXPECT_THAT(found[1]["error"].get<std::string>(), HasSubstr("broken.wav"));
  EXPECT_THAT(found[2]["error"].get<std::string>(), HasSubstr("lasts 1 s, the model hears 0.6"));
  EXPECT_EQ(found[3]["text"], "low low");
}

TEST(FinetuneTranscription, BatchesOfOneWidthHaveTheLossOfOthers) {
  const TranscriptionWorkplace here;
  ASSERT_EQ(here.finetune({"train.steps=2"}).status, 0);
  expect_one_width(here / "run" / "model", here / "sounds.jsonl");
}

// With marks of time sounds of any length are heard, in order.
TEST(FinetuneTranscription, TellsWhenWhatIsSaid) {
  const TranscriptionWorkplace here;
  ASSERT_EQ(here.finetune({"train.steps=20"}).status, 0);
  write_file_atomically(here / "long.wav", wav_of(std::vector<double>(20000, 0.1)));
  const auto found = here.predict({"4.wav", "long.wav", "--timestamps", "--beams", "2"});
  ASSERT_EQ(found.size(), 2U);
  double before = 0;
  for (const nlohmann::json& segment : found[1]["segments"]) {
    EXPECT_GE(segment["start"].get<double>(), before);
    EXPECT_GE(segment["end"].get<double>(), segment["start"].get<double>());
    before = segment["start"];
  }
  EXPECT_GT(before, 0.6);  // beyond the first window
}

TEST(FinetuneTranscription, RefusesWhatItCannotDo) {
  const TranscriptionWorkplace here;
  const auto refuse = [&](const std::vector<std::string>& more, int status, const char* message) {
    SCOPED_TRACE(message);
    expect_one_line(here.finetune(more), status, message);
  };
  refuse({"speech.language=fr"}, 2, "language is fr, takes one of en es");
  refuse({"speech.language="}, 2, "speech.language: is not given, and the model knows 2 languages");
  refuse({"task.class_weights=[1, 2]"}, 2, "task.class_weights");
  refuse({"model.directory=" + std::string(PLINTH_FIXTURES) + "/bert"}, 2, "takes a whisper");
  refuse({"model.train=head"}, 2, "model.train");
  here.add_line("0.wav", "a text that is longer than what the model can write");
  const Outcome outcome = here.finetune({"train.steps=1"});
  EXPECT_THAT(outcome.output, HasSubstr("1 of 13 sounds were left out"));
  EXPECT_THAT(outcome.output, HasSubstr("tokens, the model writes 12"));
}

}  // namespace
}  // namespace plinth
