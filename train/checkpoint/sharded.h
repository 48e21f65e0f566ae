#pragma once

// Checkpoints of which ranks have written a part each. Beside the files that every checkpoint has:
//
//   shards.json                           what there is
//   shard-00000-of-00004.safetensors      slices of rank 0: parameter.NAME@BEGIN,
//                                         optimizer.exp_avg.NAME@BEGIN, ..., ema.average.NAME@BEGIN
//   ...
//
// A slice holds the elements of NAME from BEGIN on, in row-major order. One of two dimensions is
// named NAME@BEGIN+STRIDE, and has rows of which each begins STRIDE elements behind the one before:
// what a rank has of a matrix that is cut by columns. How many ranks there were, and how they
// shared the elements, matters to no reader: it asks for the elements that it wants.

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/io/safetensors.h"
#include "nn/state_dict.h"

namespace plinth {

// shards.json.
struct ShardedIndex {
  int64_t files = 0;
  int64_t optimizer_steps = 0;
  std::optional<int64_t> ema_updates;                  // none: there is no average
  std::map<std::string, std::vector<int64_t>> shapes;  // of the parameters

  std::string to_json() const;
  // Throws Error(Format) naming what is wrong.
  static ShardedIndex read(const std::filesystem::path& path);
};

// "shard-00000-of-00004.safetensors".
std::string shard_file_name(int64_t number, int64_t files);

class ShardedCheckpoint {
 public:
  static constexpr const char* kIndex = "shards.json";
  // Whether the directory holds one.
  static bool is_in(const std::filesystem::path& directory);

  // Maps the files. Throws Error(Io) or Error(Format).
  explicit ShardedCheckpoint(const std::filesystem::path& directory);

  const ShardedIndex& index() const { return index_; }
  // Throws Error(Shape) naming a parameter that only one of the two has, or of another shape.
  void check_parameters(const nn::StateDict& parameters) const;
  // A copy of elements [begin, begin + size) of "parameter.NAME", ...; undefined if there is none
  // of that name. Throws Error(Format) naming an element that no slice holds.
  Tensor read(const std::string& name, int64_t begin, int64_t size) const;
  // All tensors of a kind, "parameter", "optimizer" or "ema", without that word, with their
  // parameters' shapes.
  nn::StateDict whole(std::string_view kind) const;

 private:
  // A run of elements, which stands so far into a record of a file.
  struct Slice {
    int64_t begin, size;
    size_t file, record;
    int64_t offset;
  };

  void add_file(const std::filesystem::path& path);

  std::string subject_;
  ShardedIndex index_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, std::vector<Slice>, std::less<>> slices_;  // by name
};

}  // namespace plinth
