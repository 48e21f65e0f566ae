#include "train/logging/metrics_log.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "core/io/json.h"
#include "core/io/text.h"

namespace plinth {
namespace fs = std::filesystem;

namespace {

constexpr JsonLimits kLineLimits = {1 << 20, 2};

// A row and where its line ends in the file.
struct PlacedRow {
  MetricsRow row;
  uint64_t end = 0;
};

MetricsRow parse_row(std::string_view line, const std::string& place) {
  const nlohmann::json document = parse_json(line, place, kLineLimits);
  const auto require = [&](bool ok, const auto&... parts) {
    check(ok, ErrorKind::Format, place, parts...);
  };
  require(document.is_object() && document.contains("step"), "is not a row with a step");
  require(document["step"].is_number_integer(), "step is not an integer");
  MetricsRow row;
  row.step = document["step"].get<int64_t>();
  for (const auto& [name, value] : document.items()) {
    if (name == "step") continue;
    require(value.is_number() || value.is_null(), printable(name), " is not a number");
    row.values.emplace_back(name, value.is_null() ? NAN : value.get<double>());
  }
  return row;
}

std::vector<PlacedRow> read_rows(const fs::path& jsonl) {
  const std::string text = read_text_file(jsonl);
  std::vector<PlacedRow> rows;
  for (size_t begin = 0, end = 0; (end = text.find('\n', begin)) != text.npos; begin = end + 1) {
    const std::string place = detail::concat(jsonl.string(), ":", rows.size() + 1);
    rows.push_back({parse_row(std::string_view(text).substr(begin, end - begin), place), end + 1});
  }
  return rows;
}

std::string csv_number(double value) {
  if (std::isnan(value)) return "nan";
  char text[64];
  return {text, std::to_chars(text, text + sizeof(text), value).ptr};
}

std::string csv_line(const MetricsRow& row, const std::vector<std::string>& columns) {
  std::string line = std::to_string(row.step);
  for (const std::string& column : columns) {
    line += ',';
    const auto found =
        std::ranges::find(row.values, column, &std::pair<std::string, double>::first);
    if (found != row.values.end()) line += csv_number(found->second);
  }
  return line + '\n';
}

std::string json_line(const MetricsRow& row) {
  nlohmann::ordered_json document;
  document["step"] = row.step;
  for (const auto& [name, value] : row.values) document[name] = value;
  return document.dump() + '\n';
}

std::vector<std::string> checked_columns(std::vector<std::string> columns,
                                         std::string_view subject) {
  std::set<std::string_view> seen = {"step"};
  for (const std::string& column : columns) {
    const bool plain = !column.empty() && std::ranges::all_of(column, [](unsigned char c) {
      return std::isalnum(c) || c == '_' || c == '-' || c == '/' || c == '.';
    });
    check(plain, ErrorKind::Argument, subject, "column ", printable(column),
          " is not made of letters, digits and '_-/.'");
    check(seen.insert(column).second, ErrorKind::Argument, subject, "column ", printable(column),
          " is there twice");
  }
  return columns;
}

}  // namespace

double MetricsRow::value(std::string_view name) const {
  const auto found = std::ranges::find(values, name, &std::pair<std::string, double>::first);
  return found == values.end() ? std::numeric_limits<double>::quiet_NaN() : found->second;
}

void refuse_earlier_metrics(const fs::path& directory) {
  const fs::path jsonl = directory / "metrics.jsonl";
  std::error_code is_absent;
  const uint64_t bytes = fs::file_size(jsonl, is_absent);
  check(is_absent || bytes == 0, ErrorKind::Io, jsonl.string(),
        "holds the metrics of an earlier run: resume it, or choose another directory");
}

MetricsLog::MetricsLog(const fs::path& directory, std::vector<std::string> columns,
                       std::optional<int64_t> resumed_step)
    : subject_((directory / "metrics.jsonl").string()),
      columns_(checked_columns(std::move(columns), subject_)),
      jsonl_(directory / "metrics.jsonl"),
      csv_(directory / "metrics.csv") {
  if (!resumed_step) refuse_earlier_metrics(directory);

  // The JSON lines are the truth; the CSV is made again from those that stay.
  std::string csv = "step";
  for (const std::string& column : columns_) csv += ',' + column;
  csv += '\n';
  const int64_t last_kept = resumed_step.value_or(INT64_MIN);
  uint64_t kept = 0;
  for (const PlacedRow& placed : read_rows(subject_)) {
    if (placed.row.step > last_kept) break;
    kept = placed.end;
    last_step_ = placed.row.step;
    csv += csv_line(placed.row, columns_);
  }
  jsonl_.truncate(kept);
  write_file_atomically(directory / "metrics.csv", csv);
  csv_ = AppendFile(directory / "metrics.csv");
}

void MetricsLog::append(const MetricsRow& row) {
  check(row.step > last_step_, ErrorKind::Argument, subject_, "got step ", row.step, " after step ",
        last_step_);
  for (const auto& [name, value] : row.values) {
    check(std::ranges::find(columns_, name) != columns_.end(), ErrorKind::Argument, subject_,
          printable(name), " is not among the columns");
  }
  jsonl_.append(json_line(row));
  last_step_ = row.step;
  csv_.append(csv_line(row, columns_));
}

std::vector<MetricsRow> read_metrics(const fs::path& jsonl) {
  std::vector<MetricsRow> rows;
  for (PlacedRow& placed : read_rows(jsonl)) rows.push_back(std::move(placed.row));
  return rows;
}

}  // namespace plinth
