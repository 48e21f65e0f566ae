#include "models/registry.h"

#include <array>
#include <vector>

#include "core/error.h"
#include "core/io/directory.h"
#include "core/io/file.h"
#include "core/nearest.h"
#include "models/bert/bert.h"
#include "models/family.h"
#include "models/gpt2/gpt2.h"
#include "models/llama/llama.h"
#include "models/mixtral/config.h"
#include "models/tensor_files.h"

namespace plinth {

namespace fs = std::filesystem;

namespace {

template <class Model, class Config>
constexpr ModelFamily model_family(std::string_view type) {
  return {type,
          [](const ModelSize& size) -> std::unique_ptr<LanguageModel> {
            return std::make_unique<Model>(Config::from_size(size));
          },
          from_config<LanguageModel, Model, Config>};
}

constexpr std::array kModelFamilies = {
    model_family<Gpt2, Gpt2Config>("gpt2"), model_family<Llama, LlamaConfig>("llama"),
    model_family<Llama, MixtralConfig>("mixtral"), model_family<Bert, BertConfig>("bert")};

const ModelFamily& find_family(std::string_view type, ErrorKind kind, std::string_view subject,
                               std::string_view key) {
  std::vector<std::string_view> types;
  std::string all;
  for (const ModelFamily& known : kModelFamilies) {
    if (known.type == type) return known;
    types.push_back(known.type);
    all += (all.empty() ? "" : ", ") + std::string(known.type);
  }
  throw Error(kind, subject,
              detail::concat(key, " got '", type, "', takes one of ", all,
                             " (nearest: ", nearest(type, types), ")"));
}

const ModelFamily& model_family_of(const ConfigJson& config) {
  return find_family(config.text("model_type", ""), ErrorKind::Format, config.subject(),
                     "model_type");
}

}  // namespace

std::span<const ModelFamily> model_families() {
  return kModelFamilies;
}

std::unique_ptr<LanguageModel> make_model(const ModelSize& size, uint64_t seed) {
  const ModelFamily& known = find_family(size.type, ErrorKind::Config, "model", "model.type");
  const auto require = [](int64_t value, const char* key) {
    check(value > 0, ErrorKind::Config, key, "got ", value, ", takes 1 or more");
  };
  require(size.vocab_size, "model.vocab_size");
  require(size.context, "model.context");
  require(size.layers, "model.layers");
  require(size.dim, "model.dim");
  require(size.heads, "model.heads");
  std::unique_ptr<LanguageModel> model;
  {
    const nn::SkipInit skip;
    model = known.from_size(size);
  }
  model->reset_parameters(seed);
  return model;
}

std::unique_ptr<LanguageModel> make_model(const ConfigJson& config,
                                          const SafetensorsCheckpoint* weights) {
  const nn::SkipInit skip;
  return model_family_of(config).from_config(config, weights);
}

std::unique_ptr<LanguageModel> load_pretrained(const fs::path& directory, DType dtype) {
  return load_directory("load_pretrained", directory, dtype, model_family_of);
}

void save_pretrained(const nn::Module& model, const std::vector<WeightSlice>& slices,
                     std::string_view config, const fs::path& directory,
                     const SaveOptions& options) {
  make_directories(directory);
  const nn::StateDict weights = export_weights(model, slices, options.dtype);
  write_file_atomically(directory / "config.json", config);
  write_checkpoint_files(directory, entries_of(weights), options.max_shard_bytes,
                         {{"format", "pt"}});
}

void save_pretrained(const LanguageModel& model, const fs::path& directory,
                     const SaveOptions& options) {
  const DType dtype = options.dtype.value_or(model.head_weight().dtype());
  save_pretrained(model, model.weight_slices(), model.config_json(dtype), directory, options);
}

}  // namespace plinth
