#include "data/tokenizer/unigram.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "core/io/text.h"
#include "data/tokenizer/utf8.h"

namespace plinth {
namespace {

constexpr double kUnknownPenalty = 10;  // below the least likely token: SentencePiece's
constexpr int32_t kNoToken = -1;

uint8_t byte_at(std::string_view text, size_t at) {
  return static_cast<uint8_t>(text[at]);
}

}  // namespace

Unigram::Unigram(UnigramSpec spec) : spec_(std::move(spec)) {
  for (size_t id = 0; id < spec_.tokens.size(); ++id) {
    if (!spec_.tokens[id].empty()) sorted_.push_back(static_cast<int32_t>(id));
  }
  const auto spelling = [&](int32_t id) -> const std::string& {
    return spec_.tokens[static_cast<size_t>(id)];
  };
  std::ranges::sort(sorted_, {}, spelling);
  for (const int32_t id : sorted_) ++first_[size_t{byte_at(spelling(id), 0)} + 1];
  std::partial_sum(first_.begin(), first_.end(), first_.begin());
  const double least = spec_.scores.empty() ? 0 : std::ranges::min(spec_.scores);
  unknown_score_ = least - kUnknownPenalty;
}

// The tokens with the first `size` bytes of the text are neighbours in sorted_, and the one that
// has no more bytes is their first.
template <class Visit>
void Unigram::for_each_prefix(std::string_view text, const Visit& visit) const {
  const size_t start = byte_at(text, 0);
  const auto spelling = [&](int32_t id) -> const std::string& {
    return spec_.tokens[static_cast<size_t>(id)];
  };
  auto begin = sorted_.begin() + first_[start];
  auto end = sorted_.begin() + first_[start + 1];
  for (size_t size = 1; begin != end; ++size) {
    if (spelling(*begin).size() == size) visit(*begin++, size);
    if (size == text.size()) return;
    const uint8_t next = byte_at(text, size);
    const auto byte = [&](int32_t id) { return byte_at(spelling(id), size); };
    begin = std::ranges::lower_bound(begin, end, next, {}, byte);
    end = std::ranges::upper_bound(begin, end, next, {}, byte);
  }
}

void Unigram::append_unknown(std::string_view characters, std::vector<int32_t>& ids) const {
  if (spec_.byte_ids) {
    for (const char c : characters) ids.push_back((*spec_.byte_ids)[static_cast<uint8_t>(c)]);
    return;
  }
  check(spec_.unknown.has_value(), ErrorKind::Format, "tokenizer", "has no unknown token for ",
        printable(characters));
  ids.push_back(*spec_.unknown);
}

void Unigram::encode(std::string_view word, bool allow_special, std::vector<int32_t>& ids) const {
  // The best way to the end of each byte: its score, and its last token.
  struct Path {
    double score = 0;
    size_t begin = SIZE_MAX;
    int32_t id = kNoToken;
  };
  std::vector<Path> paths(word.size() + 1);
  for (size_t at = 0; at < word.size();) {
    const double before = paths[at].score;
    const auto length = static_cast<size_t>(next_utf8(word.substr(at)).length);
    const auto offer = [&](size_t end, double score, int32_t id) {
      Path& path = paths[end];
      if (path.begin == SIZE_MAX || score > path.score) path = {score, at, id};
    };
    bool has_single = false;
    for_each_prefix(word.substr(at), [&](int32_t id, size_t bytes) {
      const auto index = static_cast<size_t>(id);
      if (spec_.special[index] && !allow_special) return;
      offer(at + bytes, before + spec_.scores[index], id);
      has_single = has_single || bytes == length;
    });
    if (!has_single) offer(at + length, before + unknown_score_, kNoToken);
    at += length;
  }
  std::vector<Path> best;
  for (size_t end = word.size(); end > 0; end = paths[end].begin) best.push_back(paths[end]);
  std::ranges::reverse(best);
  const auto is_unknown = [&](const Path& path) {
    return path.id == kNoToken || path.id == spec_.unknown;
  };
  for (size_t i = 0; i < best.size();) {
    if (!is_unknown(best[i])) {
      ids.push_back(best[i++].id);
      continue;
    }
    const size_t begin = best[i].begin;
    while (i < best.size() && is_unknown(best[i])) ++i;
    const size_t end = i < best.size() ? best[i].begin : word.size();
    append_unknown(word.substr(begin, end - begin), ids);
  }
}

}  // namespace plinth
