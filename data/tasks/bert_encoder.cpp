#include "data/tasks/bert_encoder.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace plinth {
namespace {

constexpr std::string_view kBertEncoder = "BertEncoder";

int32_t special(const Tokenizer& tokenizer, std::string_view token) {
  const std::optional<int32_t> id = tokenizer.id(token);
  check(id.has_value(), ErrorKind::Format, "tokenizer", "has no ", token,
        ", which stands around what BERT reads");
  return *id;
}

// How many tokens of two texts stay where `room` may. The shorter one is cut only where both are
// longer than half.
std::pair<int64_t, int64_t> longest_first(int64_t first, int64_t second, int64_t room) {
  const bool swapped = first > second;
  if (swapped) std::swap(first, second);
  second = std::min(second, std::max(first, room - first));
  if (first + second > room) {
    first = room / 2;
    second = room - first;
  }
  return swapped ? std::pair(second, first) : std::pair(first, second);
}

}  // namespace

BertEncoder::BertEncoder(const Tokenizer& tokenizer, int64_t length)
    : tokenizer_(&tokenizer),
      length_(length),
      cls_(special(tokenizer, "[CLS]")),
      sep_(special(tokenizer, "[SEP]")),
      padding_(tokenizer.id("[PAD]").value_or(0)) {
  check(!tokenizer.is_byte_level(), ErrorKind::Format, "tokenizer",
        "has byte pairs, takes BERT's word pieces");
  check(length >= 5, ErrorKind::Argument, kBertEncoder, "length got ", length,
        ", takes 5 or more: two tokens and those around them");
}

EncodedText BertEncoder::encode(std::string_view text) const {
  EncodedText out{{cls_}, 0};
  std::vector<int32_t> ids = tokenizer_->encode(text);
  ids.resize(std::min(ids.size(), static_cast<size_t>(length_ - 2)));
  out.ids.insert(out.ids.end(), ids.begin(), ids.end());
  out.ids.push_back(sep_);
  out.second = std::ssize(out.ids);
  return out;
}

EncodedText BertEncoder::encode(std::string_view first, std::string_view second) const {
  const std::vector<int32_t> a = tokenizer_->encode(first), b = tokenizer_->encode(second);
  const auto [from_a, from_b] = longest_first(std::ssize(a), std::ssize(b), length_ - 3);
  EncodedText out{{cls_}, 0};
  out.ids.insert(out.ids.end(), a.begin(), a.begin() + from_a);
  out.ids.push_back(sep_);
  out.second = std::ssize(out.ids);
  out.ids.insert(out.ids.end(), b.begin(), b.begin() + from_b);
  out.ids.push_back(sep_);
  return out;
}

EncodedWords BertEncoder::encode_words(std::span<const std::string> words) const {
  EncodedWords out{{cls_}, {}};
  const auto most = static_cast<size_t>(length_ - 1);
  for (const std::string& word : words) {
    const std::vector<int32_t> ids = tokenizer_->encode(word);
    const bool is_there = !ids.empty() && out.ids.size() < most;
    out.first.push_back(is_there ? std::ssize(out.ids) : -1);
    out.ids.insert(out.ids.end(), ids.begin(), ids.end());
    out.ids.resize(std::min(out.ids.size(), most));
  }
  out.ids.push_back(sep_);
  return out;
}

std::vector<EncodedWindow> BertEncoder::encode_windows(std::string_view question,
                                                       std::string_view context,
                                                       int64_t stride) const {
  check(stride >= 0 && stride < length_ - 3, ErrorKind::Argument, kBertEncoder, "stride got ",
        stride, ", takes 0 to ", length_ - 4);
  std::vector<int32_t> asked = tokenizer_->encode(question);
  asked.resize(std::min(asked.size(), static_cast<size_t>(length_ - 4 - stride)));
  const std::vector<TokenSpan> tokens = tokenizer_->encode_spans(context);
  const int64_t room = length_ - 3 - std::ssize(asked);
  std::vector<EncodedWindow> windows;
  for (int64_t begin = 0;; begin += room - stride) {
    const int64_t end = std::min(begin + room, std::ssize(tokens));
    EncodedWindow& window = windows.emplace_back();
    window.ids = {cls_};
    window.ids.insert(window.ids.end(), asked.begin(), asked.end());
    window.ids.push_back(sep_);
    window.second = std::ssize(window.ids);
    window.context.assign(tokens.begin() + begin, tokens.begin() + end);
    for (const TokenSpan& token : window.context) window.ids.push_back(token.id);
    window.ids.push_back(sep_);
    if (end == std::ssize(tokens)) return windows;
  }
}

}  // namespace plinth
