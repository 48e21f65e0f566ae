#pragma once

// The numbers of a run, a row a step, as JSON lines for programs and as CSV for spreadsheets.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/io/file.h"

namespace plinth {

struct MetricsRow {
  int64_t step = 0;
  std::vector<std::pair<std::string, double>> values;

  // NaN if there is none of that name.
  double value(std::string_view name) const;
};

// Throws Error(Io) if a directory holds rows of an earlier run, which a new one must not drop.
void refuse_earlier_metrics(const std::filesystem::path& directory);

// Writes `metrics.jsonl` and `metrics.csv` into a directory. Each row is handed to the system
// before append returns, so it outlives the process; a row that could not be written whole is taken
// back.
class MetricsLog {
 public:
  // The CSV has the columns step and those named. A new log refuses a directory that holds rows of
  // an earlier run; a resumed one drops the rows after resumed_step, which the run will write
  // again, and a last line that a crash cut off. The columns may differ from the earlier run's.
  MetricsLog(const std::filesystem::path& directory, std::vector<std::string> columns,
             std::optional<int64_t> resumed_step = std::nullopt);

  // Steps must grow, and names be columns, else Error(Argument). A column without a value is left
  // out of the JSON and empty in the CSV. JSON has no NaN or infinity: they are written as null.
  void append(const MetricsRow& row);

 private:
  std::string subject_;
  std::vector<std::string> columns_;
  int64_t last_step_ = INT64_MIN;
  AppendFile jsonl_;
  AppendFile csv_;
};

// The rows of a metrics.jsonl; null reads as NaN, a cut-off last line is left out. Error(Format)
// names the line that is no row.
std::vector<MetricsRow> read_metrics(const std::filesystem::path& jsonl);

}  // namespace plinth
