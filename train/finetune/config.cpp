#include "train/finetune/config.h"

#include "core/error.h"
#include "train/finetune/task_file.h"

namespace plinth {
namespace {

void declare_task(ConfigSchema& schema, FinetuneConfig& config) {
  TaskSettings& task = config.task;
  schema.section("task", "what is learned");
  declare_reading(schema, task);
  schema.field("task.labels", &task.labels)
      .help("names in the order of their numbers; none: the model's, or those of the data");
  schema.field("task.class_weights", &task.class_weights)
      .at_least(0)
      .help("of each label in the loss; none: all the same");
  schema.field("task.detection_tokens", &task.detection_tokens)
      .range(1, 1 << 14)
      .help("that a ViT gets which becomes a detector: the most objects it finds in an image");
}

void declare_data(ConfigSchema& schema, FinetuneConfig& config) {
  TaskSettings& task = config.task;
  schema.section("data",
                 "labelled examples: .csv, .tsv or .jsonl; CoNLL; SQuAD's JSON; COCO's; folders of "
                 "images; manifests of sounds");
  schema.field("data.train", &config.data.train).required().help("files");
  schema.field("data.validation", &config.data.validation).help("files; none: no validation");
  declare_columns(schema, task);
  schema.field("data.image_folder", &task.image_folder)
      .help("where the images of COCO's JSON lie; none: beside it (object-detection)");
  schema.field("data.max_bad_lines", &task.max_bad_lines)
      .at_least(0)
      .help("so many lines may be left out because they are malformed");
}

void declare_images(ConfigSchema& schema, FinetuneConfig& config) {
  TaskSettings& task = config.task;
  schema.section("image",
                 "how images, and boxes and masks with them, are changed at random in training");
  schema.field("image.min_crop_area", &task.min_crop_area)
      .range(0.01, 1)
      .help("the least share of an image that a random part shows; 1: images are whole");
  schema.field("image.flip", &task.flip).help("half of them are mirrored");
  schema.field("image.rand_augment", &task.rand_augment)
      .range(0, 16)
      .help("operations of RandAugment on each (image-classification)");
  schema.field("image.mixup", &task.mixup)
      .range(0, 100)
      .help(
          "alpha of the share in which an image and another are added; 0: none are "
          "(image-classification)");
  schema.field("image.cutmix", &task.cutmix)
      .range(0, 100)
      .help(
          "alpha of the share that a box of another image leaves; 0: none is put in "
          "(image-classification)");
}

void declare_speech(ConfigSchema& schema, FinetuneConfig& config) {
  SpecAugmentOptions& masks = config.task.spec_augment;
  schema.section("speech",
                 "transcripts, and how sounds are changed in training (speech-recognition, "
                 "speech-seq2seq)");
  schema.field("speech.units", &config.task.units)
      .words({"characters", "words"})
      .help("what of a transcript is told one by one (speech-recognition)");
  declare_language(schema, config.task);
  schema.field("speech.frequency_masks", &masks.frequency_masks)
      .range(0, 64)
      .help("bands of frequency that are hidden (SpecAugment)");
  schema.field("speech.frequency_width", &masks.frequency_width)
      .range(0, 1024)
      .help("the most bins of one");
  schema.field("speech.time_masks", &masks.time_masks)
      .range(0, 64)
      .help("spans of time that are hidden");
  schema.field("speech.time_width", &masks.time_width)
      .range(0, 1 << 20)
      .help("the most frames of one");
}

void declare_training(ConfigSchema& schema, FinetuneConfig& config) {
  auto& train = config.train;
  schema.section("train", "the loop");
  schema.field("train.epochs", &train.epochs)
      .range(0, 1e6)
      .above(0)
      .help("passes over the samples");
  schema.field("train.steps", &train.steps).at_least(0).help("optimizer steps; 0: of train.epochs");
  schema.field("train.batch", &train.batch).range(1, 1 << 24).help("samples of a step");
  schema.field("train.micro_batch", &train.micro_batch)
      .range(0, 1 << 24)
      .help("samples at once; divides batch; 0: all");
  schema.field("train.precision", &train.precision)
      .words({"float32", "bfloat16"})
      .help("bfloat16: matrix products in bfloat16, weights and the rest in float32");
  schema.field("train.clip_norm", &train.clip_norm)
      .at_least(0)
      .help("largest gradient norm; 0: any");
  schema.field("train.max_bad_steps", &train.max_bad_steps)
      .at_least(1)
      .help("steps in a row with a loss that is no number before the run stops");
  schema.field("train.cuda_graph", &train.cuda_graph)
      .help("on a GPU, replay the step as a CUDA graph; the same bits either way");
}

void declare_outputs(ConfigSchema& schema, FinetuneConfig& config) {
  schema.section("validation", "scores on data not trained on");
  schema.field("validation.every", &config.validation.every).at_least(0).help("steps; 0: an epoch");
  schema.field("validation.metric", &config.validation.metric)
      .help("what the best weights have the most of, or of loss, wer and cer the least");
  schema.field("validation.patience", &config.validation.patience)
      .at_least(0)
      .help("validations without a better one that end the run; 0: none do");

  schema.section("checkpoint", "saving the run; the best weights are kept in any case");
  schema.field("checkpoint.every", &config.checkpoint.every)
      .at_least(0)
      .help("steps; 0: as validation.every");
  schema.field("checkpoint.keep_last", &config.checkpoint.keep_last)
      .at_least(1)
      .help("how many stay");

  declare_log(schema, config.log);
}

// Validation chooses the best weights and when to stop, so it is a part of the run.
bool may_change_in_finetuning(const std::string& key) {
  for (const char* section : {"checkpoint.", "log.", "run.directory", "parallel."}) {
    if (key.starts_with(section)) return key != "parallel.reduction";
  }
  return key == "train.max_bad_steps" || key == "train.cuda_graph";
}

}  // namespace

ConfigSchema finetune_schema(FinetuneConfig& config) {
  ConfigSchema schema;
  schema.section("run", "the run itself");
  schema.field("run.directory", &config.run.directory)
      .required()
      .help("where checkpoints, metrics, the report and, in model/, the best weights go");
  schema.field("run.seed", &config.run.seed).help("of the head, order of samples and dropout");

  schema.section("model", "what is fine-tuned");
  schema.field("model.directory", &config.model.directory)
      .required()
      .help("a pretrained or fine-tuned model with its tokenizer, or a run");
  schema.field("model.train", &config.model.train)
      .words({"all", "head"})
      .help("head: embeddings and blocks stay as they are");
  schema.field("model.layer_decay", &config.model.layer_decay)
      .range(0.01, 1)
      .help("learning rate of a block over that of the next; the head has optimizer.lr");
  auto& lora = config.lora;
  schema.section("lora", "low-rank adaptation: embeddings and blocks stay, small matrices learn");
  schema.field("lora.rank", &lora.rank).range(0, 4096).help("of these matrices; 0: no adaptation");
  schema.field("lora.alpha", &lora.alpha).above(0).help("they count alpha / rank");
  schema.field("lora.dropout", &lora.dropout).range(0, 0.99).help("probability, of their input");
  schema.field("lora.targets", &lora.targets)
      .help("linear layers of a block: qkv, out (attention), up, down (MLP)");
  declare_task(schema, config);
  declare_data(schema, config);
  declare_images(schema, config);
  declare_speech(schema, config);
  declare_training(schema, config);
  schema.section("parallel", "how ranks share a step; a single process does not use it");
  schema.field("parallel.zero", &config.parallel.zero)
      .range(0, 1)
      .help("1: each rank keeps its own part only of the optimizer's state (ZeRO)");
  declare_data_parallel(schema, config.parallel);
  declare_optimizer(schema, config.optimizer);
  declare_schedule(schema, config.schedule);
  declare_outputs(schema, config);
  return schema;
}

void validate(const FinetuneConfig& config) {
  check(!config.data.train.empty(), ErrorKind::Config, "data.train",
        "is empty, takes at least one file");
  check(config.train.batch % config.micro_batch() == 0, ErrorKind::Config, "train.micro_batch",
        "got ", config.micro_batch(), ", takes a divisor of train.batch (", config.train.batch,
        ")");
  check(config.lora.rank == 0 || !config.lora.targets.empty(), ErrorKind::Config, "lora.targets",
        "is empty, takes the name of a linear layer");
  check(config.lora.rank == 0 || config.model.train == "all", ErrorKind::Config, "model.train",
        "got ", config.model.train, ", takes all with lora.rank");
  const bool validates = !config.data.validation.empty();
  check(validates || config.validation.patience == 0, ErrorKind::Config, "validation.patience",
        "got ", config.validation.patience, ", takes 0 without data.validation");
  check(validates || config.validation.metric == "loss", ErrorKind::Config, "validation.metric",
        "got ", config.validation.metric, ", takes loss without data.validation");
}

std::vector<std::string> changed_finetune_keys(const ConfigSchema& now,
                                               const std::filesystem::path& saved, bool all) {
  FinetuneConfig before;
  ConfigSchema schema = finetune_schema(before);
  schema.load(saved);
  return changed_values(schema, now, all ? is_run_directory : may_change_in_finetuning);
}

}  // namespace plinth
