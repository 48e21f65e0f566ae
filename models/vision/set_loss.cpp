#include "models/vision/set_loss.h"

#include <algorithm>
#include <cmath>

#include "core/autocast.h"
#include "core/error.h"
#include "core/ops/activation.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/index.h"
#include "core/ops/loss.h"
#include "core/ops/reduce.h"
#include "core/ops/softmax.h"
#include "models/vision/assignment.h"

namespace plinth {

namespace {

constexpr std::string_view kSetLoss = "set_loss";
constexpr int64_t kNoObject = -1;

struct Corners {
  double left, top, right, bottom;
  double area() const { return (right - left) * (bottom - top); }
};

Corners corners_of(const double* box) {
  return {box[0] - box[2] / 2, box[1] - box[3] / 2, box[0] + box[2] / 2, box[1] + box[3] / 2};
}

double giou_of(const double* one, const double* other) {
  const Corners a = corners_of(one), b = corners_of(other);
  const double wide = std::min(a.right, b.right) - std::max(a.left, b.left);
  const double high = std::min(a.bottom, b.bottom) - std::max(a.top, b.top);
  const double both = std::max(0.0, wide) * std::max(0.0, high);
  const double either = a.area() + b.area() - both;
  const Corners hull{std::min(a.left, b.left), std::min(a.top, b.top), std::max(a.right, b.right),
                     std::max(a.bottom, b.bottom)};
  return both / either - (hull.area() - either) / hull.area();
}

void check_shapes(const SetPrediction& prediction, const SetTargets& targets) {
  const Tensor& logits = prediction.logits;
  check(logits.dim() == 3 && logits.size(2) >= 2 &&
            prediction.boxes.shape() == Shape({logits.size(0), logits.size(1), 4}),
        ErrorKind::Shape, kSetLoss, "predictions have logits ", logits.shape(), " and boxes ",
        prediction.boxes.shape(),
        ", expected [images, predictions, labels + 1] and [images, predictions, 4]");
  const Tensor& labels = targets.labels;
  check(labels.dim() == 2 && labels.size(0) == logits.size(0) && labels.dtype() == DType::Int64 &&
            targets.boxes.shape() == Shape({labels.size(0), labels.size(1), 4}),
        ErrorKind::Shape, kSetLoss, "targets have labels ", name(labels.dtype()), " ",
        labels.shape(), " and boxes ", targets.boxes.shape(), ", expected int64 [", logits.size(0),
        ", most] and [", logits.size(0), ", most, 4]");
}

std::vector<int64_t> labels_of(const SetTargets& targets, int64_t labels) {
  std::vector<int64_t> all;
  for (const double label : to_vector(targets.labels)) all.push_back(static_cast<int64_t>(label));
  for (const int64_t label : all)
    check(label >= kNoObject && label < labels, ErrorKind::Argument, kSetLoss, "label got ", label,
          ", takes 0 to ", labels - 1, ", or -1 for none");
  return all;
}

// One image's predictions and objects, on the host.
struct HostImage {
  const double *probabilities, *boxes;  // [predictions, classes], [predictions, 4]
  int64_t predictions, classes;
  const int64_t* labels;  // [most]
  const double* targets;  // [most, 4]
  int64_t most;
};

std::vector<int64_t> match_image(const HostImage& image, const SetLossOptions& options) {
  // In place of a cost that is no number: the loss will be none either, and the trainer tells.
  constexpr double kWorst = 1e9;
  std::vector<int64_t> objects;
  for (int64_t i = 0; i < image.most; ++i) {
    if (image.labels[i] != kNoObject) objects.push_back(i);
  }
  std::vector<double> costs;
  costs.reserve(objects.size() * static_cast<size_t>(image.predictions));
  for (const int64_t object : objects) {
    const double* target = image.targets + 4 * object;
    for (int64_t q = 0; q < image.predictions; ++q) {
      const double* box = image.boxes + 4 * q;
      double difference = 0;
      for (int64_t k = 0; k < 4; ++k) difference += std::abs(box[k] - target[k]);
      const double cost =
          options.box_cost * difference - options.giou_cost * giou_of(box, target) -
          options.class_cost * image.probabilities[q * image.classes + image.labels[object]];
      costs.push_back(std::isfinite(cost) ? cost : kWorst);
    }
  }
  const std::vector<int64_t> pairs =
      least_cost_pairs(costs, std::ssize(objects), image.predictions);
  std::vector<int64_t> matches(static_cast<size_t>(image.most), -1);
  for (size_t i = 0; i < objects.size(); ++i) matches[static_cast<size_t>(objects[i])] = pairs[i];
  return matches;
}

Tensor in_float32(const Tensor& x) {
  return x.dtype() == DType::Float64 ? x : x.to(DType::Float32);
}

// What predictions are to say, flat: of all, their class and its weight; of those that were given
// an object, their place and the object's box.
struct Assignment {
  std::vector<int64_t> classes;
  std::vector<float> weights;
  std::vector<int64_t> places, objects;
  int64_t object_count = 0;  // also of those that were given to none
};

Assignment assign(const SetPrediction& prediction, const SetTargets& targets,
                  const SetLossOptions& options) {
  const int64_t predictions = prediction.logits.size(1), none = prediction.logits.size(2) - 1;
  const int64_t most = targets.labels.size(1);
  const std::vector<int64_t> labels = labels_of(targets, none);
  const auto matches = match_objects(prediction, targets, options);
  Assignment result;
  const auto all = static_cast<size_t>(prediction.logits.size(0) * predictions);
  result.classes.assign(all, none);
  result.weights.assign(all, static_cast<float>(options.no_object_weight));
  for (int64_t image = 0; image < std::ssize(matches); ++image) {
    for (int64_t i = 0; i < most; ++i) {
      const int64_t object = image * most + i;
      if (labels[static_cast<size_t>(object)] == kNoObject) continue;
      ++result.object_count;
      const int64_t match = matches[static_cast<size_t>(image)][static_cast<size_t>(i)];
      if (match < 0) continue;
      const int64_t place = image * predictions + match;
      result.classes[static_cast<size_t>(place)] = labels[static_cast<size_t>(object)];
      result.weights[static_cast<size_t>(place)] = 1;
      result.places.push_back(place);
      result.objects.push_back(object);
    }
  }
  return result;
}

}  // namespace

std::vector<std::vector<int64_t>> match_objects(const SetPrediction& prediction,
                                                const SetTargets& targets,
                                                const SetLossOptions& options) {
  check_shapes(prediction, targets);
  const int64_t images = prediction.logits.size(0), predictions = prediction.logits.size(1);
  const int64_t classes = prediction.logits.size(2), most = targets.labels.size(1);
  const std::vector<int64_t> labels = labels_of(targets, classes - 1);
  const std::vector<double> probabilities =
      to_vector(softmax(in_float32(prediction.logits.detach()), -1));
  const std::vector<double> boxes = to_vector(prediction.boxes.detach());
  const std::vector<double> wanted = to_vector(targets.boxes);
  std::vector<std::vector<int64_t>> matches;
  for (int64_t i = 0; i < images; ++i)
    matches.push_back(
        match_image({.probabilities = probabilities.data() + i * predictions * classes,
                     .boxes = boxes.data() + i * predictions * 4,
                     .predictions = predictions,
                     .classes = classes,
                     .labels = labels.data() + i * most,
                     .targets = wanted.data() + i * most * 4,
                     .most = most},
                    options));
  return matches;
}

Tensor generalized_iou(const Tensor& a, const Tensor& b) {
  check(a.dim() >= 1 && a.size(-1) == 4 && a.shape() == b.shape(), ErrorKind::Shape,
        "generalized_iou", "boxes have shapes ", a.shape(), " and ", b.shape(),
        ", expected [..., 4] twice");
  const auto corners = [](const Tensor& box) {
    const Tensor middle = box.narrow(-1, 0, 2), half = box.narrow(-1, 2, 2) * 0.5;
    return std::pair(middle - half, middle + half);
  };
  const auto area = [](const Tensor& sides) { return sides.select(-1, 0) * sides.select(-1, 1); };
  const auto [a_begin, a_end] = corners(a);
  const auto [b_begin, b_end] = corners(b);
  const Tensor both = area(relu(minimum(a_end, b_end) - maximum(a_begin, b_begin)));
  const Tensor either = area(a_end - a_begin) + area(b_end - b_begin) - both;
  const Tensor hull = area(maximum(a_end, b_end) - minimum(a_begin, b_begin));
  return both / either - (hull - either) / hull;
}

Tensor set_loss(const SetPrediction& prediction, const SetTargets& targets,
                const SetLossOptions& options) {
  const Assignment given = assign(prediction, targets, options);
  const AutocastGuard exact(DType::Float32);
  const Tensor logits = in_float32(prediction.logits), boxes = in_float32(prediction.boxes);
  const Device device = logits.device();
  const auto flat = [&](const auto& values) {
    return from_values(values, {std::ssize(values)}).to(device);
  };
  const Tensor weights = flat(given.weights).to(logits.dtype());
  const Tensor entropies =
      cross_entropy(logits.flatten(0, 1), flat(given.classes), {.reduction = Reduction::None});
  const Tensor class_loss = sum(entropies * weights) / sum(weights);

  const Tensor found = index_select(boxes.flatten(0, 1), 0, flat(given.places));
  const Tensor wanted = index_select(targets.boxes.to(device).to(boxes.dtype()).flatten(0, 1), 0,
                                     flat(given.objects));
  const double share = 1 / static_cast<double>(std::max<int64_t>(1, given.object_count));
  const Tensor box_loss = sum(abs(found - wanted)) * share;
  const Tensor giou_loss = sum(1 - generalized_iou(found, wanted)) * share;
  return class_loss + options.box_weight * box_loss + options.giou_weight * giou_loss;
}

}  // namespace plinth
