#pragma once

// Regular expressions of pre-tokenizers. They are written for Oniguruma, the engine behind Hugging
// Face's tokenizers, and run on PCRE2 with its just-in-time compiler. The two languages differ in
// places (\h, \v, ^, {,n}, {1,3}+, nested classes, ...): constructs that mean the same in both, or
// that can be rewritten, are taken, and any other is refused by name.

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace plinth {

// GPT-2's pre-tokenizer, as in its encoder.py.
inline constexpr std::string_view kGpt2Pattern =
    R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// Llama 3's.
inline constexpr std::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// The same pattern in PCRE2's language, with Unicode 16's classes. Throws Error(Format, subject).
std::string translate_pattern(std::string_view oniguruma, std::string_view subject);

// A compiled pattern, usable from several threads.
class Pattern {
 public:
  // Throws Error(Format, subject) if the pattern is malformed, unsupported, or matches nothing at
  // all (an empty piece).
  Pattern(std::string_view oniguruma, std::string_view subject);
  ~Pattern();
  Pattern(Pattern&&) noexcept;
  Pattern& operator=(Pattern&&) noexcept;

  struct Match {
    size_t begin;
    size_t end;
  };

  // The first match at or after `from`, which must lie between characters; {size, size} if there is
  // none. `text` must be valid UTF-8. It depends on nothing but the text and `from`.
  Match find(std::string_view text, size_t from) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// For a pattern that matches the literal text.
std::string escape_pattern(std::string_view literal);

}  // namespace plinth
