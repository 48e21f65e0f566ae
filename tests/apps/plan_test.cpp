// plinth plan: its table, its JSON, its picture, and what it says of a wrong question.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>

#include "tests/apps/plinth_program.h"

namespace plinth {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::vector<std::string> question(std::vector<std::string> more = {}) {
  std::vector<std::string> words = {"plan",    "--model", "llama3-8b", "--gpus", "16",
                                    "--batch", "128",     "--seq",     "8192"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

TEST(Plan, PrintsATable) {
  const TemporaryDirectory here;
  const Outcome outcome = plinth_program(here.path(), question({"--top", "3"}));
  EXPECT_EQ(outcome.status, 0) << outcome.errors;
  EXPECT_THAT(outcome.output, StartsWith("llama3-8b, 8.03G parameters, on 16 h200"));
  EXPECT_THAT(outcome.output, HasSubstr("mesh                       schedule"));
  EXPECT_EQ(std::ranges::count(outcome.output, '\n'), 4 + 3 + 5);
}

TEST(Plan, GivesJsonAndAPicture) {
  const TemporaryDirectory here;
  const Outcome outcome = plinth_program(
      here.path(), {"plan", "--model", "gpt3-175b", "--gpus", "512", "--gpu", "a100-80gb",
                    "--batch", "512", "--seq", "2048", "--top", "4", "--json", "--svg", "a.svg"});
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  const auto json = nlohmann::json::parse(outcome.output);
  EXPECT_EQ(json["gpus"], 512);
  ASSERT_EQ(json["plans"].size(), 4u);
  double before = 0;
  for (const auto& plan : json["plans"]) {
    EXPECT_GE(plan["step_seconds"], before);
    before = plan["step_seconds"];
    double memory = 0;
    for (const char* kind : {"parameters", "gradients", "optimizer", "activations", "logits"})
      memory += plan["memory_bytes"][kind].get<double>();
    EXPECT_NEAR(memory, plan["memory_bytes"]["total"].get<double>(), 1);
  }
  const std::string picture = read_text_file(here / "a.svg");
  EXPECT_THAT(picture, StartsWith("<svg xmlns="));
  EXPECT_THAT(picture, HasSubstr("Memory of a GPU"));
  EXPECT_THAT(picture, HasSubstr("Pipeline of the fastest plan"));
}

TEST(Plan, TakesAConfiguration) {
  const TemporaryDirectory here;
  std::ofstream(here / "config.json")
      << R"({"model_type": "llama", "vocab_size": 32000, "hidden_size": 2048,
            "num_hidden_layers": 16, "num_attention_heads": 16, "intermediate_size": 5632})";
  std::ofstream(here / "mixtral.json")
      << R"({"model_type": "mixtral", "vocab_size": 32000, "hidden_size": 2048,
            "num_hidden_layers": 16, "num_attention_heads": 16, "intermediate_size": 5632,
            "num_key_value_heads": 8, "num_local_experts": 4})";
  std::ofstream(here / "bert.json")
      << R"({"model_type": "bert", "architectures": ["BertForMaskedLM"], "vocab_size": 30522,
            "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
            "intermediate_size": 4096, "max_position_embeddings": 4096})";
  for (const char* model : {"config.json", ".", "mixtral.json", "bert.json"}) {
    const Outcome outcome = plinth_program(
        here.path(), {"plan", "--model", model, "--gpus", "8", "--batch", "64", "--seq", "4096"});
    EXPECT_EQ(outcome.status, 0) << outcome.errors;
    EXPECT_THAT(outcome.output, HasSubstr("parameters, on 8 h200"));
  }
}

// The first rank's bytes for the plan's own overrides, by the other command.
int64_t memory_of(const Workplace& here, const nlohmann::json& plan, int ranks) {
  std::vector<std::string> words = {"memory", "run.toml", "--json", "--ranks",
                                    std::to_string(ranks)};
  for (const auto& word : plan["overrides"]) words.push_back(word);
  words.insert(words.end(), {"--rank", std::to_string(plan["dry_run"]["rank"].get<int>())});
  const Outcome outcome = here.run(words);
  EXPECT_EQ(outcome.status, 0) << outcome.errors;
  return nlohmann::json::parse(outcome.output)["ranks"][0]["peak_bytes"];
}

TEST(Plan, OfARunHasTheMemoryOfItsDryRun) {
  const Workplace here;
  const Outcome outcome =
      here.run({"plan", "run.toml", "model.layers=2", "--gpus", "4", "--top", "6", "--json"});
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  const auto json = nlohmann::json::parse(outcome.output);
  EXPECT_EQ(json["batch"], 8);
  EXPECT_EQ(json["sequence"], 16);
  ASSERT_EQ(json["plans"].size(), 6u);
  for (const int i : {0, 5}) {
    nlohmann::json plan = json["plans"][i];
    plan["overrides"].push_back("model.layers=2");
    EXPECT_EQ(plan["dry_run"]["peak_bytes"], memory_of(here, plan, 4));
  }
}

TEST(Plan, TellsStepsApartThatTakeLessThanAMillisecond) {
  const Workplace here;
  const Outcome plans = here.run({"plan", "run.toml", "--gpus", "2", "--top", "2"});
  ASSERT_EQ(plans.status, 0) << plans.errors;
  const std::regex seconds("(?:none|selective|alternate|full) +([0-9.e-]+)");
  std::sregex_iterator row(plans.output.begin(), plans.output.end(), seconds);
  ASSERT_GE(std::distance(row, {}), 2) << plans.output;
  for (; row != std::sregex_iterator(); ++row) {
    EXPECT_GT(std::stod((*row)[1]), 0);
    EXPECT_LT(std::stod((*row)[1]), 1e-3);
  }
}

TEST(Plan, OfARunNamesWhatPretrainTakes) {
  const Workplace here;
  const Outcome plans =
      here.run({"plan", "run.toml", "--gpus", "2", "--top", "1", "train.steps=2"});
  ASSERT_EQ(plans.status, 0) << plans.errors;
  EXPECT_THAT(plans.output, HasSubstr("to the byte as plinth memory tells"));
  const size_t last = plans.output.find("The first, for plinth pretrain run.toml train.steps=2:\n");
  ASSERT_NE(last, std::string::npos);
  std::istringstream words(plans.output.substr(plans.output.find('\n', last)));
  std::vector<std::string> launch = {"launch", "--nproc", "2", "--"};
  for (const std::string& word : Workplace::pretrain_arguments({"train.steps=2"}))
    launch.push_back(word);
  for (std::string word; words >> word;) launch.push_back(word);
  ASSERT_GT(launch.size(), 8u);
  const Outcome run = here.run(launch);
  EXPECT_EQ(run.status, 0) << run.errors;
}

TEST(Plan, ValidatesItself) {
  const TemporaryDirectory here;
  const Outcome table = plinth_program(here.path(), {"plan", "--validate"});
  EXPECT_EQ(table.status, 0) << table.errors;
  EXPECT_THAT(table.output, HasSubstr("Korthikanti et al. 2022, table 5"));
  EXPECT_THAT(table.output, HasSubstr("median error"));
  const auto json =
      nlohmann::json::parse(plinth_program(here.path(), {"plan", "--validate", "--json"}).output);
  EXPECT_EQ(json["fitted"].size(), 8u);
  EXPECT_LT(json["median_error"]["predicted"], 0.1);
  EXPECT_THAT(plinth_program(here.path(), {"plan", "--calibrate"}).output,
              StartsWith("product 0."));
}

TEST(Plan, WrongQuestionsGetOneLine) {
  const TemporaryDirectory here;
  std::ofstream(here / "vit.json") << R"({"model_type": "vit"})";
  std::ofstream(here / "run.toml") << "[model]\nvocab_size = 100\n[train]\nbatch = 3\n"
                                      "[run]\ndirectory = 'run'\n[data]\ntrain = ['t.bin']\n";
  std::ofstream(here / "broken.json") << "{";
  struct Mistake {
    std::vector<std::string> arguments;
    int status;
    const char* message;
  };
  const std::vector<Mistake> table = {
      {{"plan"}, 2, "takes a run's TOML file and --gpus; or --model"},
      {question({"--gpu", "h300"}), 2, "got 'h300', takes one of a100-80gb"},
      {question({"--gpu", "a100-80gb", "--attention", "flash3"}), 2, "flash3 takes a Hopper GPU"},
      {question({"--gpu", "a100-80gb", "--precision", "float8"}), 2, "no float8 products"},
      {question({"--top", "0"}), 2, "--top"},
      {question({"--validate", "--calibrate"}), 2, "--calibrate"},
      {question({"--svg", "no/such/folder.svg"}), 1, "no/such/folder.svg"},
      {{"plan", "--model", "llama3-8", "--gpus", "8", "--batch", "8", "--seq", "8"},
       2,
       "nearest: llama3-8b"},
      {{"plan", "--model", "vit.json", "--gpus", "8", "--batch", "8", "--seq", "8"},
       2,
       "model_type got 'vit', the planner takes gpt2, bert, llama or mixtral"},
      {{"plan", "--model", "broken.json", "--gpus", "8", "--batch", "8", "--seq", "8"},
       2,
       "broken.json"},
      {{"plan", "--model", "gpt3-175b", "--gpus", "8", "--batch", "8", "--seq", "2048"},
       2,
       "fits into a GPU's memory; the smallest takes"},
      {{"plan", "--model", "gpt3-175b", "--gpus", "11", "--batch", "1", "--seq", "2048"},
       2,
       "no mesh of 11 GPUs"},
      {{"plan", "run.toml"}, 2, "takes --gpus with a run's TOML file"},
      {{"plan", "run.toml", "--gpus", "2", "--model", "gpt3-175b"}, 2, "--model"},
      {{"plan", "run.toml", "--gpus", "2", "model.heads=0"}, 2, "model.heads"},
      {{"plan", "run.toml", "--gpus", "11"}, 2, "no mesh of 11 GPUs"},
      {{"plan", "none.toml", "--gpus", "2"}, 1, "none.toml"},
      {{"plan", "--model", "gpt3-175b", "--gpus", "8", "--batch", "8", "--seq", "9999999999"},
       2,
       "--seq"},
  };
  for (const Mistake& mistake : table) {
    SCOPED_TRACE(mistake.message);
    const Outcome outcome = plinth_program(here.path(), mistake.arguments);
    expect_one_line(outcome, mistake.status, mistake.message);
  }
}

}  // namespace
}  // namespace plinth
