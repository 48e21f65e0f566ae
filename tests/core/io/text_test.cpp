#include "core/io/text.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/io/json.h"
#include "core/nearest.h"
#include "tests/core/io/expect_error.h"

namespace plinth {
namespace {

TEST(Utf8, AcceptsTheFirstAndLastOfEachLength) {
  const std::string text(
      "\x00\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf"
      "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf",
      26);
  EXPECT_EQ(first_invalid_utf8(text), std::nullopt);
  EXPECT_EQ(first_invalid_utf8(""), std::nullopt);
}

TEST(Utf8, FindsTheFirstInvalidByte) {
  const struct {
    const char* what;
    std::string text;
    size_t place;
  } cases[] = {
      {"lone continuation", "ab\x80", 2},
      {"overlong of two bytes", "\xc1\xbf", 0},
      {"overlong of three bytes", "a\xe0\x9f\xbf", 1},
      {"overlong of four bytes", "\xf0\x8f\xbf\xbf", 0},
      {"surrogate", "\xed\xa0\x80", 0},
      {"above U+10FFFF", "\xf4\x90\x80\x80", 0},
      {"lead byte that none has", "\xf5\x80\x80\x80", 0},
      {"cut off at the end", "abc\xe2\x82", 3},
      {"third byte no continuation", "\xe2\x82z", 0},
      {"fourth byte no continuation", "\xf0\x9f\x98z", 0},
      {"0xff", "a\xff", 1},
  };
  for (const auto& c : cases) EXPECT_EQ(first_invalid_utf8(c.text), c.place) << c.what;
}

TEST(Printable, QuotesEscapesAndCuts) {
  EXPECT_EQ(printable("wte.weight"), "'wte.weight'");
  EXPECT_EQ(printable("naïve"), "'naïve'");
  EXPECT_EQ(printable(std::string("\x1b[31m\0\xff", 7)), "'\\x1b[31m\\x00\\xff'");
  EXPECT_EQ(printable("abcdefgh", 4), "'abcd...'");
}

TEST(ByteOrderMark, IsTakenOffTheBeginningOnce) {
  EXPECT_EQ(without_byte_order_mark("\xEF\xBB\xBFname"), "name");
  EXPECT_EQ(without_byte_order_mark("\xEF\xBB\xBF"), "");
  EXPECT_EQ(without_byte_order_mark("\xEF\xBB\xBF\xEF\xBB\xBF"), "\xEF\xBB\xBF");
  for (const std::string_view text : {"", "\xEF\xBB", "name", "name\xEF\xBB\xBF"})
    EXPECT_EQ(without_byte_order_mark(text), text);
}

TEST(Json, ReadsValues) {
  const nlohmann::json value = parse_json(R"({"a": [1, 2.5, "x", null], "b": {"a": true}})", "f");
  EXPECT_EQ(value["a"][1], 2.5);
  EXPECT_EQ(value["b"]["a"], true);
}

TEST(Json, RefusesByName) {
  const struct {
    std::string text;
    const char* message;
  } cases[] = {
      {R"({"a": 1, "b": {"x": 1}, "a": 2})", "f: duplicate key 'a'"},
      {R"([{"a": {"b": 1, "b": 1}}])", "f: duplicate key 'b'"},
      {"{\"a\": \"\xff\"}", "f: invalid UTF-8 at byte 7"},
      {"{\"a\": }", "f: invalid JSON: 'parse error at line 1, column 7"},
      {"", "f: invalid JSON"},
      {"{} {}", "f: invalid JSON"},
      {{"[1]\0", 4}, "f: invalid JSON: NUL at byte 3"},
      {"[1e999]", "f: invalid JSON"},
      {"[[[[1]]]]", "f: JSON is nested deeper than 3 levels"},
      {std::string(1000, '['), "f: JSON is nested deeper than 3 levels"},
      {std::string(10001, ' '), "f: has 10001 bytes of JSON, expected at most 10000"},
  };
  for (const auto& c : cases) {
    expect_error(ErrorKind::Format, c.message, [&] { parse_json(c.text, "f", {10000, 3}); });
  }
  EXPECT_EQ(parse_json("[[[1]]]", "f", {10000, 3})[0][0][0], 1);
}

TEST(Nearest, CountsEdits) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("abc", ""), 3u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("sitting", "kitten"), 3u);
  EXPECT_EQ(edit_distance("learning", "laerning"), 1u);
  EXPECT_EQ(edit_distance("ca", "abc"), 3u);
}

TEST(Nearest, TakesTheFirstOfTheLeastDistance) {
  const std::string_view names[] = {"lr", "beta1", "beta2", "seed"};
  EXPECT_EQ(nearest("beta", names), "beta1");
  EXPECT_EQ(nearest("sead", names), "seed");
  EXPECT_EQ(nearest("entirely-other", names, 3), "");
  EXPECT_EQ(nearest("x", {}), "");
}

}  // namespace
}  // namespace plinth
