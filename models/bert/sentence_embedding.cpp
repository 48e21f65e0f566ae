#include "models/bert/sentence_embedding.h"

#include "core/error.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/reduce.h"

namespace plinth {

Tensor sentence_embeddings(Bert& model, const Tensor& ids, const BertInputs& inputs,
                           bool normalized) {
  check(inputs.lengths.defined(), ErrorKind::Argument, "sentence_embeddings", "got no lengths");
  const Tensor x = model.encode(ids, inputs);
  const Tensor lengths = inputs.lengths.unsqueeze(1);
  const Tensor positions =
      arange(0, static_cast<double>(ids.size(1)), 1, {DType::Int64, ids.device()}).unsqueeze(0);
  const Tensor is_token = lt(positions, lengths).unsqueeze(2).to(x.dtype());
  // A text of no tokens has the mean 0.
  const Tensor counts = maximum(lengths, ones_like(lengths)).to(x.dtype());
  const Tensor mean = sum(x * is_token, {1}) / counts;
  // What PyTorch's normalize divides by at least.
  return normalized ? mean / clamp(norm(mean, {1}, true), 1e-12, 1e300) : mean;
}

}  // namespace plinth
