#include "train/generation/generate.h"

#include <algorithm>

#include "core/autograd.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "train/evaluation_mode.h"

namespace plinth {

namespace {

Tensor row_of(std::span<const int32_t> ids) {
  Tensor row = Tensor::empty({1, static_cast<int64_t>(ids.size())}, {DType::Int64, {}});
  std::copy(ids.begin(), ids.end(), row.data<int64_t>());
  return row;
}

// The text as far as the model sees it, and the logits after its last token.
class Reader {
 public:
  // With a cache, it has room for so many tokens, or for the context if that is less.
  Reader(LanguageModel& model, bool use_cache, int64_t tokens)
      : model_(model),
        use_cache_(use_cache),
        cached_tokens_(std::min(model.info().context, tokens)) {}

  // Logits of the token after `text`, which has grown at its end since the last call.
  std::span<const float> read(std::span<const int32_t> text) {
    const int64_t end = static_cast<int64_t>(text.size());
    const int64_t context = model_.info().context;
    if (end - begin_ > context) {  // forget, so that half a context's worth of tokens can follow
      begin_ = end - std::max<int64_t>(1, context / 2);
      caches_.clear();
    }
    if (use_cache_ && caches_.empty()) {
      caches_ = model_.make_caches(1, cached_tokens_);
      read_ = begin_;
    }
    const int64_t first = use_cache_ ? read_ : begin_;
    const Tensor ids = row_of(text.subspan(first, end - first)).to(model_.device());
    const Tensor hidden = model_.hidden(ids, use_cache_ ? &caches_ : nullptr);
    const Tensor last = hidden.narrow(1, ids.size(1) - 1, 1);
    logits_ = model_.head(last).to(DType::Float32).to(Device{}).contiguous();
    read_ = end;
    return {logits_.data<float>(), static_cast<size_t>(logits_.numel())};
  }

 private:
  LanguageModel& model_;
  bool use_cache_;
  int64_t cached_tokens_;
  KVCaches caches_;
  int64_t begin_ = 0;  // of the text that the model sees
  int64_t read_ = 0;   // tokens in the caches end here
  Tensor logits_;
};

}  // namespace

std::vector<int32_t> generate(LanguageModel& model, std::span<const int32_t> prompt,
                              const GenerateOptions& options,
                              const std::function<bool(int32_t)>& on_token) {
  check(!prompt.empty(), ErrorKind::Argument, "generate", "the prompt has no tokens");
  check(model.info().causal, ErrorKind::Argument, "generate", "got a ", model.info().type,
        ", which fills in masked tokens; takes a model that predicts the next token");
  const NoGradGuard no_grad;
  const EvaluationMode evaluation(model);
  Sampler sampler(options.sampling);
  // At most the context, which keeps the sum in range.
  const int64_t new_tokens = std::min(options.max_tokens, model.info().context);
  Reader reader(model, options.use_cache, std::ssize(prompt) + new_tokens);
  std::vector<int32_t> text(prompt.begin(), prompt.end());
  for (int64_t i = 0; i < options.max_tokens; ++i) {
    const OpScope scope("generate_token", ScopeKind::Phase);
    const int32_t token = static_cast<int32_t>(sampler.next(reader.read(text), text));
    if (std::ranges::find(options.stop_tokens, token) != options.stop_tokens.end()) break;
    text.push_back(token);
    if (on_token && !on_token(token)) break;
  }
  return {text.begin() + static_cast<std::ptrdiff_t>(prompt.size()), text.end()};
}

}  // namespace plinth
