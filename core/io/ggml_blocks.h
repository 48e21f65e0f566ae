#pragma once

// How ggml stores the elements of a tensor: plain numbers, or blocks that share a scale
// (https://github.com/ggml-org/ggml, src/ggml-common.h). Bytes are little-endian.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "kernels/dtype.h"

namespace plinth {

enum class GgmlType : uint32_t { F32 = 0, F16 = 1, Q4_0 = 2, Q8_0 = 8, BF16 = 30 };

// What the format says of a type: a row of a tensor is whole blocks.
struct GgmlTypeInfo {
  uint32_t code = 0;
  std::string_view name;
  int64_t block_elements = 1;
  int64_t block_bytes = 1;
};

// nullptr for a code that ggml does not give to a type of files. Of the types that there are,
// Plinth computes with those of GgmlType.
const GgmlTypeInfo* ggml_type_info(uint32_t code);
inline const GgmlTypeInfo& ggml_type_info(GgmlType type) {
  return *ggml_type_info(static_cast<uint32_t>(type));
}

// The dtype whose elements lie in memory as the type's do; nothing for blocks.
std::optional<DType> plain_dtype(GgmlType type);

// The elements of whole blocks, as float32.
//   Q8_0: a float16 d and 32 int8 q; element i is d q[i].
//   Q4_0: a float16 d and 16 bytes; element i is d (q - 8), q the low half of byte i for i < 16,
//         the high half of byte i - 16 for the others.
// `out` has as many elements as the bytes hold.
void decode_ggml(GgmlType type, std::span<const std::byte> bytes, std::span<float> out);

// The way back to Q8_0, whose blocks are 32 elements: d is the largest magnitude over 127, rounded
// to float16, and q the nearest to x over the unrounded d, halves away from zero, as ggml's
// reference (quantize_row_q8_0_ref) has it. `out` has 34 bytes a block.
void encode_q8_0(std::span<const float> x, std::span<std::byte> out);

}  // namespace plinth
