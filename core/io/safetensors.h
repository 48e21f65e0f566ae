#pragma once

// Reading and writing safetensors files (https://github.com/huggingface/safetensors, "Format"):
//
//   8 bytes           N, the header's length, little-endian
//   N bytes           JSON in UTF-8, {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0,
//   24]},
//                     ..., "__metadata__": {"key": "value"}}, perhaps padded with spaces
//   the rest          the tensors' bytes, row-major, little-endian, without holes or overlaps
//
// The reader refuses by name, with Error(Format), whatever breaks a rule; it never reads outside
// the file and never copies the tensors.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/error.h"
#include "core/io/file.h"
#include "kernels/dtype.h"

namespace plinth {

// The longest header that a safetensors file may have.
inline constexpr uint64_t kMaxSafetensorsHeader = 100'000'000;

struct TensorRecord {
  std::string name;
  DType dtype = DType::Float32;
  std::vector<int64_t> shape;  // empty for a scalar; a dimension may be 0
  uint64_t begin = 0;          // of its bytes, from the start of the data
  uint64_t end = 0;
};

class SafetensorsFile {
 public:
  // Maps the file; the spans that data() gives live as long as the object, or what it is moved to.
  static SafetensorsFile open(const std::filesystem::path& path);
  // Reads from memory that outlives the object. `subject` names it in messages.
  static SafetensorsFile parse(std::span<const std::byte> bytes, std::string_view subject);

  // In the order of their bytes.
  const std::vector<TensorRecord>& records() const { return records_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  // nullptr if there is none of that name.
  const TensorRecord* find(std::string_view name) const;
  // The record or the bytes of a tensor; Error(Format) with the nearest name if there is none. The
  // bytes need not be aligned to the dtype: files by others may have a header of any length.
  const TensorRecord& record(std::string_view name) const;
  std::span<const std::byte> data(std::string_view name) const;

 private:
  void parse_file(std::span<const std::byte> bytes);

  std::string subject_;
  MappedFile map_;
  std::span<const std::byte> data_;
  std::vector<TensorRecord> records_;
  std::unordered_map<std::string, size_t> index_;
  std::map<std::string, std::string> metadata_;
};

// A tensor to write; for one whose bytes are not at hand yet, `data` is empty and only its byte
// count, given by dtype and shape, is used.
struct TensorEntry {
  std::string name;
  DType dtype = DType::Float32;
  std::vector<int64_t> shape;
  std::span<const std::byte> data;
};

// Writes a file of which not all bytes are in memory at once, as when tensors come from a GPU:
//
//   SafetensorsWriter writer(path, entries, metadata);
//   for (const TensorRecord& record : writer.records()) writer.write(bytes of record);
//   writer.commit();
//
// The order of the data is records(): wider dtypes first, then by name, so that each tensor is
// aligned to its dtype and the same tensors give the same bytes. The target appears at commit.
// Throws Error(Argument) for a name that is empty, twice there, reserved or not UTF-8, a negative
// dimension, a size that overflows, or bytes that are not those announced.
class SafetensorsWriter {
 public:
  SafetensorsWriter(const std::filesystem::path& path, std::span<const TensorEntry> entries,
                    const std::map<std::string, std::string>& metadata = {});

  const std::vector<TensorRecord>& records() const { return records_; }
  // The next bytes: a tensor, a part of one, or several.
  void write(std::span<const std::byte> bytes);
  void commit();

 private:
  std::string subject_;
  std::vector<TensorRecord> records_;
  uint64_t written_ = 0;
  AtomicFile file_;
};

// Writes a whole file from memory.
void write_safetensors(const std::filesystem::path& path, std::span<const TensorEntry> entries,
                       const std::map<std::string, std::string>& metadata = {});

// Bytes of a tensor; Error(kind, subject) for a negative dimension or a size above 2^63 - 1.
uint64_t tensor_bytes(DType dtype, std::span<const int64_t> shape, ErrorKind kind,
                      std::string_view subject, std::string_view tensor);

// The format's names of dtypes: "F32", "BF16", "F8_E4M3", ...
std::string_view safetensors_name(DType dtype);

}  // namespace plinth
