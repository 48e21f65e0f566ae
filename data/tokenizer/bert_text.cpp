#include "data/tokenizer/bert_text.h"

#include <unicode/uchar.h>

#include <algorithm>
#include <array>
#include <cstdint>

#include "data/tokenizer/normalize_text.h"
#include "data/tokenizer/utf8.h"

namespace plinth {
namespace {

struct Range {
  char32_t first, last;
};

template <size_t N>
bool is_in(const std::array<Range, N>& ranges, char32_t c) {
  return std::ranges::any_of(ranges, [c](const Range& r) { return c >= r.first && c <= r.last; });
}

// The tokenizers package takes tables of several versions of Unicode: 8 for categories, 9 for
// decompositions, 17 for lower case. ICU has one, 15 in Debian 12, and knows since when each
// character is there.

// The general category in Unicode 8: today's of what was assigned by then, but for what has
// changed.
UCharCategory category(char32_t c) {
  constexpr uint8_t kVersion = 8;
  switch (c) {
    case 0x166D:
    case 0x111C9: return U_OTHER_PUNCTUATION;
    case 0x1734: return U_NON_SPACING_MARK;
    case 0xA9BD: return U_COMBINING_SPACING_MARK;
    case 0x1885:
    case 0x1886: return U_OTHER_LETTER;
    default: break;
  }
  UVersionInfo since;
  u_charAge(static_cast<UChar32>(c), since);
  if (since[0] > kVersion) return U_UNASSIGNED;
  return static_cast<UCharCategory>(u_charType(static_cast<UChar32>(c)));
}

bool is_space(char32_t c) {
  return u_isUWhiteSpace(static_cast<UChar32>(c)) != 0;
}

bool is_dropped(char32_t c) {
  if (c == 0 || c == 0xFFFD) return true;
  if (c == '\t' || c == '\n' || c == '\r') return false;
  const UCharCategory kind = category(c);
  return kind == U_CONTROL_CHAR || kind == U_FORMAT_CHAR || kind == U_PRIVATE_USE_CHAR;
}

bool is_punctuation(char32_t c) {
  if (c < 0x80) return c > ' ' && c != 0x7F && u_isalnum(static_cast<UChar32>(c)) == 0;
  return (U_MASK(category(c)) & U_GC_P_MASK) != 0;
}

}  // namespace

bool is_chinese(char32_t c) {
  constexpr std::array<Range, 7> kRanges = {{{0x3400, 0x4DBF},
                                             {0x4E00, 0x9FFF},
                                             {0xF900, 0xFAFF},
                                             {0x20000, 0x2A6DF},
                                             {0x2A700, 0x2B81F},
                                             {0x2B920, 0x2CEAF},
                                             {0x2F800, 0x2FA1F}}};
  return is_in(kRanges, c);
}

namespace {

// Calls visit(code point, its bytes) for each character.
template <class Visit>
void for_each(std::string_view text, const Visit& visit) {
  while (!text.empty()) {
    const Utf8Step step = next_utf8(text);
    visit(step.code_point, text.substr(0, static_cast<size_t>(step.length)));
    text.remove_prefix(static_cast<size_t>(step.length));
  }
}

std::string cleaned(std::string_view text) {
  std::string out;
  for_each(text, [&](char32_t c, std::string_view bytes) {
    if (is_dropped(c)) return;
    is_space(c) ? out.append(1, ' ') : out.append(bytes);
  });
  return out;
}

std::string with_chinese_apart(std::string_view text) {
  std::string out;
  for_each(text, [&](char32_t c, std::string_view bytes) {
    if (!is_chinese(c)) return void(out.append(bytes));
    out.append(1, ' ').append(bytes).append(1, ' ');
  });
  return out;
}

// Canonical decomposition, without the marks that take no room.
std::string without_accents(std::string_view text) {
  std::string out;
  for_each(decomposed(text), [&](char32_t c, std::string_view bytes) {
    if (c < 0x80 || category(c) != U_NON_SPACING_MARK) out.append(bytes);
  });
  return out;
}

}  // namespace

std::string normalize_bert(std::string_view text, const BertNormalizerSpec& spec) {
  std::string out(text);
  if (spec.clean_text) out = cleaned(out);
  if (spec.handle_chinese_chars) out = with_chinese_apart(out);
  if (spec.strips()) out = without_accents(out);
  if (spec.lowercase) out = lower_case(out);
  return out;
}

// A character at a time. (Decomposition may put marks of several in order, but those are dropped.)
AlignedText align_bert(std::string_view text, const BertNormalizerSpec& spec) {
  AlignedText aligned;
  size_t at = 0;
  for_each(text, [&](char32_t, std::string_view bytes) {
    aligned.text += normalize_bert(bytes, spec);
    aligned.origins.resize(aligned.text.size(), {at, at + bytes.size()});
    at += bytes.size();
  });
  return aligned;
}

std::vector<std::string_view> split_bert_words(std::string_view text) {
  std::vector<std::string_view> words;
  size_t begin = 0, at = 0;
  const auto end_word = [&] {
    if (at > begin) words.push_back(text.substr(begin, at - begin));
  };
  for_each(text, [&](char32_t c, std::string_view bytes) {
    const bool is_mark = is_punctuation(c);
    if (is_mark || is_space(c)) {
      end_word();
      begin = at + (is_mark ? 0 : bytes.size());
      if (is_mark) words.push_back(bytes), begin = at + bytes.size();
    }
    at += bytes.size();
  });
  end_word();
  return words;
}

}  // namespace plinth
