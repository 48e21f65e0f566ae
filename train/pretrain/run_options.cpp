#include "train/pretrain/run_options.h"

#include "core/error.h"
#include "core/io/file.h"
#include "train/checkpoint/run_directory.h"
#include "train/logging/format.h"

namespace plinth {

namespace fs = std::filesystem;

LoaderOptions loader_options(const PretrainConfig& config, int64_t length, int64_t rank,
                             int64_t ranks) {
  LoaderOptions options;
  options.samples.length = length;
  options.samples.seed = config.run.seed;
  options.samples.shuffle = config.data.order == "shuffled";
  options.rows = config.micro_batch();
  options.rank = rank;
  options.ranks = ranks;
  options.micro_batches = config.train.batch / config.micro_batch() / options.ranks;
  if (config.parallel.zero >= 2 && ranks > 1)
    options.turns =
        config.parallel.dp_shard > 0 ? config.parallel.dp_shard / config.parallel.cp : ranks;
  return options;
}

TrainerOptions run_options(const PretrainConfig& config, const ConfigSchema& schema,
                           std::string_view type, int64_t parameters, bool resume) {
  TrainerOptions options;
  options.steps = config.train.steps;
  options.batch = config.train.batch;
  options.micro_batch = config.micro_batch();
  options.seed = config.run.seed;
  options.clip_norm = config.train.clip_norm;
  options.precision = config.train.precision == "bfloat16" ? DType::BFloat16 : DType::Float32;
  options.ema_decay = config.train.ema_decay;
  options.cuda_graph = config.train.cuda_graph;
  options.data_parallel = data_parallel_options(config.parallel);
  options.guard = {config.train.max_bad_steps, config.train.explosion_factor};
  options.directory = config.run.directory;
  options.resume = resume;
  options.checkpoint_every = config.checkpoint.every;
  options.keep_last = config.checkpoint.keep_last;
  options.keep_best = config.checkpoint.keep_best;
  options.validate_every = config.validation.every;
  options.log = recorder_options(config.log, config.run.directory, schema);
  options.log.peak_flops = config.train.peak_tflops * 1e12;
  options.log.subtitle =
      detail::concat(type, ", ", format_count(static_cast<double>(parameters)), " parameters");
  return options;
}

ModelSize new_size(const PretrainConfig& config, const Tokenizer* tokenizer) {
  constexpr int64_t kMultiple = 64;
  ModelSize size = config.model;
  if (!tokenizer) return size;
  if (size.vocab_size == 0)
    size.vocab_size = (tokenizer->vocab_size() + kMultiple - 1) / kMultiple * kMultiple;
  size.eos_token = tokenizer->eos_id();
  return size;
}

void check_vocabulary(const TokenData& data, int64_t vocab_size) {
  constexpr int64_t most = 1'000'000'000;
  if (data.train.size() <= most) data.train.validate(vocab_size);
  if (data.validation) data.validation->validate(vocab_size);
  if (!data.tokenizer) return;
  check(data.tokenizer->vocab_size() <= vocab_size, ErrorKind::Config, "model.vocab_size", "got ",
        vocab_size, ", the tokenizer has ", data.tokenizer->vocab_size(), " tokens");
}

TrainResult run_trainer(const PretrainConfig& config, Trainer& trainer) {
  try {
    return trainer.run();
  } catch (const TrainingDiverged& error) {
    const auto latest = latest_checkpoint(config.run.directory, [](const std::string&) {});
    throw TrainingDiverged(error.what() +
                           (latest ? "; the last good checkpoint is " + latest->path.string()
                                   : std::string("; there is no checkpoint yet")));
  }
}

std::map<std::string, std::string> tokenizer_texts(const PretrainConfig& config,
                                                   const Tokenizer& tokenizer) {
  std::map<std::string, std::string> texts = tokenizer.files();
  const fs::path roles = config.data.tokenizer / "tokenizer_config.json";
  if (fs::exists(roles)) texts["tokenizer_config.json"] = read_text_file(roles);
  return texts;
}

}  // namespace plinth
