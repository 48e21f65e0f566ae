#pragma once

// Models and tokenizers by the words that a user gives.

#include <filesystem>
#include <string>

#include "data/tokenizer/tokenizer.h"
#include "models/registry.h"

namespace plinth::apps {

// The directory itself if it holds a model, else the latest whole checkpoint of the run in it.
std::filesystem::path model_directory(const std::string& path);

// The tokenizer in the folder named, or, if none is, in the model's directory. Throws Error(Io)
// naming --tokenizer where there is none.
Tokenizer load_tokenizer(const std::string& named, const std::filesystem::path& model_directory);

}  // namespace plinth::apps
