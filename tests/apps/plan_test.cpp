// plinth plan: its table, its JSON, its picture, and what it says of a wrong question.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

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
  for (const char* model : {"config.json", ".", "mixtral.json"}) {
    const Outcome outcome = plinth_program(
        here.path(), {"plan", "--model", model, "--gpus", "8", "--batch", "64", "--seq", "4096"});
    EXPECT_EQ(outcome.status, 0) << outcome.errors;
    EXPECT_THAT(outcome.output, HasSubstr("parameters, on 8 h200"));
  }
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
  std::ofstream(here / "bert.json") << R"({"model_type": "bert"})";
  std::ofstream(here / "broken.json") << "{";
  struct Mistake {
    std::vector<std::string> arguments;
    int status;
    const char* message;
  };
  const std::vector<Mistake> table = {
      {{"plan"}, 2, "takes --model, --gpus, --batch and --seq, or --validate"},
      {question({"--gpu", "h300"}), 2, "got 'h300', takes one of a100-80gb"},
      {question({"--gpu", "a100-80gb", "--attention", "flash3"}), 2, "flash3 takes a Hopper GPU"},
      {question({"--gpu", "a100-80gb", "--precision", "float8"}), 2, "no float8 products"},
      {question({"--top", "0"}), 2, "--top"},
      {question({"--validate", "--calibrate"}), 2, "--calibrate"},
      {question({"--svg", "no/such/folder.svg"}), 1, "no/such/folder.svg"},
      {{"plan", "--model", "llama3-8", "--gpus", "8", "--batch", "8", "--seq", "8"},
       2,
       "nearest: llama3-8b"},
      {{"plan", "--model", "bert.json", "--gpus", "8", "--batch", "8", "--seq", "8"},
       2,
       "model_type got 'bert', the planner takes gpt2, llama or mixtral"},
      {{"plan", "--model", "broken.json", "--gpus", "8", "--batch", "8", "--seq", "8"},
       2,
       "broken.json"},
      {{"plan", "--model", "gpt3-175b", "--gpus", "8", "--batch", "8", "--seq", "2048"},
       2,
       "fits into a GPU's memory; the smallest takes"},
      {{"plan", "--model", "gpt3-175b", "--gpus", "11", "--batch", "1", "--seq", "2048"},
       2,
       "no mesh of 11 GPUs"},
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
