#pragma once

// The scale for an amax, the same bits on both devices. Only kernels/float8 includes this.

#include "kernels/types.h"

namespace plinth::kernels {

PLINTH_HOST_DEVICE inline float scale_for(float amax, float largest, float margin) {
  constexpr float kLargestFloat = 3.402823466e38f;
  if (!(amax > 0 && amax <= kLargestFloat)) return 1;
  const float scale = largest / amax / margin;
  return scale <= kLargestFloat ? scale : 1;
}

}  // namespace plinth::kernels
