#include "train/pretrain/pretrain.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "core/error.h"
#include "core/io/file.h"
#include "data/tokenizer/tokenizer.h"
#include "models/registry.h"
#include "models/tensor_files.h"
#include "nn/float8.h"
#include "train/checkpoint/run_directory.h"
#include "train/evaluation.h"
#include "train/generation/generate.h"
#include "train/logging/format.h"
#include "train/model_parallel.h"
#include "train/pretrain/masked_batches.h"
#include "train/pretrain/objective_run.h"
#include "train/pretrain/objectives.h"
#include "train/pretrain/ranks.h"
#include "train/pretrain/run_options.h"
#include "train/pretrain/start_model.h"
#include "train/pretrain/token_batches.h"
#include "train/run_config.h"
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

PretrainData open_data(const PretrainConfig& config, bool reads_tokens) {
  PretrainData data;
  if (!config.data.tokenizer.empty()) data.tokenizer = Tokenizer::load(config.data.tokenizer);
  if (!reads_tokens) return data;
  data.train = std::make_shared<const TokenDataset>(TokenDataset::open(config.data.train));
  if (!config.data.validation.empty()) data.validation = TokenDataset::open(config.data.validation);
  return data;
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
  options.data_parallel = data_parallel_options(config.parallel);
  return options;
}

std::optional<MaskingOptions> masking_of(const PretrainConfig& config, const PretrainData& data,
                                         const LanguageModel& model) {
  check(!model.info().causal || !config.masking.whole_word, ErrorKind::Config, "masking.whole_word",
        "got true, takes false for ", model.info().type, ", which predicts the next token");
  if (model.info().causal) return std::nullopt;
  check(config.sample.every == 0, ErrorKind::Config, "sample.every", "got ", config.sample.every,
        ", takes 0 for ", model.info().type, ", which fills in masked tokens and writes no text");
  return masking_options(config, data.tokenizer ? &*data.tokenizer : nullptr,
                         model.info().vocab_size);
}

std::unique_ptr<BatchSource> build_batches(const PretrainData& data, const LoaderOptions& options) {
  if (!data.masking) return std::make_unique<TokenBatches>(data.train, options);
  return std::make_unique<MaskedBatches>(data.train, options, TokenMasker(*data.masking),
                                         options.samples.length);
}

TrainerOptions trainer_options(const PretrainConfig& config, const ConfigSchema& schema,
                               const LanguageModel& model, int64_t parameters, bool resume) {
  const auto& info = model.info();
  TrainerOptions options = run_options(config, schema, info.type, parameters, resume);
  options.sample_every = config.sample.every;
  options.tokens_per_sample = info.context;
  options.flops_per_sample =
      model.training_flops_per_token(info.context) * static_cast<double>(info.context);
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
    sample.continuation += decoder.push(token);
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
  hooks.start = [&](RunStart start) {
    keep_config(config.run.directory, schema, start, changed_keys);
  };
  const auto describe = [&](CheckpointContents& contents) {
    contents.texts["config.json"] = model.config_json(model.head_weight().dtype());
    if (data.tokenizer) contents.texts.merge(tokenizer_texts(config, *data.tokenizer));
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
  const bool is_first = !group || group->rank() == 0;
  const Tell tell = [&](const std::string& line) {
    if (is_first) tell_all(line);
  };
  const RankGroups groups = arrange_ranks(config, group);
  PretrainData data = open_data(config, !probe);
  StartModel start = start_model(config, data.tokenizer ? &*data.tokenizer : nullptr, !probe, tell);
  LanguageModel* const model = start.model.get();
  if (!probe) {
    check_vocabulary({*data.train, data.validation ? &*data.validation : nullptr,
                      data.tokenizer ? &*data.tokenizer : nullptr},
                     model->info().vocab_size);
    data.masking = masking_of(config, data, *model);
  }
  PretrainResult result;
  result.type = model->info().type;
  result.parameters = model->parameter_count();
  result.causal = model->info().causal;
  const std::unique_ptr<ModelParallel> plan = cut(config, *model, device, group);
  std::shared_ptr<const distributed::LayerPlan> shared;
  if (groups.tp || groups.cp) shared = share_model(*model, layer_plan_options(config, groups));
  const distributed::ParameterParts* shards = shared ? shared->shards() : nullptr;
  if (plan) shards = plan->shards();
  model->to(device);
  // Gone when they have been used, with the files that they come from.
  nn::ParameterValues values = own_values(std::move(start.write), shards);
  const bool is_sharded = groups.data && config.parallel.zero >= 2;  // the trainer fills its slices
  if (!is_sharded) {
    nn::fill_absent(plan ? plan->own_parameters() : model->named_parameters(),
                    std::exchange(values, {}));
  }
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
                        "unigram entropy ", format_value(*result.unigram_entropy),
                        " nats per token"));
  }

  const std::unique_ptr<nn::Optimizer> optimizer =
      make_optimizer(config.optimizer, nn::decay_matrices(*model, config.optimizer.weight_decay));
  TrainerOptions options = trainer_options(config, schema, *model, result.parameters, resume);
  options.group = groups.data;
  options.world = groups.world;
  if (!plan) options.context = config.parallel.cp;
  options.shards = shards;
  if (is_sharded)
    options.sharding = {static_cast<int>(config.parallel.zero), config.parallel.dp_shard,
                        std::move(values)};
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
  result.training = run_trainer(config, trainer);
  return result;
}

}  // namespace

PretrainResult pretrain(const PretrainConfig& config, const ConfigSchema& schema, bool resume,
                        const Tell& tell, Device device,
                        const std::shared_ptr<distributed::ProcessGroup>& group) {
  validate(config);
  if (has_objective(config)) return run_objective(config, schema, resume, tell, device, group);
  return run_or_probe(config, schema, resume, tell, device, group, nullptr);
}

void with_trainer(const PretrainConfig& config, const ConfigSchema& schema, BatchSource& data,
                  const std::shared_ptr<distributed::ProcessGroup>& group,
                  const std::function<void(const PretrainParts&)>& use) {
  validate(config);
  check(!has_objective(config), ErrorKind::Config, "model.type", "got ", trained_type(config),
        config.masking.next_sentence ? " with masking.next_sentence" : "",
        ", takes a language model that predicts or fills in tokens");
  const Probe probe{data, use};
  run_or_probe(
      config, schema, false, [](const std::string&) {}, {}, group, &probe);
}

}  // namespace plinth
