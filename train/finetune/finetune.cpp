#include "train/finetune/finetune.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/io/file.h"
#include "models/tensor_files.h"
#include "models/weight_map.h"
#include "nn/lora.h"
#include "train/checkpoint/run_directory.h"
#include "train/data_fingerprint.h"
#include "train/finetune/task_file.h"
#include "train/logging/format.h"
#include "train/run_config.h"
#include "train/sample_batches.h"

namespace plinth {
namespace {

namespace fs = std::filesystem;

using Tell = std::function<void(const std::string&)>;

std::vector<fs::path> paths_of(const std::vector<std::string>& names) {
  return {names.begin(), names.end()};
}

std::unique_ptr<TaskData> read_data(const FinetuneTask& task, const std::vector<std::string>& files,
                                    std::string_view key, const Tell& tell) {
  std::unique_ptr<TaskData> data = task.read(paths_of(files));
  if (const std::string faults = data->faults(); !faults.empty())
    tell(detail::concat(key, ": ", faults));
  check(data->size() > 0, ErrorKind::Config, key, "has no examples");
  return data;
}

// Steps of a run, and between validations.
struct Length {
  Length(const FinetuneConfig& config, int64_t samples) {
    const double batches = static_cast<double>(samples) / static_cast<double>(config.train.batch);
    steps = config.train.steps;
    if (steps == 0)
      steps = std::max<int64_t>(1, static_cast<int64_t>(std::ceil(batches * config.train.epochs)));
    every = config.validation.every;
    if (every == 0) every = std::max<int64_t>(1, static_cast<int64_t>(std::ceil(batches)));
  }
  int64_t steps, every;
};

// Leaves the trunk as it is, but for what adapts it.
void freeze(const FinetuneConfig& config, FinetuneTask& task) {
  const bool adapts = config.lora.rank > 0;
  if (config.model.train == "all" && !adapts) return;
  for (nn::NamedTensor& parameter : task.model().named_parameters()) {
    if (task.is_trunk(parameter.name)) parameter.tensor.set_requires_grad(false);
  }
  if (!adapts) {
    const bool is_tied = std::ranges::none_of(
        task.model().named_parameters(),
        [](const nn::NamedTensor& parameter) { return parameter.tensor.requires_grad(); });
    check(!is_tied, ErrorKind::Config, "model.train",
          "is head, and this model's head is its token embedding; takes all, or lora.rank");
    return;
  }
  const nn::LoraOptions options{config.lora.rank, config.lora.alpha, config.lora.dropout};
  nn::add_lora(task.model(), options, config.lora.targets, config.run.seed);
}

// Of a run with adapters: these and the head, beside weights that have them merged.
constexpr const char* kTrained = "trained.safetensors";

nn::StateDict trained_parameters(FinetuneTask& task) {
  nn::StateDict parameters = task.model().named_parameters();
  std::erase_if(parameters,
                [](const nn::NamedTensor& entry) { return !entry.tensor.requires_grad(); });
  return parameters;
}

double trained_count(FinetuneTask& task) {
  double count = 0;
  for (const nn::NamedTensor& entry : trained_parameters(task))
    count += static_cast<double>(entry.tensor.numel());
  return count;
}

void load_weights(const FinetuneConfig& config, FinetuneTask& task, const fs::path& checkpoint) {
  if (config.lora.rank > 0) {
    nn::load(trained_parameters(task), read_tensors(checkpoint / kTrained), true,
             (checkpoint / kTrained).string());
    return;
  }
  read_weights(task.model(), task.weight_slices(), SafetensorsCheckpoint::open(checkpoint),
               checkpoint);
}

TrainerOptions trainer_options(const FinetuneConfig& config, const ConfigSchema& schema,
                               FinetuneTask& task, const Length& length, bool resume) {
  const bool validates = !config.data.validation.empty();
  TrainerOptions options;
  options.steps = length.steps;
  options.batch = config.train.batch;
  options.micro_batch = config.micro_batch();
  options.seed = config.run.seed;
  options.clip_norm = config.train.clip_norm;
  options.precision = config.train.precision == "bfloat16" ? DType::BFloat16 : DType::Float32;
  options.cuda_graph = config.train.cuda_graph;
  options.data_parallel = data_parallel_options(config.parallel);
  options.guard.max_bad_steps = config.train.max_bad_steps;
  options.directory = config.run.directory;
  options.resume = resume;
  options.checkpoint_every = config.checkpoint.every ? config.checkpoint.every : length.every;
  options.keep_last = config.checkpoint.keep_last;
  options.keep_best = validates;
  options.validate_every = validates ? length.every : 0;
  options.patience = config.validation.patience;
  options.log = recorder_options(config.log, config.run.directory, schema);
  options.log.unit = "samples/s";
  options.log.subtitle = task.title();
  return options;
}

Validation judged(const TaskEvaluation& found, const std::string& metric) {
  if (metric == "loss") return {found.loss, found.loss};
  const auto score = std::ranges::find(found.scores, metric, &TaskScore::name);
  return {found.loss, score->less_is_better ? score->value : -score->value};
}

std::string text_of(const TaskEvaluation& found) {
  std::string text = "validation: loss " + format_value(found.loss);
  for (const TaskScore& score : found.scores)
    text += ", " + score.name + " " + format_value(score.value);
  return text;
}

// Where a run leaves the weights that are to stay.
fs::path model_of(const FinetuneConfig& config) {
  return config.run.directory / "model";
}

// One without checkpoints may be all that is left of a run.
void refuse_earlier_model(const fs::path& model) {
  check(!fs::exists(model), ErrorKind::Config, model.string(),
        "is there already, and no checkpoint beside it to go on from; a run does not write over "
        "it: move it away, or take another run.directory");
}

TrainerHooks build_hooks(const FinetuneConfig& config, const ConfigSchema& schema,
                         FinetuneTask& task, const TaskData* validation, const Tell& tell,
                         distributed::ProcessGroup* group) {
  TrainerHooks hooks;
  hooks.start = [&](RunStart start) {
    if (start != RunStart::Resumed) refuse_earlier_model(model_of(config));
    keep_config(config.run.directory, schema, start, changed_finetune_keys);
  };
  hooks.save = [&](CheckpointContents& contents) {
    contents.tensors["model.safetensors"] = export_weights(
        task.model(), task.weight_slices(), std::nullopt, nn::merged_weights(task.model()));
    if (config.lora.rank > 0) contents.tensors[kTrained] = copies_of(trained_parameters(task));
    contents.texts = task.texts();
    contents.texts.emplace(kTaskFile, task_file_text(config.task));
  };
  hooks.load = [&](const fs::path& checkpoint) { load_weights(config, task, checkpoint); };
  if (validation)
    hooks.validate = [&config, &task, &tell, validation, group] {
      const TaskEvaluation found = evaluate_task(task, *validation, config.micro_batch(), group);
      tell(text_of(found));
      return judged(found, config.validation.metric);
    };
  return hooks;
}

// Writes the weights that are to stay.
void keep_best(const FinetuneConfig& config, FinetuneTask& task, const TrainerHooks& hooks,
               const TaskData* validation, FinetuneResult& result) {
  if (const auto best = result.training.best_step) {
    const fs::path checkpoint = config.run.directory / checkpoint_name(*best);
    // Others in their place would write over a model of the best, where there is one.
    check(fs::exists(checkpoint), ErrorKind::Io, checkpoint.string(),
          "is gone, which had the best weights of the run; the newest checkpoint is a model "
          "directory, too");
    hooks.load(checkpoint);
  }
  nn::merge_lora(task.model());
  result.model = model_of(config);
  task.save(result.model);
  write_file_atomically(result.model / kTaskFile, task_file_text(config.task));
  if (validation) result.validation = evaluate_task(task, *validation, config.micro_batch());
}

void check_metric(const std::string& metric, const std::vector<std::string>& scores) {
  std::string known = "loss";
  for (const std::string& name : scores) known += ", " + name;
  check(metric == "loss" || std::ranges::find(scores, metric) != scores.end(), ErrorKind::Config,
        "validation.metric", "got ", metric, ", takes one of ", known);
}

// The examples in an order of the seed and the epoch, as this rank gets them.
SampleBatches training_batches(const FinetuneConfig& config, const FinetuneTask& task,
                               const TaskData& data, Device device,
                               const distributed::ProcessGroup* group) {
  // One shape for all steps, as a CUDA graph needs it.
  const int64_t width = device.is_cuda() ? task.width() : 0;
  const auto make = [&data, width](std::span<const SampleKey> keys) {
    return data.training_batch(keys, width);
  };
  LoaderOptions options{.rows = config.micro_batch()};
  options.samples.seed = config.run.seed;
  if (group) options.rank = group->rank(), options.ranks = group->size();
  options.micro_batches = config.train.batch / config.micro_batch() / options.ranks;
  return {{data.size(), fingerprint_of(paths_of(config.data.train)), make}, options};
}

}  // namespace

FinetuneResult finetune(const FinetuneConfig& config, const ConfigSchema& schema, bool resume,
                        const Tell& tell_all, Device device,
                        const std::shared_ptr<distributed::ProcessGroup>& group) {
  validate(config);
  if (group) check_micro_batches(config.train.batch, config.micro_batch(), group->size());
  const bool is_first = !group || group->rank() == 0;
  const Tell tell = [&](const std::string& line) {
    if (is_first) tell_all(line);
  };
  const fs::path directory = resolve_model_directory(config.model.directory, tell);
  const std::unique_ptr<FinetuneTask> task =
      make_task(config.task, directory, paths_of(config.data.train), config.run.seed, tell);
  check_metric(config.validation.metric, task->score_names());
  const std::unique_ptr<TaskData> train = read_data(*task, config.data.train, "data.train", tell);
  std::unique_ptr<TaskData> validation;
  if (!config.data.validation.empty())
    validation = read_data(*task, config.data.validation, "data.validation", tell);
  task->model().to(device);
  freeze(config, *task);
  const Length length(config, train->size());
  check(config.schedule.warmup_steps <= length.steps, ErrorKind::Config, "schedule.warmup_steps",
        "got ", config.schedule.warmup_steps, ", takes at most the ", length.steps,
        " steps of the run");
  tell(detail::concat(task->title(), ", ",
                      format_count(static_cast<double>(task->model().parameter_count())),
                      " parameters, ", format_count(trained_count(*task)), " of them trained, ",
                      train->examples(), " training examples, ", length.steps, " steps"));
  if (group) tell(detail::concat(group->size(), " ranks over ", group->backend()));

  SampleBatches batches = training_batches(config, *task, *train, device, group.get());
  const std::unique_ptr<nn::Optimizer> optimizer =
      make_optimizer(config.optimizer,
                     nn::decay_layers(task->model(), config.optimizer.weight_decay,
                                      config.model.layer_decay, task->depths(),
                                      [&](std::string_view name) { return task->depth_of(name); }));
  const TrainerHooks hooks =
      build_hooks(config, schema, *task, validation.get(), tell, group.get());
  TrainerOptions options = trainer_options(config, schema, *task, length, resume);
  options.group = group;
  Trainer trainer(
      task->model(), [&](const Batch& batch) { return task->loss(batch); }, *optimizer,
      make_schedule(config.schedule, config.optimizer.lr, length.steps), batches,
      std::move(options), hooks);
  FinetuneResult result;
  result.training = trainer.run();
  if (result.training.signal == 0 && is_first)
    keep_best(config, *task, hooks, validation.get(), result);
  return result;
}

}  // namespace plinth
