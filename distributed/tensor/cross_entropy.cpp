#include "distributed/tensor/cross_entropy.h"

#include "core/autocast.h"
#include "core/autograd.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/head_part.h"
#include "core/ops/reduce.h"
#include "distributed/redistribute.h"

namespace plinth::distributed {
namespace {

constexpr std::string_view kVocabularyCrossEntropy = "vocabulary_cross_entropy";

// The logarithm of the sum of all ranks' exponentials.
Tensor lse_of_all(const Tensor& own, ProcessGroup& group) {
  const Tensor part = own.reshape({1, own.numel()});
  const Tensor parts = Tensor::empty({group.size(), own.numel()}, own.options());
  group.all_gather(parts, part).wait();
  return logsumexp(parts, {0}).reshape(own.shape());
}

}  // namespace

Tensor vocabulary_cross_entropy(const Tensor& x, const Tensor& weight, const Tensor& targets,
                                int64_t vocabulary, const std::shared_ptr<ProcessGroup>& group) {
  const OpScope scope(__func__);
  const ShardRange rows = shard_range(vocabulary, group->size(), group->rank());
  check(weight.dim() == 2 && weight.size(0) == rows.count, ErrorKind::Shape,
        kVocabularyCrossEntropy, "weight has shape ", weight.shape(), ", expected [", rows.count,
        ", dim] on rank ", group->rank(), " of ", group->size());
  const VocabularyPart part{.first = rows.begin, .vocabulary = vocabulary};
  Tensor in, head, lse, loss;
  {
    const NoGradGuard no_grad;
    in = autocast(x.detach()), head = autocast(weight.detach());
    const HeadPart own = head_part(in, head, targets, part);
    lse = lse_of_all(own.lse, *group);
    group->all_reduce(own.target_logit).wait();
    const Tensor losses = lse - own.target_logit;
    loss =
        sum(where(ne(targets, static_cast<double>(part.ignore_index)), losses, zeros_like(losses)));
  }
  return record("vocabulary_cross_entropy", {x, weight}, loss, {in, head, targets, lse},
                [part, dtype = x.dtype()](const BackwardContext& c, const Tensor& dy) -> Tensors {
                  check(!grad_enabled(), ErrorKind::Argument, kVocabularyCrossEntropy,
                        "has no second derivative");
                  const HeadPartGradients gradients =
                      head_part_gradients(c.saved(0), c.saved(1), c.saved(2), part, c.saved(3), dy);
                  return {gradients.dx.to(dtype), gradients.dw};
                });
}

}  // namespace plinth::distributed
