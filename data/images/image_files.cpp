#include "data/images/image_files.h"

#include <cctype>

#include "data/images/csv_rows.h"

namespace plinth {

namespace fs = std::filesystem;

bool is_image_file(const fs::path& path) {
  std::string extension = path.extension().string();
  std::ranges::transform(extension, extension.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return extension == ".png" || extension == ".jpg" || extension == ".jpeg";
}

std::vector<std::filesystem::path> image_files(const std::filesystem::path& folder) {
  return sorted_entries<std::filesystem::recursive_directory_iterator>(
      folder, [](const std::filesystem::directory_entry& entry) {
        return entry.is_regular_file() && is_image_file(entry.path());
      });
}

std::vector<std::pair<std::string, std::string>> read_two_columns(const fs::path& file,
                                                                  std::string_view first,
                                                                  std::string_view second) {
  const std::vector<CsvRow> rows = read_csv_rows(file);
  check(rows.size() > 1, ErrorKind::Format, file.string(), "has ", rows.size(),
        " rows, takes one of names and those of images");
  const std::vector<std::string>& names = rows[0].fields;
  const auto column = [&](std::string_view wanted) {
    const auto found = std::ranges::find(names, wanted);
    check(found != names.end(), ErrorKind::Format, file.string(), "has no column \"", wanted,
          "\" in its first row; takes ", first, " and ", second);
    return static_cast<size_t>(found - names.begin());
  };
  const size_t first_column = column(first), second_column = column(second);
  std::vector<std::pair<std::string, std::string>> values;
  for (size_t i = 1; i < rows.size(); ++i) {
    const std::vector<std::string>& fields = rows[i].fields;
    check(fields.size() == names.size(), ErrorKind::Format, file.string(), "line ", rows[i].line,
          " has ", fields.size(), " fields, takes ", names.size());
    check(!fields[first_column].empty() && !fields[second_column].empty(), ErrorKind::Format,
          file.string(), "line ", rows[i].line, " has an empty ", first, " or ", second);
    values.emplace_back(fields[first_column], fields[second_column]);
  }
  return values;
}

}  // namespace plinth
