#pragma once

#include <filesystem>
#include <memory>

#include "models/language_model.h"

namespace plinth {

// The model of a sharded checkpoint (sharded.h) that has a config.json; `average`: with the moving
// average of the weights. Throws Error(Io) where there is none, Error(Format) or Error(Shape) for a
// checkpoint that is not whole.
std::unique_ptr<LanguageModel> load_sharded_model(const std::filesystem::path& directory,
                                                  bool average = false);

}  // namespace plinth
