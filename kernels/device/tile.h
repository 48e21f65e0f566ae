#pragma once

// What both meanings of the vocabulary agree on about tiles in shared memory: swizzles, and the
// limits of the maps by which TMA finds a tile of a tensor.

#include <cstdint>
#include <initializer_list>

#include "kernels/types.h"

namespace plinth::device {

// How a tile's 16-byte units are permuted, so that a column of 8 rows lies in different banks: the
// tile's rows are as long as the swizzle's span, and unit u of row r lies at u xor (a part of r).
enum class Swizzle : uint8_t { None, Bytes32, Bytes64, Bytes128 };

PLINTH_HOST_DEVICE constexpr uint32_t swizzle_span(Swizzle swizzle) {
  return swizzle == Swizzle::None ? 0u : 16u << static_cast<uint32_t>(swizzle);
}

// Where the byte lies that the tile without a swizzle has at `offset`. Offsets count from an
// address that is a multiple of 8 spans (1024 bytes for Bytes128).
PLINTH_HOST_DEVICE constexpr uint32_t swizzled(uint32_t offset, Swizzle swizzle) {
  const uint32_t units = swizzle == Swizzle::None ? 0u : swizzle_span(swizzle) / 16 - 1;
  return offset ^ ((offset >> 3) & (units << 4));
}

// ---- descriptors of matrices in shared memory, for wgmma ----

// Which index of a matrix is adjacent in memory: K, along which products are summed, or M (of A)
// and N (of B).
enum class Major : uint8_t { K, MN };

// A matrix is made of 8 rows of 16 bytes, 8 elements each; along K for Major::K, else along M or N.
// Unit (i, j) is 16 bytes: i counts the rows (of M or N for Major::K, of K else), j the units along
// the adjacent index. With S the swizzle's span, u = S / 16 its units, and swizzled() applied to
// the sum, it lies at
//
//   Major::K,  no swizzle   start + i / 8 stride  + i % 8 16 + j leading
//              swizzle      start + i / 8 stride  + i % 8 S  + j 16             (j = 0, 1)
//   Major::MN, no swizzle   start + i / 8 leading + i % 8 16 + j stride
//              swizzle      start + i / 8 stride  + i % 8 S  + j / u leading + j % u 16
//
// A tile that TMA brought with a swizzle, its rows as long as the span, therefore has the stride 8
// S. `start` is aligned to 16 bytes, with a swizzle to 8 S but for steps within the first S bytes.
struct MatrixDescriptor {
  uint64_t bits = 0;

  // The matrix `bytes` further: the next 16 of K are 32 bytes further in a tile of Major::K.
  PLINTH_HOST_DEVICE friend MatrixDescriptor operator+(MatrixDescriptor d, uint32_t bytes) {
    return {d.bits + (bytes >> 4)};
  }
};

// The start is an address in shared memory.
PLINTH_HOST_DEVICE inline MatrixDescriptor encode_descriptor(uint32_t start, uint32_t leading_bytes,
                                                             uint32_t stride_bytes,
                                                             Swizzle swizzle) {
  const uint32_t mode = swizzle == Swizzle::None ? 0 : 4 - static_cast<uint32_t>(swizzle);
  const auto field = [](uint32_t bytes) { return static_cast<uint64_t>((bytes & 0x3ffffu) >> 4); };
  return {field(start) | field(leading_bytes) << 16 | field(stride_bytes) << 32 |
          static_cast<uint64_t>(mode) << 62};
}

// ---- tensors that TMA reads and writes ----

// A tensor in global memory and the box of it that one copy moves; dimensions from the innermost,
// whose elements are adjacent.
struct TileShape {
  int rank = 0;
  int64_t sizes[5] = {};    // elements
  int64_t strides[5] = {};  // bytes; the innermost is an element
  int64_t box[5] = {};      // elements
  Swizzle swizzle = Swizzle::None;
  uint32_t element_bytes = 0;
};

// `strides` in elements, of the dimensions after the innermost.
inline TileShape tile_shape(uint32_t element_bytes, std::initializer_list<int64_t> sizes,
                            std::initializer_list<int64_t> strides,
                            std::initializer_list<int64_t> box, Swizzle swizzle) {
  TileShape shape;
  shape.swizzle = swizzle;
  shape.element_bytes = element_bytes;
  if (sizes.size() > 5 || box.size() != sizes.size() || strides.size() + 1 != sizes.size())
    return shape;  // of rank 0, which is refused
  shape.rank = static_cast<int>(sizes.size());
  shape.strides[0] = element_bytes;
  for (int i = 0; i < shape.rank; ++i) {
    shape.sizes[i] = sizes.begin()[i];
    shape.box[i] = box.begin()[i];
    if (i > 0) shape.strides[i] = strides.begin()[i - 1] * element_bytes;
  }
  return shape;
}

// Why a map of this tensor cannot be made; null if it can. The limits of cuTensorMapEncodeTiled,
// and that a swizzled tile's rows fill the span.
inline const char* tile_shape_error(const void* base, const TileShape& shape) {
  if (shape.rank < 1) return "sizes, strides and box are of 1 to 5 dimensions, alike";
  if (reinterpret_cast<uintptr_t>(base) % 16 != 0) return "the tensor is not aligned to 16 bytes";
  for (int i = 0; i < shape.rank; ++i) {
    if (shape.sizes[i] < 1 || shape.sizes[i] > int64_t{1} << 32)
      return "a dimension is not between 1 and 2^32";
    if (shape.box[i] < 1 || shape.box[i] > 256) return "a box's side is not between 1 and 256";
    if (i > 0 && (shape.strides[i] % 16 != 0 || shape.strides[i] < 0 ||
                  shape.strides[i] >= int64_t{1} << 40)) {
      return "a stride is no multiple of 16 bytes below 2^40";
    }
  }
  const int64_t row = shape.box[0] * shape.element_bytes;
  if (row % 16 != 0) return "a box's rows are no multiple of 16 bytes";
  if (shape.swizzle != Swizzle::None && row != swizzle_span(shape.swizzle))
    return "a box's rows are not as long as the swizzle's span";
  return nullptr;
}

}  // namespace plinth::device
