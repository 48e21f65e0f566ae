#include "data/images/boxes.h"

#include <algorithm>

namespace plinth {

std::vector<LabelledBox> cropped(const std::vector<LabelledBox>& boxes, const PixelBox& part) {
  const auto width = static_cast<double>(part.width), height = static_cast<double>(part.height);
  std::vector<LabelledBox> kept;
  for (LabelledBox box : boxes) {
    for (double* x : {&box.left, &box.right}) *x -= static_cast<double>(part.left);
    for (double* y : {&box.top, &box.bottom}) *y -= static_cast<double>(part.top);
    const double x = (box.left + box.right) / 2, y = (box.top + box.bottom) / 2;
    if (x < 0 || x >= width || y < 0 || y >= height) continue;
    for (double* side : {&box.left, &box.right}) *side = std::clamp(*side, 0.0, width);
    for (double* side : {&box.top, &box.bottom}) *side = std::clamp(*side, 0.0, height);
    kept.push_back(box);
  }
  return kept;
}

std::vector<LabelledBox> flipped(const std::vector<LabelledBox>& boxes, int64_t width) {
  std::vector<LabelledBox> mirrored = boxes;
  for (LabelledBox& box : mirrored) {
    const double left = box.left;
    box.left = static_cast<double>(width) - box.right;
    box.right = static_cast<double>(width) - left;
  }
  return mirrored;
}

}  // namespace plinth
