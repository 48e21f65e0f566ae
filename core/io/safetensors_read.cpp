#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/error.h"
#include "core/io/json.h"
#include "core/io/safetensors.h"
#include "core/io/text.h"
#include "core/nearest.h"

namespace plinth {

using nlohmann::json;

// The format and what we do with its bytes are little-endian.
static_assert(std::endian::native == std::endian::little);

namespace {

constexpr std::array<DType, 10> kDTypes = {
    DType::Float64,     DType::Float32, DType::BFloat16, DType::Float16, DType::Float8_e4m3,
    DType::Float8_e5m2, DType::Int64,   DType::Int32,    DType::UInt8,   DType::Bool};

// Deeper than any header is.
constexpr int kMaxDepth = 8;

std::optional<DType> dtype_named(std::string_view text) {
  for (const DType dtype : kDTypes) {
    if (safetensors_name(dtype) == text) return dtype;
  }
  return std::nullopt;
}

// Reads the entries of one header, with the file's name for the messages.
class EntryReader {
 public:
  explicit EntryReader(std::string_view subject) : subject_(subject) {}

  std::map<std::string, std::string> metadata(const json& value) const {
    require(value.is_object(), "__metadata__ is not an object");
    std::map<std::string, std::string> result;
    for (const auto& [key, text] : value.items()) {
      require(text.is_string(), "__metadata__ has a value that is not a string for key ",
              printable(key));
      result[key] = text.get<std::string>();
    }
    return result;
  }

  TensorRecord tensor(const std::string& name, const json& value) const {
    const std::string quoted = printable(name);
    require(value.is_object(), "tensor ", quoted, " is not an object");
    const json& dtype = field(value, quoted, "dtype");
    require(dtype.is_string(), "dtype of tensor ", quoted, " is not a string");
    const auto& dtype_text = dtype.get_ref<const std::string&>();
    const std::optional<DType> known = dtype_named(dtype_text);
    require(known.has_value(), "unsupported dtype ", printable(dtype_text), " of tensor ", quoted);

    TensorRecord record{name, *known, {}, 0, 0};
    for (const uint64_t size : sizes(field(value, quoted, "shape"), quoted, "shape")) {
      record.shape.push_back(static_cast<int64_t>(size));
    }
    const auto offsets = sizes(field(value, quoted, "data_offsets"), quoted, "data_offsets");
    require(offsets.size() == 2, "data_offsets of tensor ", quoted, " has ", offsets.size(),
            " elements, expected 2");
    record.begin = offsets[0];
    record.end = offsets[1];
    require(record.begin <= record.end, "invalid offset for tensor ", quoted, ": begins at ",
            record.begin, ", ends at ", record.end);
    const uint64_t bytes =
        tensor_bytes(record.dtype, record.shape, ErrorKind::Format, subject_, name);
    require(bytes == record.end - record.begin, "shape and bytes of tensor ", quoted,
            " disagree: dtype and shape take ", bytes, " bytes, its offsets span ",
            record.end - record.begin);
    return record;
  }

  // The records, sorted by offset, must cover the data from end to end.
  void check_cover(const std::vector<TensorRecord>& records, uint64_t size) const {
    uint64_t reached = 0;
    for (const TensorRecord& record : records) {
      require(record.begin == reached, "invalid offset for tensor ", printable(record.name),
              ": begins at ", record.begin, ", expected ", reached,
              record.begin > reached ? " (there is a hole)" : " (it overlaps another)");
      require(record.end <= size, "invalid offset for tensor ", printable(record.name),
              ": ends at ", record.end, ", but there are ", size, " bytes of data");
      reached = record.end;
    }
    require(reached == size, "buffer not fully covered: tensors end at ", reached,
            ", but there are ", size, " bytes of data");
  }

 private:
  template <class... Parts>
  void require(bool ok, const Parts&... parts) const {
    check(ok, ErrorKind::Format, subject_, parts...);
  }

  const json& field(const json& tensor, const std::string& quoted, const char* key) const {
    const auto found = tensor.find(key);
    require(found != tensor.end(), "tensor ", quoted, " has no ", key);
    return *found;
  }

  std::vector<uint64_t> sizes(const json& list, const std::string& quoted,
                              std::string_view key) const {
    require(list.is_array(), key, " of tensor ", quoted, " is not an array");
    std::vector<uint64_t> result;
    result.reserve(list.size());
    for (const json& size : list) {
      const bool whole = size.is_number_unsigned() && size.get<uint64_t>() <= INT64_MAX;
      require(whole, key, " of tensor ", quoted,
              " has an element that is not a whole number from 0 to 2^63 - 1");
      result.push_back(size.get<uint64_t>());
    }
    return result;
  }

  std::string_view subject_;
};

// The header's text, its length checked against the format's limit and the file's size.
std::string_view header_text(std::span<const std::byte> bytes, std::string_view subject) {
  const auto require = [&](bool ok, const auto&... parts) {
    check(ok, ErrorKind::Format, subject, parts...);
  };
  require(bytes.size() >= 8, "header too small: the file has ", bytes.size(),
          " bytes, the header's length alone takes 8");
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof(length));
  require(length <= kMaxSafetensorsHeader, "header too large: ", length,
          " bytes, expected at most ", kMaxSafetensorsHeader);
  require(length <= bytes.size() - 8, "invalid header length: ", length, " bytes, but only ",
          bytes.size() - 8, " follow");
  require(length >= 2, "header too small: ", length, " bytes, expected at least 2");
  const std::string_view text = text_of(bytes.subspan(8, length));
  require(text[0] == '{', "invalid header start: ", printable(text.substr(0, 1)), ", expected '{'");
  return text;
}

}  // namespace

SafetensorsFile SafetensorsFile::open(const std::filesystem::path& path) {
  SafetensorsFile file;
  file.subject_ = path.string();
  file.map_ = MappedFile(path);
  file.parse_file(file.map_.bytes());
  return file;
}

SafetensorsFile SafetensorsFile::parse(std::span<const std::byte> bytes, std::string_view subject) {
  SafetensorsFile file;
  file.subject_ = subject;
  file.parse_file(bytes);
  return file;
}

void SafetensorsFile::parse_file(std::span<const std::byte> bytes) {
  const std::string_view text = header_text(bytes, subject_);
  const json header = parse_json(text, subject_, {kMaxSafetensorsHeader, kMaxDepth});
  const EntryReader reader(subject_);
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") {
      metadata_ = reader.metadata(value);
    } else {
      records_.push_back(reader.tensor(name, value));
    }
  }
  // An empty tensor comes before the tensor that begins where it does.
  std::ranges::stable_sort(records_, [](const TensorRecord& a, const TensorRecord& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  data_ = bytes.subspan(8 + text.size());
  reader.check_cover(records_, data_.size());
  for (size_t i = 0; i < records_.size(); ++i) index_[records_[i].name] = i;
}

const TensorRecord* SafetensorsFile::find(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? nullptr : &records_[found->second];
}

const TensorRecord& SafetensorsFile::record(std::string_view name) const {
  const TensorRecord* found = find(name);
  if (found == nullptr) {
    std::vector<std::string_view> names;
    for (const TensorRecord& record : records_) names.push_back(record.name);
    const auto near = nearest(name, names);
    throw Error(ErrorKind::Format, subject_,
                detail::concat("has no tensor ", printable(name),
                               near.empty() ? "" : ", the nearest is " + printable(near)));
  }
  return *found;
}

std::span<const std::byte> SafetensorsFile::data(std::string_view name) const {
  const TensorRecord& found = record(name);
  return data_.subspan(found.begin, found.end - found.begin);
}

}  // namespace plinth
