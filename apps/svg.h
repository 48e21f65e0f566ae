#pragma once

// Pieces of the pictures that commands write: an SVG that stands alone, for light and dark pages.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace plinth::apps::svg {

inline constexpr double kWidth = 960, kMargin = 20;

// A number with one digit after the point.
std::string number(double value);
std::string rectangle(double x, double y, double width, double height, std::string_view css_class,
                      std::string_view title);
std::string text_at(double x, double y, std::string_view css_class, std::string_view text);
// Classes and what they stand for, in a row.
std::string legend(double y, const std::vector<std::pair<std::string, std::string>>& entries);
// The whole of it, `height` high. Classes: head, soft, end (of text); blue, orange, green, violet,
// teal, red, grey (of what is filled); later (fainter), limit (of a line).
std::string document(std::string_view title, double height, const std::string& body);

}  // namespace plinth::apps::svg
