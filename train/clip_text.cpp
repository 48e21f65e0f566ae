#include "train/clip_text.h"

#include <optional>
#include <vector>

#include "core/error.h"
#include "core/ops/factories.h"

namespace plinth {

void check_clip_tokenizer(const Tokenizer& tokenizer, const ClipTextConfig& config,
                          std::string_view key, std::string_view name) {
  const std::optional<int32_t> end = tokenizer.eos_id();
  check(end == config.eos_token, ErrorKind::Config, key, name, " ends a text with token ",
        end ? std::to_string(*end) : "none", ", takes text_config.eos_token_id of the model, ",
        config.eos_token);
  check(tokenizer.vocab_size() <= config.vocab_size, ErrorKind::Config, key, name, " has ",
        tokenizer.vocab_size(), " tokens, the model takes ", config.vocab_size);
  const int64_t begin = config.bos_token.value_or(0);
  check(begin < config.vocab_size && (!config.bos_token || begin != config.eos_token),
        ErrorKind::Config, key, "the model has text_config.bos_token_id ", begin,
        ", takes a token of the ", config.vocab_size, " other than eos_token_id, or -1 for none");
}

Tensor clip_ids(const Tokenizer& tokenizer, const ClipTextConfig& config,
                std::span<const std::string> texts) {
  std::vector<int64_t> ids;
  for (const std::string& text : texts) {
    const size_t begin = ids.size(), end = begin + static_cast<size_t>(config.context);
    if (config.bos_token) ids.push_back(*config.bos_token);
    for (const int32_t id : tokenizer.encode(text)) {
      if (ids.size() + 1 >= end) break;
      ids.push_back(id);
    }
    ids.resize(end, config.eos_token);
  }
  return from_values(ids, {std::ssize(texts), config.context});
}

}  // namespace plinth
