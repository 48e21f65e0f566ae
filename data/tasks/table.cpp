#include "data/tasks/table.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/io/file.h"
#include "core/io/json.h"
#include "core/io/text.h"

namespace plinth {
namespace {

namespace fs = std::filesystem;

// A row as it stands in the file.
struct Row {
  int64_t line = 0;
  std::vector<std::string> fields;
  std::string fault;  // "" for a good one
};

// Cuts text into rows, which it counts by lines.
class Rows {
 public:
  Rows(std::string_view text, char separator, bool has_quotes)
      : text_(text), separator_(separator), has_quotes_(has_quotes) {}

  // The next row that is not empty; false at the end.
  bool next(Row& row) {
    while (at_ < text_.size()) {
      row = {line_, {}, ""};
      read(row);
      if (row.fields.size() > 1 || !row.fault.empty() || !row.fields[0].empty()) return true;
    }
    return false;
  }

 private:
  void read(Row& row) {
    const size_t begin = at_;
    do {
      row.fields.emplace_back();
      const bool is_quoted = has_quotes_ && at_ < text_.size() && text_[at_] == '"';
      if (!(is_quoted ? read_quoted(row) : read_plain(row))) {
        at_ = begin;
        line_ = row.line;
        skip_line();
        return;
      }
    } while (at_ < text_.size() && text_[at_++] == separator_);
    ++line_;
    const std::string_view bytes = text_.substr(begin, at_ - begin);
    if (first_invalid_utf8(bytes)) row.fault = "is not UTF-8";
  }

  // Up to the separator or the end of the line, which stay.
  bool read_plain(Row& row) {
    const size_t begin = at_;
    while (at_ < text_.size() && text_[at_] != separator_ && text_[at_] != '\n') ++at_;
    std::string_view field = text_.substr(begin, at_ - begin);
    if (field.ends_with('\r') && (at_ == text_.size() || text_[at_] == '\n'))
      field.remove_suffix(1);
    if (has_quotes_ && field.find('"') != std::string_view::npos) {
      row.fault = "has a quote inside a field that does not begin with one";
      return false;
    }
    row.fields.back() = field;
    return true;
  }

  bool read_quoted(Row& row) {
    std::string& field = row.fields.back();
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\n') ++line_;
      if (text_[at_] != '"') {
        field += text_[at_];
      } else if (text_.substr(at_ + 1).starts_with('"')) {
        field += text_[at_++];
      } else {
        ++at_;
        if (text_.substr(at_).starts_with("\r\n")) ++at_;
        if (at_ == text_.size() || text_[at_] == separator_ || text_[at_] == '\n') return true;
        row.fault = "has text behind a closing quote";
        return false;
      }
    }
    row.fault = "has a quote that nothing closes";
    return false;
  }

  void skip_line() {
    at_ = std::min(text_.find('\n', at_), text_.size() - 1) + 1;
    ++line_;
  }

  std::string_view text_;
  char separator_;
  bool has_quotes_;
  size_t at_ = 0;
  int64_t line_ = 1;
};

// Where the columns stand among a row's fields.
std::vector<size_t> places_by_number(const std::vector<std::string>& columns,
                                     std::string_view file) {
  std::vector<size_t> places;
  for (const std::string& column : columns) {
    size_t number = 0;
    const auto [end, error] = std::from_chars(column.data(), column.data() + column.size(), number);
    check(error == std::errc() && end == column.data() + column.size() && number > 0,
          ErrorKind::Format, file, "column ", printable(column),
          " is no number; without a header, columns are 1, 2, ...");
    places.push_back(number - 1);
  }
  return places;
}

std::vector<size_t> places_by_name(const std::vector<std::string>& columns, const Row& header,
                                   std::string_view file) {
  check(header.fault.empty(), ErrorKind::Format, file, "the header ", header.fault);
  std::string names;
  for (const std::string& name : header.fields) names += (names.empty() ? "" : ", ") + name;
  std::vector<size_t> places;
  for (const std::string& column : columns) {
    const auto found = std::ranges::find(header.fields, column);
    check(found != header.fields.end(), ErrorKind::Format, file, "has no column ",
          printable(column), ", the header has ", printable(names));
    check(std::ranges::count(header.fields, column) == 1, ErrorKind::Format, file,
          "has the column ", printable(column), " more than once, the header has ",
          printable(names));
    places.push_back(static_cast<size_t>(found - header.fields.begin()));
  }
  return places;
}

void read_rows(std::string_view text, char separator, const fs::path& file,
               const TableOptions& options, BadLines& bad, const TableVisitor& visit) {
  Rows rows(text, separator, separator == ',');
  Row row;
  std::vector<size_t> places;
  size_t fields = 0;
  if (options.header) {
    check(rows.next(row), ErrorKind::Format, file.string(), "is empty, takes a header");
    places = places_by_name(options.columns, row, file.string());
    fields = row.fields.size();
  } else {
    places = places_by_number(options.columns, file.string());
  }
  std::vector<std::string> values(places.size());
  while (rows.next(row)) {
    // A bad row breaks off somewhere, and measures no other.
    if (fields == 0 && row.fault.empty()) fields = row.fields.size();
    if (row.fault.empty() && row.fields.size() != fields)
      row.fault = detail::concat("has ", row.fields.size(), " fields, the ",
                                 options.header ? "header" : "first good row", " has ", fields);
    if (row.fault.empty() && fields <= std::ranges::max(places))
      row.fault =
          detail::concat("has ", fields, " fields, no column ", std::ranges::max(places) + 1);
    if (!row.fault.empty()) {
      bad.skip(file, row.line, row.fault);
      continue;
    }
    for (size_t i = 0; i < places.size(); ++i) values[i] = row.fields[places[i]];
    visit(row.line, values);
  }
}

// The values of an object, or what is wrong with it.
std::string read_object(std::string_view line, const std::vector<std::string>& columns,
                        std::vector<std::string>& values) {
  nlohmann::json json;
  try {
    json = parse_json(line, "line");
  } catch (const Error&) {
    return first_invalid_utf8(line) ? "is not UTF-8" : "is not JSON";
  }
  if (!json.is_object()) return "is no JSON object";
  for (size_t i = 0; i < columns.size(); ++i) {
    const auto found = json.find(columns[i]);
    if (found == json.end()) return "has no key " + printable(columns[i]);
    if (!found->is_string() && !found->is_number() && !found->is_boolean())
      return detail::concat("has ", found->type_name(), " at ", printable(columns[i]),
                            ", takes a string, a number or a boolean");
    values[i] = found->is_string() ? found->get<std::string>() : found->dump();
  }
  return "";
}

void read_json_lines(std::string_view text, const fs::path& file, const TableOptions& options,
                     BadLines& bad, const TableVisitor& visit) {
  std::vector<std::string> values(options.columns.size());
  for (int64_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string fault = read_object(line, options.columns, values);
    fault.empty() ? visit(number, values) : bad.skip(file, number, fault);
  }
}

}  // namespace

void read_table(const fs::path& file, const TableOptions& options, BadLines& bad,
                const TableVisitor& visit) {
  check(!options.columns.empty(), ErrorKind::Argument, "read_table", "got no columns");
  const std::string kind = file.extension().string();
  const MappedFile mapped(file);
  const std::string_view text = without_byte_order_mark(text_of(mapped.bytes()));
  if (kind == ".csv" || kind == ".tsv")
    return read_rows(text, kind == ".csv" ? ',' : '\t', file, options, bad, visit);
  check(kind == ".jsonl", ErrorKind::Format, file.string(), "ends in ", printable(kind),
        ", takes .csv, .tsv or .jsonl");
  read_json_lines(text, file, options, bad, visit);
}

}  // namespace plinth
