#pragma once

// Reading and writing GGUF files, version 3, and reading version 2, which lies the same way
// (https://github.com/ggml-org/ggml, docs/gguf.md):
//
//   "GGUF", uint32 version, uint64 tensors, uint64 fields
//   a field:   its key, uint32 type, its value; a list is uint32 type, uint64 count, the elements
//   a tensor:  its name, uint32 dimensions, uint64 sizes, uint32 type, uint64 offset
//   padding to a multiple of general.alignment (32 unless a field says so), then the data
//
// A text is uint64 length and UTF-8. Sizes begin with that of the innermost dimension; here a shape
// begins with the outermost, as everywhere else in Plinth. The reader refuses with Error(Format)
// what breaks a rule, naming file, field or tensor; it never reads outside the file.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/io/file.h"
#include "core/io/ggml_blocks.h"

namespace plinth {

enum class GgufType : uint32_t {
  UInt8 = 0,
  Int8,
  UInt16,
  Int16,
  UInt32,
  Int32,
  Float32,
  Bool,
  String,
  List,
  UInt64,
  Int64,
  Float64
};

// A field's value: one element, or a list. Numbers are kept as float64: integers beyond 2^53, which
// no field that Plinth reads has, lose digits.
struct GgufValue {
  GgufType type = GgufType::String;  // of the elements; never List
  bool is_list = false;
  std::vector<std::string> texts = {};  // the elements, if they are texts
  std::vector<double> numbers = {};     // else

  static GgufValue of(std::string text);
  static GgufValue of(bool value);
  static GgufValue of(uint32_t value);
  static GgufValue of(float value);
  static GgufValue list(std::vector<std::string> texts);
  static GgufValue list(GgufType type, std::vector<double> numbers);

  size_t size() const { return type == GgufType::String ? texts.size() : numbers.size(); }
};

struct GgufField {
  std::string key;
  GgufValue value;
};

struct GgufTensor {
  std::string name;
  GgmlTypeInfo type;
  std::vector<int64_t> shape;  // outermost first; empty for a scalar
  uint64_t begin = 0;          // of its bytes, from the start of the data
  uint64_t end = 0;
};

class GgufFile {
 public:
  // Maps the file; what data() gives lives as long as the object, or what it is moved to.
  static GgufFile open(const std::filesystem::path& path);
  // Reads from memory that outlives the object. `subject` names it in messages.
  static GgufFile parse(std::span<const std::byte> bytes, std::string_view subject);

  const std::string& subject() const { return subject_; }
  uint32_t version() const { return version_; }
  // In the file's order.
  const std::vector<GgufField>& fields() const { return fields_; }
  const std::vector<GgufTensor>& tensors() const { return tensors_; }

  // nullptr if there is none.
  const GgufValue* find(std::string_view key) const;
  const GgufTensor* find_tensor(std::string_view name) const;
  std::span<const std::byte> data(const GgufTensor& tensor) const;

  // The value of a field. Throws Error(Format) for one of another type, and, where there is no
  // default, for one that is missing. An integer may have any type of integers, a number any of
  // numbers; an integer lies between 0 and 2^31 - 1.
  std::string text(std::string_view key, std::optional<std::string> otherwise = {}) const;
  int64_t integer(std::string_view key, std::optional<int64_t> otherwise = {}) const;
  double number(std::string_view key, std::optional<double> otherwise = {}) const;
  bool boolean(std::string_view key, bool otherwise) const;
  // A list; empty if there is none.
  const std::vector<std::string>& texts(std::string_view key) const;
  const std::vector<double>& numbers(std::string_view key) const;

 private:
  void read(std::span<const std::byte> bytes);
  const GgufValue* find_one(std::string_view key, bool is_required, std::string_view takes) const;
  [[noreturn]] void refuse(std::string_view key, std::string_view takes) const;

  std::string subject_;
  MappedFile map_;
  uint32_t version_ = 0;
  std::span<const std::byte> data_;
  std::vector<GgufField> fields_;
  std::vector<GgufTensor> tensors_;
  std::map<std::string, size_t, std::less<>> field_index_, tensor_index_;
};

// A type as files and people name it: "uint32", "text".
std::string_view name(GgufType type);

// Writes a file, the bytes of one tensor after the other, in their order:
//
//   GgufWriter writer(path, fields, tensors);     // begin and end are the writer's to set
//   for (const GgufTensor& tensor : writer.tensors()) writer.write(bytes of tensor);
//   writer.commit();
//
// The target appears at commit. Throws Error(Argument) for a name or key that is empty, twice there
// or not UTF-8, a size that is negative or no whole number of blocks, or bytes that are not those
// announced.
class GgufWriter {
 public:
  GgufWriter(const std::filesystem::path& path, std::span<const GgufField> fields,
             std::vector<GgufTensor> tensors);

  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  // All bytes of the next tensor.
  void write(std::span<const std::byte> bytes);
  void commit();

 private:
  std::string subject_;
  std::vector<GgufTensor> tensors_;
  size_t next_ = 0;
  AtomicFile file_;
};

// The alignment of the data of files that do not say otherwise.
inline constexpr uint64_t kGgufAlignment = 32;
// The most dimensions that a tensor may have.
inline constexpr uint32_t kMostGgufDimensions = 4;

}  // namespace plinth
