#include "train/pretrain/pretrain.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "core/error.h"
#include "core/io/file.h"
#include "data/tokenizer/tokenizer.h"
#include "models/registry.h"
#include "models/tensor_files.h"
#include "nn/float8.h"
#include "train/checkpoint/run_directory.h"
#include "train/checkpoint/sharded.h"
#include "train/checkpoint/sharded_model.h"
#include "train/evaluation.h"
#include "train/generation/generate.h"
#include "train/logging/format.h"
#include "train/model_parallel.h"
#include "train/pretrain/masked_batches.h"
#include "train/pretrain/ranks.h"
#include "train/pretrain/token_batches.h"
#include "train/shared_model.h"

namespace plinth {

namespace fs = std::filesystem;

namespace {

using Tell = std::function<void(const std::string&)>;

// Data sets and what reads them.
struct PretrainData {
  std::optional<Tokenizer> tokenizer;
  std::shared_ptr<const TokenDataset> train;
  std::optional<TokenDataset> validation;
  std::optional<MaskingOptions> masking;  // of a model that fills in masked tokens
};

int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

PretrainData open_data(const PretrainConfig& config, bool reads_tokens) {
  PretrainData data;
  if (!config.data.tokenizer.empty()) data.tokenizer = Tokenizer::load(config.data.tokenizer);
  if (!reads_tokens) return data;
  data.train = std::make_shared<const TokenDataset>(TokenDataset::open(config.data.train));
  if (!config.data.validation.empty()) data.validation = TokenDataset::open(config.data.validation);
  return data;
}

distributed::DataParallelOptions data_parallel_options(const PretrainConfig& config) {
  distributed::DataParallelOptions options;
  options.bucket_bytes = config.parallel.bucket_mb << 20;
  options.sharded = config.parallel.zero == 1;
  options.overlap = config.parallel.overlap;
  options.reduction = config.parallel.reduction == "tree" ? distributed::Reduction::Tree
                                                          : distributed::Reduction::Library;
  return options;
}

std::unique_ptr<LanguageModel> build_model(const PretrainConfig& config, const PretrainData& data,
                                           bool reads_weights, const Tell& tell) {
  std::unique_ptr<LanguageModel> model;
  if (!config.init_from.empty() && !reads_weights) {
    model = make_model(
        ConfigJson::read(resolve_model_directory(config.init_from, tell) / "config.json"));
  } else if (!config.init_from.empty()) {
    const fs::path directory = resolve_model_directory(config.init_from, tell);
    model = ShardedCheckpoint::is_in(directory) ? load_sharded_model(directory)
                                                : load_pretrained(directory);
  } else {
    ModelSize size = config.model;
    if (size.vocab_size == 0) size.vocab_size = round_up(data.tokenizer->vocab_size(), 64);
    if (data.tokenizer) size.eos_token = data.tokenizer->eos_id();
    model = make_model(size, config.run.seed);
  }
  if (std::unique_ptr<LanguageModel> trained = model->trained_parts()) {
    tell(detail::concat(model->info().type, " has parts that this training leaves alone (pooler, ",
                        "next sentence): they are left out"));
    model = std::move(trained);
  }
  model->set_activation_checkpointing(config.activation_checkpointing);
  return model;
}

ModelParallelOptions model_parallel_options(const PretrainConfig& config) {
  ModelParallelOptions options;
  options.sizes = parallel_sizes(config);
  options.sequence = config.parallel.sequence;
  options.algorithm = context_algorithm(config);
  options.chunks = static_cast<int>(config.parallel.chunks);
  for (const auto kind :
       {distributed::PipelineKind::OneForwardOneBackward, distributed::PipelineKind::Interleaved,
        distributed::PipelineKind::ZeroBubbleH1}) {
    if (distributed::name(kind) == config.parallel.schedule) options.schedule = kind;
  }
  options.data_parallel = data_parallel_options(config);
  return options;
}

// Every token must be a row of the embedding: better told now, naming the file, than in some step.
// Data sets that take long to read are left to the embedding, which checks each batch.
void check_vocabulary(const PretrainData& data, const LanguageModel& model) {
  const int64_t vocab_size = model.info().vocab_size;
  constexpr int64_t most = 1'000'000'000;
  if (data.train->size() <= most) data.train->validate(vocab_size);
  if (data.validation) data.validation->validate(vocab_size);
  if (!data.tokenizer) return;
  check(data.tokenizer->vocab_size() <= vocab_size, ErrorKind::Config, "model.vocab_size", "got ",
        vocab_size, ", the tokenizer has ", data.tokenizer->vocab_size(), " tokens");
}

std::optional<MaskingOptions> masking_of(const PretrainConfig& config, const PretrainData& data,
                                         const LanguageModel& model) {
  if (model.info().causal) return std::nullopt;
  check(config.sample.every == 0, ErrorKind::Config, "sample.every", "got ", config.sample.every,
        ", takes 0 for ", model.info().type, ", which fills in masked tokens and writes no text");
  MaskingOptions options = masking_options(data.tokenizer ? &*data.tokenizer : nullptr,
                                           model.info().vocab_size, config.masking.token);
  options.share = config.masking.share;
  options.seed = config.run.seed;
  return options;
}

std::unique_ptr<BatchSource> build_batches(const PretrainData& data, const LoaderOptions& options) {
  if (!data.masking) return std::make_unique<TokenBatches>(data.train, options);
  return std::make_unique<MaskedBatches>(data.train, options, TokenMasker(*data.masking),
                                         options.samples.length);
}

// Of ranks that have micro-batches of their own.
LoaderOptions loader_options(const PretrainConfig& config, int64_t context, int64_t rank,
                             int64_t ranks) {
  LoaderOptions options;
  options.samples.length = context;
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

TrainerOptions trainer_options(const PretrainConfig& config, const ConfigSchema& schema,
                               const LanguageModel& model, int64_t parameters, bool resume) {
  const auto& info = model.info();
  const double per_token = model.training_flops_per_token(info.context);
  TrainerOptions options;
  options.steps = config.train.steps;
  options.batch = config.train.batch;
  options.micro_batch = config.micro_batch();
  options.seed = config.run.seed;
  options.clip_norm = config.train.clip_norm;
  options.precision = config.train.precision == "bfloat16" ? DType::BFloat16 : DType::Float32;
  options.ema_decay = config.train.ema_decay;
  options.cuda_graph = config.train.cuda_graph;
  options.data_parallel = data_parallel_options(config);
  if (config.parallel.zero >= 2)
    options.sharding = {static_cast<int>(config.parallel.zero), config.parallel.dp_shard};
  options.guard = {config.train.max_bad_steps, config.train.explosion_factor};
  options.directory = config.run.directory;
  options.resume = resume;
  options.checkpoint_every = config.checkpoint.every;
  options.keep_last = config.checkpoint.keep_last;
  options.keep_best = config.checkpoint.keep_best;
  options.validate_every = config.validation.every;
  options.sample_every = config.sample.every;
  options.tokens_per_sample = info.context;
  options.flops_per_sample = per_token * static_cast<double>(info.context);
  options.log.every = config.log.every;
  options.log.tensorboard = config.log.tensorboard;
  options.log.report = config.log.report;
  options.log.peak_flops = config.train.peak_tflops * 1e12;
  options.log.title = config.run.directory.filename().string();
  options.log.subtitle =
      std::string(info.type) + ", " + format_count(static_cast<double>(parameters)) + " parameters";
  options.log.config = schema.values();
  return options;
}

TextSample write_sample(const PretrainConfig& config, const Tokenizer& tokenizer,
                        LanguageModel& model) {
  GenerateOptions options;
  options.max_tokens = config.sample.tokens;
  options.sampling.temperature = config.sample.temperature;
  options.sampling.top_k = config.sample.top_k;
  options.sampling.seed = config.run.seed;
  StreamDecoder decoder(tokenizer);
  TextSample sample{0, config.sample.prompt, ""};
  generate(model, tokenizer.encode(config.sample.prompt), options, [&](int32_t token) {
    if (token < tokenizer.vocab_size()) sample.continuation += decoder.push(token);
    return true;
  });
  sample.continuation += decoder.finish();
  return sample;
}

// A model with these weights, for one that ranks have in parts.
std::unique_ptr<LanguageModel> whole_model(const LanguageModel& model, const nn::StateDict& weights,
                                           Device device) {
  std::unique_ptr<LanguageModel> whole =
      make_model(ConfigJson::parse(model.config_json(DType::Float32), "config.json"));
  whole->load_state_dict(copies_of(weights));
  whole->to(device);
  whole->eval();
  return whole;
}

// The configuration that a run began with is kept beside it, and --resume must agree with it.
void keep_config(const PretrainConfig& config, const ConfigSchema& schema, bool resumed) {
  const fs::path saved = config.run.directory / "config.toml";
  if (!resumed) return write_file_atomically(saved, schema.to_toml());
  const std::vector<std::string> changes = changed_keys(schema, saved);
  check(changes.empty(), ErrorKind::Config, saved.string(), changes.empty() ? "" : changes.front(),
        "; --resume goes on with the same run");
}

// What float8 layers remember, where they do, beside the weights of a checkpoint.
constexpr const char* kBuffers = "buffers.safetensors";

void use_float8(const PretrainConfig& config, LanguageModel& model, const Tell& tell) {
  if (config.train.float8 == "off") return;
  const bool delayed = config.train.float8 == "delayed";
  const nn::Float8Options options{.recipe = delayed ? nn::Float8Recipe::Delayed
                                                    : nn::Float8Recipe::Current};
  tell(detail::concat(nn::convert_to_float8(model, options).size(), " linear layers in float8"));
}

// A checkpoint is itself a model directory, with its tokenizer beside the weights.
TrainerHooks build_hooks(const PretrainConfig& config, const ConfigSchema& schema,
                         const PretrainData& data, LanguageModel& model,
                         const distributed::ParameterParts* shards, ModelParallel* plan,
                         bool is_first) {
  TrainerHooks hooks;
  const auto whole = std::make_shared<nn::StateDict>();
  const auto gather = [=, &model] {
    const nn::StateDict own = plan ? plan->gather_weights() : model.named_parameters();
    return shards ? shards->whole(own) : own;
  };
  if (shards || plan) hooks.gather = [=] { *whole = gather(); };
  hooks.start = [&](bool resumed) { keep_config(config, schema, resumed); };
  const auto describe = [&](CheckpointContents& contents) {
    contents.texts["config.json"] = model.config_json(model.head_weight().dtype());
    if (!data.tokenizer) return;
    contents.texts.merge(data.tokenizer->files());
    const fs::path roles = config.data.tokenizer / "tokenizer_config.json";
    if (fs::exists(roles)) contents.texts["tokenizer_config.json"] = read_text_file(roles);
  };
  hooks.describe = describe;
  hooks.save = [&, whole, describe](CheckpointContents& contents) {
    contents.tensors["model.safetensors"] =
        export_weights(model, model.weight_slices(), std::nullopt, *whole);
    whole->clear();
    if (!model.named_buffers().empty())
      contents.tensors[kBuffers] = copies_of(model.named_buffers());
    describe(contents);
  };
  hooks.load = [&, shards](const fs::path& checkpoint) {
    const nn::StateDict own = model.named_parameters();
    const nn::StateDict all = shards ? shards->room(own) : own;
    read_weights(all, model.weight_slices(), SafetensorsCheckpoint::open(checkpoint), checkpoint);
    if (shards) nn::load(own, shards->parts(all), true, checkpoint.string());
    if (!model.named_buffers().empty())
      nn::load(model.named_buffers(), read_tensors(checkpoint / kBuffers), true, kBuffers);
  };
  if (data.validation) {
    hooks.validate = [&, plan] {
      EvaluationOptions options;
      if (plan)
        options.loss = [plan](const Tensor& ids, const Tensor& targets) {
          return plan->evaluate(ids, targets);
        };
      std::optional<TokenMasker> masker;
      if (data.masking) {
        MaskingOptions masking = *data.masking;
        masking.stream = 1;
        options.masker = &masker.emplace(std::move(masking));
      }
      options.batch = config.micro_batch();
      options.max_windows = config.validation.batches * config.micro_batch();
      return evaluate(model, *data.validation, options).loss;
    };
  }
  if (data.tokenizer && config.sample.every > 0)
    hooks.sample = [&, gather, plan, is_first] {
      if (!plan && !model.is_shared()) return write_sample(config, *data.tokenizer, model);
      const nn::StateDict weights = gather();
      if (!is_first) return TextSample{};
      return write_sample(config, *data.tokenizer, *whole_model(model, weights, model.device()));
    };
  return hooks;
}

std::string last_good(const PretrainConfig& config) {
  const auto latest = latest_checkpoint(config.run.directory, [](const std::string&) {});
  return latest ? "; the last good checkpoint is " + latest->path.string()
                : "; there is no checkpoint yet";
}

std::unique_ptr<ModelParallel> cut(const PretrainConfig& config, LanguageModel& model,
                                   Device device,
                                   const std::shared_ptr<distributed::ProcessGroup>& group) {
  if (!is_cut(config)) return nullptr;
  return std::make_unique<ModelParallel>(model, group, device, model_parallel_options(config));
}

// What stands in for the data of a run that only makes its parts, and who takes these.
struct Probe {
  BatchSource& data;
  const std::function<void(const PretrainParts&)>& use;
};

PretrainResult run_or_probe(const PretrainConfig& config, const ConfigSchema& schema, bool resume,
                            const Tell& tell_all, Device device,
                            const std::shared_ptr<distributed::ProcessGroup>& group,
                            const Probe* probe) {
  validate(config);
  const bool is_first = !group || group->rank() == 0;
  const Tell tell = [&](const std::string& line) {
    if (is_first) tell_all(line);
  };
  const RankGroups groups = arrange_ranks(config, group);
  PretrainData data = open_data(config, !probe);
  const std::unique_ptr<LanguageModel> model = build_model(config, data, !probe, tell);
  if (!probe) {
    check_vocabulary(data, *model);
    data.masking = masking_of(config, data, *model);
  }
  PretrainResult result;
  result.parameters = model->parameter_count();
  result.causal = model->info().causal;
  const std::unique_ptr<ModelParallel> plan = cut(config, *model, device, group);
  std::shared_ptr<const distributed::LayerPlan> shared;
  if (groups.tp || groups.cp) shared = share_model(*model, layer_plan_options(config, groups));
  const distributed::ParameterParts* shards = shared ? shared->shards() : nullptr;
  if (plan) shards = plan->shards();
  model->to(device);
  use_float8(config, *model, tell);
  const int64_t data_rank = plan ? plan->data_group().rank() : groups.data_rank();
  const int64_t data_ranks = plan ? plan->data_group().size() : groups.data_ranks();
  std::unique_ptr<BatchSource> batches;
  if (!probe) {
    result.unigram_entropy = unigram_entropy(*data.train, model->info().vocab_size);
    batches =
        build_batches(data, loader_options(config, model->info().context, data_rank, data_ranks));
    tell(detail::concat(model->info().type, " with ",
                        format_count(static_cast<double>(result.parameters)), " parameters, ",
                        format_count(static_cast<double>(data.train->size())), " training tokens, ",
                        "unigram entropy ", format_value(result.unigram_entropy),
                        " nats per token"));
  }

  const std::unique_ptr<nn::Optimizer> optimizer =
      make_optimizer(config.optimizer, nn::decay_matrices(*model, config.optimizer.weight_decay));
  TrainerOptions options = trainer_options(config, schema, *model, result.parameters, resume);
  options.group = groups.data;
  options.world = groups.world;
  if (!plan) options.context = config.parallel.cp;
  options.shards = shards;
  options.plan = plan.get();
  if (probe) options.directory.clear();
  if (plan) plan->make_gradients(*optimizer);
  if (groups.world)
    tell(detail::concat(ranks_text(config, *groups.world), ", ",
                        config.train.batch / config.micro_batch() / data_ranks,
                        " micro-batches a step each"));
  Trainer trainer(
      *model,
      [&](const Batch& batch) { return model->loss(batch[0].to(device), batch[1].to(device)); },
      *optimizer, make_schedule(config.schedule, config.optimizer.lr, config.train.steps),
      probe ? probe->data : *batches, std::move(options),
      probe ? TrainerHooks{}
            : build_hooks(config, schema, data, *model, shards, plan.get(), is_first));
  if (probe) {
    probe->use({*model, *optimizer, trainer});
    return result;
  }
  try {
    result.training = trainer.run();
  } catch (const TrainingDiverged& error) {
    throw TrainingDiverged(error.what() + last_good(config));
  }
  return result;
}

}  // namespace

PretrainResult pretrain(const PretrainConfig& config, const ConfigSchema& schema, bool resume,
                        const Tell& tell, Device device,
                        const std::shared_ptr<distributed::ProcessGroup>& group) {
  return run_or_probe(config, schema, resume, tell, device, group, nullptr);
}

void with_trainer(const PretrainConfig& config, const ConfigSchema& schema, BatchSource& data,
                  const std::shared_ptr<distributed::ProcessGroup>& group,
                  const std::function<void(const PretrainParts&)>& use) {
  const Probe probe{data, use};
  run_or_probe(
      config, schema, false, [](const std::string&) {}, {}, group, &probe);
}

}  // namespace plinth
