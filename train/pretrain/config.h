#pragma once

// All that `plinth pretrain` can be told, by a TOML file and by key=value overrides.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "kernels/dtype.h"
#include "models/model_size.h"
#include "train/config/schema.h"
#include "train/data_parallel_settings.h"
#include "train/log_settings.h"
#include "train/optimization.h"

namespace plinth {

struct PretrainConfig {
  struct Run {
    std::filesystem::path directory;
    uint64_t seed = 0;
  } run;

  struct Data {
    // Shards, or images and tables of them: files, folders or patterns.
    std::vector<std::string> train;
    std::vector<std::string> validation;  // none: no validation
    std::filesystem::path tokenizer;      // none: the model needs vocab_size, and prints no samples
    std::string order = "shuffled";
    std::string image_column = "image";
    std::string text_column = "text";
    int64_t max_bad_lines = 100;
  } data;

  ModelSize model;                     // vocab_size 0: the tokenizer's
  std::filesystem::path model_config;  // a config.json, in place of these sizes
  bool activation_checkpointing = false;
  std::filesystem::path init_from;  // a model directory to start from

  struct Training {
    int64_t steps = 1000;
    int64_t batch = 32;
    int64_t micro_batch = 0;  // 0: batch
    std::string precision = "float32";
    std::string float8 = "off";
    double clip_norm = 1;
    double ema_decay = 0;
    int64_t max_bad_steps = 5;
    double explosion_factor = 0;
    double peak_tflops = 0;
    bool cuda_graph = true;
  } train;

  // Of runs with several ranks.
  struct Parallel : DataParallelSettings {
    int64_t tp = 1;
    bool sequence = false;
    int64_t cp = 1;
    std::string cp_algorithm = "gather";
    int64_t dp_shard = 0;  // 0: all ranks
    int64_t pp = 1;
    int64_t ep = 1;
    std::string schedule = "1f1b";
    int64_t chunks = 1;
  } parallel;

  // Of models that fill in masked tokens.
  struct Masking {
    double share = 0.15;
    int64_t token = -1;  // -1: the tokenizer's [MASK]
    bool whole_word = false;
    bool next_sentence = false;
  } masking;

  // Of T5's span corruption.
  struct Spans {
    double density = 0.15;
    double mean_length = 3;
  } spans;

  // How images are changed in training.
  struct Images {
    double min_crop_area = 1;  // of a random part that is shown in place of the whole
    bool flip = false;
  } image;

  OptimizerSettings optimizer;
  ScheduleSettings schedule;

  struct Validation {
    int64_t every = 0;
    int64_t batches = 16;
  } validation;

  struct Checkpoints {
    int64_t every = 0;
    int64_t keep_last = 2;
    bool keep_best = true;
  } checkpoint;

  struct Samples {
    int64_t every = 0;
    std::string prompt = "\n";
    int64_t tokens = 64;
    double temperature = 0.8;
    int64_t top_k = 50;
  } sample;

  LogSettings log;

  int64_t micro_batch() const { return train.micro_batch ? train.micro_batch : train.batch; }
};

// Declares every key, bound to the members of `config`, which must outlive the schema.
ConfigSchema pretrain_schema(PretrainConfig& config);

// Throws Error(Config) for values that do not fit together.
void validate(const PretrainConfig& config);

// Keys that decide a run's bits and differ between a run's saved config and this one, as messages:
// "optimizer.lr was 0.0006, now 0.001". Those that only steer logging, validation, samples and
// checkpoints may change; with `all` only run.directory may.
std::vector<std::string> changed_keys(const ConfigSchema& now, const std::filesystem::path& saved,
                                      bool all = false);

}  // namespace plinth
