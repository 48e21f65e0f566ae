#include "train/finetune/config.h"

#include <gtest/gtest.h>

#include "tests/core/io/expect_error.h"
#include "tests/fixtures.h"

namespace plinth {
namespace {

TEST(FinetuneConfig, ExamplesAreWhatItTakes) {
  const std::filesystem::path examples =
      std::filesystem::path(PLINTH_FIXTURES) / ".." / ".." / "examples";
  for (const char* file : {"bert/finetune.toml", "bert/transfer_finetune.toml",
                           "speech/digits.toml", "t5/translation.toml", "detection/detector.toml",
                           "detection/segmenter.toml", "vit/digits.toml"}) {
    FinetuneConfig config;
    ConfigSchema schema = finetune_schema(config);
    schema.load(examples / file);
    schema.finish();
    EXPECT_NO_THROW(validate(config)) << file;
  }
}

TEST(FinetuneConfig, EveryKeyIsExplained) {
  FinetuneConfig config;
  const ConfigSchema schema = finetune_schema(config);
  const std::string help = schema.help();
  for (const auto& [key, value] : schema.values())
    EXPECT_NE(help.find(key.substr(key.find('.') + 1)), std::string::npos) << key;
}

TEST(FinetuneConfig, RefusesWhatDoesNotFitTogether) {
  const auto refused = [](const std::vector<std::string>& settings, const char* message) {
    FinetuneConfig config;
    ConfigSchema schema = finetune_schema(config);
    for (const std::string& setting : settings) schema.set(setting);
    expect_error(ErrorKind::Config, message, [&] { validate(config); });
  };
  refused({"data.train="}, "data.train: is empty");
  refused({"data.train=a", "train.batch=8", "train.micro_batch=3"}, "takes a divisor of");
  refused({"data.train=a", "validation.patience=1"}, "takes 0 without data.validation");
  refused({"data.train=a", "validation.metric=f1"}, "takes loss without data.validation");
}

}  // namespace
}  // namespace plinth
