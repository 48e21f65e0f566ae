#include "data/tokenizer/normalize_text.h"

#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/uniset.h>

#include <array>
#include <cstdint>

#include "core/error.h"
#include "data/tokenizer/utf8.h"

namespace plinth {
namespace {

// Letters in upper case since Unicode 16 and 17, and how far their small ones are.
struct Added {
  char32_t first, last;
  int32_t distance;
};
constexpr std::array<Added, 10> kAddedLetters = {{{0x1C89, 0x1C89, 1},
                                                  {0xA7CB, 0xA7CB, 0x264 - 0xA7CB},
                                                  {0xA7CC, 0xA7CC, 1},
                                                  {0xA7CE, 0xA7CE, 1},
                                                  {0xA7D2, 0xA7D2, 1},
                                                  {0xA7D4, 0xA7D4, 1},
                                                  {0xA7DA, 0xA7DA, 1},
                                                  {0xA7DC, 0xA7DC, 0x19B - 0xA7DC},
                                                  {0x10D50, 0x10D65, 0x20},
                                                  {0x16EA0, 0x16EB8, 0x1B}}};

char32_t lower(char32_t c) {
  for (const auto& [first, last, distance] : kAddedLetters) {
    if (c >= first && c <= last) return static_cast<char32_t>(static_cast<int32_t>(c) + distance);
  }
  return static_cast<char32_t>(u_tolower(static_cast<UChar32>(c)));
}

const icu::UnicodeSet& of_unicode9(UErrorCode& status) {
  static const icu::UnicodeSet set = [&] {
    icu::UnicodeSet made(icu::UnicodeString(u"[:age=9.0:]"), status);
    made.freeze();
    return made;
  }();
  return set;
}

// A form of what was assigned in Unicode 9; other characters stay, and bound what is reordered.
std::string normalized(std::string_view text, const icu::Normalizer2* form, UErrorCode status) {
  check(text.size() <= INT32_MAX, ErrorKind::Argument, "tokenizer", "got ", text.size(),
        " bytes, takes at most ", INT32_MAX);
  const icu::UnicodeSet& known = of_unicode9(status);
  std::string out;
  icu::StringByteSink<std::string> sink(&out);
  if (U_SUCCESS(status)) {
    const icu::FilteredNormalizer2 filtered(*form, known);
    filtered.normalizeUTF8(0, {text.data(), static_cast<int32_t>(text.size())}, sink, nullptr,
                           status);
  }
  check(U_SUCCESS(status), ErrorKind::Argument, "tokenizer",
        "ICU's normalization failed: ", u_errorName(status));
  return out;
}

}  // namespace

std::string decomposed(std::string_view text) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* const form = icu::Normalizer2::getNFDInstance(status);
  return normalized(text, form, status);
}

std::string composed(std::string_view text) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* const form = icu::Normalizer2::getNFCInstance(status);
  return normalized(text, form, status);
}

std::string lower_case(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const Utf8Step step = next_utf8(text);
    text.remove_prefix(static_cast<size_t>(step.length));
    if (step.code_point == 0x130) {
      out += "i\u0307";  // the only one that becomes two
    } else {
      append_utf8(out, lower(step.code_point));
    }
  }
  return out;
}

}  // namespace plinth
