#pragma once

// All that `plinth finetune` can be told, by a TOML file and by key=value overrides.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "train/config/schema.h"
#include "train/data_parallel_settings.h"
#include "train/finetune/tasks.h"
#include "train/log_settings.h"
#include "train/optimization.h"

namespace plinth {

struct FinetuneConfig {
  struct Run {
    std::filesystem::path directory;
    uint64_t seed = 0;
  } run;

  struct Model {
    std::filesystem::path directory;
    std::string train = "all";
    double layer_decay = 1;
  } model;

  struct Lora {
    int64_t rank = 0;  // 0: none
    double alpha = 16;
    double dropout = 0;
    std::vector<std::string> targets = {"qkv", "out"};
  } lora;

  TaskSettings task{.name = "text-classification"};

  struct Data {
    std::vector<std::string> train, validation;
  } data;

  struct Training {
    double epochs = 3;
    int64_t steps = 0;  // 0: of epochs
    int64_t batch = 32;
    int64_t micro_batch = 0;  // 0: batch
    std::string precision = "float32";
    double clip_norm = 1;
    int64_t max_bad_steps = 5;
    bool cuda_graph = true;
  } train;

  DataParallelSettings parallel;

  OptimizerSettings optimizer{.lr = 5e-5, .weight_decay = 0.01, .beta2 = 0.999};
  ScheduleSettings schedule{.name = "linear", .final_ratio = 0};

  struct Validating {
    int64_t every = 0;  // 0: an epoch
    std::string metric = "loss";
    int64_t patience = 0;
  } validation;

  struct Checkpoints {
    int64_t every = 0;  // 0: as validation
    int64_t keep_last = 1;
  } checkpoint;

  LogSettings log;

  int64_t micro_batch() const { return train.micro_batch ? train.micro_batch : train.batch; }
};

// Declares every key, bound to the members of `config`, which must outlive the schema.
ConfigSchema finetune_schema(FinetuneConfig& config);

// Throws Error(Config) for values that do not fit together.
void validate(const FinetuneConfig& config);

// As those of pretraining: train/pretrain/config.h.
std::vector<std::string> changed_finetune_keys(const ConfigSchema& now,
                                               const std::filesystem::path& saved,
                                               bool all = false);

}  // namespace plinth
