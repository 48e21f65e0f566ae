#include "data/tokenizer/tokenizer.h"
#include "data/tokenizer/utf8.h"

namespace plinth {

std::string StreamDecoder::push(int32_t id) {
  if (!tokenizer_->has(id) || (options_.skip_special && tokenizer_->is_special(id))) return "";
  pending_ += tokenizer_->token_text(id, is_first_);
  is_first_ = is_first_ && tokenizer_->stays_first(id);
  const size_t incomplete = incomplete_utf8_suffix(pending_);
  const std::string whole = pending_.substr(0, pending_.size() - incomplete);
  pending_.erase(0, whole.size());
  return std::string(RepairedText(whole).text());
}

std::string StreamDecoder::finish() {
  const std::string rest = std::move(pending_);
  pending_.clear();
  return std::string(RepairedText(rest).text());
}

}  // namespace plinth
