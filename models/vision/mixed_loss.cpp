#include "models/vision/mixed_loss.h"

#include "core/error.h"
#include "core/ops/elementwise.h"
#include "core/ops/loss.h"
#include "core/ops/reduce.h"

namespace plinth {

Tensor mixed_cross_entropy(const Tensor& logits, const Tensor& labels, const Tensor& others,
                           const Tensor& share) {
  check(logits.dim() == 2 && labels.shape() == Shape{logits.size(0)} &&
            others.shape() == labels.shape() && share.shape() == labels.shape(),
        ErrorKind::Shape, "mixed_cross_entropy", "labels, others and share have shapes ",
        labels.shape(), ", ", others.shape(), " and ", share.shape(),
        ", expected one of each for the images of logits, ", logits.shape());
  const CrossEntropyOptions each{.reduction = Reduction::None};
  const Tensor own = cross_entropy(logits, labels, each);
  const Tensor other = cross_entropy(logits, others, each);
  return mean(own * share + other * (1 - share));
}

}  // namespace plinth
