#pragma once

// What a detector of objects learns from: each object is given to one prediction (Carion et al.
// 2020, arXiv 2005.12872, section 3.1). transformers' loss of DETR and YOLOS.

#include <vector>

#include "core/tensor.h"

namespace plinth {

// Predictions of each image, and no order among them.
struct SetPrediction {
  Tensor logits;  // [images, predictions, labels + 1]: the last is that there is no object
  Tensor boxes;   // [images, predictions, 4]: middle x and y, width, height, as shares of the image
};

// Objects of each image, in any order.
struct SetTargets {
  Tensor labels;  // int64 [images, most]; -1 behind an image's last
  Tensor boxes;   // float32 [images, most, 4], as those of predictions
};

struct SetLossOptions {
  // Of pairing an object with a prediction: minus the label's probability, the sum of the boxes'
  // absolute differences, minus their generalised intersection over union.
  double class_cost = 1, box_cost = 5, giou_cost = 2;
  // Of the loss; the cross-entropy counts 1.
  double box_weight = 5, giou_weight = 2;
  double no_object_weight = 0.1;  // of predictions that were given none, in the cross-entropy
};

// The prediction that each object is given to, so that the costs' sum is the least; -1 behind an
// image's last object, and for objects that are more than the predictions. [images][most]. Reads
// the tensors on the host. Throws Error(Shape) for tensors that do not go together, Error(Argument)
// for a label outside -1 to labels - 1.
std::vector<std::vector<int64_t>> match_objects(const SetPrediction& prediction,
                                                const SetTargets& targets,
                                                const SetLossOptions& options = {});

// The weighted mean of cross-entropies, plus sums over objects that were given away of absolute
// differences and of 1 - generalised intersection over union (Rezatofighi et al. 2019, arXiv
// 1902.09630), each over the number of objects of all images, at least 1. Waits for the device, so
// that no CUDA graph can hold it. Computed in float32 at least. Throws what match_objects() does.
Tensor set_loss(const SetPrediction& prediction, const SetTargets& targets,
                const SetLossOptions& options = {});

// Generalised intersection over union of pairs of boxes [..., 4]: [...].
Tensor generalized_iou(const Tensor& a, const Tensor& b);

}  // namespace plinth
