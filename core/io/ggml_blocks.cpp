#include "core/io/ggml_blocks.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "core/error.h"

namespace plinth {

namespace {

// ggml's codes, and the bytes of their blocks.
constexpr std::array<GgmlTypeInfo, 21> kTypes = {{
    {0, "F32", 1, 4},       {1, "F16", 1, 2},       {2, "Q4_0", 32, 18},    {3, "Q4_1", 32, 20},
    {6, "Q5_0", 32, 22},    {7, "Q5_1", 32, 24},    {8, "Q8_0", 32, 34},    {9, "Q8_1", 32, 36},
    {10, "Q2_K", 256, 84},  {11, "Q3_K", 256, 110}, {12, "Q4_K", 256, 144}, {13, "Q5_K", 256, 176},
    {14, "Q6_K", 256, 210}, {15, "Q8_K", 256, 292}, {20, "IQ4_NL", 32, 18}, {24, "I8", 1, 1},
    {25, "I16", 1, 2},      {26, "I32", 1, 4},      {27, "I64", 1, 8},      {28, "F64", 1, 8},
    {30, "BF16", 1, 2},
}};

constexpr size_t kBlock = 32;
constexpr size_t kScaleBytes = 2;

float scale_of(const std::byte* block) {
  Float16 scale;
  std::memcpy(&scale.bits, block, kScaleBytes);
  return scale;
}

void decode_q8_0(const std::byte* block, float* out) {
  const float scale = scale_of(block);
  for (size_t i = 0; i < kBlock; ++i)
    out[i] = scale * static_cast<float>(static_cast<int8_t>(block[kScaleBytes + i]));
}

void decode_q4_0(const std::byte* block, float* out) {
  const float scale = scale_of(block);
  for (size_t i = 0; i < kBlock / 2; ++i) {
    const int both = std::to_integer<int>(block[kScaleBytes + i]);
    out[i] = scale * static_cast<float>((both & 15) - 8);
    out[i + kBlock / 2] = scale * static_cast<float>((both >> 4) - 8);
  }
}

template <class T>
void widen_all(std::span<const std::byte> bytes, std::span<float> out) {
  for (size_t i = 0; i < out.size(); ++i) {
    T value;
    std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
    out[i] = value;
  }
}

}  // namespace

const GgmlTypeInfo* ggml_type_info(uint32_t code) {
  const auto* found = std::ranges::find(kTypes, code, &GgmlTypeInfo::code);
  return found == kTypes.end() ? nullptr : found;
}

std::optional<DType> plain_dtype(GgmlType type) {
  switch (type) {
    case GgmlType::F32: return DType::Float32;
    case GgmlType::F16: return DType::Float16;
    case GgmlType::BF16: return DType::BFloat16;
    case GgmlType::Q4_0:
    case GgmlType::Q8_0: break;
  }
  return std::nullopt;
}

void decode_ggml(GgmlType type, std::span<const std::byte> bytes, std::span<float> out) {
  const GgmlTypeInfo& info = ggml_type_info(type);
  const auto elements = static_cast<size_t>(info.block_elements);
  const auto block_bytes = static_cast<size_t>(info.block_bytes);
  check(bytes.size() % block_bytes == 0 && out.size() == bytes.size() / block_bytes * elements,
        ErrorKind::Argument, "decode_ggml", "got ", bytes.size(), " bytes for ", out.size(),
        " elements of ", info.name);
  switch (type) {
    case GgmlType::F32: return widen_all<float>(bytes, out);
    case GgmlType::F16: return widen_all<Float16>(bytes, out);
    case GgmlType::BF16: return widen_all<BFloat16>(bytes, out);
    case GgmlType::Q4_0:
    case GgmlType::Q8_0: break;
  }
  const auto decode = type == GgmlType::Q8_0 ? decode_q8_0 : decode_q4_0;
  for (size_t i = 0; i < out.size() / kBlock; ++i)
    decode(bytes.data() + i * block_bytes, out.data() + i * kBlock);
}

void encode_q8_0(std::span<const float> x, std::span<std::byte> out) {
  constexpr size_t kBytes = kScaleBytes + kBlock;
  check(x.size() % kBlock == 0 && out.size() == x.size() / kBlock * kBytes, ErrorKind::Argument,
        "encode_q8_0", "got ", x.size(), " elements for ", out.size(), " bytes");
  for (size_t b = 0; b < x.size() / kBlock; ++b) {
    const std::span<const float> values = x.subspan(b * kBlock, kBlock);
    std::byte* block = out.data() + b * kBytes;
    float largest = 0;
    for (const float value : values) largest = std::max(largest, std::abs(value));
    const float scale = largest / 127;
    const float inverse = scale > 0 ? 1 / scale : 0;
    const Float16 stored = scale;
    std::memcpy(block, &stored.bits, kScaleBytes);
    for (size_t i = 0; i < kBlock; ++i) {
      // Of what is not finite no number comes, only bytes.
      const float q = std::clamp(std::round(values[i] * inverse), -127.0f, 127.0f);
      block[kScaleBytes + i] = static_cast<std::byte>(std::isnan(q) ? 0 : static_cast<int8_t>(q));
    }
  }
}

}  // namespace plinth
