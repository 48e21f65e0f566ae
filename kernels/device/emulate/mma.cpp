#include "kernels/device/emulate/mma.h"

#include "kernels/device/emulate/warp.h"

namespace plinth::device::detail {
namespace {

struct MatrixLane {
  std::byte* row;
  uint32_t* registers;
};

uint16_t* element(std::span<void* const> lanes, uint32_t matrix, uint32_t row, uint32_t column) {
  std::byte* const start = static_cast<const MatrixLane*>(lanes[8 * matrix + row])->row;
  return reinterpret_cast<uint16_t*>(start) + column;
}

// Calls f(register, half, element) for everything that a lane holds.
template <class F>
void for_elements(std::span<void* const> lanes, int count, bool transposed, F f) {
  for (uint32_t lane = 0; lane < 32; ++lane) {
    for (uint32_t m = 0; m < static_cast<uint32_t>(count); ++m) {
      for (uint32_t half = 0; half < 2; ++half) {
        const uint32_t outer = lane / 4, inner = lane % 4 * 2 + half;
        uint16_t* const e =
            transposed ? element(lanes, m, inner, outer) : element(lanes, m, outer, inner);
        f(static_cast<const MatrixLane*>(lanes[lane])->registers[m], half, *e);
      }
    }
  }
}

struct ProductLane {
  float* d;
  const uint32_t* a;
  const uint32_t* b;
};

// The inner dimension, and how many of its elements a register holds.
struct Depth {
  int k, packed;
};

Depth depth_of(Format format) {
  return format == Format::TensorFloat32 ? Depth{8, 1} : Depth{16, 2};
}

float element_of(uint32_t bits, int half, Format format) {
  if (format == Format::TensorFloat32) return std::bit_cast<float>(bits & 0xffffe000u);
  return value_of(static_cast<uint16_t>(bits >> (16 * half)), format);
}

void multiply_lanes(std::span<void* const> lanes, Format format) {
  const auto [depth, packed] = depth_of(format);
  float a[16][16], b[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto& mine = *static_cast<const ProductLane*>(lanes[lane]);
    const int g = lane / 4, t = lane % 4;
    for (int half = 0; half < packed; ++half) {
      const int k = packed * t + half, middle = depth / 2;
      for (int i = 0; i < 4; ++i)
        a[g + 8 * (i % 2)][k + middle * (i / 2)] = element_of(mine.a[i], half, format);
      for (int i = 0; i < 2; ++i) b[k + middle * i][g] = element_of(mine.b[i], half, format);
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    const auto& mine = *static_cast<const ProductLane*>(lanes[lane]);
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + 8 * (i / 2), column = lane % 4 * 2 + i % 2;
      for (int k = 0; k < depth; ++k) mine.d[i] += a[row][k] * b[k][column];
    }
  }
}

}  // namespace

void load_matrices(uint32_t* registers, int count, const void* row, bool transposed, Location at) {
  Block& block = Block::current();
  if (lane_index() < 8 * static_cast<uint32_t>(count))
    emulate::check_shared_read(row, 16, block.thread().generic(), at);
  MatrixLane mine{static_cast<std::byte*>(const_cast<void*>(row)), registers};
  block.meet_warp(
      kFullMask, &mine,
      [&](std::span<void* const> lanes) {
        for_elements(lanes, count, transposed, [](uint32_t& to, uint32_t half, uint16_t from) {
          to = half == 0 ? from : to | static_cast<uint32_t>(from) << 16;
        });
      },
      false, at);
}

void store_matrices(const uint32_t* registers, int count, void* row, bool transposed, Location at) {
  Block& block = Block::current();
  if (lane_index() < 8 * static_cast<uint32_t>(count))
    emulate::check_shared_write(row, 16, block.thread().generic(), at);
  MatrixLane mine{static_cast<std::byte*>(row), const_cast<uint32_t*>(registers)};
  block.meet_warp(
      kFullMask, &mine,
      [&](std::span<void* const> lanes) {
        for_elements(lanes, count, transposed, [](uint32_t from, uint32_t half, uint16_t& to) {
          to = static_cast<uint16_t>(from >> (16 * half));
        });
      },
      false, at);
}

void multiply(float* d, const uint32_t* a, const uint32_t* b, Format format, Location at) {
  ProductLane mine{d, a, b};
  Block::current().meet_warp(
      kFullMask, &mine, [&](std::span<void* const> lanes) { multiply_lanes(lanes, format); }, false,
      at);
}

}  // namespace plinth::device::detail
