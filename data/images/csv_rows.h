#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace plinth {

struct CsvRow {
  int64_t line;  // that it begins on, from 1
  std::vector<std::string> fields;
};

// The rows of a file of comma-separated values (RFC 4180); empty lines, and a byte order mark
// before the first, are passed over. Throws Error(Io), and Error(Format) naming the line for a
// quote that is not closed or stands inside a field.
std::vector<CsvRow> read_csv_rows(const std::filesystem::path& file);

}  // namespace plinth
