#include "nn/lora.h"

#include <algorithm>

#include "core/error.h"
#include "core/random.h"

namespace plinth::nn {
namespace {

// While it lives, this thread draws from the seed.
class SeededGenerator {
 public:
  explicit SeededGenerator(uint64_t seed) : before_(generator()) { manual_seed(seed); }
  ~SeededGenerator() { generator() = before_; }
  SeededGenerator(const SeededGenerator&) = delete;
  SeededGenerator& operator=(const SeededGenerator&) = delete;

 private:
  Generator before_;
};

}  // namespace

std::vector<std::string> add_lora(Module& module, const LoraOptions& options,
                                  const std::vector<std::string>& targets, uint64_t seed) {
  const SeededGenerator seeded(seed);
  std::vector<std::string> paths, missing = targets;
  std::vector<std::pair<Linear*, LinearLora>> adapted;
  for (const NamedModule& entry : module.named_modules()) {
    auto* const layer = dynamic_cast<Linear*>(entry.module);
    const std::string_view name = entry.name();
    if (!layer || std::ranges::find(targets, name) == targets.end()) continue;
    adapted.emplace_back(layer, layer->new_lora(options));
    paths.push_back(entry.path);
    std::erase(missing, name);
  }
  check(missing.empty(), ErrorKind::Argument, "add_lora", "targets got ",
        missing.empty() ? "" : missing.front(), ", which is no linear layer's name");
  for (auto& [layer, lora] : adapted) layer->take(std::move(lora));
  return paths;
}

StateDict merged_weights(const Module& module) {
  StateDict weights;
  for (const NamedModule& entry : module.named_modules()) {
    const auto* const layer = dynamic_cast<const Linear*>(entry.module);
    if (layer && layer->has_lora())
      weights.push_back({entry.path + ".weight", layer->merged_weight()});
  }
  return weights;
}

void merge_lora(Module& module) {
  for (const NamedModule& entry : module.named_modules()) {
    auto* const layer = dynamic_cast<Linear*>(entry.module);
    if (layer && layer->has_lora()) layer->merge_lora();
  }
}

}  // namespace plinth::nn
