#include "train/logging/report/html_text.h"

#include <algorithm>
#include <optional>

#include "core/io/text.h"

namespace plinth {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";

void append_valid(std::string& out, std::string_view text) {
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      case '\t':
      case '\n': out += c; break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
          out += kReplacement;
        } else {
          out += c;
        }
    }
  }
}

}  // namespace

std::string html_text(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::optional<size_t> invalid = first_invalid_utf8(text);
    append_valid(out, text.substr(0, invalid.value_or(text.size())));
    if (!invalid) break;
    out += kReplacement;
    text.remove_prefix(*invalid + 1);
  }
  return out;
}

}  // namespace plinth
