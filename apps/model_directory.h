#pragma once

// Models and tokenizers by the words that a user gives.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer/tokenizer.h"
#include "models/registry.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace plinth::apps {

// The directory itself if it holds a model, else the latest whole checkpoint of the run in it.
std::filesystem::path model_directory(const std::string& path);

// The model of a directory that model_directory() gave. `average`: with the moving average of the
// weights that a run with train.ema_decay keeps beside them; throws Error(Io) where there is none.
std::unique_ptr<LanguageModel> load_model(const std::filesystem::path& directory, bool average);

// The tokenizer in the folder named, or, if none is, in the model's directory. Throws Error(Io)
// naming --tokenizer where there is none.
Tokenizer load_tokenizer(const std::string& named, const std::filesystem::path& model_directory);

// What a language model reads of a text: its tokens and, if `begins`, before them what the
// tokenizer's post-processor puts there.
std::vector<int32_t> tokens_to_read(const Tokenizer& tokenizer, std::string_view text, bool begins);
// --no-begin-token.
CLI::Option* add_begin_option(CLI::App& command, bool& no_begin_token);

}  // namespace plinth::apps
