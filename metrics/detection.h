#pragma once

// How well objects are found: COCO's average precision and recall of boxes. Equal to pycocotools.

#include <cstdint>
#include <span>

namespace plinth::metrics {

struct Box {
  double x, y, width, height;  // pixels; x and y of the upper left corner
};

struct Object {
  int64_t image, category;
  Box box;
  double area = 0;     // pixels of the object, which may be fewer than the box's
  bool crowd = false;  // a box around many: found or not, it does not count
};

struct Detection {
  int64_t image, category;
  Box box;
  double score;
};

// Fractions from 0 to 1; -1 where there is no such object. Means over categories and over overlaps
// (intersection over union) from 0.50 to 0.95 in steps of 0.05, unless one is named.
struct DetectionScores {
  double precision = -1, precision_50 = -1, precision_75 = -1;
  double precision_small = -1, precision_medium = -1, precision_large = -1;  // below 32², 96²
  double recall_1 = -1, recall_10 = -1, recall_100 = -1;  // with so many detections an image
  double recall_small = -1, recall_medium = -1, recall_large = -1;
};

// At most 100 detections of an image and category count, those with the highest scores. Throws
// Error(Argument) for boxes of negative size, and numbers that are none.
DetectionScores score_detections(std::span<const Detection> detections,
                                 std::span<const Object> objects);

}  // namespace plinth::metrics
