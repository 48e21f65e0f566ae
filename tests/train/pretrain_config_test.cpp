#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>
#include <sstream>

#include "core/io/file.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"
#include "tests/fixtures.h"
#include "train/pretrain/config.h"

namespace plinth {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kLeast =
    "run.directory = \"run\"\ndata.train = [\"a.bin\"]\nmodel.vocab_size = 64\n";

TEST(PretrainConfig, WrittenOutIsReadBackTheSame) {
  PretrainConfig first, second;
  ConfigSchema schema = pretrain_schema(first);
  schema.load_text(kLeast, "a.toml");
  schema.set("optimizer.lr=0.0003");
  schema.set("model.type=llama");
  schema.finish();
  ConfigSchema again = pretrain_schema(second);
  again.load_text(schema.to_toml(), "b.toml");
  again.finish();
  EXPECT_EQ(again.values(), schema.values());
  EXPECT_EQ(second.optimizer.lr, 0.0003);
  EXPECT_EQ(second.model.type, "llama");
}

TEST(PretrainConfig, ExamplesAreWhatItTakes) {
  const std::filesystem::path examples =
      std::filesystem::path(PLINTH_FIXTURES) / ".." / ".." / "examples";
  for (const char* file :
       {"demo/kjv.toml", "bert/bert-base.toml", "bert/bert-tiny.toml",
        "bert/transfer_pretrain.toml", "t5/kjv.toml", "vit/mae.toml", "clip/digits.toml"}) {
    PretrainConfig config;
    ConfigSchema schema = pretrain_schema(config);
    schema.load(examples / file);
    schema.finish();
    EXPECT_NO_THROW(validate(config)) << file;
  }
}

// What follows "pretrain examples/" in a page's commands, those on several lines included: a file
// there, and KEY=VALUE.
std::vector<std::string> documented_runs(const std::filesystem::path& page) {
  const std::string text =
      std::regex_replace(read_text_file(page), std::regex("\\\\\n"), std::string(" "));
  const std::regex command("\n    [^\n]*pretrain examples/([^\n]*)");
  std::vector<std::string> runs;
  for (std::sregex_iterator i(text.begin(), text.end(), command), end; i != end; ++i)
    runs.push_back((*i)[1]);
  return runs;
}

TEST(PretrainConfig, CommandsOfTheDocumentsAreWhatItTakes) {
  const std::filesystem::path root = std::filesystem::path(PLINTH_FIXTURES) / ".." / "..";
  size_t seen = 0;
  for (const char* page : {"distributed.md", "pretraining.md"}) {
    for (const std::string& run : documented_runs(root / "docs" / page)) {
      SCOPED_TRACE(run);
      std::istringstream words(run);
      std::string word;
      words >> word;
      PretrainConfig config;
      ConfigSchema schema = pretrain_schema(config);
      schema.load(root / "examples" / word);
      while (words >> word)
        if (word.find('=') != std::string::npos) schema.set(word);
      schema.finish();
      EXPECT_NO_THROW(validate(config));
      ++seen;
    }
  }
  EXPECT_GE(seen, 3U);
}

TEST(PretrainConfig, EveryKeyIsExplained) {
  PretrainConfig config;
  const ConfigSchema schema = pretrain_schema(config);
  const std::string help = schema.help();
  for (const auto& [key, value] : schema.values())
    EXPECT_THAT(help, HasSubstr(key.substr(key.find('.') + 1))) << key;
}

TEST(PretrainConfig, TellsWhichKeysChangedThatDecideTheBits) {
  const TemporaryDirectory folder;
  write_file_atomically(folder / "config.toml", kLeast);
  const auto changes = [&](const std::string& assignment) {
    PretrainConfig config;
    ConfigSchema schema = pretrain_schema(config);
    schema.load_text(kLeast, "a.toml");
    schema.set(assignment);
    return changed_keys(schema, folder / "config.toml");
  };
  EXPECT_THAT(changes("train.steps=1000"), IsEmpty());  // the default
  EXPECT_THAT(changes("train.steps=2000"), ElementsAre("train.steps was 1000, now 2000"));
  EXPECT_THAT(changes("run.seed=4"), ElementsAre("run.seed was 0, now 4"));
  for (const char* free : {"checkpoint.every=7", "validation.batches=3", "sample.tokens=9",
                           "log.report=false", "run.directory=elsewhere", "train.max_bad_steps=9"})
    EXPECT_THAT(changes(free), IsEmpty()) << free;
}

TEST(PretrainConfig, RefusesValuesThatDoNotFitTogether) {
  const auto refused = [](void (*edit)(PretrainConfig&), const char* message) {
    PretrainConfig config;
    config.data.train = {"a.bin"};
    config.model.vocab_size = 64;
    edit(config);
    expect_error(ErrorKind::Config, message, [&] { validate(config); });
  };
  refused([](PretrainConfig& c) { c.train.micro_batch = 5; },
          "takes a divisor of train.batch (32)");
  refused([](PretrainConfig& c) { c.schedule.warmup_steps = 2000; },
          "takes at most train.steps (1000)");
  refused([](PretrainConfig& c) { c.model.vocab_size = 0; }, "model.vocab_size: is missing");
  refused([](PretrainConfig& c) { c.data.train.clear(); }, "data.train: is empty");
  refused([](PretrainConfig& c) { c.init_from = "a", c.model_config = "b"; },
          "model.config: got b, takes none beside model.init_from");
}

}  // namespace
}  // namespace plinth
