// Oniguruma's pattern language to PCRE2's: see pattern.h.

#include <cstdint>
#include <vector>

#include "core/error.h"
#include "data/tokenizer/pattern.h"
#include "data/tokenizer/unicode16.h"

namespace plinth {
namespace {

constexpr std::string_view kSpecial = R"(\^$.[]|()?*+{}-)";

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_alphanumeric(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

class Translator {
 public:
  Translator(std::string_view source, std::string_view subject)
      : source_(source), subject_(subject) {}

  std::string run() {
    while (at_ < source_.size()) {
      if (in_class_) {
        class_item();
      } else {
        item();
      }
    }
    if (in_class_) refuse("an unclosed [");
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    throw Error(ErrorKind::Format, subject_,
                detail::concat("pattern has ", what, " at offset ", at_,
                               ", which is not supported: ", source_));
  }

  char peek(size_t ahead = 0) const {
    return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0';
  }
  bool next_is(std::string_view text) const { return source_.substr(at_).starts_with(text); }
  void copy(size_t count) {
    out_.append(source_.substr(at_, count));
    at_ += count;
  }

  void item() {
    switch (peek()) {
      case '\\': return escape();
      case '[': return open_class();
      case '(': return open_group();
      case ')': return close_group();
      case '{': return interval();
      case '^':
      case '$': refuse("an anchor");
      default: copy(1);
    }
  }

  void open_class() {
    in_class_ = true;
    copy(peek(1) == '^' ? 2 : 1);
    if (peek() == ']') refuse("an empty class");
  }

  void class_item() {
    if (peek() == '[') refuse("a class inside a class");
    if (next_is("&&")) refuse("an intersection of classes");
    if (peek() == '\\') return escape();
    if (peek() == ']') in_class_ = false;
    copy(1);
  }

  void open_group() {
    const bool outer_caseless = caseless();
    if (peek(1) != '?') {
      group_is_caseless_.push_back(outer_caseless);
      return copy(1);
    }
    for (const std::string_view opening : {"(?:", "(?i:", "(?=", "(?!", "(?<=", "(?<!", "(?>"}) {
      if (!next_is(opening)) continue;
      group_is_caseless_.push_back(outer_caseless || opening == "(?i:");
      return copy(opening.size());
    }
    refuse("a group of this kind");
  }

  void close_group() {
    if (group_is_caseless_.empty()) refuse("an unopened )");
    group_is_caseless_.pop_back();
    copy(1);
  }

  bool caseless() const { return !group_is_caseless_.empty() && group_is_caseless_.back(); }

  // {n}, {n,} or {n,m}. Behind it, + and ? mean different things in the two languages.
  void interval() {
    size_t length = 1;
    while (is_digit(peek(length))) ++length;
    if (length == 1) refuse("an unescaped { that is no {n,m}");
    if (peek(length) == ',') ++length;
    while (is_digit(peek(length))) ++length;
    if (peek(length) != '}') refuse("an unescaped { that is no {n,m}");
    copy(length + 1);
    if (peek() == '+' || peek() == '?') refuse("a + or ? behind {n,m}");
  }

  void escape() {
    const char kind = peek(1);
    switch (kind) {
      case 's': return emit_class(std::string(unicode_space_class()), false, 2);
      case 'S': return emit_class(std::string(unicode_space_class()), true, 2);
      case 'd': return emit_class(unicode16_class("Nd"), false, 2);
      case 'D': return emit_class(unicode16_class("Nd"), true, 2);
      case 'p':
      case 'P': return property(kind == 'P');
      case 'x':
      case 'u': return code_point();
      case 't':
      case 'n':
      case 'r':
      case 'f': return copy(2);
      case 'v':
        out_.append("\\x0B");
        at_ += 2;
        return;
      case '\0': refuse("a \\ at its end");
      default: break;
    }
    if (is_alphanumeric(kind)) refuse(detail::concat("\\", kind));
    copy(static_cast<unsigned char>(kind) < 0x80 ? 2 : 1);
  }

  void emit_class(const std::string& members, bool negated, size_t consumed) {
    if (in_class_ && negated) refuse("a negated escape inside a class");
    if (in_class_) {
      out_.append(members);
    } else {
      out_.append(negated ? "[^" : "[").append(members).append("]");
    }
    at_ += consumed;
  }

  void property(bool negated) {
    const size_t close = source_.find('}', at_);
    if (peek(2) != '{' || close == std::string_view::npos) refuse("\\p without {name}");
    if (caseless()) refuse("a property inside (?i:)");
    const std::string_view name = source_.substr(at_ + 3, close - at_ - 3);
    const std::string members = unicode16_class(name);
    if (members.empty()) refuse(detail::concat("the property ", name));
    emit_class(members, negated, close + 1 - at_);
  }

  // \xHH below 80, \x{H...}, \uHHHH.
  void code_point() {
    size_t begin = at_ + 2;
    const bool braced = peek(1) == 'x' && peek(2) == '{';
    size_t most = peek(1) == 'u' ? 4 : 2;
    if (braced) {
      ++begin;
      most = 6;
    }
    uint32_t value = 0;
    size_t digits = 0;
    for (; digits < most && begin + digits < source_.size(); ++digits) {
      const int digit = hex_digit(source_[begin + digits]);
      if (digit < 0) break;
      value = value * 16 + static_cast<uint32_t>(digit);
    }
    size_t end = begin + digits;
    const bool closed = !braced || (end < source_.size() && source_[end] == '}');
    if (digits == 0 || !closed || (!braced && digits != most)) refuse("a malformed code point");
    if (!braced && most == 2 && value >= 0x80) refuse("a \\x byte of 80 or more");
    out_.append("\\x{").append(source_.substr(begin, digits)).append("}");
    at_ = braced ? end + 1 : end;
  }

  static int hex_digit(char c) {
    if (is_digit(c)) return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  }

  std::string_view source_;
  std::string_view subject_;
  size_t at_ = 0;
  bool in_class_ = false;
  std::vector<bool> group_is_caseless_;
  std::string out_;
};

}  // namespace

std::string translate_pattern(std::string_view oniguruma, std::string_view subject) {
  return Translator(oniguruma, subject).run();
}

std::string escape_pattern(std::string_view literal) {
  std::string escaped;
  for (const char c : literal) {
    if (kSpecial.find(c) != std::string_view::npos) escaped.push_back('\\');
    escaped.push_back(c);
  }
  return escaped;
}

}  // namespace plinth
