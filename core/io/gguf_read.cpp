#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>

#include "core/error.h"
#include "core/io/gguf.h"
#include "core/io/text.h"

namespace plinth {

static_assert(std::endian::native == std::endian::little);

namespace {

constexpr std::string_view kAlignmentKey = "general.alignment";
// Longer keys and names the format forbids.
constexpr uint64_t kMostKeyBytes = 65535;
// More than any list has; one of bytes takes eight times its size in memory.
constexpr uint64_t kMostElements = uint64_t{1} << 26;
constexpr uint32_t kFirstVersion = 2, kLastVersion = 3;

size_t bytes_of_type(GgufType type) {
  switch (type) {
    case GgufType::UInt8:
    case GgufType::Int8:
    case GgufType::Bool: return 1;
    case GgufType::UInt16:
    case GgufType::Int16: return 2;
    case GgufType::UInt32:
    case GgufType::Int32:
    case GgufType::Float32: return 4;
    case GgufType::String:  // its length at least
    case GgufType::UInt64:
    case GgufType::Int64:
    case GgufType::Float64: return 8;
    case GgufType::List: break;
  }
  return 0;
}

bool is_integer(GgufType type) {
  return type != GgufType::Float32 && type != GgufType::Float64 && type != GgufType::Bool &&
         type != GgufType::String;
}

// Takes a header apart from its start.
class HeaderReader {
 public:
  HeaderReader(std::span<const std::byte> bytes, std::string_view subject)
      : bytes_(bytes), subject_(subject) {}

  uint64_t position() const { return at_; }

  template <class... Parts>
  void require(bool ok, const Parts&... parts) const {
    check(ok, ErrorKind::Format, subject_, parts...);
  }

  std::span<const std::byte> take(uint64_t count, std::string_view what) {
    require(count <= bytes_.size() - at_, what, " takes ", count, " bytes, but only ",
            bytes_.size() - at_, " follow");
    const auto taken = bytes_.subspan(at_, count);
    at_ += count;
    return taken;
  }

  template <class T>
  T number(std::string_view what) {
    T value;
    std::memcpy(&value, take(sizeof(T), what).data(), sizeof(T));
    return value;
  }

  std::string text(std::string_view what) {
    const auto length = number<uint64_t>(what);
    const std::string_view found = text_of(take(length, what));
    const auto bad = first_invalid_utf8(found);
    require(!bad, what, " is not UTF-8 at byte ", bad.value_or(0));
    return std::string(found);
  }

  std::string key(std::string_view what) {
    std::string found = text(what);
    require(!found.empty() && found.size() <= kMostKeyBytes, what, " has ", found.size(),
            " bytes, takes 1 to ", kMostKeyBytes);
    return found;
  }

  // A count of what takes at least `least` bytes each.
  uint64_t count(uint64_t least, std::string_view what) {
    const auto found = number<uint64_t>(what);
    require(found <= (bytes_.size() - at_) / least, what, " is ", found, ", but only ",
            bytes_.size() - at_, " bytes follow");
    return found;
  }

  GgufType type(std::string_view what) {
    const auto code = number<uint32_t>(what);
    require(code <= static_cast<uint32_t>(GgufType::Float64), what, " is ", code, ", takes 0 to ",
            static_cast<uint32_t>(GgufType::Float64));
    return static_cast<GgufType>(code);
  }

  GgufValue value(const std::string& key) {
    GgufValue value{.type = type("type of field " + key)};
    uint64_t elements = 1;
    if (value.type == GgufType::List) {
      value.is_list = true;
      value.type = type("type of the elements of field " + key);
      require(value.type != GgufType::List, "field ", key,
              " is a list of lists, which is not supported");
      elements = count(bytes_of_type(value.type), "count of field " + key);
      require(elements <= kMostElements, "count of field ", key, " is ", elements,
              ", takes at most ", kMostElements);
    }
    const std::string what = "field " + key;
    if (value.type == GgufType::String) {
      for (uint64_t i = 0; i < elements; ++i) value.texts.push_back(text(what));
    } else {
      value.numbers.reserve(elements);
      for (uint64_t i = 0; i < elements; ++i) value.numbers.push_back(element(value.type, what));
    }
    return value;
  }

  GgufTensor tensor() {
    GgufTensor tensor;
    tensor.name = key("name of a tensor");
    const std::string quoted = "tensor " + printable(tensor.name);
    const auto dimensions = number<uint32_t>(quoted);
    require(dimensions <= kMostGgufDimensions, quoted, " has ", dimensions,
            " dimensions, takes at most ", kMostGgufDimensions);
    uint64_t elements = 1;
    for (uint32_t i = 0; i < dimensions; ++i) {
      const auto size = number<uint64_t>(quoted);
      const bool fits = size >= 1 && !__builtin_mul_overflow(elements, size, &elements) &&
                        elements <= uint64_t{1} << 56;
      require(fits, quoted, " has a dimension of ", size, ", with others more than 2^56 elements, ",
              "or none");
      tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(size));
    }
    const auto code = number<uint32_t>(quoted);
    const GgmlTypeInfo* type = ggml_type_info(code);
    if (!type)
      throw Error(ErrorKind::Format, subject_,
                  detail::concat(quoted, " has type ", code, ", which is no type of ggml's"));
    tensor.type = *type;
    const int64_t row = tensor.shape.empty() ? 1 : tensor.shape.back();
    require(row % type->block_elements == 0, quoted, " has rows of ", row, ", ", type->name,
            " takes a multiple of ", type->block_elements);
    tensor.begin = number<uint64_t>(quoted);
    tensor.end = elements / static_cast<uint64_t>(type->block_elements) *
                 static_cast<uint64_t>(type->block_bytes);  // from begin, until that is checked
    return tensor;
  }

 private:
  template <class T>
  double one(std::string_view what) {
    return static_cast<double>(number<T>(what));
  }

  double element(GgufType type, const std::string& what) {
    switch (type) {
      case GgufType::UInt8: return one<uint8_t>(what);
      case GgufType::Int8: return one<int8_t>(what);
      case GgufType::UInt16: return one<uint16_t>(what);
      case GgufType::Int16: return one<int16_t>(what);
      case GgufType::UInt32: return one<uint32_t>(what);
      case GgufType::Int32: return one<int32_t>(what);
      case GgufType::Float32: return one<float>(what);
      case GgufType::UInt64: return one<uint64_t>(what);
      case GgufType::Int64: return one<int64_t>(what);
      case GgufType::Float64: return one<double>(what);
      case GgufType::Bool: {
        const auto found = number<uint8_t>(what);
        require(found <= 1, what, " is a truth value of ", int{found}, ", takes 0 or 1");
        return found;
      }
      case GgufType::String:
      case GgufType::List: break;
    }
    return 0;
  }

  std::span<const std::byte> bytes_;
  std::string_view subject_;
  uint64_t at_ = 0;
};

// Tensors must lie within the data, at multiples of the alignment, and apart.
void check_places(std::vector<GgufTensor>& tensors, uint64_t alignment, uint64_t size,
                  const HeaderReader& reader) {
  for (GgufTensor& tensor : tensors) {
    const uint64_t bytes = tensor.end;
    const std::string quoted = printable(tensor.name);
    reader.require(tensor.begin % alignment == 0, "tensor ", quoted, " begins at ", tensor.begin,
                   ", takes a multiple of ", alignment);
    reader.require(tensor.begin <= size && bytes <= size - tensor.begin, "tensor ", quoted,
                   " begins at ", tensor.begin, " and takes ", bytes, " bytes, but there are ",
                   size, " bytes of data");
    tensor.end = tensor.begin + bytes;
  }
  std::vector<size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::sort(order, {}, [&](size_t i) { return tensors[i].begin; });
  for (size_t i = 1; i < order.size(); ++i) {
    const GgufTensor &before = tensors[order[i - 1]], &tensor = tensors[order[i]];
    reader.require(before.end <= tensor.begin, "tensor ", printable(tensor.name), " begins at ",
                   tensor.begin, ", but ", printable(before.name), " ends at ", before.end);
  }
}

// Where the data begin, and the alignment.
std::pair<uint64_t, uint64_t> data_place(const GgufFile& file, uint64_t header,
                                         const HeaderReader& reader) {
  const auto alignment =
      static_cast<uint64_t>(file.integer(kAlignmentKey, static_cast<int64_t>(kGgufAlignment)));
  reader.require(std::has_single_bit(alignment), kAlignmentKey, " is ", alignment,
                 ", takes a power of 2");
  return {(header + alignment - 1) / alignment * alignment, alignment};
}

}  // namespace

std::string_view name(GgufType type) {
  constexpr std::string_view kNames[] = {"uint8",  "int8",    "uint16", "int16", "uint32",
                                         "int32",  "float32", "bool",   "text",  "list",
                                         "uint64", "int64",   "float64"};
  return kNames[static_cast<uint32_t>(type)];
}

GgufFile GgufFile::open(const std::filesystem::path& path) {
  GgufFile file;
  file.subject_ = path.string();
  file.map_ = MappedFile(path);
  file.read(file.map_.bytes());
  return file;
}

GgufFile GgufFile::parse(std::span<const std::byte> bytes, std::string_view subject) {
  GgufFile file;
  file.subject_ = subject;
  file.read(bytes);
  return file;
}

void GgufFile::read(std::span<const std::byte> bytes) {
  HeaderReader reader(bytes, subject_);
  const std::string_view magic = text_of(reader.take(4, "the magic"));
  reader.require(magic == "GGUF", "begins with ", printable(magic), ", expected 'GGUF'");
  version_ = reader.number<uint32_t>("the version");
  reader.require(version_ >= kFirstVersion && version_ <= kLastVersion, "has version ", version_,
                 ", takes ", kFirstVersion, " or ", kLastVersion, ", little-endian");
  // The least that each takes: two lengths, two types, an element; a name, a type, an offset.
  constexpr uint64_t kLeastTensor = 8 + 1 + 4 + 4 + 8, kLeastField = 8 + 1 + 4 + 1;
  const uint64_t tensors = reader.count(kLeastTensor, "the number of tensors");
  const uint64_t fields = reader.count(kLeastField, "the number of fields");
  for (uint64_t i = 0; i < fields; ++i) {
    std::string key = reader.key("key of a field");
    reader.require(field_index_.emplace(key, fields_.size()).second, "field ", printable(key),
                   " is there twice");
    GgufValue value = reader.value(printable(key));
    fields_.push_back({std::move(key), std::move(value)});
  }
  for (uint64_t i = 0; i < tensors; ++i) {
    GgufTensor tensor = reader.tensor();
    reader.require(tensor_index_.emplace(tensor.name, tensors_.size()).second, "tensor ",
                   printable(tensor.name), " is there twice");
    tensors_.push_back(std::move(tensor));
  }
  const auto [begin, alignment] = data_place(*this, reader.position(), reader);
  data_ = bytes.subspan(std::min<uint64_t>(begin, bytes.size()));
  check_places(tensors_, alignment, data_.size(), reader);
}

const GgufValue* GgufFile::find(std::string_view key) const {
  const auto found = field_index_.find(key);
  return found == field_index_.end() ? nullptr : &fields_[found->second].value;
}

const GgufTensor* GgufFile::find_tensor(std::string_view name) const {
  const auto found = tensor_index_.find(name);
  return found == tensor_index_.end() ? nullptr : &tensors_[found->second];
}

std::span<const std::byte> GgufFile::data(const GgufTensor& tensor) const {
  return data_.subspan(tensor.begin, tensor.end - tensor.begin);
}

void GgufFile::refuse(std::string_view key, std::string_view takes) const {
  const GgufValue* value = find(key);
  std::string got = " is missing";
  if (value) got = detail::concat(" is ", value->is_list ? "a list of " : "", name(value->type));
  if (value && !value->is_list && value->type != GgufType::String)
    got += detail::concat(" ", value->numbers[0]);
  throw Error(ErrorKind::Format, subject_, detail::concat("field ", key, got, ", takes ", takes));
}

const GgufValue* GgufFile::find_one(std::string_view key, bool is_required,
                                    std::string_view takes) const {
  const GgufValue* value = find(key);
  if (value ? value->is_list : is_required) refuse(key, takes);
  return value;
}

std::string GgufFile::text(std::string_view key, std::optional<std::string> otherwise) const {
  constexpr std::string_view kTakes = "a text";
  const GgufValue* value = find_one(key, !otherwise, kTakes);
  if (!value) return *otherwise;
  if (value->type != GgufType::String) refuse(key, kTakes);
  return value->texts[0];
}

int64_t GgufFile::integer(std::string_view key, std::optional<int64_t> otherwise) const {
  constexpr std::string_view kTakes = "an integer from 0 to 2^31 - 1";
  const GgufValue* value = find_one(key, !otherwise, kTakes);
  if (!value) return *otherwise;
  const bool fits =
      is_integer(value->type) && value->numbers[0] >= 0 && value->numbers[0] <= INT32_MAX;
  if (!fits) refuse(key, kTakes);
  return static_cast<int64_t>(value->numbers[0]);
}

double GgufFile::number(std::string_view key, std::optional<double> otherwise) const {
  constexpr std::string_view kTakes = "a finite number";
  const GgufValue* value = find_one(key, !otherwise, kTakes);
  if (!value) return *otherwise;
  if (value->numbers.empty() || value->type == GgufType::Bool || !std::isfinite(value->numbers[0]))
    refuse(key, kTakes);
  return value->numbers[0];
}

bool GgufFile::boolean(std::string_view key, bool otherwise) const {
  constexpr std::string_view kTakes = "true or false";
  const GgufValue* value = find_one(key, false, kTakes);
  if (!value) return otherwise;
  if (value->type != GgufType::Bool) refuse(key, kTakes);
  return value->numbers[0] != 0;
}

const std::vector<std::string>& GgufFile::texts(std::string_view key) const {
  static const std::vector<std::string> kNone;
  const GgufValue* value = find(key);
  if (!value) return kNone;
  if (!value->is_list || value->type != GgufType::String) refuse(key, "a list of texts");
  return value->texts;
}

const std::vector<double>& GgufFile::numbers(std::string_view key) const {
  static const std::vector<double> kNone;
  const GgufValue* value = find(key);
  if (!value) return kNone;
  if (!value->is_list || value->type == GgufType::String) refuse(key, "a list of numbers");
  return value->numbers;
}

}  // namespace plinth
