#include "core/io/checkpoint_files.h"

#include <cerrno>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/io/json.h"
#include "core/io/system_calls.h"
#include "core/io/text.h"

namespace plinth {
namespace fs = std::filesystem;
using nlohmann::json;

namespace {

// An index names each tensor once, as a header does.
constexpr JsonLimits kIndexLimits = {kMaxSafetensorsHeader, 8};

bool is_plain_file_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == name.npos;
}

std::string shard_name(std::string_view stem, size_t shard, size_t shards) {
  char suffix[64];
  std::snprintf(suffix, sizeof(suffix), "-%05zu-of-%05zu.safetensors", shard + 1, shards);
  return std::string(stem) + suffix;
}

// Where each shard begins in entries, and the end.
std::vector<size_t> cut_into_shards(std::span<const TensorEntry> entries,
                                    uint64_t max_shard_bytes) {
  std::vector<size_t> cuts = {0};
  uint64_t bytes = 0;
  for (size_t i = 0; i < entries.size(); ++i) {
    const uint64_t size = entries[i].data.size();
    const bool first_of_shard = i == cuts.back();
    if (!first_of_shard && (size > max_shard_bytes || bytes > max_shard_bytes - size)) {
      cuts.push_back(i);
      bytes = 0;
    }
    bytes += size;
  }
  cuts.push_back(entries.size());
  return cuts;
}

// The other form of an earlier save must not be taken for the weights.
void remove_if_there(const fs::path& path) {
  if (!io::remove_file(path) && errno != ENOENT) io::throw_errno(path, "remove");
}

}  // namespace

ShardIndex read_shard_index(const fs::path& path) {
  const auto require = [&](bool ok, const auto&... parts) {
    check(ok, ErrorKind::Format, path.string(), parts...);
  };
  const json document = read_json(path, kIndexLimits);
  require(document.is_object() && document.contains("weight_map"), "has no weight_map");
  require(document["weight_map"].is_object(), "weight_map is not an object");
  ShardIndex index;
  for (const auto& [tensor, file] : document["weight_map"].items()) {
    require(file.is_string(), "file of tensor ", printable(tensor), " is not a string");
    const auto& name = file.get_ref<const std::string&>();
    require(is_plain_file_name(name), "tensor ", printable(tensor), " is in ", printable(name),
            ", expected a file name without directories");
    index.weight_map[tensor] = name;
  }
  const auto metadata = document.find("metadata");
  if (metadata == document.end() || !metadata->is_object()) return index;
  const auto total = metadata->find("total_size");
  if (total != metadata->end() && total->is_number_unsigned()) index.total_size = *total;
  return index;
}

void write_shard_index(const fs::path& path, const ShardIndex& index) {
  const json document = {{"metadata", {{"total_size", index.total_size}}},
                         {"weight_map", index.weight_map}};
  write_file_atomically(path, document.dump(2) + "\n");
}

SafetensorsCheckpoint SafetensorsCheckpoint::open(const fs::path& path, std::string_view stem) {
  const std::string single = std::string(stem) + ".safetensors";
  const std::string sharded = single + ".index.json";
  fs::path file = path;
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    file = path / (fs::exists(path / single, ignored) ? single : sharded);
    check(fs::exists(file, ignored), ErrorKind::Io, path.string(), "has neither ", single, " nor ",
          sharded);
  }

  SafetensorsCheckpoint checkpoint;
  checkpoint.subject_ = path.string();
  if (file.extension() != ".json") {
    checkpoint.files_.push_back(SafetensorsFile::open(file));
    for (const TensorRecord& record : checkpoint.files_[0].records()) {
      checkpoint.file_index_[record.name] = 0;
    }
    return checkpoint;
  }
  std::map<std::string, size_t> opened;
  for (const auto& [tensor, name] : read_shard_index(file).weight_map) {
    const auto [at, is_new] = opened.try_emplace(name, checkpoint.files_.size());
    if (is_new) checkpoint.files_.push_back(SafetensorsFile::open(file.parent_path() / name));
    checkpoint.files_[at->second].record(tensor);
    checkpoint.file_index_[tensor] = at->second;
  }
  return checkpoint;
}

const SafetensorsFile* SafetensorsCheckpoint::file_of(std::string_view name) const {
  const auto found = file_index_.find(name);
  return found == file_index_.end() ? nullptr : &files_[found->second];
}

std::vector<TensorRecord> SafetensorsCheckpoint::records() const {
  std::vector<TensorRecord> records;
  for (const auto& [name, file] : file_index_) records.push_back(files_[file].record(name));
  return records;
}

const TensorRecord* SafetensorsCheckpoint::find(std::string_view name) const {
  const SafetensorsFile* file = file_of(name);
  return file == nullptr ? nullptr : file->find(name);
}

std::span<const std::byte> SafetensorsCheckpoint::data(std::string_view name) const {
  const SafetensorsFile* file = file_of(name);
  if (file == nullptr && files_.size() == 1) file = &files_[0];  // its message names the nearest
  if (file == nullptr) throw Error(ErrorKind::Format, subject_, "has no tensor " + printable(name));
  return file->data(name);
}

std::map<std::string, std::string> SafetensorsCheckpoint::metadata() const {
  std::map<std::string, std::string> all;
  for (const SafetensorsFile& file : files_) {
    all.insert(file.metadata().begin(), file.metadata().end());
  }
  return all;
}

void write_checkpoint_files(const fs::path& directory, std::span<const TensorEntry> entries,
                            uint64_t max_shard_bytes,
                            const std::map<std::string, std::string>& metadata,
                            std::string_view stem) {
  const std::vector<size_t> cuts = cut_into_shards(entries, max_shard_bytes);
  const size_t shards = cuts.size() - 1;
  const fs::path single = directory / (std::string(stem) + ".safetensors");
  const fs::path index_path = single.string() + ".index.json";
  if (shards == 1) {
    write_safetensors(single, entries, metadata);
    return remove_if_there(index_path);
  }

  ShardIndex index;
  for (size_t shard = 0; shard < shards; ++shard) {
    const auto part = entries.subspan(cuts[shard], cuts[shard + 1] - cuts[shard]);
    const std::string name = shard_name(stem, shard, shards);
    write_safetensors(directory / name, part, metadata);
    for (const TensorEntry& entry : part) {
      check(index.weight_map.emplace(entry.name, name).second, ErrorKind::Argument,
            directory.string(), "tensor ", printable(entry.name), " is there twice");
      index.total_size += entry.data.size();
    }
  }
  write_shard_index(index_path, index);
  remove_if_there(single);
}

}  // namespace plinth
