#include "nn/float8.h"

namespace plinth::nn {

std::vector<std::string> convert_to_float8(
    Module& module, const Float8Options& options,
    const std::function<bool(std::string_view path)>& takes) {
  std::vector<std::string> converted;
  for (const auto& [path, part] : module.named_modules()) {
    auto* const linear = dynamic_cast<Linear*>(part);
    if (!linear || !linear->fits_float8() || (takes && !takes(path))) continue;
    linear->use_float8(options);
    converted.push_back(path);
  }
  return converted;
}

}  // namespace plinth::nn
