#pragma once

// What lists of images in files have in common.

#include <algorithm>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"

namespace plinth {

// Whether its name ends in .png, .jpg or .jpeg, in letters of any case.
bool is_image_file(const std::filesystem::path& path);

// The files of a folder, at any depth, that end as images do, ordered by path. Throws Error(Io) for
// a folder that cannot be read.
std::vector<std::filesystem::path> image_files(const std::filesystem::path& folder);

// The entries of a folder that `accept` takes, ordered by path; with recursive_directory_iterator
// those at any depth. Throws Error(Io) for a folder that cannot be read.
template <class Iterator, class Accept>
std::vector<std::filesystem::path> sorted_entries(const std::filesystem::path& folder,
                                                  Accept&& accept) {
  std::vector<std::filesystem::path> paths;
  try {
    for (const std::filesystem::directory_entry& entry : Iterator(folder)) {
      if (accept(entry)) paths.push_back(entry.path());
    }
  } catch (const std::filesystem::filesystem_error& error) {
    throw Error(ErrorKind::Io, folder.string(),
                detail::concat("cannot be listed: ", error.code().message()));
  }
  std::ranges::sort(paths);
  return paths;
}

// Two columns, of these names in the first row, of a file of comma-separated values: the values of
// each row. Throws Error(Io) or Error(Format) naming file and line for a column or rows that are
// not there, a row of another length than the first, and an empty value.
std::vector<std::pair<std::string, std::string>> read_two_columns(const std::filesystem::path& file,
                                                                  std::string_view first,
                                                                  std::string_view second);

}  // namespace plinth
