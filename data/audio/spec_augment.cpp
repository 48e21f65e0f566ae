#include "data/audio/spec_augment.h"

#include <algorithm>

#include "core/error.h"

namespace plinth {

namespace {

constexpr std::string_view kSpecAugment = "spec_augment";

// Zeros where one dimension has some of its places.
void hide(Tensor& features, int64_t dim, int64_t masks, int64_t most, SampleRandom& random) {
  const int64_t size = features.size(dim);
  for (int64_t i = 0; i < masks; ++i) {
    const int64_t width = random.below(std::min(most, size) + 1);
    const int64_t first = random.below(size - width + 1);
    features.narrow(dim, first, width).zero_();
  }
}

}  // namespace

Tensor spec_augment(const Tensor& features, const SampleKey& key,
                    const SpecAugmentOptions& options) {
  check(features.dim() == 2, ErrorKind::Shape, kSpecAugment, "features have shape ",
        features.shape(), ", expected [bins, frames]");
  check(features.dtype() == DType::Float32, ErrorKind::DType, kSpecAugment, "features are ",
        name(features.dtype()), ", takes float32");
  for (const int64_t option :
       {options.frequency_masks, options.frequency_width, options.time_masks, options.time_width})
    check(option >= 0, ErrorKind::Argument, kSpecAugment, "an option is ", option,
          ", takes 0 or more");
  Tensor changed = features.clone();
  SampleRandom random(key, RandomPurpose::SpecAugment);
  hide(changed, 0, options.frequency_masks, options.frequency_width, random);
  hide(changed, 1, options.time_masks, options.time_width, random);
  return changed;
}

}  // namespace plinth
