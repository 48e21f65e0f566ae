#include "metrics/text.h"

#include <unicode/bytestream.h>
#include <unicode/casemap.h>
#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include "core/error.h"

namespace plinth::metrics {

char32_t next_code_point(std::string_view text, size_t& position) {
  const auto size = static_cast<int64_t>(text.size());
  auto at = static_cast<int64_t>(position);
  UChar32 c = 0;
  U8_NEXT_OR_FFFD(text.data(), at, size, c);
  position = static_cast<size_t>(at);
  return static_cast<char32_t>(c);
}

bool is_alphanumeric(char32_t c) {
  return (U_GET_GC_MASK(static_cast<UChar32>(c)) & (U_GC_L_MASK | U_GC_N_MASK)) != 0;
}

// The separators of files, groups, records and units are white space to Python alone.
bool is_white_space(char32_t c) {
  return u_isUWhiteSpace(static_cast<UChar32>(c)) || (c >= 0x1c && c <= 0x1f);
}

bool is_punctuation(char32_t c) {
  return (c > 0x20 && c < 0x30) || (c > 0x39 && c < 0x41) || (c > 0x5a && c < 0x61) ||
         (c > 0x7a && c < 0x7f);
}

std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> words;
  bool in_word = false;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    if (is_white_space(next_code_point(text, at))) {
      in_word = false;
      continue;
    }
    if (!in_word) words.emplace_back();
    words.back().append(text.substr(begin, at - begin));
    in_word = true;
  }
  return words;
}

std::vector<std::string> split_characters(std::string_view text) {
  std::vector<std::string> characters;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    next_code_point(text, at);
    characters.emplace_back(text.substr(begin, at - begin));
  }
  return characters;
}

std::string lower_case(std::string_view text) {
  std::string lower;
  icu::StringByteSink<std::string> sink(&lower);
  UErrorCode error = U_ZERO_ERROR;
  icu::CaseMap::utf8ToLower("", 0, icu::StringPiece(text.data(), static_cast<int32_t>(text.size())),
                            sink, nullptr, error);
  check(U_SUCCESS(error) != 0, ErrorKind::Argument, "lower_case", "text got ", text.size(),
        " bytes: ", u_errorName(error));
  return lower;
}

std::string_view strip(std::string_view text) {
  size_t begin = text.size(), end = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t start = at;
    if (is_white_space(next_code_point(text, at))) continue;
    begin = std::min(begin, start);
    end = at;
  }
  return begin < end ? text.substr(begin, end - begin) : std::string_view();
}

}  // namespace plinth::metrics
