#include "data/tokenizer/pattern.h"

#include <gtest/gtest.h>

#include <vector>

#include "data/tokenizer/unicode16.h"
#include "tests/core/io/expect_error.h"

namespace plinth {
namespace {

std::vector<std::string> matches(const std::string& pattern, std::string_view text) {
  const Pattern compiled(pattern, "test");
  std::vector<std::string> found;
  for (size_t from = 0; from < text.size();) {
    const Pattern::Match match = compiled.find(text, from);
    if (match.begin < match.end)
      found.emplace_back(text.substr(match.begin, match.end - match.begin));
    from = match.end;
  }
  return found;
}

using Strings = std::vector<std::string>;

TEST(Pattern, CutsAsGpt2Does) {
  EXPECT_EQ(matches(std::string(kGpt2Pattern), "Hello  world's 123!!  \n x"),
            (Strings{"Hello", " ", " world", "'s", " 123", "!!", "  \n", " x"}));
}

TEST(Pattern, CutsAsLlama3Does) {
  EXPECT_EQ(matches(std::string(kLlama3Pattern), "HE'LL pay $12345.\n\n  (now)"),
            (Strings{"HE", "'LL", " pay", " $", "123", "45", ".\n\n", " ", " (", "now", ")"}));
}

// Where Oniguruma and PCRE2 read the same characters differently.
TEST(Pattern, MeansWhatOnigurumaMeans) {
  EXPECT_EQ(matches(R"(\s)", "a\xE1\xA0\x8E\x0B\xC2\x85"),
            (Strings{"\x0B", "\xC2\x85"}));  // not U+180E
  EXPECT_EQ(matches(R"(\v)", "\x0A\x0B\x0C"), (Strings{"\x0B"}));
  EXPECT_EQ(matches(R"(\d+)", "12\xD9\xA3"), (Strings{"12\xD9\xA3"}));
  EXPECT_EQ(matches(R"(\S+)", "ab cd"), (Strings{"ab", "cd"}));
  EXPECT_EQ(matches(R"(.+)", "a\r\nb"), (Strings{"a\r", "b"}));
  EXPECT_EQ(matches(R"(\p{Han}+)", "\xE4\xB8\x80\xE3\x80\x82"), (Strings{"\xE4\xB8\x80"}));
  EXPECT_EQ(matches(R"([\u4e00-\u4e01\x{20}\x41\-\]]+)", "\xE4\xB8\x81 A-]B"),
            (Strings{"\xE4\xB8\x81 A-]"}));
  EXPECT_EQ(matches(R"((?i:'s))", "'S's'\xC5\xBF"), (Strings{"'S", "'s", "'\xC5\xBF"}));
  EXPECT_EQ(matches(R"(a{2}|b{1,2}|c{3,})", "aaabbbcccc"), (Strings{"aa", "bb", "b", "cccc"}));
}

// Letters and digits that Unicode 15 and 16 added are known, whatever the library's version.
TEST(Pattern, KnowsUnicode16) {
  EXPECT_EQ(matches(R"(\p{L}+)", "\xF0\x96\xB5\x80"), (Strings{"\xF0\x96\xB5\x80"}));   // U+16D40
  EXPECT_EQ(matches(R"(\p{N}+)", "\xF0\x96\xB5\xB0"), (Strings{"\xF0\x96\xB5\xB0"}));   // U+16D70
  EXPECT_EQ(matches(R"(\p{Lo}+)", "\xF0\xAE\xAF\xB0"), (Strings{"\xF0\xAE\xAF\xB0"}));  // U+2EBF0
  EXPECT_EQ(matches(R"(\P{L}+)", "\xF0\x96\xB5\x80\x31"), (Strings{"1"}));
  EXPECT_EQ(unicode16_class("Lowercase"), "");
}

TEST(Pattern, RefusesByNameWhatItCannotRewrite) {
  const std::pair<std::string, std::string> cases[] = {
      {"^a", "has an anchor at offset 0"},
      {"a$", "has an anchor at offset 1"},
      {R"(\w+)", R"(has \w at offset 0)"},
      {R"(a\b)", R"(has \b at offset 1)"},
      {R"(\h)", R"(has \h)"},
      {R"(\1)", R"(has \1)"},
      {R"(\p{Lowercase})", "has the property Lowercase"},
      {R"(\p{^L})", "has the property ^L"},
      {R"(\pL)", R"(has \p without {name})"},
      {R"((?i:\p{Lu}))", "has a property inside (?i:)"},
      {R"([[:alpha:]])", "has a class inside a class"},
      {"[a&&b]", "has an intersection of classes"},
      {R"([\S])", "has a negated escape inside a class"},
      {"[]a]", "has an empty class"},
      {"[a", "has an unclosed ["},
      {"(?<n>a)", "has a group of this kind"},
      {"(?i)a", "has a group of this kind"},
      {"a)", "has an unopened )"},
      {"a{2}+", "has a + or ? behind {n,m}"},
      {"a{1,3}?", "has a + or ? behind {n,m}"},
      {"a{,3}", "has an unescaped { that is no {n,m}"},
      {"a{x", "has an unescaped {"},
      {R"(\x{})", "has a malformed code point"},
      {R"(\u12)", "has a malformed code point"},
      {R"(\xE9)", "has a \\x byte of 80 or more"},
      {R"(a\)", "has a \\ at its end"},
      {"(a", "does not compile"},
      {"a**", "does not compile"},
      {"\xFF", "does not compile"},
      {"a*", "can match an empty piece of text"},
      {"(?=a)", "can match an empty piece of text"},
  };
  for (const auto& [pattern, message] : cases) {
    expect_error(ErrorKind::Format, message, [&p = pattern] { Pattern(p, "test"); });
  }
}

TEST(Pattern, EscapesLiterals) {
  const std::string literal = R"(a.b*[c]{d}(e)|\^$-+? )";
  EXPECT_EQ(matches(escape_pattern(literal), "x" + literal + "x"), (Strings{literal}));
}

}  // namespace
}  // namespace plinth
