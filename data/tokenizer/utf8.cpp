#include "data/tokenizer/utf8.h"

#include <algorithm>

#include "core/io/text.h"

namespace plinth {
namespace {

// What may follow a lead byte (Unicode 16, table 3-7): the character's length, and the range of its
// second byte. Later bytes are 80..BF.
struct Lead {
  int length;
  uint8_t second_low;
  uint8_t second_high;
};

Lead lead_of(uint8_t byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

}  // namespace

Utf8Step next_utf8(std::string_view text) {
  if (text.empty()) return {};
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const Lead lead = lead_of(byte(0));
  if (lead.length == 0) return {0, 1, false};
  if (lead.length == 1) return {byte(0), 1, true};

  char32_t code_point = byte(0) & (0x7Fu >> lead.length);
  for (int i = 1; i < lead.length; ++i) {
    const uint8_t low = i == 1 ? lead.second_low : 0x80;
    const uint8_t high = i == 1 ? lead.second_high : 0xBF;
    const size_t at = static_cast<size_t>(i);
    if (at >= text.size() || byte(at) < low || byte(at) > high) return {0, i, false};
    code_point = (code_point << 6) | (byte(at) & 0x3Fu);
  }
  return {code_point, lead.length, true};
}

size_t incomplete_utf8_suffix(std::string_view text) {
  for (size_t back = 1; back <= std::min<size_t>(3, text.size()); ++back) {
    const std::string_view suffix = text.substr(text.size() - back);
    const int length = lead_of(static_cast<uint8_t>(suffix[0])).length;
    if (length == 1) return 0;
    if (length <= static_cast<int>(back)) continue;
    const Utf8Step step = next_utf8(suffix);
    return !step.valid && step.length == static_cast<int>(back) ? back : 0;
  }
  return 0;
}

bool is_white_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

void append_utf8(std::string& out, char32_t code_point) {
  const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0 | (code_point >> 6));
    put(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    put(0xE0 | (code_point >> 12));
    put(0x80 | ((code_point >> 6) & 0x3F));
    put(0x80 | (code_point & 0x3F));
  } else {
    put(0xF0 | (code_point >> 18));
    put(0x80 | ((code_point >> 12) & 0x3F));
    put(0x80 | ((code_point >> 6) & 0x3F));
    put(0x80 | (code_point & 0x3F));
  }
}

RepairedText::RepairedText(std::string_view original) : original_(original), text_(original) {
  if (!first_invalid_utf8(original)) return;
  repaired_.reserve(original.size() + original.size() / 8);
  size_t i = 0;
  while (i < original.size()) {
    const Utf8Step step = next_utf8(original.substr(i));
    const auto length = static_cast<size_t>(step.length);
    if (step.valid) {
      repaired_.append(original.substr(i, length));
    } else {
      repaired_.append(kReplacementCharacter);
      shifts_.push_back({repaired_.size(), i + length});
    }
    i += length;
  }
  text_ = repaired_;
}

std::string_view RepairedText::original(size_t begin, size_t end) const {
  const size_t from = original_position(begin);
  return original_.substr(from, original_position(end) - from);
}

size_t RepairedText::original_position(size_t position) const {
  if (shifts_.empty()) return position;
  const auto after =
      std::upper_bound(shifts_.begin(), shifts_.end(), position,
                       [](size_t p, const Shift& shift) { return p < shift.position; });
  if (after == shifts_.begin()) return position;
  const Shift& shift = *std::prev(after);
  return shift.original + (position - shift.position);
}

}  // namespace plinth
