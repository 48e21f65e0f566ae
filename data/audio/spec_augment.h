#pragma once

// SpecAugment (Park et al. 2019, arXiv 1904.08779, section 2): bands of frequency and spans of time
// of a sound's features are hidden in training. Time is not warped.

#include <cstdint>

#include "core/tensor.h"
#include "data/images/sample_random.h"

namespace plinth {

struct SpecAugmentOptions {
  int64_t frequency_masks = 0;  // how many bands
  int64_t frequency_width = 0;  // the most bins of one
  int64_t time_masks = 0;       // how many spans
  int64_t time_width = 0;       // the most frames of one

  bool changes() const { return frequency_masks * frequency_width + time_masks * time_width > 0; }
};

// features float32 [bins, frames] with bands and spans of zeros, the middle of Whisper's features.
// Each has a width that is drawn evenly from 0 to the most, but no more than there is, and a place
// that is drawn evenly, by the sample's key alone. Throws Error(Shape), Error(DType), and
// Error(Argument) for a negative option.
Tensor spec_augment(const Tensor& features, const SampleKey& key,
                    const SpecAugmentOptions& options);

}  // namespace plinth
