#include "train/logging/report/html_report.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "core/error.h"
#include "core/io/file.h"
#include "core/version.h"
#include "train/logging/format.h"
#include "train/logging/report/html_text.h"
#include "train/logging/report/line_plot.h"
#include "train/logging/report/page_style.h"
#include "train/logging/report/ticks.h"

namespace plinth {
namespace {

using detail::concat;

// A curve of more points than this is shown with its running mean, over at most that many.
constexpr size_t kFewPoints = 60;
constexpr double kMeanOf = 100;

std::string element(std::string_view tag, std::string_view css_class, std::string_view inner) {
  const std::string open = css_class.empty() ? "" : concat(" class=\"", css_class, "\"");
  return concat("<", tag, open, ">", inner, "</", tag, ">\n");
}

// A name in the legend, with its colour and what it came to.
std::string legend_entry(std::string_view colour, std::string_view name, std::string_view value) {
  return concat("<li><span class=\"", colour, "\"><i></i></span>", html_text(name), " <b>",
                html_text(value), "</b></li>");
}

std::string card(std::string_view title, std::string_view legend, std::string_view body) {
  const std::string list = legend.empty() ? "" : concat("<ul class=\"legend\">", legend, "</ul>");
  const std::string head =
      concat("<div class=\"head\"><h2>", html_text(title), "</h2>", list, "</div>\n");
  return element("section", "card", head + std::string(body));
}

// The last value of the curve as it is shown.
double now_of(const std::vector<Point>& points) {
  const std::vector<Point> mean = smoothed(points, points.size() > kFewPoints ? kMeanOf : 1);
  return mean.empty() ? NAN : mean.back().y;
}

Point lowest_of(const std::vector<Point>& points) {
  Point best{0, NAN};
  for (const Point& point : points) {
    if (!(best.y <= point.y) && std::isfinite(point.y)) best = point;
  }
  return best;
}

// The points as a faint line under their running mean, or alone where they are few.
void add_smoothed(LinePlot& plot, const std::string& name, const std::string& colour,
                  const std::vector<Point>& points) {
  if (points.size() <= kFewPoints) {
    plot.curves.push_back({name, colour, points});
    return;
  }
  plot.curves.push_back({name, colour + " faint", points});
  plot.curves.push_back({name, colour, smoothed(points, kMeanOf)});
}

std::string summary_card(const RunHistory& history) {
  if (history.summary.empty()) return "";
  std::string cells;
  for (const auto& [name, value] : history.summary) {
    cells += concat("<div><dt>", html_text(name), "</dt><dd>", html_text(value), "</dd></div>\n");
  }
  return element("section", "",
                 concat("<dl class=\"card summary\" style=\"margin:0\">\n", cells, "</dl>"));
}

std::string loss_legend(const RunHistory& history) {
  std::string legend;
  if (!history.loss.empty()) {
    legend += legend_entry("blue", "training", format_value(now_of(history.loss)));
  }
  if (!history.validation_loss.empty()) {
    legend += legend_entry("orange", "validation", format_value(history.validation_loss.back().y));
    const Point best = lowest_of(history.validation_loss);
    if (std::isfinite(best.y)) {
      legend += concat("<li>best <b>", format_value(best.y), "</b> at step ", short_number(best.x),
                       "</li>");
    }
  }
  return legend;
}

// The loss by step, and the logarithm of both; two radio buttons choose, without a script.
std::string loss_card(const RunHistory& history) {
  LinePlot plot;
  plot.title = "Training and validation loss by step";
  plot.x_label = "step";
  add_smoothed(plot, "training", "blue", history.loss);
  plot.curves.push_back({"validation", "orange", history.validation_loss, true});
  const std::string linear = svg(plot);
  plot.log_x = plot.log_y = true;
  const auto choice = [](std::string_view id, std::string_view checked) {
    return concat("<input type=\"radio\" name=\"scale\" id=\"", id, "\"", checked, "><label for=\"",
                  id, "\">", id, "</label>\n");
  };
  const auto view = [](std::string_view id, std::string_view picture) {
    return concat("<div class=\"view ", id, "\">\n", picture, "</div>\n");
  };
  return element("section", "card loss",
                 concat("<h2>Loss</h2>\n", choice("linear", " checked"), choice("logarithmic", ""),
                        "<ul class=\"legend\">", loss_legend(history), "</ul>\n",
                        view("linear", linear), view("logarithmic", svg(plot))));
}

struct SmallPlot {
  std::string title;
  std::string colour;
  std::string unit;
  const std::vector<Point>& points;
  std::string now;
  bool log_y = false;
  bool noisy = true;
};

// `columns` of them stand beside each other: the narrower, the fewer units wide, so that the text
// of each picture has about the size of the page's.
std::string small_card(const SmallPlot& small, size_t columns) {
  LinePlot plot;
  plot.title = small.title + " by step";
  plot.x_label = "step";
  plot.width = columns == 1 ? 960 : columns == 2 ? 480 : 340;
  plot.height = 240;
  plot.log_y = small.log_y;
  plot.from_zero = !small.log_y;
  if (small.noisy) {
    add_smoothed(plot, small.title, small.colour, small.points);
  } else {
    plot.curves.push_back({small.title, small.colour, small.points});
  }
  return card(small.title,
              concat("<li><b>", html_text(small.now), "</b> ", html_text(small.unit), "</li>"),
              svg(plot));
}

std::string small_cards(const RunHistory& history) {
  std::vector<SmallPlot> plots = {
      {"Throughput", "green", history.throughput_unit, history.throughput,
       format_count(now_of(history.throughput))},
      {"Learning rate", "violet", "", history.learning_rate,
       short_number(history.learning_rate.empty() ? 0 : history.learning_rate.back().y), false,
       false},
      {"Gradient norm", "teal", "", history.gradient_norm,
       short_number(now_of(history.gradient_norm)), true},
  };
  std::string cards;
  const auto shown = [](const SmallPlot& plot) { return !plot.points.empty(); };
  const auto columns = static_cast<size_t>(std::ranges::count_if(plots, shown));
  for (const SmallPlot& plot : plots) {
    if (shown(plot)) cards += small_card(plot, columns);
  }
  return cards.empty() ? "" : element("div", concat("plots of-", columns), cards);
}

std::string sample_block(const TextSample& sample, std::string_view heading) {
  return element(
      "div", "sample",
      concat("<h3>", html_text(heading), "</h3><p><span class=\"prompt\">",
             html_text(sample.prompt), "</span>", html_text(sample.continuation), "</p>"));
}

std::string samples_card(const RunHistory& history) {
  const std::vector<TextSample>& samples = history.samples;
  if (samples.empty()) return "";
  const auto heading = [](const TextSample& sample) { return concat("Step ", sample.step); };
  if (samples.size() == 1) {
    return card("What it writes", "", sample_block(samples[0], heading(samples[0])));
  }
  std::string body =
      sample_block(samples.front(), "Before, at step " + std::to_string(samples.front().step));
  body += sample_block(samples.back(), "After, at step " + std::to_string(samples.back().step));
  body = element("div", "samples", body);
  if (samples.size() > 2) {
    std::string between;
    for (size_t i = 1; i + 1 < samples.size(); ++i)
      between += sample_block(samples[i], heading(samples[i]));
    body += concat("<details><summary>", samples.size() - 2, " in between</summary>\n", between,
                   "</details>\n");
  }
  return card("What it writes", "", body);
}

std::string config_card(const RunHistory& history) {
  if (history.config.empty()) return "";
  // Sections in the order in which their first key comes.
  std::vector<std::string> order;
  std::map<std::string, std::string> rows;
  for (const auto& [key, value] : history.config) {
    const size_t dot = key.rfind('.');
    const std::string section = dot == key.npos ? "" : key.substr(0, dot);
    if (rows.find(section) == rows.end()) order.push_back(section);
    rows[section] += concat("<tr><th>", html_text(key.substr(dot + 1)), "</th><td>",
                            html_text(value), "</td></tr>\n");
  }
  std::string tables;
  for (const std::string& section : order) {
    const std::string caption = section.empty() ? "general" : section;
    tables += element("table", "",
                      concat("<caption>", html_text(caption), "</caption>\n", rows[section]));
  }
  return card("Configuration", "", element("div", "config", tables));
}

}  // namespace

std::string html_report(const RunHistory& history) {
  const std::string title = html_text(history.title.empty() ? "Training run" : history.title);
  std::string body = concat("<h1>", title, "</h1>");
  if (!history.subtitle.empty()) body += element("p", "subtitle", html_text(history.subtitle));
  body = element("header", "", body);
  body += summary_card(history) + loss_card(history) + small_cards(history) +
          samples_card(history) + config_card(history);
  body += element("footer", "", "Plinth " PLINTH_VERSION);
  return concat("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n",
                "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>",
                title, "</title>\n<style>", kPageStyle, "</style>\n</head>\n<body>\n<main>\n", body,
                "</main>\n</body>\n</html>\n");
}

void write_html_report(const std::filesystem::path& path, const RunHistory& history) {
  write_file_atomically(path, html_report(history));
}

}  // namespace plinth
