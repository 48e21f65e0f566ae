#include "data/images/csv_rows.h"

#include <algorithm>

#include "core/error.h"
#include "core/io/file.h"
#include "core/io/text.h"

namespace plinth {

namespace {

class CsvReader {
 public:
  CsvReader(std::string_view text, std::string subject)
      : text_(text), subject_(std::move(subject)) {}

  std::vector<CsvRow> rows() {
    std::vector<CsvRow> all;
    while (at_ < text_.size()) {
      CsvRow row{.line = line_, .fields = {field()}};
      while (take(',')) row.fields.push_back(field());
      end_line();
      if (row.fields.size() > 1 || !row.fields[0].empty()) all.push_back(std::move(row));
    }
    return all;
  }

 private:
  bool take(char wanted) {
    if (at_ >= text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }

  std::string field() {
    if (take('"')) return quoted();
    const size_t end = std::min(text_.find_first_of(",\"\r\n", at_), text_.size());
    std::string value(text_.substr(at_, end - at_));
    at_ = end;
    return value;
  }

  std::string quoted() {
    const int64_t first = line_;
    std::string value;
    for (;;) {
      check(at_ < text_.size(), ErrorKind::Format, subject_, "line ", first,
            " has a quote that is not closed");
      const char next = text_[at_++];
      if (next == '"' && !take('"')) return value;  // a second quote stands for one
      if (next == '\n') ++line_;
      value += next;
    }
  }

  void end_line() {
    const bool returned = take('\r');
    check(take('\n') || returned || at_ >= text_.size(), ErrorKind::Format, subject_, "line ",
          line_, " has a quote inside a field");
    ++line_;
  }

  std::string_view text_;
  std::string subject_;
  size_t at_ = 0;
  int64_t line_ = 1;
};

}  // namespace

std::vector<CsvRow> read_csv_rows(const std::filesystem::path& file) {
  constexpr uint64_t kLargest = uint64_t{1} << 30;
  const std::string text = read_text_file(file, kLargest);
  return CsvReader(without_byte_order_mark(text), file.string()).rows();
}

}  // namespace plinth
