// plinth inspect: what is in a model, a run, a checkpoint, a file of tensors or a token shard.

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <memory>

#include "apps/cli.h"
#include "apps/commands.h"
#include "apps/model_directory.h"
#include "core/error.h"
#include "core/io/checkpoint_files.h"
#include "core/io/gguf.h"
#include "core/io/text.h"
#include "data/shards/token_shard.h"
#include "models/bert/classifier.h"
#include "models/encoder_decoder_registry.h"
#include "models/formats/llmc_file.h"
#include "models/formats/model_file.h"
#include "models/vision/image_model.h"
#include "models/whisper/ctc.h"
#include "train/checkpoint/sharded.h"
#include "train/checkpoint/train_state.h"
#include "train/logging/format.h"

namespace plinth::apps {

namespace {

namespace fs = std::filesystem;

struct InspectArguments {
  std::string path;
  bool tensors = false;
};

std::string shape_text(std::span<const int64_t> shape) {
  std::string text;
  for (const int64_t size : shape) text += (text.empty() ? "" : " x ") + std::to_string(size);
  return text.empty() ? "scalar" : text;
}

// A tensor of whatever file.
struct TensorRow {
  std::string_view name, type;
  std::span<const int64_t> shape;
  uint64_t bytes;
};

void print_rows(const std::vector<TensorRow>& rows, bool each) {
  uint64_t bytes = 0;
  double elements = 0;
  size_t width = 0;
  for (const TensorRow& row : rows) {
    bytes += row.bytes;
    double count = 1;
    for (const int64_t size : row.shape) count *= static_cast<double>(size);
    elements += count;
    width = std::max(width, printable(row.name).size() - 2);
  }
  std::printf("tensors     %zu, %s elements, %s\n", rows.size(), format_count(elements).c_str(),
              format_bytes(bytes).c_str());
  if (!each) return;
  for (const TensorRow& row : rows) {
    const std::string quoted = printable(row.name, 200);
    const std::string name = quoted.substr(1, quoted.size() - 2);
    std::printf("  %-*s  %-9s  %s\n", static_cast<int>(width), name.c_str(),
                std::string(row.type).c_str(), shape_text(row.shape).c_str());
  }
}

void print_tensors(const std::vector<TensorRecord>& records, bool each) {
  std::vector<TensorRow> rows;
  rows.reserve(records.size());
  for (const TensorRecord& record : records)
    rows.push_back({record.name, name(record.dtype), record.shape, record.end - record.begin});
  print_rows(rows, each);
}

// A list by its length, a text cut short.
std::string value_text(const GgufValue& value) {
  if (value.is_list) return detail::concat("list of ", value.size(), " ", name(value.type));
  if (value.type == GgufType::String) return printable(value.texts[0]);
  if (value.type == GgufType::Bool) return value.numbers[0] != 0 ? "true" : "false";
  return detail::concat(value.numbers[0]);
}

void inspect_gguf(const fs::path& path, bool tensors) {
  const GgufFile file = GgufFile::open(path);
  std::printf("gguf        %s, version %u\n", path.c_str(), file.version());
  for (const auto& [key, value] : file.fields()) {
    const std::string quoted = printable(key);
    std::printf("  %s: %s\n", quoted.substr(1, quoted.size() - 2).c_str(),
                value_text(value).c_str());
  }
  std::vector<TensorRow> rows;
  rows.reserve(file.tensors().size());
  for (const GgufTensor& tensor : file.tensors())
    rows.push_back({tensor.name, tensor.type.name, tensor.shape, tensor.end - tensor.begin});
  print_rows(rows, tensors);
}

void inspect_llmc(const fs::path& path, bool tensors) {
  const LlmcFile file = LlmcFile::open(path);
  const LlmcHeader& header = file.header();
  std::printf("llm.c       gpt2 in %s, %s\n", path.c_str(),
              std::string(name(header.dtype)).c_str());
  std::printf("layers      %lld of width %lld, %lld heads\n", static_cast<long long>(header.layers),
              static_cast<long long>(header.dim), static_cast<long long>(header.heads));
  std::printf("vocabulary  %lld, padded to %lld\n", static_cast<long long>(header.vocab_size),
              static_cast<long long>(header.padded_vocab));
  std::printf("context     %lld\n", static_cast<long long>(header.context));
  print_tensors(file.records(), tensors);
}

void inspect_shard(const fs::path& path) {
  const TokenShard shard = TokenShard::open(path);
  std::printf("shard       %s, format %s, %d bytes a token\n", path.c_str(),
              std::string(name(shard.format())).c_str(), shard.token_bytes());
  std::printf("tokens      %lld\n", static_cast<long long>(shard.size()));
  std::printf("first       ");
  for (int64_t i = 0; i < std::min<int64_t>(16, shard.size()); ++i)
    std::printf("%u ", shard.token(i));
  std::printf("\n");
}

void inspect_state(const fs::path& path) {
  const TrainState state = TrainState::read(path);
  std::printf("training    step %lld, seed %llu", static_cast<long long>(state.step),
              static_cast<unsigned long long>(state.seed));
  if (state.skipped_steps)
    std::printf(", %lld steps skipped", static_cast<long long>(state.skipped_steps));
  if (state.best_step)
    std::printf(", least validation loss %.4f at step %lld", state.best_loss,
                static_cast<long long>(*state.best_step));
  std::printf("\n");
}

void print_model(std::string_view type, const nn::Module& model, const fs::path& directory) {
  std::printf("model       %s in %s\n", std::string(type).c_str(), directory.c_str());
  std::printf("parameters  %s\n",
              format_count(static_cast<double>(model.parameter_count())).c_str());
}

void inspect_image_model(const fs::path& directory, const ConfigJson& config, bool tensors) {
  const SafetensorsCheckpoint weights = SafetensorsCheckpoint::open(directory);
  const std::unique_ptr<ImageModel> model = make_image_model(config, &weights);
  print_model(model->type(), *model, directory);
  for (const auto& [word, text] : model->description())
    std::printf("%-11s %s\n", word.c_str(), text.c_str());
  print_tensors(weights.records(), tensors);
}

void print_vocabulary(int64_t size, bool tied) {
  std::printf("vocabulary  %lld, %s\n", static_cast<long long>(size),
              tied ? "output tied to the embedding" : "output of its own");
}

void inspect_encoder_decoder(const fs::path& directory, const ConfigJson& config, bool tensors) {
  const SafetensorsCheckpoint weights = SafetensorsCheckpoint::open(directory);
  const std::unique_ptr<EncoderDecoder> model = make_encoder_decoder(config, &weights);
  const EncoderDecoderInfo& info = model->info();
  print_model(info.type, *model, directory);
  std::printf(
      "layers      %lld of the encoder, %lld of the decoder, of width %lld, %lld heads of %lld\n",
      static_cast<long long>(info.encoder_layers), static_cast<long long>(info.decoder_layers),
      static_cast<long long>(info.dim), static_cast<long long>(info.heads),
      static_cast<long long>(info.head_dim));
  print_vocabulary(info.vocab_size, info.tied);
  if (info.context > 0)
    std::printf("context     %lld of the decoder\n", static_cast<long long>(info.context));
  print_tensors(weights.records(), tensors);
}

void inspect_recogniser(const fs::path& directory, const ConfigJson& config, bool tensors) {
  const nn::SkipInit skip;
  const WhisperCtc model(WhisperCtcConfig::from_json(config));
  const WhisperConfig& encoder = model.config().whisper;
  print_model(config.text("model_type", ""), model, directory);
  std::printf("layers      %lld of the encoder, of width %lld, %lld heads\n",
              static_cast<long long>(encoder.encoder_layers), static_cast<long long>(encoder.dim),
              static_cast<long long>(encoder.encoder_heads));
  std::printf("labels      %zu, %s\n", model.config().labels.size(),
              model.config().words ? "words" : "characters");
  print_tensors(SafetensorsCheckpoint::open(directory).records(), tensors);
}

void inspect_classifier(const fs::path& directory, const ConfigJson& config, bool tensors) {
  const nn::SkipInit skip;
  const BertClassifier model(BertClassifierConfig::from_json(config));
  const BertConfig& bert = model.config().bert;
  print_model(config.first_text("architectures", ""), model, directory);
  std::printf("layers      %lld of width %lld, %lld heads\n", static_cast<long long>(bert.layers),
              static_cast<long long>(bert.dim), static_cast<long long>(bert.heads));
  std::printf("labels      %zu\n", model.config().labels.size());
  std::printf("context     %lld\n", static_cast<long long>(bert.context));
  print_tensors(SafetensorsCheckpoint::open(directory).records(), tensors);
}

void inspect_model(const fs::path& directory, bool tensors) {
  const ConfigJson config = ConfigJson::read(directory / "config.json");
  if (bert_task_of(config)) return inspect_classifier(directory, config, tensors);
  if (is_whisper_ctc(config)) return inspect_recogniser(directory, config, tensors);
  if (is_image_model(config)) return inspect_image_model(directory, config, tensors);
  if (is_encoder_decoder(config)) return inspect_encoder_decoder(directory, config, tensors);
  const std::unique_ptr<LanguageModel> model = make_model(config);
  const LanguageModelInfo& info = model->info();
  print_model(info.type, *model, directory);
  std::printf("layers      %lld of width %lld, %lld heads of %lld, %lld of keys and values\n",
              static_cast<long long>(info.layers), static_cast<long long>(info.dim),
              static_cast<long long>(info.heads), static_cast<long long>(info.head_dim),
              static_cast<long long>(info.kv_heads));
  if (info.experts > 0)
    std::printf("experts     %lld a layer, of which a token uses %lld\n",
                static_cast<long long>(info.experts),
                static_cast<long long>(info.experts_per_token));
  print_vocabulary(info.vocab_size, info.tied);
  std::printf("context     %lld\n", static_cast<long long>(info.context));
  std::printf("training    %s operations a token at the whole context\n",
              format_count(model->training_flops_per_token(info.context)).c_str());
  if (fs::exists(directory / "state.json")) inspect_state(directory / "state.json");
  if (!ShardedCheckpoint::is_in(directory))
    return print_tensors(SafetensorsCheckpoint::open(directory).records(), tensors);
  const ShardedIndex index = ShardedIndex::read(directory / ShardedCheckpoint::kIndex);
  std::printf("shards      %lld, written by as many ranks; plinth convert puts them together\n",
              static_cast<long long>(index.files));
  for (int64_t i = 0; i < index.files; ++i)
    print_tensors(
        SafetensorsCheckpoint::open(directory / shard_file_name(i, index.files)).records(),
        tensors);
}

void run(const InspectArguments& arguments) {
  const fs::path path = arguments.path;
  check(fs::exists(path), ErrorKind::Io, path.string(), "no such file or directory");
  if (fs::is_directory(path)) return inspect_model(model_directory(path), arguments.tensors);
  if (path.extension() == ".safetensors" || path.filename().string().ends_with(".index.json"))
    return print_tensors(SafetensorsCheckpoint::open(path).records(), true);
  switch (model_file_of(path)) {
    case ModelFile::Gguf: return inspect_gguf(path, arguments.tensors);
    case ModelFile::Llmc: return inspect_llmc(path, arguments.tensors);
    case ModelFile::None: return inspect_shard(path);
  }
}

}  // namespace

void add_inspect(CLI::App& program) {
  CLI::App* command =
      program.add_subcommand("inspect", "what is in a model, run, file of tensors or token shard");
  const auto arguments = std::make_shared<InspectArguments>();
  command->add_option("path", arguments->path, "file or directory")->required();
  command->add_flag("--tensors", arguments->tensors, "list the tensors of a model too");
  command->footer("\nExample: plinth inspect runs/kjv --tensors");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace plinth::apps
