#include "train/pretrain/config.h"

#include "core/error.h"
#include "models/registry.h"
#include "train/pretrain/objectives.h"

namespace plinth {

namespace {

std::vector<std::string> model_types() {
  std::vector<std::string> types;
  for (const ModelFamily& family : model_families()) types.emplace_back(family.type);
  for (const std::string_view type : objective_types()) types.emplace_back(type);
  return types;
}

void declare_model(ConfigSchema& schema, PretrainConfig& config) {
  ModelSize& model = config.model;
  schema.section("model", "what is trained");
  schema.field("model.type", &model.type).words(model_types()).help("family of the architecture");
  schema.field("model.layers", &model.layers).range(1, 10000).help("transformer blocks");
  schema.field("model.dim", &model.dim).range(1, 1 << 20).help("width of the residual stream");
  schema.field("model.heads", &model.heads).range(1, 1 << 16).help("attention heads");
  schema.field("model.kv_heads", &model.kv_heads)
      .range(0, 1 << 16)
      .help("heads of keys and values (llama); 0: as many as heads");
  schema.field("model.ffn_dim", &model.ffn_dim)
      .range(0, 1 << 22)
      .help("width inside the MLP; 0: the family's own");
  schema.field("model.context", &model.context)
      .range(1, 1 << 24)
      .help("tokens of a sequence; of t5, of the text without its spans");
  schema.field("model.vocab_size", &model.vocab_size)
      .range(0, 1 << 24)
      .help("rows of the embedding; 0: the tokenizer's, rounded up to a multiple of 64");
  schema.field("model.tied", &model.tied).help("whether the output projection is the embedding");
  schema.field("model.dropout", &model.dropout).range(0, 0.99).help("probability");
  schema.field("model.rope_theta", &model.rope_theta).at_least(1).help("base of RoPE (llama)");
  schema.field("model.experts", &model.experts).range(1, 4096).help("experts of a block (mixtral)");
  schema.field("model.experts_per_token", &model.experts_per_token)
      .range(1, 4096)
      .help("of these, how many see a token (mixtral)");
  schema.field("model.balance_coefficient", &model.balance_coefficient)
      .at_least(0)
      .help("of the loss that keeps experts evenly used (mixtral); 0: none");
  schema.field("model.activation_checkpointing", &config.activation_checkpointing)
      .help("compute activations again in backward rather than keep them");
  schema.field("model.init_from", &config.init_from)
      .help(
          "model or run directory whose weights to start from; its config.json replaces the sizes");
  schema.field("model.config", &config.model_config)
      .help(
          "a config.json, or its folder, that replaces type and sizes of a new model; vit_mae and "
          "clip take one, whose preprocessor_config.json beside it holds for images");
}

void declare_model_parallel(ConfigSchema& schema, PretrainConfig& config) {
  auto& parallel = config.parallel;
  schema.field("parallel.pp", &parallel.pp)
      .range(1, 4096)
      .help("pipeline stages: ranks that have different blocks of the model");
  schema.field("parallel.ep", &parallel.ep)
      .range(1, 4096)
      .help("ranks that share out the experts of each block (mixtral)");
  schema.field("parallel.schedule", &parallel.schedule)
      .words({"1f1b", "interleaved", "zb-h1"})
      .help("of the stages; zb-h1 computes gradients of weights late, where a stage would wait");
  schema.field("parallel.chunks", &parallel.chunks)
      .range(1, 4096)
      .help("pieces of the model a stage, of the schedule interleaved");
}

void declare_masking(ConfigSchema& schema, PretrainConfig& config) {
  schema.section("masking", "what a masked language model (bert) is to predict");
  schema.field("masking.share", &config.masking.share)
      .range(0.001, 0.999)
      .help("of the tokens of a sequence");
  schema.field("masking.token", &config.masking.token)
      .range(-1, 1 << 24)
      .help("id of what stands for a masked token; -1: the tokenizer's [MASK]");
  schema.field("masking.whole_word", &config.masking.whole_word)
      .help("mask words with all their pieces; takes a WordPiece tokenizer");
  schema.field("masking.next_sentence", &config.masking.next_sentence)
      .help(
          "a sequence is two texts, of which the second follows the first in half of all; the "
          "model "
          "is to tell, too (next-sentence prediction)");
}

void declare_objectives(ConfigSchema& schema, PretrainConfig& config) {
  schema.section("spans", "what an encoder-decoder (t5) is to fill in");
  schema.field("spans.density", &config.spans.density)
      .range(0.001, 0.99)
      .help("of the tokens of a text that are lost");
  schema.field("spans.mean_length", &config.spans.mean_length)
      .range(1, 1000)
      .help("tokens of a lost span");
  schema.section("image", "how images are changed at random in training (vit_mae, clip)");
  schema.field("image.min_crop_area", &config.image.min_crop_area)
      .range(0.01, 1)
      .help("the least share of an image that a random part shows; 1: images are whole");
  schema.field("image.flip", &config.image.flip).help("half of them are mirrored");
}

void declare_training(ConfigSchema& schema, PretrainConfig& config) {
  auto& train = config.train;
  schema.section("train", "the loop");
  schema.field("train.steps", &train.steps).at_least(1).help("optimizer steps");
  schema.field("train.batch", &train.batch).range(1, 1 << 24).help("sequences of a step");
  schema.field("train.micro_batch", &train.micro_batch)
      .range(0, 1 << 24)
      .help("sequences at once; divides batch; 0: all");
  schema.field("train.precision", &train.precision)
      .words({"float32", "bfloat16"})
      .help("bfloat16: matrix products in bfloat16, weights and the rest in float32");
  schema.field("train.float8", &train.float8)
      .words({"off", "current", "delayed"})
      .help(
          "linear layers in float8, scaled by each tensor's largest value or by that of the last "
          "16 passes");
  schema.field("train.clip_norm", &train.clip_norm)
      .at_least(0)
      .help("largest gradient norm; 0: any");
  schema.field("train.ema_decay", &train.ema_decay)
      .range(0, 0.999999)
      .help("of a moving average of the weights, used by validation and samples; 0: none");
  schema.field("train.max_bad_steps", &train.max_bad_steps)
      .at_least(1)
      .help("steps in a row with a loss that is no number, or explodes, before the run stops");
  schema.field("train.explosion_factor", &train.explosion_factor)
      .at_least(0)
      .help("a loss above this many times its moving average is skipped; 0: never");
  schema.field("train.peak_tflops", &train.peak_tflops)
      .at_least(0)
      .help("the machine's, to show what part is used; 0: not shown");
  schema.field("train.cuda_graph", &train.cuda_graph)
      .help("on a GPU, replay the step as a CUDA graph; the same bits either way");

  auto& parallel = config.parallel;
  schema.section("parallel", "how ranks share a step; a single process does not use it");
  schema.field("parallel.tp", &parallel.tp)
      .range(1, 1 << 16)
      .help("ranks that share each layer: its heads, its hidden units, the vocabulary");
  schema.field("parallel.sequence", &parallel.sequence)
      .help("ranks of parallel.tp also share the tokens between those layers");
  schema.field("parallel.cp", &parallel.cp)
      .range(1, 1 << 16)
      .help("ranks that share the tokens of each sequence");
  schema.field("parallel.cp_algorithm", &parallel.cp_algorithm)
      .words({"gather", "ring"})
      .help(
          "how these bring together queries and keys: all keys to all, or round from rank to rank");
  schema.field("parallel.zero", &parallel.zero)
      .range(0, 3)
      .help(
          "what each rank keeps its own part of only (ZeRO): 1: the optimizer's state; 2: sums of "
          "gradients, too; 3: the weights, too; 2 and 3 send a block's gradients at a time, "
          "whatever bucket_mb and overlap say");
  schema.field("parallel.dp_shard", &parallel.dp_shard)
      .range(0, 1 << 20)
      .help("ranks that share one copy of what parallel.zero 2 and 3 share; 0: all");
  declare_data_parallel(schema, parallel);
  declare_model_parallel(schema, config);

  declare_optimizer(schema, config.optimizer);
  declare_schedule(schema, config.schedule);
}

void declare_outputs(ConfigSchema& schema, PretrainConfig& config) {
  schema.section("validation", "loss on data not trained on");
  schema.field("validation.every", &config.validation.every)
      .at_least(0)
      .help("steps; 0: at the end only");
  schema.field("validation.batches", &config.validation.batches)
      .at_least(1)
      .help("micro-batches, the same each time");

  schema.section("checkpoint", "saving the run");
  schema.field("checkpoint.every", &config.checkpoint.every)
      .at_least(0)
      .help("steps; 0: at the end, and as keep_best says");
  schema.field("checkpoint.keep_last", &config.checkpoint.keep_last)
      .at_least(1)
      .help("how many stay");
  schema.field("checkpoint.keep_best", &config.checkpoint.keep_best)
      .help("also save, and keep, the one with the least validation loss");

  schema.section("sample", "text generated while training");
  schema.field("sample.every", &config.sample.every).at_least(0).help("steps; 0: none");
  schema.field("sample.prompt", &config.sample.prompt).help("how it starts");
  schema.field("sample.tokens", &config.sample.tokens).at_least(1).help("length");
  schema.field("sample.temperature", &config.sample.temperature)
      .at_least(0)
      .help("0: most likely tokens");
  schema.field("sample.top_k", &config.sample.top_k).at_least(0).help("0: all");

  declare_log(schema, config.log);
}

bool may_change_in_pretraining(const std::string& key) {
  for (const char* section : {"validation.", "checkpoint.", "sample.", "log.", "run.directory"}) {
    if (key.starts_with(section)) return true;
  }
  return key == "train.peak_tflops" || key == "train.max_bad_steps" || key == "train.cuda_graph" ||
         (key.starts_with("parallel.") && key != "parallel.reduction");
}

}  // namespace

ConfigSchema pretrain_schema(PretrainConfig& config) {
  ConfigSchema schema;
  schema.section("run", "the run itself");
  schema.field("run.directory", &config.run.directory)
      .required()
      .help("where checkpoints, metrics and the report go");
  schema.field("run.seed", &config.run.seed).help("of weights, order of samples and dropout");

  schema.section("data",
                 "token shards, as plinth tokenize writes them; of vit_mae and clip folders of "
                 "images, and tables (.csv, .tsv, .jsonl) of their files");
  schema.field("data.train", &config.data.train).required().help("files, folders or patterns");
  schema.field("data.validation", &config.data.validation).help("likewise; none: no validation");
  schema.field("data.tokenizer", &config.data.tokenizer)
      .help("folder with tokenizer.json; gives vocab_size, bits per byte, and samples");
  schema.field("data.order", &config.data.order)
      .words({"shuffled", "sequential"})
      .help("of the sequences within an epoch");
  schema.field("data.image_column", &config.data.image_column)
      .help("of a table, the image's file, beside the table unless its path is absolute");
  schema.field("data.text_column", &config.data.text_column).help("its text (clip)");
  schema.field("data.max_bad_lines", &config.data.max_bad_lines)
      .at_least(0)
      .help("so many lines of tables may be left out because they are malformed");
  declare_model(schema, config);
  declare_masking(schema, config);
  declare_objectives(schema, config);
  declare_training(schema, config);
  declare_outputs(schema, config);
  return schema;
}

void validate(const PretrainConfig& config) {
  check(!config.data.train.empty(), ErrorKind::Config, "data.train",
        "is empty, takes at least one file");
  check(config.train.batch % config.micro_batch() == 0, ErrorKind::Config, "train.micro_batch",
        "got ", config.micro_batch(), ", takes a divisor of train.batch (", config.train.batch,
        ")");
  const auto& parallel = config.parallel;
  check(parallel.zero < 2 || parallel.reduction == "tree", ErrorKind::Config, "parallel.reduction",
        "got ", parallel.reduction, ", takes tree with parallel.zero ", parallel.zero);
  check(parallel.zero >= 2 || parallel.dp_shard == 0, ErrorKind::Config, "parallel.dp_shard",
        "got ", parallel.dp_shard, ", goes with parallel.zero 2 or 3");
  check(config.schedule.warmup_steps <= config.train.steps, ErrorKind::Config,
        "schedule.warmup_steps", "got ", config.schedule.warmup_steps,
        ", takes at most train.steps (", config.train.steps, ")");
  check(config.init_from.empty() || config.model_config.empty(), ErrorKind::Config, "model.config",
        "got ", config.model_config.string(), ", takes none beside model.init_from");
  check(config.model.vocab_size > 0 || !config.data.tokenizer.empty() ||
            !config.init_from.empty() || !config.model_config.empty(),
        ErrorKind::Config, "model.vocab_size", "is missing; set it, or data.tokenizer");
  const bool samples = config.sample.every > 0 && !config.data.tokenizer.empty();
  check(!samples || !config.sample.prompt.empty(), ErrorKind::Config, "sample.prompt",
        "is empty, takes the start of a text, or sample.every=0");
}

std::vector<std::string> changed_keys(const ConfigSchema& now, const std::filesystem::path& saved,
                                      bool all) {
  PretrainConfig before;
  ConfigSchema schema = pretrain_schema(before);
  schema.load(saved);
  return changed_values(schema, now, all ? is_run_directory : may_change_in_pretraining);
}

}  // namespace plinth
