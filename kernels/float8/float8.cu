#include "kernels/device/device.h"
#include "kernels/float8/float8_cuda.h"
#include "kernels/float8/scale.h"
#include "kernels/instantiate.h"

namespace plinth::kernels::cuda {
namespace {

using namespace plinth::device;

constexpr uint32_t kThreads = 256;
constexpr int kTile = static_cast<int>(kFloat8Tile);
constexpr int kPiece = 16;          // elements that a thread takes: a 16-byte vector of float8
constexpr int kPitch = kTile + 16;  // bytes of a row of the transposed tile
constexpr size_t kScratch = 32 * sizeof(float);
constexpr uint32_t kOneBlock = 1024;

PLINTH_DEVICE float with(float amax, float value) {
  const float size = value < 0 ? -value : value;
  return size > amax ? size : amax;
}

template <class F>
using Piece = Vector<F, kPiece>;

// kPiece elements in a row, in vectors where they are aligned.
template <class T>
PLINTH_DEVICE void read_piece(Global<const T> from, bool aligned, float (&values)[kPiece]) {
  constexpr int kWidth = kVectorWidth<T>;
  PLINTH_UNROLL
  for (int e = 0; e < kPiece; e += kWidth) {
    Vector<T, kWidth> vector;
    if (aligned) {
      vector = load_vector<Vector<T, kWidth>>(from + e);
    } else {
      PLINTH_UNROLL
      for (int i = 0; i < kWidth; ++i) vector[i] = from[e + i];
    }
    PLINTH_UNROLL
    for (int i = 0; i < kWidth; ++i) values[e + i] = static_cast<float>(vector[i]);
  }
}

// Where a thread's piece of a tile lies: 4 pieces a row, 64 rows.
struct Place {
  int row, col;
  int64_t i, j;  // in the matrix

  PLINTH_DEVICE explicit Place(int64_t cols) {
    const int64_t across = (cols + kTile - 1) / kTile, tile = block_index().x;
    row = static_cast<int>(thread_index()) / (kTile / kPiece);
    col = static_cast<int>(thread_index()) % (kTile / kPiece) * kPiece;
    i = tile / across * kTile;
    j = tile % across * kTile;
  }
};

PLINTH_DEVICE void write_amax(float amax, Global<float> amaxes) {
  amax = block_reduce<Max>(amax, 0.0f, shared_array<float>(0, 32));
  if (thread_index() == 0) amaxes[block_index().x] = amax;
}

template <class T>
PLINTH_KERNEL void amax_kernel(int64_t rows, int64_t cols, bool aligned, Global<const T> x,
                               Global<float> amaxes) {
  const Place at(cols);
  float amax = 0;
  if (at.i + at.row < rows && at.j + at.col < cols) {
    float values[kPiece];
    read_piece<T>(x + ((at.i + at.row) * cols + at.j + at.col), aligned, values);
    PLINTH_UNROLL
    for (int e = 0; e < kPiece; ++e) amax = with(amax, values[e]);
  }
  write_amax(amax, amaxes);
}

// The tile in shared memory has a row for each column of the matrix.
template <class F>
PLINTH_DEVICE void write_transposed(const Place& at, int64_t padded, int64_t cols, Shared<F> tile,
                                    Global<F> q_transposed) {
  block_sync();
  if (at.j + at.row >= cols || at.i + at.col >= padded) return;
  store_vector(q_transposed + ((at.j + at.row) * padded + at.i + at.col),
               load_vector<Piece<F>>(tile + (at.row * kPitch + at.col)));
}

template <class T, class F>
PLINTH_KERNEL void quantise_kernel(int64_t rows, int64_t padded, int64_t cols, bool aligned,
                                   Global<const T> x, Global<const float> scale, Global<F> q,
                                   Global<F> q_transposed, Global<float> amaxes) {
  const Place at(cols);
  const Shared<F> tile = shared_array<F>(kScratch, kTile * kPitch);
  const float factor = scale[0];
  const int64_t row = at.i + at.row, col = at.j + at.col;
  float values[kPiece] = {};
  float amax = 0;
  if (row < padded && col < cols) {
    if (row < rows) read_piece<T>(x + (row * cols + col), aligned, values);
    Piece<F> piece;
    PLINTH_UNROLL
    for (int e = 0; e < kPiece; ++e) {
      amax = with(amax, values[e]);
      piece[e] = F(values[e] * factor);
      if (q_transposed) tile[(at.col + e) * kPitch + at.row] = piece[e];
    }
    store_vector(q + (row * cols + col), piece);
  }
  if (q_transposed) write_transposed<F>(at, padded, cols, tile, q_transposed);
  if (amaxes) write_amax(amax, amaxes);
}

// The largest of `count` amaxes, in every thread of the one block.
PLINTH_DEVICE float largest_of(int64_t count, Global<const float> amaxes) {
  float amax = 0;
  for (int64_t i = thread_index(); i < count; i += kOneBlock) {
    const float value = amaxes[i];
    amax = with(amax, value);
  }
  return block_reduce<Max>(amax, 0.0f, shared_array<float>(0, 32));
}

PLINTH_KERNEL void scale_kernel(int64_t count, Global<const float> amaxes, float largest,
                                float margin, Global<float> scale) {
  const float factor = scale_for(largest_of(count, amaxes), largest, margin);
  if (thread_index() == 0) {
    scale[0] = factor;
    scale[1] = 1 / factor;
  }
}

PLINTH_KERNEL void record_kernel(int64_t count, Global<const float> amaxes, int64_t length,
                                 Global<float> history) {
  const float newest = largest_of(count, amaxes);
  const int64_t i = thread_index();
  float value = newest;
  if (i > 0 && i < length) {
    const float before = history[i - 1];
    value = before;
  }
  block_sync();
  if (i < length) history[i] = value;
}

uint32_t blocks_for(int64_t rows, int64_t cols) {
  return static_cast<uint32_t>(float8_tiles(rows, cols));
}

bool is_aligned(const void* x) {
  return reinterpret_cast<uintptr_t>(x) % 16 == 0;
}

}  // namespace

template <class T>
void float8_amax(void* stream, int64_t rows, int64_t cols, const T* x, float* amaxes) {
  if (rows == 0 || cols == 0) return;
  launch("float8_amax", amax_kernel<T>, {{blocks_for(rows, cols)}, {kThreads}, kScratch},
         static_cast<Stream>(stream), rows, cols, is_aligned(x), x, amaxes);
}

void float8_scale(void* stream, int64_t count, const float* amaxes, float largest, float margin,
                  float* scale) {
  launch("float8_scale", scale_kernel, {{1}, {kOneBlock}, kScratch}, static_cast<Stream>(stream),
         count, amaxes, largest, margin, scale);
}

void float8_record(void* stream, int64_t count, const float* amaxes, int64_t length,
                   float* history) {
  launch("float8_record", record_kernel, {{1}, {kOneBlock}, kScratch}, static_cast<Stream>(stream),
         count, amaxes, length, history);
}

template <class T, class F>
void float8_quantise(void* stream, int64_t rows, int64_t padded, int64_t cols, const T* x,
                     const float* scale, F* q, F* q_transposed, float* amaxes) {
  if (padded == 0 || cols == 0) return;
  const size_t bytes = kScratch + kTile * kPitch;
  launch("float8_quantise", quantise_kernel<T, F>, {{blocks_for(padded, cols)}, {kThreads}, bytes},
         static_cast<Stream>(stream), rows, padded, cols, is_aligned(x), x, scale, q, q_transposed,
         amaxes);
}

#define INSTANTIATE(T)                                                                    \
  template void float8_amax(void*, int64_t, int64_t, const T*, float*);                   \
  template void float8_quantise(void*, int64_t, int64_t, int64_t, const T*, const float*, \
                                Float8_e4m3*, Float8_e4m3*, float*);                      \
  template void float8_quantise(void*, int64_t, int64_t, int64_t, const T*, const float*, \
                                Float8_e5m2*, Float8_e5m2*, float*);
PLINTH_FOR_EACH_FLOAT(INSTANTIATE)
#undef INSTANTIATE

}  // namespace plinth::kernels::cuda
