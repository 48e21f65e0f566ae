// What a user can get wrong, and what can fail: one clear line, the right exit status, nothing
// lost.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/io/directory.h"
#include "tests/apps/plinth_program.h"
#include "tests/fixtures.h"

namespace plinth {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using Words = std::vector<std::string>;

struct Mistake {
  const char* what;
  std::vector<std::string> arguments;
  int status;
  const char* message;
};

TEST(BadInput, WrongWordsAreToldTheNearestRightOne) {
  const TemporaryDirectory here;
  const std::vector<Mistake> table = {
      {"no command", {}, 2, "no command given; plinth --help"},
      {"a command", {"pretrian"}, 2, "unknown command 'pretrian'; did you mean 'pretrain'?"},
      {"far from any command", {"xyzzy"}, 2, "unknown command 'xyzzy'; --help lists"},
      {"an option", {"generate", "run", "--temprature", "1"}, 2, "did you mean '--temperature'?"},
      {"an option with =", {"generate", "run", "--topk=3"}, 2, "did you mean '--top-k'?"},
      {"a command of bench",
       {"bench", "atention"},
       2,
       "unknown bench command 'atention'; did you mean 'attention'?"},
      {"no command of bench", {"bench"}, 2, "bench"},
      {"a shell", {"completion", "tcsh"}, 2, "tcsh"},
      {"a number", {"generate", "run", "--tokens", "many"}, 2, "--tokens"},
      {"a device", {"bench", "adamw", "--device", "gpu"}, 2, "gpu"},
      {"a shape",
       {"bench", "layer_norm", "--shape", "8"},
       2,
       "layer_norm got a --shape of 1 sizes, takes rows,dim"},
      {"a family", {"bench", "train", "--model", "gtp2"}, 2, "nearest: gpt2"},
      {"sizes",
       {"bench", "train", "--dim", "30", "--heads", "4"},
       2,
       "takes a multiple of heads (4)"},
      {"a missing argument", {"generate"}, 2, "model is required"},
      {"no configuration", {"pretrain"}, 2, "takes a configuration file"},
  };
  for (const Mistake& mistake : table) {
    SCOPED_TRACE(mistake.what);
    expect_one_line(plinth_program(here.path(), mistake.arguments), mistake.status,
                    mistake.message);
  }
}

TEST(BadInput, NumbersOutOfRangeAreToldWithWhatTheOptionTakes) {
  const TemporaryDirectory here;
  const auto refused = [&](Words words, const std::string& message) {
    SCOPED_TRACE(testing::PrintToString(words));
    expect_one_line(plinth_program(here.path(), std::move(words)), 2, message);
  };
  const std::string batch = "takes a whole number from 1 to 16777216";
  for (const char* command : {"eval", "predict", "embed"}) {
    for (const char* given : {"0", "-1", "1.5", "many", "010", "99999999999999999999"})
      refused({command, "model", "--batch", given},
              std::string("--batch: got '") + given + "', " + batch);
  }
  refused({"bench", "train", "--batch", "0"}, "--batch: got '0', " + batch);
  refused({"bench", "train", "--layers", "99999999999999999999"}, "--layers: got '999");
  refused({"bench", "adamw", "--steps", "0"}, "--steps: got '0', takes a whole number of at least");
  refused({"generate", "run", "--tokens", "-1"},
          "--tokens: got '-1', takes a whole number of at least 0");
  refused({"generate", "run", "--temperature", "nan"},
          "--temperature: got 'nan', takes a number of at least 0");
  refused({"generate", "run", "--top-p", "0"},
          "--top-p: got '0', takes a number above 0, at most 1");
  refused({"generate", "run", "--seed", "-1"},
          "--seed: got '-1', takes a whole number from 0 to 18446744073709551615");
  refused({"eval", "run", "--windows", "-2"}, "--windows: got '-2', takes a whole number of at");
  refused({"launch", "--timeout", "nan", "--", "plan"},
          "--timeout: got 'nan', takes a number from 0 to 1e+06");
  refused({"plan", "--gpus", "0"}, "--gpus: got '0', takes a whole number from 1 to 1048576");
}

TEST(BadInput, ConfigurationErrorsNameFileLineAndKey) {
  const Workplace here;
  const auto refused = [&](const std::string& line, int status, const std::string& message) {
    SCOPED_TRACE(line);
    std::ofstream(here / "bad.toml") << read_text_file(here / "run.toml") << "[log]\n"
                                     << line << "\n";
    expect_one_line(here.run({"pretrain", "bad.toml"}), status, message);
    EXPECT_FALSE(fs::exists(here / "run"));
  };
  refused("evry = 3", 2, "every");
  refused("every = \"often\"", 2, "log.every got the string 'often'");
  refused("every = 0", 2, "log.every");
  refused("every = ", 2, "bad.toml:");
  const auto refused_override = [&](const std::string& assignment, int status,
                                    const std::string& message) {
    SCOPED_TRACE(assignment);
    expect_one_line(here.pretrain({assignment}), status, message);
    EXPECT_FALSE(fs::exists(here / "run/step-000004"));
  };
  refused_override("train.step=3", 2, "train.steps");
  refused_override("trian.steps=3", 2, "train");
  refused_override("model.type=gpt", 2, "gpt2");
  refused_override("train.micro_batch=3", 2, "takes a divisor of train.batch (8)");
  refused_override("schedule.warmup_steps=100", 2, "takes at most train.steps (12)");
  refused_override("model.heads=3", 2, "takes a multiple of heads (3)");
  refused_override("run.directory=", 2, "run.directory: is empty, takes a string: where");
  refused_override("sample.prompt=", 2, "sample.prompt: is empty, takes the start of a text");
  refused_override("model.vocab_size=64", 2, "64");
  refused_override("data.train=absent.bin", 1, "absent.bin");
  refused_override("data.tokenizer=absent", 1, "absent");
  refused_override("run.directory=run.toml/run", 1, "run.toml: cannot create the directory");
  refused_override("model.context=1000000", 2, "");
}

TEST(BadInput, MissingFilesAreNamed) {
  const TemporaryDirectory here;
  const std::vector<Mistake> table = {
      {"configuration", {"pretrain", "absent.toml"}, 1, "absent.toml: cannot open"},
      {"model", {"generate", "absent"}, 1, "absent: no such directory"},
      {"evaluated model", {"eval", "absent", "--data", "x.bin"}, 1, "absent: no such directory"},
      {"text",
       {"tokenize", "absent.txt", "--out", "data", "--train-vocab", "300"},
       1,
       "absent.txt"},
      {"inspected", {"inspect", "absent"}, 1, "absent: no such file or directory"},
  };
  for (const Mistake& mistake : table) {
    SCOPED_TRACE(mistake.what);
    expect_one_line(plinth_program(here.path(), mistake.arguments), mistake.status,
                    mistake.message);
  }
}

TEST(BadInput, PathsThatAreNoUtf8AreReadAndReplacedInJson) {
  const TemporaryDirectory here;
  const fs::path fixtures = PLINTH_FIXTURES;
  const std::string image = "caf\xE9.png", folder = "mod\xE8le";  // of Latin-1
  fs::copy_file(fixtures / "images/grey.png", here / image);
  write_file_atomically(here / "list.txt", image + "\n");
  const std::string model = (fixtures / "segmenter").string();
  for (const Words& what : {Words{image}, Words{"--file", "list.txt"}}) {
    Words words = {"predict", model};
    words.insert(words.end(), what.begin(), what.end());
    const Outcome said = plinth_program(here.path(), words);
    ASSERT_EQ(said.status, 0) << said.errors;
    EXPECT_EQ(nlohmann::json::parse(said.output)["image"], "caf\uFFFD.png");
  }
  fs::create_directory(here / folder);
  fs::copy_file(fixtures / "gpt2/config.json", here / folder / "config.json");
  const Outcome plans = plinth_program(here.path(), {"plan", "--model", folder, "--gpus", "2",
                                                     "--batch", "8", "--seq", "8", "--json"});
  ASSERT_EQ(plans.status, 0) << plans.errors;
  EXPECT_THAT(nlohmann::json::parse(plans.output)["model"].get<std::string>(),
              HasSubstr("mod\uFFFDle"));
}

TEST(BadInput, OptionsThatWouldDoNothingAreRefused) {
  const TemporaryDirectory here;
  const auto eval = [&](const std::string& model, const Words& option, const char* message) {
    Words words = {"eval", std::string(PLINTH_FIXTURES) + "/" + model, "--data", "absent"};
    words.insert(words.end(), option.begin(), option.end());
    expect_one_line(plinth_program(here.path(), words), 2, message);
  };
  for (const Words& option : {Words{"--average"}, Words{"--context", "8"}, Words{"--windows", "2"},
                              Words{"--tokenizer", "folder"}, Words{"--mask-token", "3"}})
    eval("bert_sequence", option, (option[0] + ": does nothing for ").c_str());
  eval("bert_sequence", {"--average"}, "which is fine-tuned: it is an option of language models");
  for (const Words& option :
       {Words{"--outputs"}, Words{"--max-length", "9"}, Words{"--beams", "2"},
        Words{"--top-k", "2"}, Words{"--language", "en"}, Words{"--labels", "a,b"},
        Words{"--label-column", "x"}, Words{"--no-header"}})
    eval("gpt2", option, (option[0] + ": does nothing for ").c_str());
  eval("gpt2", {"--outputs"}, "a language model: it is an option of fine-tuned ones");
  const Words words = {"tokenize", "a.txt", "--out", "a", "--train-vocab", "300"};
  Words device = words;
  device.insert(device.end(), {"--device", "cuda"});
  expect_one_line(plinth_program(here.path(), device), 2, "unknown option '--device'");
}

TEST(BadInput, EmptyCorpusAndExistingShardsAreRefused) {
  const Workplace here;
  write_file_atomically(here / "empty.txt", " \n\n");
  expect_one_line(here.run({"tokenize", "empty.txt", "--out", "other", "--train-vocab", "300"}), 2,
                  "empty.txt: holds no text");
  EXPECT_FALSE(fs::exists(here / "other"));
  expect_one_line(here.run({"tokenize", "text.txt", "--out", "other"}), 2,
                  "takes either --tokenizer or --train-vocab");
  const std::string shard = read_text_file(here / "data/train_00000.bin");
  expect_one_line(here.run({"tokenize", "text.txt", "--out", "data", "--train-vocab", "280"}), 2,
                  "train_00000.bin");
  EXPECT_EQ(read_text_file(here / "data/train_00000.bin"), shard);
}

TEST(BadInput, DamagedShardsAreNamed) {
  const Workplace here;
  const fs::path shard = here / "data/train_00000.bin";
  fs::resize_file(shard, fs::file_size(shard) - 3);
  expect_one_line(here.pretrain(), 2, "train_00000.bin");
  std::ofstream(shard, std::ios::trunc);
  expect_one_line(here.pretrain(), 2, "train_00000.bin");
}

TEST(BadInput, TextInPlaceOfTokensIsRefused) {
  const Workplace here;
  const std::string message = "text.txt: is text, expected token ids; plinth tokenize makes";
  expect_one_line(here.pretrain({"data.train=text.txt"}), 2, message);
  const std::string model = std::string(PLINTH_FIXTURES) + "/gpt2";
  expect_one_line(here.run({"eval", model, "--data", "text.txt"}), 2, message);
  expect_one_line(here.run({"inspect", "text.txt"}), 2, message);
  write_file_atomically(here / "text.gz", std::string("\x1F\x8B\x08\0", 4));
  expect_one_line(here.run({"eval", model, "--data", "text.gz"}), 2,
                  "token 0 has id 35615, but the vocabulary has 97; without llm.c's header, it is "
                  "read as tokens of 2 bytes");
}

TEST(BadInput, TokensOutsideTheVocabularyAreNamedBeforeTraining) {
  const Workplace here;
  expect_one_line(here.pretrain({"model.vocab_size=200", "data.tokenizer="}), 2, "train_00000.bin");
  EXPECT_FALSE(fs::exists(here / "run/metrics.csv"));
}

TEST(BadInput, DamagedCheckpointFallsBackToTheOneBeforeWithAWarning) {
  const Workplace here;
  ASSERT_EQ(here.pretrain().status, 0);
  fs::resize_file(here / "run/step-000012/optimizer.safetensors", 100);
  const Outcome generated = here.run({"generate", "run", "--tokens", "2"});
  EXPECT_EQ(generated.status, 0);
  EXPECT_THAT(generated.errors, HasSubstr("step-000012: not a whole checkpoint"));
  const Outcome resumed = here.pretrain({"--resume"});
  EXPECT_EQ(resumed.status, 0) << resumed.errors;
  EXPECT_THAT(resumed.output, HasSubstr("resumed after step 8"));
  EXPECT_EQ(here.run({"generate", "run", "--tokens", "2"}).errors, "");
}

TEST(BadInput, DamagedModelFilesAreNamed) {
  const Workplace here;
  ASSERT_EQ(here.pretrain().status, 0);
  const fs::path model = here / "run/step-000012";
  fs::resize_file(model / "model.safetensors", 2000);
  expect_one_line(here.run({"generate", model.string()}), 2, "model.safetensors");
  write_file_atomically(model / "config.json", "{}");
  expect_one_line(here.run({"generate", model.string()}), 2, "config.json");
}

TEST(BadInput, OccupiedOrFinishedRunDirectoryIsLeftAlone) {
  const Workplace here;
  ASSERT_EQ(here.pretrain().status, 0);
  const std::string metrics = read_text_file(here / "run/metrics.csv");
  expect_one_line(here.pretrain(), 2, "holds the checkpoints of a run; --resume goes on with it");
  expect_one_line(here.pretrain({"--resume", "optimizer.lr=0.5"}), 2,
                  "optimizer.lr was 0.01, now 0.5; --resume goes on with the same run");
  const DirectoryLock lock(here / "run");
  expect_one_line(here.pretrain({"--resume"}), 1, "is in use by process");
  EXPECT_EQ(read_text_file(here / "run/metrics.csv"), metrics);
}

TEST(BadInput, RunThatDiedBeforeItsFirstRowIsBegunAgain) {
  const Workplace here;
  const auto die = [&] {
    fs::remove(here / "run/metrics.csv");
    PlinthProcess running(here.path(), Workplace::pretrain_arguments(
                                           {"log.every=1000000", "train.steps=1000000",
                                            "validation.every=0", "checkpoint.every=1000000"}));
    EXPECT_TRUE(PlinthProcess::wait_until_written(here / "run/metrics.csv"));
    running.signal(SIGKILL);
    EXPECT_EQ(running.wait().errors, "");
    EXPECT_EQ(fs::file_size(here / "run/metrics.jsonl"), 0u);
  };
  die();
  die();  // anew, in the same directory
  for (const Words& words :
       {Words{"generate", "run"}, Words{"inspect", "run"}, Words{"eval", "run", "--data", "data"},
        Words{"predict", "run", "a"}, Words{"convert", "run", "out"}})
    expect_one_line(here.run(words), 1,
                    "run: holds the config.toml of a run, but no checkpoint yet; --resume");
  expect_one_line(here.pretrain(), 2, "begin that run again, with what is now, by --resume");
  const Outcome again = here.pretrain({"--resume"});
  EXPECT_EQ(again.status, 0) << again.errors;
  EXPECT_EQ(here.run({"generate", "run", "--tokens", "2"}).status, 0);
}

TEST(BadInput, FullDiskEndsInOneLineAndTheCheckpointBeforeStays) {
  const Workplace here;
  // Metrics fit into 4000 bytes, weights do not.
  const std::vector<std::string> small = {"log.tensorboard=false", "log.report=false"};
  expect_one_line(here.pretrain(small, 4000), 1, "File too large");
  EXPECT_FALSE(fs::exists(here / "run/step-000004"));
  ASSERT_EQ(here.pretrain({"--resume", "train.steps=12"}).status, 0);
  const Outcome more = here.pretrain({"--resume", "log.tensorboard=false"}, 4000);
  EXPECT_NE(more.status, 0);  // the report does not fit
  EXPECT_EQ(here.run({"generate", "run", "--tokens", "2"}).status, 0);
}

TEST(BadInput, DivergenceStopsTheRunAndNamesTheLastGoodCheckpoint) {
  const Workplace here;
  expect_one_line(
      here.pretrain({"optimizer.name=sgd", "optimizer.lr=100", "schedule.warmup_steps=8",
                     "train.clip_norm=0", "checkpoint.every=2", "train.steps=400",
                     "train.max_bad_steps=3", "train.ema_decay=0", "sample.every=0"}),
      1, "3 bad steps in a row; the last good checkpoint is run/step-0000");
}

}  // namespace
}  // namespace plinth
