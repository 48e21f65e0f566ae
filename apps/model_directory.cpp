#include "apps/model_directory.h"

#include <CLI/CLI.hpp>

#include "apps/cli.h"
#include "core/error.h"
#include "models/tensor_files.h"
#include "nn/ema.h"
#include "train/checkpoint/run_directory.h"
#include "train/checkpoint/sharded.h"
#include "train/checkpoint/sharded_model.h"

namespace plinth::apps {

namespace fs = std::filesystem;

fs::path model_directory(const std::string& path) {
  return resolve_model_directory(path, [](const std::string& line) { warn(line); });
}

std::unique_ptr<LanguageModel> load_model(const fs::path& directory, bool average) {
  if (ShardedCheckpoint::is_in(directory)) return load_sharded_model(directory, average);
  std::unique_ptr<LanguageModel> model = load_pretrained(directory);
  if (!average) return model;
  nn::Ema ema(*model);
  ema.load_state_dict(read_tensors(directory / "ema.safetensors"));
  const nn::EmaScope scope(ema);
  const nn::StateDict averaged = copies_of(model->state_dict());
  model = make_model(ConfigJson::read(directory / "config.json"));
  model->load_state_dict(averaged);
  return model;
}

Tokenizer load_tokenizer(const std::string& named, const fs::path& model_directory) {
  if (!named.empty()) return Tokenizer::load(named);
  check(Tokenizer::is_in(model_directory), ErrorKind::Io, model_directory.string(),
        "holds no tokenizer.json; --tokenizer names a folder that does");
  return Tokenizer::load(model_directory);
}

std::vector<int32_t> tokens_to_read(const Tokenizer& tokenizer, std::string_view text,
                                    bool begins) {
  std::vector<int32_t> ids = tokenizer.encode(text);
  const std::vector<int32_t>& before = tokenizer.tokens_before();
  if (begins) ids.insert(ids.begin(), before.begin(), before.end());
  return ids;
}

CLI::Option* add_begin_option(CLI::App& command, bool& no_begin_token) {
  return command.add_flag(
      "--no-begin-token", no_begin_token,
      "leave out what the tokenizer puts before a text (<|begin_of_text|>, <s>)");
}

}  // namespace plinth::apps
