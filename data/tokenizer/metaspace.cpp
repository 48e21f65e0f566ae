#include "data/tokenizer/metaspace.h"

#include "data/tokenizer/utf8.h"

namespace plinth {
namespace {

// A new string: in a long text, making room for each mark would move all that follows.
std::string with_marks(std::string_view text) {
  std::string marked;
  marked.reserve(text.size() + text.size() / 2);
  for (const char c : text) {
    if (c == ' ') {
      marked += kSpaceMark;
    } else {
      marked += c;
    }
  }
  return marked;
}

}  // namespace

Metaspace::Metaspace(const MetaspaceSpec& spec, Bpe merges)
    : spec_(&spec), merges_(std::move(merges)) {
  if (spec.unigram) unigram_.emplace(*spec.unigram);
}

void Metaspace::encode(std::string_view text, bool is_start, bool allow_special,
                       BpeScratch& scratch, std::vector<int32_t>& ids) const {
  std::string normalized(text);
  for (const MetaspaceSpec::TextStep& step : spec_->normalizer) normalized = step(normalized);
  if (!spec_->splits_white_space) {
    return encode_piece(std::move(normalized), is_start, allow_special, scratch, ids);
  }
  size_t begin = 0;
  const auto take = [&](size_t end) {
    encode_piece(normalized.substr(begin, end - begin), is_start && begin == 0, allow_special,
                 scratch, ids);
  };
  for (size_t at = 0; at < normalized.size();) {
    const Utf8Step step = next_utf8(std::string_view(normalized).substr(at));
    const size_t after = at + static_cast<size_t>(step.length);
    if (is_white_space(step.code_point)) {
      take(at);
      begin = after;
    }
    at = after;
  }
  take(normalized.size());
}

void Metaspace::encode_piece(std::string piece, bool is_start, bool allow_special,
                             BpeScratch& scratch, std::vector<int32_t>& ids) const {
  using Prepend = MetaspaceSpec::Prepend;
  if (piece.empty()) return;
  if (spec_->marks_spaces) {
    piece = with_marks(piece);
    const bool prepends =
        spec_->prepend == Prepend::Always || (spec_->prepend == Prepend::First && is_start);
    if (prepends && !piece.starts_with(kSpaceMark)) piece.insert(0, kSpaceMark);
  }
  const std::string_view all = piece;
  for (size_t begin = 0; begin < all.size();) {
    const size_t mark = spec_->splits_at_marks ? all.find(kSpaceMark, begin + 1) : all.npos;
    const size_t end = std::min(mark, all.size());
    encode_word(all.substr(begin, end - begin), allow_special, scratch, ids);
    begin = end;
  }
}

void Metaspace::encode_word(std::string_view word, bool allow_special, BpeScratch& scratch,
                            std::vector<int32_t>& ids) const {
  if (unigram_) return unigram_->encode(word, allow_special, ids);
  scratch.parts.clear();
  add_characters(word, scratch.parts);
  if (!scratch.parts.empty()) merges_.merge(scratch, ids);
}

void Metaspace::add_characters(std::string_view word, std::vector<int32_t>& parts) const {
  const CharacterBpeSpec& bpe = spec_->bpe;
  bool was_unknown = false;
  std::string character;
  while (!word.empty()) {
    character = word.substr(0, static_cast<size_t>(next_utf8(word).length));
    word.remove_prefix(character.size());
    const auto found = bpe.characters.find(character);
    const bool is_unknown = found == bpe.characters.end() && !bpe.byte_ids;
    if (found != bpe.characters.end()) {
      parts.push_back(found->second);
    } else if (bpe.byte_ids) {
      for (const char c : character) parts.push_back((*bpe.byte_ids)[static_cast<uint8_t>(c)]);
    } else if (bpe.unknown && !(was_unknown && bpe.fuses_unknown)) {
      parts.push_back(*bpe.unknown);
    }
    was_unknown = is_unknown;
  }
}

}  // namespace plinth
