#include "models/formats/onnx_graph.h"

#include <bit>
#include <cstring>
#include <optional>

#include "core/error.h"
#include "core/io/file.h"
#include "core/ops/factories.h"

namespace plinth {

namespace {

// The numbers of fields in onnx.proto.
namespace field {
constexpr int kModelIrVersion = 1, kModelProducer = 2, kModelGraph = 7, kModelOperatorSet = 8;
constexpr int kOperatorSetVersion = 2;
constexpr int kGraphNode = 1, kGraphName = 2, kGraphInitializer = 5, kGraphInput = 11,
              kGraphOutput = 12;
constexpr int kNodeInput = 1, kNodeOutput = 2, kNodeName = 3, kNodeOperation = 4,
              kNodeAttribute = 5;
constexpr int kAttributeName = 1, kAttributeFloat = 2, kAttributeInt = 3, kAttributeText = 4,
              kAttributeInts = 8, kAttributeType = 20;
constexpr int kTensorSize = 1, kTensorType = 2, kTensorName = 8, kTensorBytes = 9,
              kTensorExternal = 13, kTensorLocation = 14;
constexpr int kValueName = 1, kValueType = 2, kTypeTensor = 1, kTensorTypeElement = 1,
              kTensorTypeShape = 2, kShapeDimension = 1, kDimensionValue = 1, kDimensionName = 2;
constexpr int kEntryKey = 1, kEntryValue = 2;
}  // namespace field

// onnx.proto's codes.
constexpr int64_t kTypeFloat = 1, kTypeInt64 = 7;
constexpr int64_t kAttributeIsFloat = 1, kAttributeIsInt = 2, kAttributeIsText = 3,
                  kAttributeIsInts = 7;
constexpr int64_t kLocationExternal = 1;

int64_t code_of(DType dtype) {
  check(dtype == DType::Float32 || dtype == DType::Int64, ErrorKind::DType, "onnx", "got ",
        name(dtype), ", takes float32 or int64");
  return dtype == DType::Float32 ? kTypeFloat : kTypeInt64;
}

std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
  return out;
}

// A field's number and how it is stored: 0 a varint, 2 bytes behind their length, 5 four bytes.
std::string tag(int number, int kind) {
  return varint(static_cast<uint64_t>(number) << 3 | static_cast<uint64_t>(kind));
}
std::string integer(int number, int64_t value) {
  return tag(number, 0) + varint(static_cast<uint64_t>(value));
}
std::string length(int number, uint64_t bytes) {
  return tag(number, 2) + varint(bytes);
}
std::string bytes(int number, std::string_view value) {
  return length(number, value.size()) + std::string(value);
}

std::string attribute_text(const OnnxGraph::Attribute& attribute) {
  std::string out = bytes(field::kAttributeName, attribute.first);
  const auto finish = [&](int64_t type) { return out + integer(field::kAttributeType, type); };
  if (const auto* value = std::get_if<int64_t>(&attribute.second)) {
    out += integer(field::kAttributeInt, *value);
    return finish(kAttributeIsInt);
  }
  if (const auto* value = std::get_if<float>(&attribute.second)) {
    out += tag(field::kAttributeFloat, 5);
    out.append(reinterpret_cast<const char*>(value), sizeof(float));
    return finish(kAttributeIsFloat);
  }
  if (const auto* value = std::get_if<std::string>(&attribute.second)) {
    out += bytes(field::kAttributeText, *value);
    return finish(kAttributeIsText);
  }
  for (const int64_t value : std::get<std::vector<int64_t>>(attribute.second))
    out += integer(field::kAttributeInts, value);
  return finish(kAttributeIsInts);
}

std::string value_text(const std::string& name, DType dtype,
                       const std::vector<OnnxGraph::Dimension>& shape) {
  std::string dimensions;
  for (const OnnxGraph::Dimension& size : shape) {
    const auto* known = std::get_if<int64_t>(&size);
    dimensions += bytes(field::kShapeDimension,
                        known ? integer(field::kDimensionValue, *known)
                              : bytes(field::kDimensionName, std::get<std::string>(size)));
  }
  const std::string tensor = integer(field::kTensorTypeElement, code_of(dtype)) +
                             bytes(field::kTensorTypeShape, dimensions);
  return bytes(field::kValueName, name) +
         bytes(field::kValueType, bytes(field::kTypeTensor, tensor));
}

uint64_t bytes_of_tensor(const Tensor& x) {
  return static_cast<uint64_t>(x.numel()) * size_of(x.dtype());
}

std::span<const std::byte> content_of(const Tensor& x) {
  return {static_cast<const std::byte*>(x.raw_data()), bytes_of_tensor(x)};
}

std::string entry_text(std::string_view key, const std::string& value) {
  return bytes(field::kTensorExternal,
               bytes(field::kEntryKey, key) + bytes(field::kEntryValue, value));
}

}  // namespace

OnnxGraph::Value OnnxGraph::input(const std::string& name, DType dtype,
                                  const std::vector<Dimension>& shape) {
  inputs_ += bytes(field::kGraphInput, value_text(name, dtype, shape));
  return name;
}

void OnnxGraph::output(const Value& value, const std::string& name, DType dtype,
                       const std::vector<Dimension>& shape) {
  nodes_ += bytes(field::kGraphNode,
                  bytes(field::kNodeInput, value) + bytes(field::kNodeOutput, name) +
                      bytes(field::kNodeName, name) + bytes(field::kNodeOperation, "Identity"));
  outputs_ += bytes(field::kGraphOutput, value_text(name, dtype, shape));
}

OnnxGraph::Value OnnxGraph::constant(const std::string& name, const Tensor& value) {
  code_of(value.dtype());
  check(value.is_contiguous() && value.device().is_cpu(), ErrorKind::Argument, "onnx", name,
        " is not contiguous, or not on the CPU");
  check(constant_index_.emplace(name, constants_.size()).second, ErrorKind::Argument, "onnx", name,
        " is there already");
  constants_.push_back({name, value});
  return name;
}

OnnxGraph::Value OnnxGraph::integers(const std::vector<int64_t>& values) {
  std::string name = "integers";
  for (const int64_t value : values) name += detail::concat("_", value);
  if (constant_index_.contains(name)) return name;
  return constant(name, from_values(values, Shape({std::ssize(values)})));
}

OnnxGraph::Value OnnxGraph::number(float value) {
  const std::string name = "number_" + std::to_string(std::bit_cast<uint32_t>(value));
  if (constant_index_.contains(name)) return name;
  return constant(name, full({}, value));
}

OnnxGraph::Value OnnxGraph::node(std::string_view operation, const std::vector<Value>& inputs,
                                 const std::vector<Attribute>& attributes) {
  return nodes(1, operation, inputs, attributes)[0];
}

std::vector<OnnxGraph::Value> OnnxGraph::nodes(size_t outputs, std::string_view operation,
                                               const std::vector<Value>& inputs,
                                               const std::vector<Attribute>& attributes) {
  const std::string name = std::string(operation) + "_" + std::to_string(made_++);
  std::string text;
  std::vector<Value> values;
  for (const Value& value : inputs) text += bytes(field::kNodeInput, value);
  for (size_t i = 0; i < outputs; ++i) {
    values.push_back(outputs == 1 ? name : name + "_" + std::to_string(i));
    text += bytes(field::kNodeOutput, values.back());
  }
  text += bytes(field::kNodeName, name) + bytes(field::kNodeOperation, operation);
  for (const Attribute& attribute : attributes)
    text += bytes(field::kNodeAttribute, attribute_text(attribute));
  nodes_ += bytes(field::kGraphNode, text);
  return values;
}

// The fields of a tensor before those of its bytes.
std::string OnnxGraph::text_before(const Constant& constant) const {
  std::string text;
  for (const int64_t size : constant.value.shape()) text += integer(field::kTensorSize, size);
  return text + integer(field::kTensorType, code_of(constant.value.dtype())) +
         bytes(field::kTensorName, constant.name);
}

void OnnxGraph::write(const std::filesystem::path& path, uint64_t max_inline_bytes) const {
  uint64_t total = 0;
  for (const Constant& constant : constants_) total += bytes_of_tensor(constant.value);
  std::optional<AtomicFile> outside;
  const std::string outside_name = path.filename().string() + ".data";
  if (total > max_inline_bytes) outside.emplace(path.parent_path() / outside_name);
  std::vector<std::string> before;  // of each constant: all up to its bytes
  uint64_t graph_bytes = 0, offset = 0;
  for (const Constant& constant : constants_) {
    const uint64_t size = bytes_of_tensor(constant.value);
    std::string text = text_before(constant);
    if (outside) {
      text += entry_text("location", outside_name) + entry_text("offset", std::to_string(offset)) +
              entry_text("length", std::to_string(size)) +
              integer(field::kTensorLocation, kLocationExternal);
      outside->write(content_of(constant.value));
      offset += size;
      before.push_back(bytes(field::kGraphInitializer, text));
      graph_bytes += before.back().size();
    } else {
      text += length(field::kTensorBytes, size);
      before.push_back(length(field::kGraphInitializer, text.size() + size) + text);
      graph_bytes += before.back().size() + size;
    }
  }
  const std::string rest = nodes_ + bytes(field::kGraphName, "plinth") + inputs_ + outputs_;
  AtomicFile file(path);
  file.write(integer(field::kModelIrVersion, kFormatVersion) +
             bytes(field::kModelProducer, "plinth") +
             bytes(field::kModelOperatorSet, integer(field::kOperatorSetVersion, kOperatorSet)) +
             length(field::kModelGraph, graph_bytes + rest.size()) + rest);
  for (size_t i = 0; i < constants_.size(); ++i) {
    file.write(before[i]);
    if (!outside) file.write(content_of(constants_[i].value));
  }
  if (outside) outside->commit();
  file.commit();
}

}  // namespace plinth
