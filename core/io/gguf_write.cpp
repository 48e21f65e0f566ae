#include <array>
#include <set>

#include "core/error.h"
#include "core/io/gguf.h"
#include "core/io/text.h"

namespace plinth {

namespace {

// The bytes of a header as they come.
class HeaderWriter {
 public:
  template <class T>
  void number(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(T));
  }
  void text(std::string_view text) {
    number<uint64_t>(text.size());
    bytes_ += text;
  }
  void value(const GgufValue& value) {
    if (value.is_list) {
      number(static_cast<uint32_t>(GgufType::List));
      number(static_cast<uint32_t>(value.type));
      number<uint64_t>(value.size());
    } else {
      number(static_cast<uint32_t>(value.type));
    }
    for (const std::string& each : value.texts) text(each);
    for (const double each : value.numbers) element(value.type, each);
  }
  void pad() {
    bytes_.append((kGgufAlignment - bytes_.size() % kGgufAlignment) % kGgufAlignment, '\0');
  }
  const std::string& bytes() const { return bytes_; }

 private:
  void element(GgufType type, double value) {
    switch (type) {
      case GgufType::UInt8:
      case GgufType::Bool: return number(static_cast<uint8_t>(value));
      case GgufType::Int8: return number(static_cast<int8_t>(value));
      case GgufType::UInt16: return number(static_cast<uint16_t>(value));
      case GgufType::Int16: return number(static_cast<int16_t>(value));
      case GgufType::UInt32: return number(static_cast<uint32_t>(value));
      case GgufType::Int32: return number(static_cast<int32_t>(value));
      case GgufType::Float32: return number(static_cast<float>(value));
      case GgufType::UInt64: return number(static_cast<uint64_t>(value));
      case GgufType::Int64: return number(static_cast<int64_t>(value));
      case GgufType::Float64: return number(value);
      case GgufType::String:
      case GgufType::List: break;
    }
  }

  std::string bytes_;
};

void check_name(std::string_view subject, const char* what, const std::string& name,
                std::set<std::string_view>& names) {
  check(!name.empty() && !first_invalid_utf8(name), ErrorKind::Argument, subject, what, " ",
        printable(name), " is empty or not UTF-8");
  check(names.insert(name).second, ErrorKind::Argument, subject, what, " ", printable(name),
        " is there twice");
}

// Sets begin and end.
std::vector<GgufTensor> laid_out(std::vector<GgufTensor> tensors, std::string_view subject) {
  std::set<std::string_view> names;
  uint64_t offset = 0;
  for (GgufTensor& tensor : tensors) {
    check_name(subject, "tensor", tensor.name, names);
    check(tensor.shape.size() <= kMostGgufDimensions, ErrorKind::Argument, subject, "tensor ",
          printable(tensor.name), " has ", tensor.shape.size(), " dimensions, takes at most ",
          kMostGgufDimensions);
    uint64_t elements = 1;
    for (const int64_t size : tensor.shape) {
      check(size >= 1 &&
                !__builtin_mul_overflow(elements, static_cast<uint64_t>(size), &elements) &&
                elements <= uint64_t{1} << 56,
            ErrorKind::Argument, subject, "tensor ", printable(tensor.name), " has a dimension of ",
            size, ", or more than 2^56 elements");
    }
    const int64_t row = tensor.shape.empty() ? 1 : tensor.shape.back();
    check(row % tensor.type.block_elements == 0, ErrorKind::Argument, subject, "tensor ",
          printable(tensor.name), " has rows of ", row, ", ", tensor.type.name,
          " takes a multiple of ", tensor.type.block_elements);
    tensor.begin = offset;
    tensor.end = offset + elements / static_cast<uint64_t>(tensor.type.block_elements) *
                              static_cast<uint64_t>(tensor.type.block_bytes);
    offset = (tensor.end + kGgufAlignment - 1) / kGgufAlignment * kGgufAlignment;
  }
  return tensors;
}

std::string header_of(std::span<const GgufField> fields, const std::vector<GgufTensor>& tensors,
                      std::string_view subject) {
  constexpr uint32_t kVersion = 3;
  HeaderWriter header;
  header.number(std::array{'G', 'G', 'U', 'F'});
  header.number(kVersion);
  header.number<uint64_t>(tensors.size());
  header.number<uint64_t>(fields.size());
  std::set<std::string_view> keys;
  for (const GgufField& field : fields) {
    check_name(subject, "field", field.key, keys);
    header.text(field.key);
    header.value(field.value);
  }
  for (const GgufTensor& tensor : tensors) {
    header.text(tensor.name);
    header.number(static_cast<uint32_t>(tensor.shape.size()));
    for (size_t i = tensor.shape.size(); i-- > 0;)
      header.number(static_cast<uint64_t>(tensor.shape[i]));
    header.number(tensor.type.code);
    header.number(tensor.begin);
  }
  header.pad();
  return header.bytes();
}

}  // namespace

GgufValue GgufValue::of(std::string text) {
  return {.type = GgufType::String, .texts = {std::move(text)}};
}
GgufValue GgufValue::of(bool value) {
  return {.type = GgufType::Bool, .numbers = {value ? 1.0 : 0.0}};
}
GgufValue GgufValue::of(uint32_t value) {
  return {.type = GgufType::UInt32, .numbers = {static_cast<double>(value)}};
}
GgufValue GgufValue::of(float value) {
  return {.type = GgufType::Float32, .numbers = {value}};
}
GgufValue GgufValue::list(std::vector<std::string> texts) {
  return {.type = GgufType::String, .is_list = true, .texts = std::move(texts)};
}
GgufValue GgufValue::list(GgufType type, std::vector<double> numbers) {
  return {.type = type, .is_list = true, .numbers = std::move(numbers)};
}

GgufWriter::GgufWriter(const std::filesystem::path& path, std::span<const GgufField> fields,
                       std::vector<GgufTensor> tensors)
    : subject_(path.string()), tensors_(laid_out(std::move(tensors), subject_)), file_(path) {
  file_.write(header_of(fields, tensors_, subject_));
}

void GgufWriter::write(std::span<const std::byte> bytes) {
  check(next_ < tensors_.size(), ErrorKind::Argument, subject_, "got more than its ",
        tensors_.size(), " tensors");
  const GgufTensor& tensor = tensors_[next_++];
  check(bytes.size() == tensor.end - tensor.begin, ErrorKind::Argument, subject_, "tensor ",
        printable(tensor.name), " comes with ", bytes.size(), " bytes, takes ",
        tensor.end - tensor.begin);
  file_.write(bytes);
  const std::string padding((kGgufAlignment - bytes.size() % kGgufAlignment) % kGgufAlignment,
                            '\0');
  file_.write(padding);
}

void GgufWriter::commit() {
  check(next_ == tensors_.size(), ErrorKind::Argument, subject_, "got ", next_, " of ",
        tensors_.size(), " tensors");
  file_.commit();
}

}  // namespace plinth
