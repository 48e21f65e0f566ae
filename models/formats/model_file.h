#pragma once

// Files that hold a whole model, by their first bytes.

#include <filesystem>

namespace plinth {

enum class ModelFile { None, Gguf, Llmc };

// What a regular file is. Throws Error(Io) for one that cannot be read.
ModelFile model_file_of(const std::filesystem::path& path);

}  // namespace plinth
