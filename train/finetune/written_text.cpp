#include "train/finetune/written_text.h"

#include "data/tokenizer/utf8.h"

namespace plinth {

std::string written_text(const Tokenizer& tokenizer, std::span<const double> ids) {
  std::vector<int32_t> known;
  for (const double id : ids) {
    if (tokenizer.has(static_cast<int64_t>(id))) known.push_back(static_cast<int32_t>(id));
  }
  const std::string bytes = tokenizer.decode(known, {.skip_special = true});
  return std::string(RepairedText(bytes).text());
}

}  // namespace plinth
