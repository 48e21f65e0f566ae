#include "data/tokenizer/word_piece.h"

#include <algorithm>
#include <array>
#include <utility>

#include "core/error.h"
#include "core/io/text.h"
#include "data/tokenizer/parallel_tasks.h"
#include "data/tokenizer/utf8.h"

namespace plinth {
namespace {

constexpr size_t kPart = size_t{256} << 10;

bool begins_character(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0) != 0x80;
}

int64_t characters(std::string_view text) {
  return std::ranges::count_if(text, begins_character);
}

// Parts of at least kPart bytes, which end before a space: no word is cut.
std::vector<std::string_view> parts_of(std::string_view text) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const size_t end = text.size() > kPart ? text.find_first_of(" \n", kPart) : text.size();
    parts.push_back(text.substr(0, end));
    text.remove_prefix(parts.back().size());
  }
  return parts;
}

// What Hugging Face's clean-up makes of a token.
std::string cleaned_up(std::string text) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 11> kRules = {
      {{" .", "."},
       {" ?", "?"},
       {" !", "!"},
       {" ,", ","},
       {" ' ", "'"},
       {" n't", "n't"},
       {" 'm", "'m"},
       {" do not", " don't"},
       {" 's", "'s"},
       {" 've", "'ve"},
       {" 're", "'re"}}};
  for (const auto& [from, to] : kRules) {
    for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
      text.replace(at, from.size(), to);
  }
  return text;
}

}  // namespace

WordPiece::WordPiece(const WordPieceSpec& spec, const std::vector<std::string>& vocabulary,
                     std::string_view name)
    : spec_(spec) {
  for (size_t id = 0; id < vocabulary.size(); ++id) {
    if (vocabulary[id].empty()) continue;
    ids_.emplace(vocabulary[id], static_cast<int32_t>(id));
    longest_ = std::max(longest_, vocabulary[id].size());
  }
  const auto unknown = ids_.find(spec.unknown);
  check(unknown != ids_.end(), ErrorKind::Format, name, "the vocabulary lacks the unknown token, ",
        printable(spec.unknown));
  unknown_ = unknown->second;
}

void WordPiece::encode(std::string_view text, std::vector<int32_t>& ids) const {
  if (text.size() < kLongText) return encode_part(text, ids);
  const std::vector<std::string_view> parts = parts_of(text);
  std::vector<std::vector<int32_t>> encoded(parts.size());
  parallel_tasks(std::ssize(parts), [&](int64_t i) {
    encode_part(parts[static_cast<size_t>(i)], encoded[static_cast<size_t>(i)]);
  });
  for (const std::vector<int32_t>& part : encoded) ids.insert(ids.end(), part.begin(), part.end());
}

void WordPiece::encode_part(std::string_view text, std::vector<int32_t>& ids) const {
  const std::string normalized = normalize_bert(text, spec_.normalizer);
  for (const std::string_view word : split_bert_words(normalized)) encode_word(word, ids);
}

void WordPiece::encode(std::string_view text, size_t offset, std::vector<TokenSpan>& tokens) const {
  const AlignedText aligned = align_bert(text, spec_.normalizer);
  std::vector<int32_t> ids;
  std::vector<size_t> ends;
  for (const std::string_view word : split_bert_words(aligned.text)) {
    ids.clear(), ends.clear();
    encode_word(word, ids, &ends);
    auto begin = static_cast<size_t>(word.data() - aligned.text.data());
    const size_t first = begin;
    for (size_t i = 0; i < ids.size(); ++i) {
      const size_t end = first + ends[i];
      tokens.push_back(
          {ids[i], offset + aligned.origins[begin].begin, offset + aligned.origins[end - 1].end});
      begin = end;
    }
  }
}

void WordPiece::encode_word(std::string_view word, std::vector<int32_t>& ids,
                            std::vector<size_t>* ends) const {
  const size_t before = ids.size();
  const auto unknown = [&] {
    ids.resize(before);
    ids.push_back(unknown_);
    if (ends) *ends = {word.size()};
  };
  if (characters(word) > spec_.most_characters) return unknown();
  std::string piece;
  for (size_t begin = 0; begin < word.size();) {
    const std::string_view prefix = begin > 0 ? std::string_view(spec_.prefix) : "";
    size_t size = std::min(word.size() - begin, longest_ - std::min(longest_, prefix.size()));
    auto found = ids_.end();
    for (; size > 0; --size) {
      const size_t end = begin + size;
      if (end < word.size() && !begins_character(word[end])) continue;
      piece.assign(prefix).append(word.substr(begin, size));
      found = ids_.find(piece);
      if (found != ids_.end()) break;
    }
    if (found == ids_.end()) return unknown();
    ids.push_back(found->second);
    begin += size;
    if (ends) ends->push_back(begin);
  }
}

std::string WordPiece::decoded(std::string_view token, bool is_first) const {
  std::string text(token);
  if (!is_first) {
    const bool goes_on = token.starts_with(spec_.prefix);
    text = goes_on ? text.substr(spec_.prefix.size()) : " " + text;
  }
  return spec_.cleanup ? cleaned_up(std::move(text)) : text;
}

bool WordPiece::continues(std::string_view token) const {
  return token.size() > spec_.prefix.size() && token.starts_with(spec_.prefix) &&
         !is_chinese(next_utf8(token.substr(spec_.prefix.size())).code_point);
}

}  // namespace plinth
