#include "data/tokenizer/added_tokens.h"

#include <algorithm>

#include "data/tokenizer/pattern.h"
#include "data/tokenizer/utf8.h"

namespace plinth {
namespace {

size_t leading_space(std::string_view text) {
  size_t length = 0;
  while (length < text.size()) {
    const Utf8Step step = next_utf8(text.substr(length));
    if (!is_white_space(step.code_point)) break;
    length += static_cast<size_t>(step.length);
  }
  return length;
}

// Where the last character of text[0, end) begins.
size_t last_character(std::string_view text, size_t end) {
  size_t at = end - 1;
  while (at > 0 && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

size_t trailing_space_start(std::string_view text) {
  size_t end = text.size();
  while (end > 0) {
    const size_t at = last_character(text, end);
    if (!is_white_space(next_utf8(text.substr(at)).code_point)) break;
    end = at;
  }
  return end;
}

bool starts_with_word(std::string_view text) {
  if (text.empty()) return false;
  // What \w means in Rust's regex: Alphabetic, marks, decimal digits, connectors, join controls.
  static const Pattern word(
      R"([\p{L}\p{M}\p{Nd}\p{Nl}_\u203F\u2040\u2054\uFE33\uFE34\uFE4D-\uFE4F\uFF3F\u200C\u200D)"
      R"(\u24B6-\u24E9\x{1F130}-\x{1F149}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189}])",
      "added_tokens");
  const auto length = static_cast<size_t>(next_utf8(text).length);
  return word.find(text.substr(0, length), 0).begin == 0;
}

bool ends_with_word(std::string_view text) {
  return !text.empty() && starts_with_word(text.substr(last_character(text, text.size())));
}

}  // namespace

void AddedTokens::Tree::insert(std::string_view content, int32_t token) {
  starts[static_cast<uint8_t>(content[0])] = true;
  uint32_t node = 0;
  for (const char c : content) {
    const auto [edge, is_new] =
        nodes[node].next.try_emplace(static_cast<uint8_t>(c), static_cast<uint32_t>(nodes.size()));
    node = edge->second;
    if (is_new) nodes.emplace_back();
  }
  nodes[node].token = token;
}

int32_t AddedTokens::Tree::longest_at(std::string_view text) const {
  int32_t longest = -1;
  uint32_t node = 0;
  for (const char c : text) {
    const auto edge = nodes[node].next.find(static_cast<uint8_t>(c));
    if (edge == nodes[node].next.end()) break;
    node = edge->second;
    if (nodes[node].token >= 0) longest = nodes[node].token;
  }
  return longest;
}

AddedTokens::AddedTokens(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  for (size_t i = 0; i < tokens_.size(); ++i) {
    by_id_[tokens_[i].id] = i;
    (tokens_[i].normalized ? normalized_ : raw_)
        .insert(tokens_[i].content, static_cast<int32_t>(i));
  }
}

const AddedToken* AddedTokens::find(int32_t id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &tokens_[found->second];
}

std::vector<AddedTokens::Segment> AddedTokens::split(std::string_view text,
                                                     bool allow_special) const {
  std::vector<Segment> raw;
  split_part(raw_, text, 0, text.size(), allow_special, raw);
  std::vector<Segment> segments;
  for (const Segment& segment : raw) {
    if (segment.id >= 0) {
      segments.push_back(segment);
    } else {
      split_part(normalized_, text, segment.begin, segment.end, allow_special, segments);
    }
  }
  return segments;
}

// A part is a text of its own: what lies beyond its ends does not count as a neighbouring word. A
// token that is passed over takes its characters with it: none is looked for inside it.
void AddedTokens::split_part(const Tree& tree, std::string_view text, size_t begin, size_t end,
                             bool allow_special, std::vector<Segment>& segments) const {
  size_t done = begin;
  const std::string_view part = text.substr(0, end);
  for (size_t at = begin; at < end && tree.nodes.size() > 1;) {
    const int32_t index =
        tree.starts[static_cast<uint8_t>(part[at])] ? tree.longest_at(part.substr(at)) : -1;
    if (index < 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<size_t>(index)];
    size_t from = at;
    size_t to = at + token.content.size();
    at = to;
    const std::string_view before = part.substr(begin, from - begin);
    if (token.special && !allow_special) continue;
    if (token.single_word && (ends_with_word(before) || starts_with_word(part.substr(to))))
      continue;
    if (token.lstrip) from = std::max(begin + trailing_space_start(before), done);
    if (token.rstrip) to += leading_space(part.substr(to));
    if (done < from) segments.push_back({done, from, -1});
    segments.push_back({from, to, token.id});
    done = to;
  }
  if (done < end) segments.push_back({done, end, -1});
}

}  // namespace plinth
