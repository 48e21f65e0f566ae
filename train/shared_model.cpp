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

std::shared_ptr<const distributed::LayerPlan> share_model(
    LanguageModel& model, const distributed::LayerPlanOptions& options) {
  const LanguageModelInfo& info = model.info();
  check(!options.cp || info.causal, ErrorKind::Config, "parallel.cp", "takes 1 for ", info.type,
        ", whose tokens all see each other: ranks share causal sequences");
  if (options.tp) check_sizes(info, options.tp->size());
  const auto plan = std::make_shared<const distributed::LayerPlan>(model, options);
  check(info.context % plan->part().multiple() == 0, ErrorKind::Config, "model.context", "got ",
        info.context, ", takes a multiple of ", plan->part().multiple(),
        " with this parallel.cp and parallel.sequence");
  LanguageModelShare share{.part = plan->part()};
  if (options.tp) {
    share.loss = [plan, vocabulary = info.vocab_size](const Tensor& x, const Tensor& weight,
                                                      const Tensor& targets) {
      return plan->loss(x, weight, targets, vocabulary);
    };
    share.logits = [plan, vocabulary = info.vocab_size](const Tensor& x, const Tensor& weight) {
      return plan->logits(x, weight, vocabulary);
    };
  }
  if (options.cp) share.total = [plan](const Tensor& x) { return plan->total(x); };
  share.load = [plan](const Tensor& x) { return plan->load(x); };
  model.share(std::move(share));
  return plan;
}

}  // namespace plinth
