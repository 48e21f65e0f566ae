#include "train/checkpoint/manifest.h"

#define XXH_INLINE_ALL
#include <xxhash.h>
#undef XXH_INLINE_ALL

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/error.h"
#include "core/io/file.h"
#include "core/io/json.h"
#include "core/io/text.h"

namespace plinth {

namespace fs = std::filesystem;

namespace {

constexpr const char* kManifest = "manifest.json";
constexpr const char* kEntry = ".entry";

std::string hex(uint64_t value) {
  std::string text(16, '0');
  for (int digit = 15; digit >= 0; --digit, value >>= 4)
    text[digit] = "0123456789abcdef"[value & 15];
  return text;
}

// Of a file's content; the mapping keeps a large file out of the heap.
std::string hash_of(const fs::path& path) {
  const MappedFile file(path);
  return hex(XXH3_64bits(file.bytes().data(), file.bytes().size()));
}

nlohmann::json entry_of(const fs::path& path) {
  return {{"bytes", fs::file_size(path)}, {"xxh3", hash_of(path)}};
}

fs::path entry_path(const fs::path& file) {
  return file.string() + kEntry;
}

std::string file_fault(const fs::path& path, const nlohmann::json& listed) {
  const std::string name = path.filename().string();
  std::error_code error;
  const uint64_t bytes = fs::file_size(path, error);
  if (error) return name + " is missing";
  const uint64_t expected = listed.at("bytes").get<uint64_t>();
  if (bytes != expected) return detail::concat(name, " has ", bytes, " bytes, expected ", expected);
  if (hash_of(path) != listed.at("xxh3").get<std::string>())
    return name + " has another hash than manifest.json says";
  return "";
}

}  // namespace

void write_manifest_entry(const fs::path& file) {
  write_file_atomically(entry_path(file), entry_of(file).dump());
}

void write_manifest(const fs::path& directory) {
  nlohmann::json files = nlohmann::json::object();
  std::vector<fs::path> entries;
  for (const auto& found : fs::directory_iterator(directory)) {
    const fs::path& path = found.path();
    if (!found.is_regular_file() || path.extension() == kEntry) continue;
    const bool is_hashed = fs::exists(entry_path(path));
    if (is_hashed) entries.push_back(entry_path(path));
    files[path.filename().string()] = is_hashed ? read_json(entry_path(path)) : entry_of(path);
  }
  for (const fs::path& entry : entries) fs::remove(entry);
  const nlohmann::json manifest = {{"version", 1}, {"files", files}};
  write_file_atomically(directory / kManifest, manifest.dump(1) + "\n");
}

std::string manifest_fault(const fs::path& directory) {
  try {
    const nlohmann::json manifest = read_json(directory / kManifest);
    if (manifest.at("version") != 1) return "manifest.json is of another version";
    for (const auto& [name, listed] : manifest.at("files").items()) {
      if (fs::path(name).filename() != name || name.empty())
        return "manifest.json lists " + printable(name) + ", which is no plain file name";
      if (std::string fault = file_fault(directory / name, listed); !fault.empty()) return fault;
    }
    return "";
  } catch (const std::exception& error) {  // Error, or nlohmann's for a field that is missing
    return error.what();
  }
}

}  // namespace plinth
