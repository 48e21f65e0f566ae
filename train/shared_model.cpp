#include "train/shared_model.h"

#include "core/error.h"

namespace plinth {
namespace {

// Each rank has a head, a hidden unit and an id at least.
void check_sizes(const LanguageModelInfo& info, int64_t tp) {
  const int64_t sharers = (tp + info.kv_heads - 1) / info.kv_heads;  // of one of kv_heads
  check(sharers <= info.heads / info.kv_heads && tp <= info.ffn_dim && tp <= info.vocab_size,
        ErrorKind::Config, "parallel.tp", "got ", tp, ", takes fewer for a model of ", info.heads,
        " heads that read ", info.kv_heads, ", ", info.ffn_dim, " hidden units and ",
        info.vocab_size, " ids, of which each rank has some");
}

}  // namespace

std::shared_ptr<const distributed::ModelParallel> share_model(
    LanguageModel& model, const distributed::ModelParallelOptions& options) {
  const LanguageModelInfo& info = model.info();
  check(info.experts == 0, ErrorKind::Config, "parallel.tp", "and parallel.cp take 1 for ",
        info.type, ", whose experts parallel.ep shares");
  check(!options.cp || info.causal, ErrorKind::Config, "parallel.cp", "takes 1 for ", info.type,
        ", whose tokens all see each other: ranks share causal sequences");
  if (options.tp) check_sizes(info, options.tp->size());
  const auto parallel = std::make_shared<const distributed::ModelParallel>(model, options);
  check(info.context % parallel->part().multiple() == 0, ErrorKind::Config, "model.context", "got ",
        info.context, ", takes a multiple of ", parallel->part().multiple(),
        " with this parallel.cp and parallel.sequence");
  LanguageModelShare share{.part = parallel->part()};
  if (options.tp) {
    share.loss = [parallel, vocabulary = info.vocab_size](const Tensor& x, const Tensor& weight,
                                                          const Tensor& targets) {
      return parallel->loss(x, weight, targets, vocabulary);
    };
    share.logits = [parallel, vocabulary = info.vocab_size](const Tensor& x, const Tensor& weight) {
      return parallel->logits(x, weight, vocabulary);
    };
  }
  if (options.cp) share.total = [parallel](const Tensor& x) { return parallel->total(x); };
  model.share(std::move(share));
  return parallel;
}

}  // namespace plinth
