#pragma once

// A model's weights on disk as Hugging Face lays them out: one `model.safetensors`, or several
// shards and `model.safetensors.index.json`:
//
//   {"metadata": {"total_size": 548105171}, "weight_map": {"wte.weight":
//   "model-00001-of-00002.safetensors"}}

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/io/safetensors.h"

namespace plinth {

// Which file beside the index holds each tensor.
struct ShardIndex {
  uint64_t total_size = 0;  // bytes of all tensors; 0 if the index does not say
  std::map<std::string, std::string> weight_map;
};

// Error(Format) for what is no index, and for a shard that is not a plain file name: an index from
// elsewhere must not reach outside its directory.
ShardIndex read_shard_index(const std::filesystem::path& path);
void write_shard_index(const std::filesystem::path& path, const ShardIndex& index);

// The weights of a directory, or of one file, by name, whichever file holds them. Mapped, not read.
class SafetensorsCheckpoint {
 public:
  // Takes a .safetensors file, an index, or a directory with `<stem>.safetensors` or
  // `<stem>.safetensors.index.json`. Error(Format) if a shard lacks a tensor that the index puts
  // there, Error(Io) if a file is missing.
  static SafetensorsCheckpoint open(const std::filesystem::path& path,
                                    std::string_view stem = "model");

  // All tensors, sorted by name. A record's offsets are those in its own file.
  std::vector<TensorRecord> records() const;
  // nullptr if there is none of that name.
  const TensorRecord* find(std::string_view name) const;
  // The bytes of a tensor; Error(Format) if there is none of that name.
  std::span<const std::byte> data(std::string_view name) const;
  // Of all files together; the first file's word counts where two disagree.
  std::map<std::string, std::string> metadata() const;

 private:
  const SafetensorsFile* file_of(std::string_view name) const;

  std::string subject_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, size_t, std::less<>> file_index_;
};

// Writes `<stem>.safetensors`, or, if the tensors take more than max_shard_bytes together, shards
// of at most that (a tensor is never split) and then the index, into a directory. Tensors go to
// shards in the order given. What an earlier save left in the other form is removed. The files are
// replaced one by one: where a crash between two must not mix old and new, write into an
// AtomicDirectory.
void write_checkpoint_files(const std::filesystem::path& directory,
                            std::span<const TensorEntry> entries, uint64_t max_shard_bytes,
                            const std::map<std::string, std::string>& metadata = {},
                            std::string_view stem = "model");

}  // namespace plinth
