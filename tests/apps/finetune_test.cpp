// finetune, and eval and predict of what it writes, run as a user runs them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/ops/factories.h"
#include "models/tensor_files.h"
#include "tests/apps/finetune_workplace.h"

namespace plinth {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

std::vector<json> lines_of(const std::string& text) {
  std::vector<json> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(json::parse(line));
  return lines;
}

void expect_success(const Outcome& outcome) {
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
}

TEST(Finetune, LearnsToClassifyTexts) {
  const FinetuneWorkplace here;
  const Outcome trained = here.finetune();
  expect_success(trained);
  EXPECT_THAT(trained.output,
              AllOf(HasSubstr("the head begins with random weights"),
                    HasSubstr("bert, text-classification, 2 labels"), HasSubstr("trained 60 steps"),
                    HasSubstr("accuracy 1.0000"), HasSubstr("plinth predict run/model")));
  for (const char* file : {"model/config.json", "model/model.safetensors", "model/tokenizer.json",
                           "model/task.toml", "config.toml", "metrics.jsonl", "report.html"})
    EXPECT_TRUE(fs::exists(here / "run" / file)) << file;
  const json config = json::parse(read_text_file(here / "run/model/config.json"));
  EXPECT_EQ(config["id2label"], json({{"0", "bad"}, {"1", "good"}}));
  EXPECT_EQ(config["label2id"], json({{"bad", 0}, {"good", 1}}));
  EXPECT_EQ(config["architectures"], json({"BertForSequenceClassification"}));

  const Outcome evaluated = here.run({"eval", "run", "--data", "validation.csv", "--json"});
  expect_success(evaluated);
  const json scores = json::parse(evaluated.output);
  EXPECT_EQ(scores["examples"], 20);
  for (const char* score : {"accuracy", "macro_f1", "micro_f1", "matthews"})
    EXPECT_EQ(scores[score], 1) << score;

  const Outcome predicted =
      here.run({"predict", "run/model", "the song is fine", "the house is dull"});
  expect_success(predicted);
  const std::vector<json> lines = lines_of(predicted.output);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0]["label"], "good");
  EXPECT_EQ(lines[1]["label"], "bad");
  EXPECT_EQ(lines[1]["score"], lines[1]["probabilities"]["bad"]);
  EXPECT_NEAR(lines[0]["probabilities"]["bad"].get<double>() + lines[0]["score"].get<double>(), 1,
              1e-12);
  write_file_atomically(here / "in.txt", "the song is fine\r\nthe \xFF house is dull\n\n");
  const Outcome from_file = here.run({"predict", "run", "--file", "in.txt"});
  expect_success(from_file);
  ASSERT_EQ(lines_of(from_file.output).size(), 3u);
  EXPECT_EQ(lines_of(from_file.output)[0], lines[0]);
  write_file_atomically(here / "in.jsonl", R"({"text": "the house is dull", "id": 3})"
                                           "\n");
  for (const char* none : {".", "none.txt"})
    expect_one_line(here.run({"predict", "run", "--file", none}), 1, "cannot be read as a file");
  const Outcome from_json = here.run({"predict", "run", "--file", "in.jsonl", "--json"});
  EXPECT_EQ(lines_of(from_json.output), std::vector<json>{lines[1]}) << from_json.errors;
  write_file_atomically(here / "other.jsonl", R"({"txt": "the house is dull", "id": 3})"
                                              "\n");
  expect_one_line(
      here.run({"predict", "run", "--file", "other.jsonl", "--json"}), 2,
      "other.jsonl:1: got an object with 'id', 'txt', takes text or question, beside second "
      "or context, or words");
  write_file_atomically(here / "none.jsonl", R"({"second": "the house is dull"})"
                                             "\n");
  expect_one_line(here.run({"predict", "run", "--file", "none.jsonl", "--json"}), 2,
                  "none.jsonl:1: got an object with 'second', takes text or question");
  expect_one_line(
      here.run({"predict", "run", "--file", "in.jsonl", "--json", "--second", "a film"}), 2,
      "--second: got a text, goes with no --json");
}

TEST(Finetune, LearnsToTagWords) {
  const FinetuneWorkplace here;
  expect_success(here.finetune(FinetuneWorkplace::task("token-classification", ".conll")));
  const Outcome evaluated = here.run({"eval", "run", "--data", "validation.conll"});
  EXPECT_THAT(evaluated.output, HasSubstr("f1            1.0000")) << evaluated.errors;
  const Outcome predicted = here.run({"predict", "run", "the book is peter and film"});
  expect_success(predicted);
  const json line = lines_of(predicted.output).at(0);
  EXPECT_EQ(line["tags"], json({"O", "O", "O", "B-PER", "O", "O"}));
  EXPECT_EQ(line["entities"],
            json::parse(R"([{"type": "PER", "text": "peter", "begin": 3, "end": 4}])"));
}

TEST(Finetune, LearnsToAnswerQuestions) {
  const FinetuneWorkplace here;
  // Windows hold five tokens of a context.
  std::vector<std::string> settings = FinetuneWorkplace::task("question-answering", ".json");
  settings.insert(settings.end(), {"task.max_length=9", "task.stride=2"});
  const Outcome trained = here.finetune(settings);
  expect_success(trained);
  // What reads a model reads as it was trained to, unless it is told otherwise.
  const Outcome evaluated = here.run({"eval", "run", "--data", "validation.json", "--json"});
  expect_success(evaluated);
  EXPECT_EQ(json::parse(evaluated.output)["exact_match"], 1);
  EXPECT_EQ(json::parse(evaluated.output)["examples"], 20);
  const std::vector<std::string> question = {"predict", "run", "the", "--second",
                                             "the book is peter and song"};
  const Outcome predicted = here.run(question);
  expect_success(predicted);
  const json line = lines_of(predicted.output).at(0);
  EXPECT_EQ(line["answer"], "peter");
  EXPECT_EQ(line["begin"], 12);
  EXPECT_EQ(line["end"], 17);
  std::vector<std::string> otherwise = question;
  otherwise.insert(otherwise.end(), {"--stride", "7"});
  expect_one_line(here.run(otherwise), 2, "task.stride");
  write_file_atomically(here / "run/model/task.toml", "[task]\nstride = -1\n");
  expect_one_line(here.run(question), 2, "task.toml:2: task.stride got -1");
}

TEST(Finetune, GoesOnWithTheSameBitsAfterASignal) {
  const FinetuneWorkplace here;
  expect_success(here.finetune({"run.directory=whole"}));
  PlinthProcess running(
      here.path(), FinetuneWorkplace::command({"checkpoint.every=2", "checkpoint.keep_last=99"}));
  ASSERT_TRUE(PlinthProcess::wait_until_written(here / "run/step-000004/state.json"));
  running.signal(SIGINT);
  const Outcome stopped = running.wait();
  EXPECT_EQ(stopped.status, 130) << stopped.output;
  EXPECT_FALSE(fs::exists(here / "run/model"));
  expect_success(here.finetune({"--resume"}));
  for (const char* file : {"model/model.safetensors", "step-000060/optimizer.safetensors",
                           "step-000060/tokenizer_config.json"})
    EXPECT_EQ(read_text_file(here / "run" / file), read_text_file(here / "whole" / file)) << file;

  expect_one_line(here.finetune({"--resume", "optimizer.lr=0.1"}), 2, "optimizer.lr was");
  write_file_atomically(here / "train.csv", "label,text\ngood,fine\nbad,dull\n");
  expect_one_line(here.finetune({"--resume"}), 2, "other training data");
}

TEST(Finetune, WritesOverNoModelOfAnEarlierRun) {
  const FinetuneWorkplace here;
  ASSERT_EQ(here.finetune({"train.steps=10"}).status, 0);
  const auto model = [&] { return read_text_file(here / "run/model/model.safetensors"); };
  const std::string first = model();
  expect_one_line(here.finetune({"train.steps=10"}), 2, "run: holds the checkpoints of a run");
  // What is left by who keeps no more than the model.
  for (const auto& entry : std::filesystem::directory_iterator(here / "run"))
    if (entry.path().filename() != "model") std::filesystem::remove_all(entry.path());
  for (const char* more : {"run.seed=4", "--resume"})
    expect_one_line(here.finetune({more}), 2, "run/model: is there already, and no checkpoint");
  EXPECT_EQ(model(), first);
  EXPECT_FALSE(std::filesystem::exists(here / "run/metrics.jsonl"));
}

TEST(Finetune, TakesNoOtherWeightsForTheBestThatAreGone) {
  const FinetuneWorkplace here;
  ASSERT_EQ(here.finetune().status, 0);
  const auto model = [&] { return read_text_file(here / "run/model/model.safetensors"); };
  const std::string best = model();
  ASSERT_NE(best, read_text_file(here / "run/step-000060/model.safetensors"));
  for (const auto& entry : std::filesystem::directory_iterator(here / "run"))
    if (entry.path().filename().string().starts_with("step-") &&
        entry.path().filename() != "step-000060")
      std::filesystem::remove_all(entry.path());
  expect_one_line(here.finetune({"--resume"}), 1, "is gone, which had the best weights of the run");
  EXPECT_EQ(model(), best);
}

TEST(Finetune, StopsWhenValidationFindsNothingBetter) {
  const FinetuneWorkplace here;
  const Outcome outcome = here.finetune({"optimizer.lr=0", "validation.patience=2"});
  expect_success(outcome);
  EXPECT_THAT(outcome.output, HasSubstr("trained 30 steps (no better after step 10)"));
  EXPECT_TRUE(fs::exists(here / "run/step-000010"));
  const Outcome again = here.finetune({"optimizer.lr=0", "validation.patience=2", "--resume"});
  EXPECT_THAT(again.output, HasSubstr("trained 30 steps")) << again.errors;
}

std::vector<double> weight(const fs::path& model, const std::string& name) {
  return to_vector(nn::find(read_tensors(model / "model.safetensors"), name));
}

TEST(Finetune, TrainsTheHeadAloneOrAllWithWeighedClasses) {
  const FinetuneWorkplace here;
  const std::vector<std::string> few = {"train.steps=2", "schedule.warmup_steps=0"};
  const auto run = [&](std::vector<std::string> settings) {
    settings.insert(settings.end(), few.begin(), few.end());
    const Outcome outcome = here.finetune(settings);
    EXPECT_EQ(outcome.status, 0) << outcome.errors;
    return outcome.output;
  };
  run({"model.train=head"});
  run({"run.directory=all", "model.layer_decay=0.5"});
  run({"run.directory=weighed", "model.layer_decay=0.5", "task.class_weights=3,1"});
  const std::string block = "bert.encoder.layer.1.output.dense.weight", head = "classifier.weight";
  EXPECT_EQ(weight(here / "run/model", block), weight(here / "bert", block));
  EXPECT_NE(weight(here / "all/model", block), weight(here / "bert", block));
  EXPECT_NE(weight(here / "run/model", head), weight(here / "all/model", head));
  EXPECT_NE(weight(here / "weighed/model", head), weight(here / "all/model", head));
  // What begins with the first one's model keeps its head, and at a rate of 0 all of it.
  EXPECT_THAT(run({"model.directory=run", "run.directory=more", "optimizer.lr=0"}),
              testing::Not(HasSubstr("random weights")));
  EXPECT_EQ(weight(here / "more/model", head), weight(here / "run/model", head));
}

TEST(Finetune, AdaptsAtLowRankAndMergesWhatWasLearned) {
  const FinetuneWorkplace here;
  const std::vector<std::string> lora = {"lora.rank=4", "lora.dropout=0.1", "optimizer.lr=0.01"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.end(), lora.begin(), lora.end());
    return more;
  };
  const Outcome trained = here.finetune(with({"run.directory=whole"}));
  expect_success(trained);
  EXPECT_THAT(trained.output, HasSubstr("of them trained"));
  const double accuracy = std::stod(trained.output.substr(trained.output.rfind("accuracy") + 9));
  EXPECT_GE(accuracy, 0.9);
  const std::string block = "bert.encoder.layer.1.", up = block + "intermediate.dense.weight";
  EXPECT_EQ(weight(here / "whole/model", up), weight(here / "bert", up));
  const std::string query = block + "attention.self.query.weight";
  EXPECT_NE(weight(here / "whole/model", query), weight(here / "bert", query));
  // The merged model gives what the adapted one did.
  const Outcome evaluated = here.run({"eval", "whole", "--data", "validation.csv", "--json"});
  EXPECT_NEAR(json::parse(evaluated.output)["accuracy"].get<double>(), accuracy, 1e-4);
  // What a checkpoint has is enough to go on.
  PlinthProcess running(here.path(), FinetuneWorkplace::command(
                                         with({"checkpoint.every=2", "checkpoint.keep_last=99"})));
  ASSERT_TRUE(PlinthProcess::wait_until_written(here / "run/step-000004/state.json"));
  running.signal(SIGINT);
  EXPECT_EQ(running.wait().status, 130);
  expect_success(here.finetune(with({"--resume"})));
  EXPECT_EQ(read_text_file(here / "run/model/model.safetensors"),
            read_text_file(here / "whole/model/model.safetensors"));
}

TEST(Finetune, LeavesOutBadLinesAndSaysSo) {
  const FinetuneWorkplace here;
  write_file_atomically(here / "train.csv",
                        read_text_file(here / "train.csv") + "good\ngood,\xFF\n");
  const Outcome outcome = here.finetune({"train.steps=1", "schedule.warmup_steps=0"});
  expect_success(outcome);
  EXPECT_THAT(outcome.output,
              HasSubstr("data.train: 2 bad lines left out, the first train.csv:62: has 1 fields"));
  write_file_atomically(here / "bad.csv", "label,text\nother,fine\ngood,fine\n");
  const Outcome evaluated = here.run({"eval", "run", "--data", "bad.csv"});
  EXPECT_EQ(evaluated.status, 0);
  EXPECT_THAT(evaluated.errors, HasSubstr("bad.csv:2: has the label 'other', which the model has"));
  expect_one_line(here.run({"eval", "run", "--data", "bad.csv", "--max-bad-lines", "0"}), 2,
                  "has more than 0 bad lines");
}

TEST(Finetune, RefusesWhatItCannotDo) {
  const FinetuneWorkplace here;
  const auto refused = [&](const std::vector<std::string>& settings, const std::string& message) {
    expect_one_line(here.finetune(settings), 2, message);
    EXPECT_FALSE(fs::exists(here / "run/step-000060"));
  };
  refused({"task.name=chess"}, "task.name got 'chess'");
  refused({"validation.metric=f2"}, "validation.metric: got f2, takes one of loss, accuracy");
  refused({"task.max_length=32"}, "task.max_length: got 32, takes at most the model's 20");
  refused({"task.class_weights=1,2,3"}, "task.class_weights: got 3 numbers");
  refused({"data.text_column=words"}, "has no column 'words'");
  expect_one_line(here.finetune({"data.train=none.csv"}), 1, "none.csv: cannot open");
  refused({"lora.rank=2", "lora.targets=query"}, "targets got query, which is no linear layer");
  refused({"lora.rank=2", "model.train=head"}, "model.train: got head, takes all with lora.rank");
  refused({"task.labels=x,y"}, "data.train: has no examples");
  refused({"data.validation=", "validation.patience=1"}, "validation.patience");
  refused({"schedule.warmup_steps=61"}, "schedule.warmup_steps: got 61");
  refused({"train.steps=0", "train.epochs=1e300"},
          "train.epochs got 1e+300, takes a float above 0");
  expect_one_line(here.run({"predict", "bert", "x"}), 2, "architectures is [");
  expect_one_line(here.run({"predict", "bert", "x", "--file", "run.toml"}), 2, "takes texts, or");
}

TEST(Embed, GivesAVectorALine) {
  const FinetuneWorkplace here;
  const std::string command = "cd '" + here.path().string() +
                              "' && printf 'the song\\nthe house is dull and fine\\n' | " +
                              PLINTH_PROGRAM " embed bert > two && printf 'the song' | " +
                              PLINTH_PROGRAM " embed bert > one";
  ASSERT_EQ(std::system(command.c_str()), 0);
  const std::vector<json> both = lines_of(read_text_file(here / "two"));
  const std::vector<json> alone = lines_of(read_text_file(here / "one"));
  ASSERT_EQ(both.size(), 2u);
  ASSERT_EQ(both[0].size(), 24u);
  double square = 0;
  for (size_t i = 0; i < 24; ++i) {
    square += std::pow(both[0][i].get<double>(), 2);
    EXPECT_NEAR(both[0][i].get<double>(), alone.at(0)[i].get<double>(), 1e-6);
  }
  EXPECT_NEAR(square, 1, 1e-6);
}

TEST(Examples, TwoSentencesGiveTheLossAndLogitsOfTransformers) {
  const TemporaryDirectory here;
  const fs::path fixtures(PLINTH_FIXTURES);
  const std::string out = (here / "out.txt").string();
  const std::string command = "PLINTH=" PLINTH_PROGRAM " '" +
                              (fixtures / "../../examples/bert/two_sentences.sh").string() +
                              "' > " + out;
  ASSERT_EQ(std::system(command.c_str()), 0);
  const std::vector<json> lines = lines_of(read_text_file(out));
  const json expected = json::parse(read_text_file(fixtures / "bert_chinese/expected.json"));
  ASSERT_EQ(lines.size(), 3u);
  for (size_t sentence = 0; sentence < 2; ++sentence) {
    for (size_t label = 0; label < 2; ++label)
      EXPECT_NEAR(lines[sentence][label].get<double>(),
                  expected["logits"][sentence][label].get<double>(), 1e-6);
  }
  EXPECT_NEAR(lines[2]["loss"].get<double>(), expected["loss"].get<double>(), 1e-6);
}

}  // namespace
}  // namespace plinth
