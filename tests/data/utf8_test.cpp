#include "data/tokenizer/utf8.h"

#include <gtest/gtest.h>

namespace plinth {
namespace {

// What Python's bytes.decode(errors="replace") gives.
TEST(RepairedText, ReplacesEachMaximalSubpartOnce) {
  const std::string r = "\xEF\xBF\xBD";
  const std::pair<std::string, std::string> cases[] = {
      {"plain", "plain"},
      {"gr\xC3\xBC n", "gr\xC3\xBC n"},
      {"\x80", r},
      {"a\xFF", "a" + r},
      {"\xC3", r},
      {"\xC3(", r + "("},
      {"\xE2\x82", r},
      {"\xE2\x82x", r + "x"},
      {"\xE2\x28\xA1", r + "(" + r},
      {"\xF0\x9F\x98", r},
      {"\xF0\x9F\x98\xF0\x9F\x98\x80", r + "\xF0\x9F\x98\x80"},
      {"\xED\xA0\x80", r + r + r},
      {"\xC0\xAF", r + r},
      {"\xF4\x90\x80\x80", r + r + r + r},
      {"\xF5\x80", r + r},
  };
  for (const auto& [bytes, expected] : cases) EXPECT_EQ(RepairedText(bytes).text(), expected);
}

TEST(RepairedText, FindsTheOriginalBytes) {
  const std::string bytes = "a\xE2\x82z\xFF\xC3\xA9";  // a, ill-formed, z, ill-formed, e acute
  const RepairedText repaired(bytes);
  ASSERT_EQ(repaired.text(), "a\xEF\xBF\xBDz\xEF\xBF\xBD\xC3\xA9");
  EXPECT_EQ(repaired.original(0, 1), "a");
  EXPECT_EQ(repaired.original(1, 4), "\xE2\x82");
  EXPECT_EQ(repaired.original(4, 8), "z\xFF");
  EXPECT_EQ(repaired.original(8, 10), "\xC3\xA9");
  EXPECT_EQ(repaired.original(0, 10), bytes);
}

TEST(IncompleteUtf8Suffix, CountsOnlyWhatMoreBytesCanComplete) {
  const std::pair<std::string, size_t> cases[] = {
      {"", 0},          {"a", 0},        {"\xC3", 1},         {"\xC3\xA9", 0},
      {"x\xE2\x82", 2}, {"\xE2\x28", 0}, {"\xF0\x9F\x98", 3}, {"\xF0\x9F\x98\x80", 0},
      {"\x80\x80", 0},  {"\xED\xA0", 0}, {"\xF4\x90\x80", 0}, {"\xC0", 0},
      {"\xF5", 0},
  };
  for (const auto& [bytes, expected] : cases)
    EXPECT_EQ(incomplete_utf8_suffix(bytes), expected) << bytes;
}

}  // namespace
}  // namespace plinth
