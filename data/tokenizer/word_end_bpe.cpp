#include "data/tokenizer/word_end_bpe.h"

#include <algorithm>
#include <optional>

#include "core/error.h"
#include "data/tokenizer/byte_alphabet.h"
#include "data/tokenizer/normalize_text.h"

namespace plinth {
namespace {

constexpr int32_t kMissing = -1;

// The text with each match of the pattern given to `take`, and what lies between to `leave`.
template <class Take, class Leave>
void for_each_match(const Pattern& pattern, std::string_view text, const Take& take,
                    const Leave& leave) {
  for (size_t from = 0; from < text.size();) {
    const Pattern::Match match = pattern.find(text, from);
    leave(text.substr(from, match.begin - from));
    if (match.begin < match.end) take(text.substr(match.begin, match.end - match.begin));
    from = match.end;
  }
}

Bpe merges_of(std::vector<std::pair<int32_t, int32_t>> merges, std::vector<int32_t> merged_ids) {
  Bpe::Spec parts;
  parts.byte_ids.fill(kMissing);
  parts.merges = std::move(merges);
  parts.merged_ids = std::move(merged_ids);
  return Bpe(std::move(parts));
}

}  // namespace

WordEndBpe::WordEndBpe(const WordEndSpec& spec, const std::vector<std::string>& vocabulary,
                       std::vector<std::pair<int32_t, int32_t>> merges,
                       std::vector<int32_t> merged_ids, std::string_view name)
    : spec_(spec),
      white_space_(R"(\s+)", name),
      words_(spec.pattern, name),
      gpt2_(kGpt2Pattern, name),
      merges_(merges_of(std::move(merges), std::move(merged_ids))) {
  int32_t unknown = kMissing;
  if (!spec.unknown.empty()) {
    const auto found = std::ranges::find(vocabulary, spec.unknown);
    check(found != vocabulary.end(), ErrorKind::Format, name, "unk_token ", spec.unknown,
          " is no token of the vocabulary");
    unknown = static_cast<int32_t>(found - vocabulary.begin());
  }
  inner_.fill(unknown);
  last_.fill(unknown);
  for (size_t id = 0; id < vocabulary.size(); ++id) {
    const std::optional<std::string> bytes = bytes_of_spelling(vocabulary[id]);
    if (!bytes || bytes->empty()) continue;
    const auto first = static_cast<uint8_t>(bytes->front());
    if (bytes->size() == 1) inner_[first] = static_cast<int32_t>(id);
    if (bytes->size() == 1 + spec.suffix.size() && bytes->ends_with(spec.suffix))
      last_[first] = static_cast<int32_t>(id);
  }
}

void WordEndBpe::encode(std::string_view text, BpeScratch& scratch,
                        std::vector<int32_t>& ids) const {
  std::string spaced;
  for_each_match(
      white_space_, composed(text), [&](std::string_view) { spaced += ' '; },
      [&](std::string_view other) { spaced += other; });
  const auto encode_piece = [&](std::string_view piece) {
    if (!piece.empty()) encode_word(piece, scratch, ids);
  };
  for_each_match(
      words_, lower_case(spaced),
      [&](std::string_view word) {
        if (!spec_.use_gpt2_pattern) return encode_piece(word);
        for_each_match(gpt2_, word, encode_piece, encode_piece);
      },
      [](std::string_view) {});
}

void WordEndBpe::encode_word(std::string_view word, BpeScratch& scratch,
                             std::vector<int32_t>& ids) const {
  scratch.parts.clear();
  for (size_t i = 0; i < word.size(); ++i) {
    const auto byte = static_cast<uint8_t>(word[i]);
    const int32_t id = i + 1 == word.size() ? last_[byte] : inner_[byte];
    check(id != kMissing, ErrorKind::Format, "tokenizer", "the vocabulary has no token for byte ",
          int{byte}, i + 1 == word.size() ? " at the end of a word" : "");
    scratch.parts.push_back(id);
  }
  merges_.merge(scratch, ids);
}

std::string WordEndBpe::decoded(std::string_view token) const {
  std::string text(token);
  for (size_t at = 0; (at = text.find(spec_.suffix, at)) != std::string::npos; ++at)
    text.replace(at, spec_.suffix.size(), 1, ' ');
  return text;
}

}  // namespace plinth
