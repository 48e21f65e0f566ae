#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "core/io/safetensors.h"
#include "core/io/text.h"

namespace plinth {
namespace {

std::vector<TensorRecord> lay_out(std::span<const TensorEntry> entries, std::string_view subject) {
  std::vector<TensorRecord> records;
  std::set<std::string_view> names;
  for (const TensorEntry& entry : entries) {
    const auto require = [&](bool ok, std::string_view what) {
      check(ok, ErrorKind::Argument, subject, "tensor ", printable(entry.name), " ", what);
    };
    require(!entry.name.empty() && entry.name != "__metadata__", "has a name that is reserved");
    require(!first_invalid_utf8(entry.name), "has a name that is not UTF-8");
    require(names.insert(entry.name).second, "is there twice");
    const uint64_t bytes =
        tensor_bytes(entry.dtype, entry.shape, ErrorKind::Argument, subject, entry.name);
    check(entry.data.empty() || entry.data.size() == bytes, ErrorKind::Argument, subject, "tensor ",
          printable(entry.name), " comes with ", entry.data.size(),
          " bytes, its dtype and shape take ", bytes);
    records.push_back({entry.name, entry.dtype, entry.shape, 0, bytes});
  }
  std::ranges::sort(records, [](const TensorRecord& a, const TensorRecord& b) {
    const size_t width_a = size_of(a.dtype), width_b = size_of(b.dtype);
    return width_a != width_b ? width_a > width_b : a.name < b.name;
  });
  uint64_t offset = 0;
  for (TensorRecord& record : records) {
    check(record.end <= INT64_MAX - offset, ErrorKind::Argument, subject,
          "the tensors take more than 2^63 - 1 bytes");
    record.begin = offset;
    record.end += offset;
    offset = record.end;
  }
  return records;
}

// The length and the JSON, padded with spaces so that the data begin at a multiple of 8.
std::string header_of(const std::vector<TensorRecord>& records,
                      const std::map<std::string, std::string>& metadata,
                      std::string_view subject) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  for (const auto& [key, value] : metadata) {
    check(!first_invalid_utf8(key) && !first_invalid_utf8(value), ErrorKind::Argument, subject,
          "metadata ", printable(key), " is not UTF-8");
  }
  if (!metadata.empty()) header["__metadata__"] = metadata;
  for (const TensorRecord& record : records) {
    // push_back: operator[] would search the names before it each time.
    header.get_ref<nlohmann::ordered_json::object_t&>().push_back(
        {record.name,
         {{"dtype", safetensors_name(record.dtype)},
          {"shape", record.shape},
          {"data_offsets", {record.begin, record.end}}}});
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  check(text.size() <= kMaxSafetensorsHeader, ErrorKind::Argument, subject,
        "header too large: ", text.size(), " bytes, the format allows ", kMaxSafetensorsHeader);
  const uint64_t length = text.size();
  std::string prefix(8, '\0');
  std::memcpy(prefix.data(), &length, 8);
  return prefix + text;
}

}  // namespace

uint64_t tensor_bytes(DType dtype, std::span<const int64_t> shape, ErrorKind kind,
                      std::string_view subject, std::string_view tensor) {
  int64_t bytes = static_cast<int64_t>(size_of(dtype));
  bool overflow = false;
  for (const int64_t size : shape) {
    check(size >= 0, kind, subject, "shape of tensor ", printable(tensor),
          " has a negative dimension, ", size);
    overflow |= __builtin_mul_overflow(bytes, size, &bytes);
  }
  check(!overflow, kind, subject, "overflow: tensor ", printable(tensor),
        " takes more than 2^63 - 1 bytes");
  return static_cast<uint64_t>(bytes);
}

std::string_view safetensors_name(DType dtype) {
  switch (dtype) {
    case DType::Float64: return "F64";
    case DType::Float32: return "F32";
    case DType::BFloat16: return "BF16";
    case DType::Float16: return "F16";
    case DType::Float8_e4m3: return "F8_E4M3";
    case DType::Float8_e5m2: return "F8_E5M2";
    case DType::Int64: return "I64";
    case DType::Int32: return "I32";
    case DType::UInt8: return "U8";
    case DType::Bool: return "BOOL";
  }
  return "";
}

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path,
                                     std::span<const TensorEntry> entries,
                                     const std::map<std::string, std::string>& metadata)
    : subject_(path.string()), records_(lay_out(entries, subject_)), file_(path) {
  file_.write(header_of(records_, metadata, subject_));
}

void SafetensorsWriter::write(std::span<const std::byte> bytes) {
  const uint64_t total = records_.empty() ? 0 : records_.back().end;
  check(bytes.size() <= total - written_, ErrorKind::Argument, subject_, "got ",
        written_ + bytes.size(), " bytes of data, the tensors take ", total);
  file_.write(bytes);
  written_ += bytes.size();
}

void SafetensorsWriter::commit() {
  const uint64_t total = records_.empty() ? 0 : records_.back().end;
  check(written_ == total, ErrorKind::Argument, subject_, "got ", written_,
        " bytes of data, the tensors take ", total);
  file_.commit();
}

void write_safetensors(const std::filesystem::path& path, std::span<const TensorEntry> entries,
                       const std::map<std::string, std::string>& metadata) {
  std::map<std::string_view, std::span<const std::byte>> data;
  for (const TensorEntry& entry : entries) data[entry.name] = entry.data;
  SafetensorsWriter writer(path, entries, metadata);
  for (const TensorRecord& record : writer.records()) {
    const std::span<const std::byte> bytes = data.at(record.name);
    check(bytes.size() == record.end - record.begin, ErrorKind::Argument, path.string(), "tensor ",
          printable(record.name), " comes without its bytes");
    writer.write(bytes);
  }
  writer.commit();
}

}  // namespace plinth
