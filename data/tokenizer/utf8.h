#pragma once

// UTF-8 as the tokenizer needs it: which bytes are well formed, and what stands in for those that
// are not.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace plinth {

// U+FFFD, which stands in for what is not well formed.
inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

// One step through UTF-8 text. `length` is the number of bytes taken, at least 1 unless the text is
// empty. Where they are not a well-formed character, `valid` is false and they are the longest
// prefix of one (a "maximal subpart", Unicode 16 section 3.9), or a single byte; this is where
// Python's errors="replace" puts one U+FFFD.
struct Utf8Step {
  char32_t code_point = 0;
  int length = 0;
  bool valid = false;
};

Utf8Step next_utf8(std::string_view text);

// The bytes at the end that begin a character which more bytes could complete: 0 to 3.
size_t incomplete_utf8_suffix(std::string_view text);

// White_Space of Unicode 16; Rust's char::is_whitespace.
bool is_white_space(char32_t code_point);

void append_utf8(std::string& out, char32_t code_point);

// Text with one U+FFFD for each ill-formed part, and the way back to the original, which must
// outlive it. Well-formed text is not copied.
class RepairedText {
 public:
  explicit RepairedText(std::string_view original);
  RepairedText(const RepairedText&) = delete;
  RepairedText& operator=(const RepairedText&) = delete;

  std::string_view text() const { return text_; }

  // The bytes of the original that text()[begin, end) stands for; both ends lie between characters.
  std::string_view original(size_t begin, size_t end) const;

 private:
  struct Shift {
    size_t position;  // in text_, just behind a replacement
    size_t original;  // the same place in the original
  };
  size_t original_position(size_t position) const;

  std::string_view original_;
  std::string_view text_;
  std::string repaired_;
  std::vector<Shift> shifts_;
};

}  // namespace plinth
