#include "train/clip_text.h"

#include <optional>
#include <vector>

#include "core/error.h"
#include "core/ops/factories.h"

namespace plinth {

namespace {

// What stands around the tokens of a text.
struct TextEnds {
  std::vector<int64_t> begin = {};
  int64_t end = 0;
};

TextEnds text_ends(const Tokenizer& tokenizer, const ClipTextConfig& config) {
  TextEnds ends{.end = config.eos_token};
  if (config.names_tokens()) {
    if (config.bos_token) ends.begin.push_back(*config.bos_token);
    return ends;
  }
  ends.begin.assign(tokenizer.tokens_before().begin(), tokenizer.tokens_before().end());
  if (const auto begin = tokenizer.bos_id(); begin && ends.begin.empty())
    ends.begin.push_back(*begin);
  ends.end = tokenizer.eos_id().value();
  return ends;
}

void check_end(std::optional<int32_t> end, const ClipTextConfig& config, std::string_view key,
               std::string_view name) {
  check(end || config.names_tokens(), ErrorKind::Config, key, name,
        " has no token that ends a text, takes one where text_config.eos_token_id of the model is ",
        config.eos_token, ", which names none");
  check(end == config.eos_token || !config.names_tokens(), ErrorKind::Config, key, name,
        " ends a text with token ", end ? std::to_string(*end) : "none",
        ", takes text_config.eos_token_id of the model, ", config.eos_token);
}

}  // namespace

void check_clip_tokenizer(const Tokenizer& tokenizer, const ClipTextConfig& config,
                          std::string_view key, std::string_view name) {
  check_end(tokenizer.eos_id(), config, key, name);
  check(tokenizer.vocab_size() <= config.vocab_size, ErrorKind::Config, key, name, " has ",
        tokenizer.vocab_size(), " tokens, the model takes ", config.vocab_size);
  if (!config.names_tokens()) return;
  const int64_t begin = config.bos_token.value_or(0);
  check(begin < config.vocab_size && (!config.bos_token || begin != config.eos_token),
        ErrorKind::Config, key, "the model has text_config.bos_token_id ", begin,
        ", takes a token of the ", config.vocab_size, " other than eos_token_id, or -1 for none");
}

Tensor clip_ids(const Tokenizer& tokenizer, const ClipTextConfig& config,
                std::span<const std::string> texts) {
  const TextEnds ends = text_ends(tokenizer, config);
  std::vector<int64_t> ids;
  for (const std::string& text : texts) {
    const size_t end = ids.size() + static_cast<size_t>(config.context);
    ids.insert(ids.end(), ends.begin.begin(), ends.begin.end());
    for (const int32_t id : tokenizer.encode(text)) {
      if (ids.size() + 1 >= end) break;
      ids.push_back(id);
    }
    ids.resize(end, ends.end);
  }
  return from_values(ids, {std::ssize(texts), config.context});
}

}  // namespace plinth
