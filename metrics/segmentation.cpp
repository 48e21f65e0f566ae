#include "metrics/segmentation.h"

#include <limits>
#include <numeric>

#include "core/error.h"

namespace plinth::metrics {

SegmentationCounter::SegmentationCounter(int64_t classes, std::optional<int64_t> ignored)
    : ignored_(ignored) {
  check(classes > 0, ErrorKind::Argument, "SegmentationCounter", "classes got ", classes,
        ", takes 1 or more");
  for (auto* counts : {&right_, &predicted_, &actual_})
    counts->resize(static_cast<size_t>(classes));
}

void SegmentationCounter::add(std::span<const int64_t> predicted, std::span<const int64_t> actual) {
  constexpr auto op = "SegmentationCounter::add";
  check(predicted.size() == actual.size(), ErrorKind::Argument, op, "got ", predicted.size(),
        " predicted pixels for ", actual.size());
  const int64_t classes = std::ssize(right_);
  for (size_t i = 0; i < actual.size(); ++i) {
    if (actual[i] == ignored_) continue;
    for (const int64_t label : {predicted[i], actual[i]})
      check(label >= 0 && label < classes, ErrorKind::Argument, op, "pixel ", i, " got class ",
            label, ", takes 0 to ", classes - 1);
    ++predicted_[static_cast<size_t>(predicted[i])];
    ++actual_[static_cast<size_t>(actual[i])];
    if (predicted[i] == actual[i]) ++right_[static_cast<size_t>(actual[i])];
  }
}

SegmentationScores SegmentationCounter::scores() const {
  const auto pixels = std::accumulate(actual_.begin(), actual_.end(), int64_t{0});
  check(pixels > 0, ErrorKind::Argument, "SegmentationCounter::scores", "got no pixels to count");
  SegmentationScores scores;
  int64_t right = 0, present = 0;
  for (size_t c = 0; c < right_.size(); ++c) {
    right += right_[c];
    const int64_t all = predicted_[c] + actual_[c] - right_[c];
    scores.iou.push_back(all > 0 ? static_cast<double>(right_[c]) / static_cast<double>(all)
                                 : std::numeric_limits<double>::quiet_NaN());
    if (all == 0) continue;
    scores.mean_iou += scores.iou.back();
    ++present;
  }
  scores.mean_iou /= static_cast<double>(present);
  scores.pixel_accuracy = static_cast<double>(right) / static_cast<double>(pixels);
  return scores;
}

}  // namespace plinth::metrics
