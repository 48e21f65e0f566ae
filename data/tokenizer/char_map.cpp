#include "data/tokenizer/char_map.h"

#include <unicode/ubrk.h>
#include <unicode/uchar.h>
#include <unicode/utext.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <memory>

#include "core/error.h"
#include "core/io/text.h"
#include "data/tokenizer/utf8.h"

namespace plinth {
namespace {

static_assert(std::endian::native == std::endian::little);

// The fields of a unit of Darts-clone's array.
constexpr uint32_t kIsValue = 0x80000000u;

uint32_t label_of(uint32_t unit) {
  return unit & (kIsValue | 0xFF);
}
uint32_t offset_of(uint32_t unit) {
  return (unit >> 10) << ((unit & 0x200) >> 6);
}
bool has_value(uint32_t unit) {
  return (unit & 0x100) != 0;
}

struct CloseText {
  void operator()(UText* text) const { utext_close(text); }
};
struct CloseBreaks {
  void operator()(UBreakIterator* breaks) const { ubrk_close(breaks); }
};

// Marks that Unicode 16 and 17 added, which go on with the character before them. ICU is at 15 in
// Debian 12, the tokenizers package at 17.
bool is_late_mark(char32_t c) {
  struct Range {
    char32_t first, last;
  };
  constexpr std::array<Range, 20> kRanges = {
      {{0x897, 0x897},     {0x1ACF, 0x1ADD},   {0x1AE0, 0x1AEB},   {0x10D69, 0x10D6D},
       {0x10EFA, 0x10EFC}, {0x113B8, 0x113C0}, {0x113C2, 0x113C2}, {0x113C5, 0x113C5},
       {0x113C7, 0x113CA}, {0x113CC, 0x113D0}, {0x113D2, 0x113D2}, {0x113E1, 0x113E2},
       {0x11B60, 0x11B67}, {0x11F5A, 0x11F5A}, {0x1611E, 0x1612F}, {0x1E5EE, 0x1E5EF},
       {0x1E6E3, 0x1E6E3}, {0x1E6E6, 0x1E6E6}, {0x1E6EE, 0x1E6EF}, {0x1E6F5, 0x1E6F5}}};
  return std::ranges::any_of(kRanges, [c](const Range& r) { return c >= r.first && c <= r.last; });
}

// Whether a character ends in one that nothing goes on with.
bool ends_in_control(std::string_view character) {
  char32_t last = 0;
  for (size_t at = 0; at < character.size();) {
    const Utf8Step step = next_utf8(character.substr(at));
    last = step.code_point;
    at += static_cast<size_t>(step.length);
  }
  const int32_t kind =
      u_getIntPropertyValue(static_cast<UChar32>(last), UCHAR_GRAPHEME_CLUSTER_BREAK);
  return kind == U_GCB_CONTROL || kind == U_GCB_CR || kind == U_GCB_LF;
}

// Calls visit(bytes) for each user-perceived character.
template <class Visit>
void for_each_character(std::string_view text, const Visit& visit) {
  check(text.size() < INT32_MAX, ErrorKind::Argument, "tokenizer", "got a text of ", text.size(),
        " bytes, takes fewer than ", INT32_MAX);
  UErrorCode status = U_ZERO_ERROR;
  const std::unique_ptr<UText, CloseText> bytes(
      utext_openUTF8(nullptr, text.data(), static_cast<int64_t>(text.size()), &status));
  const std::unique_ptr<UBreakIterator, CloseBreaks> breaks(
      ubrk_open(UBRK_CHARACTER, "", nullptr, 0, &status));
  ubrk_setUText(breaks.get(), bytes.get(), &status);
  check(U_SUCCESS(status), ErrorKind::Argument, "tokenizer",
        "ICU cuts no text into characters: ", u_errorName(status));
  int32_t begin = ubrk_first(breaks.get());
  for (int32_t end = ubrk_next(breaks.get()); end != UBRK_DONE; end = ubrk_next(breaks.get())) {
    const std::string_view character =
        text.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
    const char32_t next = next_utf8(text.substr(static_cast<size_t>(end))).code_point;
    if (is_late_mark(next) && !ends_in_control(character)) continue;
    visit(character);
    begin = end;
  }
}

}  // namespace

CharMap::CharMap(std::string_view compiled, std::string_view name) {
  uint32_t size = 0;
  const bool has_size = compiled.size() > sizeof(size);
  if (has_size) std::memcpy(&size, compiled.data(), sizeof(size));
  check(has_size && size >= 1024 && size % 1024 == 0 && size < compiled.size() - sizeof(size),
        ErrorKind::Format, name, "precompiled_charsmap has ", compiled.size(),
        " bytes and says that its trie has ", size);
  units_.resize(size / 4);
  std::memcpy(units_.data(), compiled.data() + sizeof(size), size);
  texts_ = compiled.substr(sizeof(size) + size);
  check(texts_.back() == '\0' && !first_invalid_utf8(texts_), ErrorKind::Format, name,
        "precompiled_charsmap has texts that are not UTF-8 or do not end");
  for (size_t i = 0; i < units_.size(); ++i) {
    const uint32_t unit = units_[i];
    const bool is_value = (unit & kIsValue) != 0;
    const size_t next = i ^ offset_of(unit);
    bool is_inside =
        is_value ? i > 0 && (unit & ~kIsValue) < texts_.size() : (next | 0xFF) < units_.size();
    if (is_inside && !is_value && has_value(unit)) is_inside = (units_[next] & kIsValue) != 0;
    check(is_inside, ErrorKind::Format, name, "precompiled_charsmap leads out of itself at unit ",
          i);
  }
}

std::optional<std::string_view> CharMap::rule(std::string_view text) const {
  size_t at = offset_of(units_[0]);
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte == 0) break;
    at ^= byte;
    const uint32_t unit = units_[at];
    if (label_of(unit) != byte) break;
    at ^= offset_of(unit);
    if (!has_value(unit)) continue;
    const size_t begin = units_[at] & ~kIsValue;
    return std::string_view(texts_).substr(begin, texts_.find('\0', begin) - begin);
  }
  return std::nullopt;
}

std::string CharMap::apply(std::string_view text) const {
  constexpr size_t kShort = 6;
  std::string out;
  for_each_character(text, [&](std::string_view character) {
    if (character.size() < kShort) {
      if (const std::optional<std::string_view> by = rule(character)) {
        out += *by;
        return;
      }
    }
    while (!character.empty()) {
      const std::string_view part =
          character.substr(0, static_cast<size_t>(next_utf8(character).length));
      out += rule(part).value_or(part);
      character.remove_prefix(part.size());
    }
  });
  return out;
}

}  // namespace plinth
