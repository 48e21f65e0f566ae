#include "train/finetune/config.h"

#include <gtest/gtest.h>

#include "core/io/file.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"
#include "tests/fixtures.h"
#include "train/finetune/task_file.h"

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

TEST(FinetuneConfig, WhatAModelKeepsOfItsTaskIsReadBack) {
  const TemporaryDirectory here;
  EXPECT_EQ(read_task_file(here.path()).max_length, TaskSettings().max_length);
  FinetuneConfig config;
  ConfigSchema schema = finetune_schema(config);
  for (const char* setting :
       {"task.name=seq2seq", "task.max_length=40", "task.stride=7", "task.answer_length=5",
        "task.target_length=41", "task.beams=4", "data.text_column=de", "data.pair_column=2",
        "data.label_column=es", "data.header=false", "data.word_column=3", "data.tag_column=-2",
        "speech.language=es", "speech.translate=true"})
    schema.set(setting);
  write_file_atomically(here / kTaskFile, task_file_text(config.task));
  FinetuneConfig read;
  read.task = read_task_file(here.path());
  EXPECT_EQ(finetune_schema(read).values(), schema.values());

  write_file_atomically(here / kTaskFile, "[task]\nbeams = 0\n");
  expect_error(ErrorKind::Config, "task.toml:2: task.beams got 0, takes",
               [&] { read_task_file(here.path()); });
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
