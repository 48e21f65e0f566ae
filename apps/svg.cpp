#include "apps/svg.h"

#include <array>
#include <cstdio>

#include "core/error.h"
#include "train/logging/report/html_text.h"

namespace plinth::apps::svg {
namespace {

using detail::concat;

constexpr std::string_view kStyle = R"css(<style>
svg { --ink: #1c1d1f; --soft: #6a6d73; --page: #ffffff; --blue: #2962d9; --orange: #d9620f;
  --green: #1f8a5b; --violet: #7a4fd0; --teal: #0f8594; --red: #b8304a; --grey: #9a9da3;
  font: 13px system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif; }
@media (prefers-color-scheme: dark) { svg { --ink: #ececea; --soft: #989ba1; --page: #1c1d20;
  --blue: #7aa7ff; --orange: #ff9f5a; --green: #5fd39d; --violet: #b79bff; --teal: #58c7d4;
  --red: #ff8095; --grey: #7d8087; } }
.page { fill: var(--page); } text { fill: var(--ink); } .soft { fill: var(--soft); }
.head { font-size: 16px; font-weight: 620; } .end { text-anchor: end; }
.blue { fill: var(--blue); } .orange { fill: var(--orange); } .green { fill: var(--green); }
.violet { fill: var(--violet); } .teal { fill: var(--teal); } .red { fill: var(--red); }
.grey { fill: var(--grey); }
.later { fill-opacity: 0.6; } .limit { stroke: var(--ink); stroke-dasharray: 4 3; }
</style>
)css";

}  // namespace

std::string number(double value) {
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), "%.1f", value);
  return text.data();
}

std::string rectangle(double x, double y, double width, double height, std::string_view css_class,
                      std::string_view title) {
  return concat("<rect x=\"", number(x), "\" y=\"", number(y), "\" width=\"", number(width),
                "\" height=\"", number(height), "\" class=\"", css_class, "\"><title>",
                html_text(title), "</title></rect>\n");
}

std::string text_at(double x, double y, std::string_view css_class, std::string_view text) {
  return concat("<text x=\"", number(x), "\" y=\"", number(y), "\" class=\"", css_class, "\">",
                html_text(text), "</text>\n");
}

std::string legend(double y, const std::vector<std::pair<std::string, std::string>>& entries) {
  std::string out;
  double x = kMargin;
  for (const auto& [css_class, text] : entries) {
    out += rectangle(x, y - 10, 12, 12, css_class, text) + text_at(x + 18, y, "soft", text);
    x += 40 + 8 * static_cast<double>(text.size());
  }
  return out;
}

std::string document(std::string_view title, double height, const std::string& body) {
  return concat("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 ", kWidth, " ",
                number(height), "\" role=\"img\" aria-label=\"", html_text(title), "\">\n", kStyle,
                "<rect class=\"page\" width=\"100%\" height=\"100%\"/>\n", body, "</svg>\n");
}

}  // namespace plinth::apps::svg
