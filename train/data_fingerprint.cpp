#include "train/data_fingerprint.h"

#include <algorithm>
#include <span>
#include <string>

#include "core/error.h"
#include "core/io/file.h"

namespace plinth {
namespace {

// Names and sizes of a folder's files, at any depth.
std::vector<std::string> listing_of(const std::filesystem::path& folder) {
  std::vector<std::string> lines;
  try {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
      if (entry.is_regular_file())
        lines.push_back(detail::concat(entry.path().lexically_relative(folder).string(), " ",
                                       entry.file_size()));
    }
  } catch (const std::filesystem::filesystem_error& error) {
    throw Error(ErrorKind::Io, folder.string(),
                detail::concat("cannot be listed: ", error.code().message()));
  }
  std::ranges::sort(lines);
  return lines;
}

}  // namespace

uint64_t fingerprint_of(const std::vector<std::filesystem::path>& files) {
  uint64_t hash = 0xCBF29CE484222325u;  // FNV-1a
  const auto add = [&](std::span<const std::byte> bytes) {
    for (const std::byte byte : bytes) hash = (hash ^ static_cast<uint64_t>(byte)) * 0x100000001B3u;
    hash = (hash ^ bytes.size()) * 0x100000001B3u;
  };
  for (const std::filesystem::path& file : files) {
    if (std::filesystem::is_directory(file)) {
      for (const std::string& line : listing_of(file)) add(std::as_bytes(std::span(line)));
    } else {
      add(MappedFile(file).bytes());
    }
  }
  return hash;
}

}  // namespace plinth
