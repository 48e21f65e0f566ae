// The commands, run as a user runs them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <numeric>

#include "tests/apps/plinth_program.h"
#include "tests/fixtures.h"

namespace plinth {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;

TEST(Plinth, HelpOfEveryCommandHasAnExample) {
  const TemporaryDirectory here;
  const std::vector<std::vector<std::string>> commands = {
      {},          {"pretrain"},       {"finetune"},       {"generate"}, {"eval"},
      {"predict"}, {"embed"},          {"convert"},        {"tokenize"}, {"inspect"},
      {"bench"},   {"bench", "train"}, {"bench", "adamw"}, {"launch"},   {"plan"},
      {"memory"},  {"completion"}};
  for (std::vector<std::string> command : commands) {
    command.push_back("--help");
    const Outcome outcome = plinth_program(here.path(), command);
    EXPECT_EQ(outcome.status, 0);
    EXPECT_THAT(outcome.output, HasSubstr("\nExample: ")) << command.front();
    EXPECT_EQ(outcome.errors, "");
  }
}

TEST(Plinth, TellsItsVersion) {
  const Outcome outcome = plinth_program(TemporaryDirectory().path(), {"--version"});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.output, MatchesRegex("plinth [0-9]+\\.[0-9]+\\.[0-9]+\n"));
}

TEST(Plinth, CompletionScriptsAreOfTheirShell) {
  const TemporaryDirectory here;
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const Outcome outcome = plinth_program(here.path(), {"completion", shell});
    EXPECT_EQ(outcome.status, 0);
    for (const char* word : {"pretrain", "layer_norm", "temperature"})
      EXPECT_THAT(outcome.output, HasSubstr(word)) << shell;
  }
  plinth_program(here.path(), {"completion", "bash"});
  const std::string script = (here / "stdout.txt").string();
  const std::string complete =
      "bash -c 'source " + script +
      "; COMP_WORDS=(plinth bench at); COMP_CWORD=2; _plinth; [ \"$COMPREPLY\" = attention ]'";
  EXPECT_EQ(std::system(complete.c_str()), 0);
}

TEST(Plinth, PretrainsAMaskedLanguageModel) {
  const Workplace here;
  const std::vector<std::string> bert = {"model.type=bert", "sample.every=0", "masking.token=310",
                                         "train.steps=40"};
  const Outcome trained = here.pretrain(bert);
  ASSERT_EQ(trained.status, 0) << trained.errors;
  EXPECT_THAT(trained.output, HasSubstr("validation loss"));
  EXPECT_THAT(trained.output, HasSubstr("--mask-token 310"));
  EXPECT_THAT(trained.output, Not(HasSubstr("plinth generate")));
  const Outcome evaluated =
      here.run({"eval", "run", "--data", "data/validation_00000.bin", "--mask-token", "310"});
  ASSERT_EQ(evaluated.status, 0) << evaluated.errors;
  EXPECT_THAT(evaluated.output, HasSubstr("nats per token"));
  EXPECT_THAT(evaluated.output, Not(HasSubstr("bits per byte")));
  const auto refused = [](const Outcome& outcome, const char* message) {
    EXPECT_EQ(outcome.status, 2);
    EXPECT_THAT(outcome.errors, HasSubstr(message));
  };
  refused(here.run({"generate", "run"}), "got a bert, which fills in masked tokens");
  refused(here.run({"eval", "run", "--text", "text.txt"}), "the tokenizer has no [MASK]");
  refused(here.pretrain({"model.type=bert", "masking.token=310", "run.directory=other"}),
          "sample.every: got");
}

// What a tokenizer's post-processor puts before texts stands before those that are read, unless it
// is left out.
TEST(Plinth, ReadsTextsBehindTheTokenizersBeginning) {
  const Workplace here;
  ASSERT_EQ(here.pretrain({"train.steps=2"}).status, 0);
  nlohmann::json tokenizer =
      nlohmann::json::parse(read_text_file(here / "run/step-000002/tokenizer.json"));
  tokenizer["post_processor"] = nlohmann::json::parse(R"({"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}},
                 {"Sequence": {"id": "A", "type_id": 0}},
                 {"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}],
      "pair": [], "special_tokens": {"<|endoftext|>":
          {"id": "<|endoftext|>", "ids": [0], "tokens": ["<|endoftext|>"]}}})");
  std::filesystem::create_directory(here / "begins");
  write_file_atomically(here / "begins/tokenizer.json", tokenizer.dump());
  const auto evaluated = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"eval", "run", "--text", "text.txt", "--json", "--threads", "1"});
    const Outcome outcome = here.run(more);
    EXPECT_EQ(outcome.status, 0) << outcome.errors;
    return nlohmann::json::parse(outcome.output);
  };
  const nlohmann::json plain = evaluated({}), begun = evaluated({"--tokenizer", "begins"});
  EXPECT_EQ(begun["tokens"].get<int>(), plain["tokens"].get<int>() + 1);
  EXPECT_EQ(evaluated({"--no-begin-token"}), plain);
  EXPECT_EQ(evaluated({"--tokenizer", "begins", "--no-begin-token"}), plain);

  const auto generated = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"generate", "run", "--tokens", "4", "--threads", "1", "--prompt"});
    return here.run(more);
  };
  EXPECT_EQ(generated({"a dog", "--tokenizer", "begins", "--no-begin-token"}).output,
            generated({"a dog"}).output);
  EXPECT_EQ(generated({"", "--tokenizer", "begins"}).status, 0);
  // Of several tokens that end a text, any does.
  std::vector<int64_t> all(300);
  std::iota(all.begin(), all.end(), 0);
  const std::filesystem::path settings = here / "run/step-000002/generation_config.json";
  write_file_atomically(settings, nlohmann::json{{"eos_token_id", all}}.dump());
  EXPECT_EQ(generated({"a dog"}).output, "a dog\n");
  EXPECT_NE(generated({"a dog", "--ignore-stop"}).output, "a dog\n");
  std::filesystem::remove(settings);
  expect_one_line(generated({"", "--tokenizer", "begins", "--no-begin-token"}), 2,
                  "--prompt: is empty");
}

TEST(Plinth, PretrainsGeneratesEvaluatesAndInspects) {
  const Workplace here;
  const Outcome trained = here.pretrain({"train.steps=40"});
  ASSERT_EQ(trained.status, 0) << trained.errors;
  EXPECT_THAT(trained.output, HasSubstr("after step 0: the cat"));
  EXPECT_THAT(trained.output, HasSubstr("after step 40: the cat"));
  EXPECT_THAT(trained.output, HasSubstr("validation loss"));
  EXPECT_THAT(trained.output, HasSubstr("plinth generate run"));
  for (const char* file : {"config.toml", "metrics.jsonl", "metrics.csv", "report.html"})
    EXPECT_TRUE(std::filesystem::exists(here / "run" / file)) << file;
  for (const char* file :
       {"model.safetensors", "config.json", "tokenizer.json", "optimizer.safetensors", "state.json",
        "manifest.json", "ema.safetensors"})
    EXPECT_TRUE(std::filesystem::exists(here / "run/step-000040" / file)) << file;

  const std::vector<std::string> generate = {
      "generate", "run", "--prompt", "a dog", "--tokens", "12", "--seed", "3", "--threads", "1"};
  const Outcome text = here.run(generate);
  EXPECT_EQ(text.status, 0) << text.errors;
  EXPECT_THAT(text.output, testing::StartsWith("a dog"));
  EXPECT_EQ(here.run(generate).output, text.output);
  std::vector<std::string> uncached = generate;
  uncached.push_back("--no-cache");
  EXPECT_EQ(here.run(uncached).output, text.output);

  const Outcome evaluated = here.run({"eval", "run", "--data", "data/validation_00000.bin"});
  EXPECT_EQ(evaluated.status, 0) << evaluated.errors;
  EXPECT_THAT(evaluated.output, HasSubstr("bits per byte"));
  EXPECT_THAT(here.run({"eval", "run", "--text", "text.txt", "--json"}).output,
              HasSubstr("\"perplexity\""));

  EXPECT_THAT(here.run({"inspect", "run"}).output, HasSubstr("training    step 40"));
  EXPECT_THAT(here.run({"inspect", "run/step-000040/model.safetensors"}).output,
              HasSubstr("transformer.wte.weight"));
  EXPECT_THAT(here.run({"inspect", "data/train_00000.bin"}).output, HasSubstr("format llm.c"));
}

TEST(Plinth, LearnsMoreThanTheFrequenciesOfTokens) {
  const Workplace here;
  const Outcome trained = here.pretrain({"train.steps=150", "train.ema_decay=0", "sample.every=0"});
  ASSERT_EQ(trained.status, 0) << trained.errors;
  double loss = 0, entropy = 0;
  const size_t at = trained.output.find("validation loss ");
  ASSERT_NE(at, std::string::npos);
  ASSERT_EQ(std::sscanf(trained.output.c_str() + at,
                        "validation loss %lf nats per token, unigram entropy %lf", &loss, &entropy),
            2);
  EXPECT_LT(loss, 0.6 * entropy);
}

TEST(Plinth, TrainsLlamaInBfloat16WithActivationCheckpointing) {
  const Workplace here;
  const Outcome outcome =
      here.pretrain({"model.type=llama", "model.kv_heads=1", "model.dropout=0",
                     "train.precision=bfloat16", "model.activation_checkpointing=true"});
  EXPECT_EQ(outcome.status, 0) << outcome.errors;
  const Outcome inspected = here.run({"inspect", "run"});
  EXPECT_THAT(inspected.output, HasSubstr("llama in run/step-000012"));
}

TEST(Plinth, InspectsEncoderDecoders) {
  const Workplace here;
  const Outcome t5 = here.run({"inspect", PLINTH_FIXTURES "/t5_gated", "--tensors"});
  EXPECT_EQ(t5.status, 0) << t5.errors;
  EXPECT_THAT(t5.output, HasSubstr("model       t5 in "));
  EXPECT_THAT(t5.output,
              HasSubstr("2 of the encoder, 2 of the decoder, of width 16, 3 heads of 6"));
  EXPECT_THAT(t5.output, HasSubstr("vocabulary  43, output of its own"));
  EXPECT_THAT(t5.output, HasSubstr("decoder.final_layer_norm.weight"));
  const Outcome whisper = here.run({"inspect", PLINTH_FIXTURES "/whisper"});
  EXPECT_THAT(whisper.output, HasSubstr("context     14 of the decoder"));
}

// Delayed scaling has a state, which backward's second forward pass must not touch.
TEST(Plinth, ResumesFloat8TrainingWithTheSameBits) {
  for (const char* recipe : {"current", "delayed"}) {
    const Workplace here;
    const std::vector<std::string> settings = {std::string("train.float8=") + recipe,
                                               "train.precision=bfloat16",
                                               "checkpoint.every=6",
                                               "checkpoint.keep_best=false",
                                               "model.activation_checkpointing=true",
                                               "--resume"};
    const Outcome whole = here.pretrain(settings);
    ASSERT_EQ(whole.status, 0) << whole.errors;
    EXPECT_THAT(whole.output + whole.errors, HasSubstr("4 linear layers in float8"));
    const auto last = here / "run/step-000012";
    const std::string weights = read_text_file(last / "model.safetensors");
    std::filesystem::remove_all(last);
    const Outcome resumed = here.pretrain(settings);
    ASSERT_EQ(resumed.status, 0) << resumed.errors;
    EXPECT_TRUE(read_text_file(last / "model.safetensors") == weights) << recipe;
    EXPECT_EQ(std::filesystem::exists(last / "buffers.safetensors"),
              std::string(recipe) == "delayed");
  }
}

TEST(Plinth, GivesTheSameBitsOnAnyNumberOfThreads) {
  const Workplace here;
  std::vector<std::string> weights;
  for (const char* threads : {"1", "2", "3"}) {
    const std::string run = std::string("run") + threads;
    const Outcome outcome = here.run(
        {"pretrain", "run.toml", "run.directory=" + run, "model.dim=32", "--threads", threads});
    ASSERT_EQ(outcome.status, 0) << outcome.errors;
    weights.push_back(read_text_file(here / run / "step-000012/model.safetensors"));
  }
  EXPECT_TRUE(weights[0] == weights[1] && weights[1] == weights[2]);
}

TEST(Plinth, UsesTheAverageOfTheWeightsWhenAsked) {
  const Workplace here;
  ASSERT_EQ(here.pretrain().status, 0);
  const auto loss = [&](const std::string& flag) {
    std::vector<std::string> arguments = {"eval", "run", "--data", "data/validation_00000.bin"};
    if (!flag.empty()) arguments.push_back(flag);
    const Outcome outcome = here.run(arguments);
    EXPECT_EQ(outcome.status, 0) << outcome.errors;
    return outcome.output;
  };
  EXPECT_NE(loss("--average"), loss(""));
  ASSERT_EQ(here.pretrain({"run.directory=plain", "train.ema_decay=0"}).status, 0);
  const Outcome none = here.run({"generate", "plain", "--average"});
  EXPECT_EQ(none.status, 1);
  EXPECT_THAT(none.errors, HasSubstr("ema.safetensors"));
}

TEST(Plinth, StartsFromAnotherModelsWeights) {
  const Workplace here;
  ASSERT_EQ(here.pretrain().status, 0);
  const Outcome outcome = here.pretrain({"model.init_from=run", "run.directory=second"});
  EXPECT_EQ(outcome.status, 0) << outcome.errors;
}

TEST(Plinth, OnASignalWritesACheckpointAndGoesOnFromThere) {
  for (const int signal : {SIGINT, SIGTERM}) {
    const Workplace here;
    PlinthProcess running(here.path(), Workplace::pretrain_arguments({"train.steps=100000"}));
    // Its first row is written once the steps are under way.
    ASSERT_TRUE(running.wait_until_written(here / "run/metrics.jsonl"));
    running.signal(signal);
    const Outcome stopped = running.wait();
    EXPECT_EQ(stopped.status, 130);
    EXPECT_THAT(stopped.errors, HasSubstr("the checkpoint is written, --resume goes on"));
    const Outcome evaluated = here.run({"eval", "run", "--data", "data/validation_00000.bin"});
    EXPECT_EQ(evaluated.status, 0) << evaluated.errors;
  }
}

TEST(Plinth, WithoutACudaDeviceFallsBackToTheCpuInOneLine) {
  const Outcome outcome = plinth_program(TemporaryDirectory().path(),
                                         {"bench", "layer_norm", "--shape", "8,16", "--steps", "1",
                                          "--no-ceiling", "--device", "cuda"});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.errors, MatchesRegex("plinth: warning: [^\n]*cuda[^\n]*; using the CPU\n"));
}

TEST(Plinth, BenchSpeaksTheProtocolOfTheWorkers) {
  const TemporaryDirectory here;
  const std::string command = "cd " + here.path().string() + " && printf '2\\n1\\n' | " +
                              PLINTH_PROGRAM + " bench layer_norm --shape 8,16 --serve > out.txt";
  EXPECT_EQ(std::system(command.c_str()), 0);
  EXPECT_THAT(
      read_text_file(here / "out.txt"),
      MatchesRegex("\\{\"ready\":true[^\n]*\n"
                   "\\{\"backward_ms\":\\[[^,]*,[^,]*\\],\"forward_ms\":\\[[^,]*,[^,]*\\]\\}\n"
                   "\\{\"backward_ms\":\\[[^,]*\\],\"forward_ms\":\\[[^,]*\\]\\}\n"));
  const Outcome once = plinth_program(
      here.path(), {"bench", "train", "--model", "gpt", "--layers", "1", "--dim", "16", "--heads",
                    "2", "--seq", "8", "--batch", "2", "--vocab", "32", "--steps", "1", "--json"});
  EXPECT_THAT(once.output, MatchesRegex("\\{[^\n]*\"step_ms\":\\[[^,]*\\][^\n]*\\}\n"));
}

}  // namespace
}  // namespace plinth
