#pragma once

#include "data/images/image.h"
#include "data/images/sample_random.h"

namespace plinth {

struct RandAugmentOptions {
  int count = 2;      // operations, one after the other
  int magnitude = 9;  // 0: nothing, to 30: as far as an operation goes
};

// RandAugment (Cubuk et al. 2020, arXiv 1909.13719): operations drawn from identity, shear and
// shift along either side, rotation, brightness, saturation, contrast, sharpness, posterize,
// solarize, autocontrast and equalize, with the strengths that torchvision gives a magnitude of 31;
// each goes either way where it has two. Throws Error(Argument) for a negative count or a magnitude
// outside 0 to 30.
Image rand_augment(const Image& image, const SampleKey& key,
                   const RandAugmentOptions& options = {});

}  // namespace plinth
