#pragma once

// How well pixels are labelled, counted over all images.

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace plinth::metrics {

struct SegmentationScores {
  double pixel_accuracy = 0;
  double mean_iou = 0;      // of the classes that are predicted or there
  std::vector<double> iou;  // of every class: intersection over union; NaN of those that are not
};

// Counts pixels as they come.
class SegmentationCounter {
 public:
  // Pixels whose label is `ignored` do not count. Throws Error(Argument) for no class.
  explicit SegmentationCounter(int64_t classes, std::optional<int64_t> ignored = {});
  // Throws Error(Argument) unless both are of one size and of classes.
  void add(std::span<const int64_t> predicted, std::span<const int64_t> actual);
  // Throws Error(Argument) where nothing was counted.
  SegmentationScores scores() const;

 private:
  std::vector<int64_t> right_, predicted_, actual_;
  std::optional<int64_t> ignored_;
};

}  // namespace plinth::metrics
