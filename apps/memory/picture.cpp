// The picture of `plinth memory --svg`: bytes of a step by kind, over the allocator's events.

#include <algorithm>
#include <array>

#include "apps/memory/report.h"
#include "apps/svg.h"
#include "core/error.h"
#include "train/logging/format.h"

namespace plinth::apps {
namespace {

using detail::concat;
using svg::number;

constexpr double kLeft = 90, kHeight = 360;
constexpr std::array<const char*, kMemoryKinds> kColours = {"blue", "orange", "green", "violet",
                                                            "red",  "teal",   "grey"};

struct Scale {
  double left, top, x, y;  // per event, per byte
  double bottom() const { return top + kHeight; }
  double at(int64_t event) const { return left + x * static_cast<double>(event); }
  double of(int64_t bytes) const { return bottom() - y * static_cast<double>(bytes); }
};

// The area of a kind, above those before it.
std::string area(const std::vector<MemorySample>& samples, size_t kind, const Scale& scale) {
  std::string upper, lower;
  const auto point = [&](int64_t event, int64_t bytes) {
    return concat(number(scale.at(event)), ",", number(scale.of(bytes)), " ");
  };
  for (const MemorySample& sample : samples) {
    int64_t below = 0;
    for (size_t i = 0; i < kind; ++i) below += sample.bytes[i];
    upper += point(sample.place.event, below + sample.bytes[kind]);
    lower.insert(0, point(sample.place.event, below));
  }
  return concat("<polygon points=\"", upper, lower, "\" class=\"", kColours[kind], "\"><title>",
                name(static_cast<MemoryKind>(kind)), "</title></polygon>\n");
}

// Where phases begin; their names in two rows, where there is room.
std::string phases(const std::vector<MemorySample>& samples, const Scale& scale) {
  std::string out;
  std::array<double, 2> free = {};
  for (size_t i = 0; i < samples.size(); ++i) {
    const StepPlace& place = samples[i].place;
    const bool begins = i == 0 || samples[i - 1].place.phase != place.phase ||
                        samples[i - 1].place.micro_batch != place.micro_batch;
    const double x = scale.at(place.event);
    const std::string text = to_string(place);
    if (!begins) continue;
    out += concat("<line class=\"limit\" x1=\"", number(x), "\" x2=\"", number(x), "\" y1=\"",
                  number(scale.top), "\" y2=\"", number(scale.bottom() + 6), "\"/>\n");
    const double end = x + 12 + 7 * static_cast<double>(text.size());
    const auto row = std::ranges::find_if(free, [x](double from) { return from <= x; });
    if (row == free.end() || end > svg::kWidth) continue;
    const auto below = static_cast<double>(row - free.begin());
    out += svg::text_at(x, scale.bottom() + 22 + 16 * below, "soft", text);
    *row = end;
  }
  return out;
}

std::string levels(int64_t peak, const Scale& scale) {
  std::string out;
  for (int quarter = 0; quarter <= 4; ++quarter) {
    const int64_t bytes = peak / 4 * quarter;
    out += svg::text_at(scale.left - 8, scale.of(bytes) + 4, "soft end",
                        format_bytes(static_cast<uint64_t>(bytes)));
  }
  return out;
}

}  // namespace

std::string memory_svg(const MemoryAnswer& answer) {
  const auto& [rank, report] = answer.ranks[answer.shown];
  const auto& samples = report.samples;
  const double events =
      static_cast<double>(samples.empty() ? 1 : std::max<int64_t>(1, samples.back().place.event));
  const Scale scale{kLeft, 100, (svg::kWidth - kLeft - svg::kMargin) / events,
                    kHeight / static_cast<double>(std::max<int64_t>(1, report.peak))};
  std::string body = svg::text_at(svg::kMargin, 34, "head",
                                  concat("Memory of rank ", rank, " over a step, ",
                                         format_bytes(static_cast<uint64_t>(report.peak)), " in ",
                                         to_string(report.peak_place)));
  std::vector<std::pair<std::string, std::string>> entries;
  for (size_t i = 0; i < kMemoryKinds; ++i)
    entries.emplace_back(kColours[i], name(static_cast<MemoryKind>(i)));
  body += svg::legend(64, entries);
  for (size_t kind = 0; kind < kMemoryKinds; ++kind) body += area(samples, kind, scale);
  body += phases(samples, scale) + levels(report.peak, scale);
  return svg::document(answer.title, scale.bottom() + 56, body);
}

}  // namespace plinth::apps
