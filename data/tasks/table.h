#pragma once

// Rows of labelled text: CSV, tab-separated values, and JSON lines.

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "data/tasks/bad_lines.h"

namespace plinth {

struct TableOptions {
  // Names in the header, or keys of the JSON objects. Without a header, numbers from "1".
  std::vector<std::string> columns;
  bool header = true;  // of .csv and .tsv
};

// Called with each row's values, in the order of the columns, and the line on which it begins. What
// it throws goes through.
using TableVisitor = std::function<void(int64_t line, const std::vector<std::string>& values)>;

// Reads a file of UTF-8 by the end of its name. .csv: fields between commas, those between quotes
// may hold commas, line breaks and doubled quotes (RFC 4180). .tsv: fields between tabs, without
// quotes. .jsonl: an object a line, of strings, numbers and booleans. Empty lines are passed over.
// A row that is malformed, is not UTF-8, or lacks a column goes to `bad`. Throws Error(Io), or
// Error(Format) for another kind of file, a column that the header lacks, and what `bad` throws.
void read_table(const std::filesystem::path& file, const TableOptions& options, BadLines& bad,
                const TableVisitor& visit);

}  // namespace plinth
