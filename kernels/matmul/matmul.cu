#include "kernels/matmul/matmul_cuda.h"

#include "kernels/device/device.h"
#include "kernels/instantiate.h"

namespace plinth::kernels::cuda {
namespace {

using namespace plinth::device;

constexpr uint32_t kThreads = 256;
constexpr int kSide = 64;          // of a tile of c
constexpr int kSlice = 16;         // of k
constexpr int kOwn = 4;            // a thread's rows, and columns, of the tile
constexpr int kPitch = kSide + 4;  // of a slice in shared memory: keeps 16-byte alignment
constexpr int kLoads = kSide * kSlice / static_cast<int>(kThreads);

// Operand x seen as [rows, k] with element (r, p) at r * row + p * along.
struct Operand {
  int64_t rows, row, along;
  bool along_k;  // whether neighbours in memory are neighbours along k

  // Which element of a slice load e of this thread is: neighbouring lanes take neighbours in
  // memory.
  PLINTH_DEVICE int row_of(int e) const {
    const int number = e * static_cast<int>(kThreads) + static_cast<int>(thread_index());
    return along_k ? number / kSlice : number % kSide;
  }
  PLINTH_DEVICE int place_of(int e) const {
    const int number = e * static_cast<int>(kThreads) + static_cast<int>(thread_index());
    return along_k ? number % kSlice : number / kSide;
  }
};

// This thread's part of the slice that begins at row `first` and place `p`; zeros beyond the
// matrix.
template <class T>
PLINTH_DEVICE void load_slice(const Operand& x, Global<const T> from, int64_t first, int64_t p,
                              int64_t k, compute_t<T> (&held)[kLoads]) {
  PLINTH_UNROLL
  for (int e = 0; e < kLoads; ++e) {
    const int64_t row = first + x.row_of(e), place = p + x.place_of(e);
    held[e] = compute_t<T>(0);
    if (row < x.rows && place < k) {
      const T element = from[row * x.row + place * x.along];
      held[e] = element;
    }
  }
}

template <class C>
PLINTH_DEVICE void store_slice(const Operand& x, const C (&held)[kLoads], Shared<C> slice) {
  PLINTH_UNROLL
  for (int e = 0; e < kLoads; ++e) slice[x.place_of(e) * kPitch + x.row_of(e)] = held[e];
}

// kOwn neighbours of a slice's row.
template <class C>
PLINTH_DEVICE void read_own(Shared<C> from, C (&to)[kOwn]) {
  constexpr int kPiece = kVectorWidth<C> < kOwn ? kVectorWidth<C> : kOwn;
  PLINTH_UNROLL
  for (int piece = 0; piece < kOwn; piece += kPiece) {
    const auto vector = load_vector<Vector<C, kPiece>>(from + piece);
    PLINTH_UNROLL
    for (int e = 0; e < kPiece; ++e) to[piece + e] = vector[e];
  }
}

template <class T>
PLINTH_KERNEL void matmul_kernel(MatmulDesc desc, Operand rows, Operand columns, Global<const T> a,
                                 Global<const T> b, Global<T> c, Global<const T> bias) {
  using C = compute_t<T>;
  constexpr int kBuffer = 2 * kSlice * kPitch;  // a's slice, then b's
  const Shared<C> shared = shared_array<C>(0, 2 * kBuffer);
  const int64_t tiles_n = (desc.n + kSide - 1) / kSide, tiles_m = (desc.m + kSide - 1) / kSide;
  const int64_t block = block_index().x;
  const int64_t j0 = block % tiles_n * kSide, i0 = block / tiles_n % tiles_m * kSide;
  const int64_t batch = block / tiles_n / tiles_m;
  const Global<const T> from_a = a + batch * desc.a[0], from_b = b + batch * desc.b[0];
  const int own_row = static_cast<int>(thread_index()) / (kSide / kOwn) * kOwn;
  const int own_column = static_cast<int>(thread_index()) % (kSide / kOwn) * kOwn;

  C sum[kOwn][kOwn] = {};
  C held_a[kLoads], held_b[kLoads];
  load_slice<T>(rows, from_a, i0, 0, desc.k, held_a);
  load_slice<T>(columns, from_b, j0, 0, desc.k, held_b);
  int buffer = 0;
  for (int64_t p = 0; p < desc.k; p += kSlice, buffer ^= 1) {
    const Shared<C> slice_a = shared + buffer * kBuffer;
    const Shared<C> slice_b = slice_a + kSlice * kPitch;
    store_slice(rows, held_a, slice_a);
    store_slice(columns, held_b, slice_b);
    block_sync();
    load_slice<T>(rows, from_a, i0, p + kSlice, desc.k, held_a);
    load_slice<T>(columns, from_b, j0, p + kSlice, desc.k, held_b);
    PLINTH_UNROLL
    for (int q = 0; q < kSlice; ++q) {
      C x[kOwn], y[kOwn];
      read_own(slice_a + (q * kPitch + own_row), x);
      read_own(slice_b + (q * kPitch + own_column), y);
      PLINTH_UNROLL
      for (int i = 0; i < kOwn; ++i) {
        PLINTH_UNROLL
        for (int j = 0; j < kOwn; ++j) sum[i][j] += x[i] * y[j];
      }
    }
  }

  PLINTH_UNROLL
  for (int i = 0; i < kOwn; ++i) {
    PLINTH_UNROLL
    for (int j = 0; j < kOwn; ++j) {
      const int64_t row = i0 + own_row + i, column = j0 + own_column + j;
      if (row >= desc.m || column >= desc.n) continue;
      const Global<T> to = c + (batch * desc.c[0] + row * desc.c[1] + column * desc.c[2]);
      C result = sum[i][j];
      if (bias) {
        const T added = bias[column];
        result += static_cast<C>(added);
      }
      if (desc.accumulate) {
        const T before = to[0];
        result += static_cast<C>(before);
      }
      to[0] = T(result);
    }
  }
}

}  // namespace

template <class T>
void matmul(void* stream, const MatmulDesc& desc, const T* a, const T* b, T* c, const T* bias) {
  if (desc.batch == 0 || desc.m == 0 || desc.n == 0) return;
  const Operand rows{desc.m, desc.a[1], desc.a[2], desc.a[2] == 1};
  const Operand columns{desc.n, desc.b[2], desc.b[1], desc.b[1] == 1};
  const int64_t tiles = (desc.m + kSide - 1) / kSide * ((desc.n + kSide - 1) / kSide);
  const auto blocks = static_cast<uint32_t>(desc.batch * tiles);
  constexpr size_t kBytes = sizeof(compute_t<T>) * 4 * kSlice * kPitch;
  launch("matmul", matmul_kernel<T>, {{blocks}, {kThreads}, kBytes}, static_cast<Stream>(stream),
         desc, rows, columns, a, b, c, bias);
}

#define INSTANTIATE(T) \
  template void matmul(void*, const MatmulDesc&, const T*, const T*, T*, const T*);
PLINTH_FOR_EACH_FLOAT(INSTANTIATE)
#undef INSTANTIATE

}  // namespace plinth::kernels::cuda
