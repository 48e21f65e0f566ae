// plinth finetune, eval and predict of sounds.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/apps/speech_workplace.h"
#include "tests/fixtures.h"

namespace plinth {
namespace {

using testing::HasSubstr;

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

TEST(FinetuneSpeech, BatchesOfOneWidthHaveTheLossOfOthers) {
  const SpeechWorkplace here;
  ASSERT_EQ(here.finetune({"train.steps=2"}).status, 0);
  expect_one_width(here / "run" / "model", here / "sounds.jsonl");
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
  expect_one_line(here.run({"predict", "whisper", "0.wav"}), 1, "model.safetensors");
  write_file_atomically(here / "other.jsonl", R"({"audio": "0.wav", "text": "middle"})");
  refuse({"data.validation=[\"other.jsonl\"]"}, 2, "has the word 'middle'");
  write_file_atomically(here / "whisper" / "preprocessor_config.json", R"({"feature_size": 9})");
  refuse({}, 2, "preprocessor_config.json");
}

}  // namespace
}  // namespace plinth
