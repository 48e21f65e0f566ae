#pragma once

// Boxes around objects, as they follow their image when it is changed.

#include <cstdint>
#include <vector>

#include "data/images/augment.h"

namespace plinth {

// Corners in pixels from the upper left of the image, and a label.
struct LabelledBox {
  double left = 0, top = 0, right = 0, bottom = 0;
  int64_t label = 0;

  bool operator==(const LabelledBox&) const = default;
};

// In a part of the image: those whose middle lies in it, cut off at its edge.
std::vector<LabelledBox> cropped(const std::vector<LabelledBox>& boxes, const PixelBox& part);
// In the mirror image of one so wide.
std::vector<LabelledBox> flipped(const std::vector<LabelledBox>& boxes, int64_t width);

}  // namespace plinth
