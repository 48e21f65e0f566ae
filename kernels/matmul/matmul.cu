#include "kernels/matmul/matmul_cuda.h"

#include "kernels/device/device.h"

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
};

// A thread's elements of a slice: neighbouring lanes take neighbours in memory, and element e lies
// `rows` rows or `places` places after element e - 1.
struct Share {
  int row, place, rows, places;
  int64_t offset, step;  // of its first element, and from one to the next, in memory

  PLINTH_DEVICE explicit Share(const Operand& x) {
    const int thread = static_cast<int>(thread_index());
    row = x.along_k ? thread / kSlice : thread % kSide;
    place = x.along_k ? thread % kSlice : thread / kSide;
    rows = x.along_k ? static_cast<int>(kThreads) / kSlice : 0;
    places = x.along_k ? 0 : static_cast<int>(kThreads) / kSide;
    offset = row * x.row + place * x.along;
    step = rows * x.row + places * x.along;
  }

  // Of the slice at `from`, of which rows_left and places_left exist; zeros beyond them.
  template <class T>
  PLINTH_DEVICE void load(Global<const T> from, int rows_left, int places_left,
                          compute_t<T> (&held)[kLoads]) const {
    PLINTH_UNROLL
    for (int e = 0; e < kLoads; ++e) {
      held[e] = compute_t<T>(0);
      if (row + e * rows < rows_left && place + e * places < places_left) {
        const T element = from[offset + e * step];
        held[e] = element;
      }
    }
  }

  template <class C>
  PLINTH_DEVICE void store(const C (&held)[kLoads], Shared<C> slice) const {
    PLINTH_UNROLL
    for (int e = 0; e < kLoads; ++e)
      slice[(place + e * places) * kPitch + row + e * rows] = held[e];
  }
};

PLINTH_DEVICE int at_most(int64_t left, int most) {
  return left < most ? static_cast<int>(left) : most;
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

// What the product is multiplied with.
struct Scales {
  Global<const float> a, b;

  template <class C>
  PLINTH_DEVICE C apply(C sum) const {
    if (a) {
      const float scale = a[0];
      sum *= static_cast<C>(scale);
    }
    if (b) {
      const float scale = b[0];
      sum *= static_cast<C>(scale);
    }
    return sum;
  }
};

template <class A, class B, class R>
PLINTH_KERNEL void matmul_kernel(MatmulDesc desc, Operand rows, Operand columns, Global<const A> a,
                                 Global<const B> b, Global<R> c, Global<const R> bias,
                                 Global<const float> a_scale, Global<const float> b_scale) {
  using C = compute_t<A>;
  constexpr int kBuffer = 2 * kSlice * kPitch;  // a's slice, then b's
  const Shared<C> shared = shared_array<C>(0, 2 * kBuffer);
  const int64_t tiles_n = (desc.n + kSide - 1) / kSide, tiles_m = (desc.m + kSide - 1) / kSide;
  const int64_t block = block_index().x;
  const int64_t j0 = block % tiles_n * kSide, i0 = block / tiles_n % tiles_m * kSide;
  const int64_t batch = block / tiles_n / tiles_m;
  const Share share_a(rows), share_b(columns);
  const int rows_left = at_most(desc.m - i0, kSide), columns_left = at_most(desc.n - j0, kSide);
  Global<const A> from_a = a + (batch * desc.a[0] + i0 * rows.row);
  Global<const B> from_b = b + (batch * desc.b[0] + j0 * columns.row);
  const int own_row = static_cast<int>(thread_index()) / (kSide / kOwn) * kOwn;
  const int own_column = static_cast<int>(thread_index()) % (kSide / kOwn) * kOwn;

  C sum[kOwn][kOwn] = {};
  C held_a[kLoads], held_b[kLoads];
  share_a.template load<A>(from_a, rows_left, at_most(desc.k, kSlice), held_a);
  share_b.template load<B>(from_b, columns_left, at_most(desc.k, kSlice), held_b);
  int buffer = 0;
  for (int64_t p = 0; p < desc.k; p += kSlice, buffer ^= 1) {
    const Shared<C> slice_a = shared + buffer * kBuffer;
    const Shared<C> slice_b = slice_a + kSlice * kPitch;
    share_a.store(held_a, slice_a);
    share_b.store(held_b, slice_b);
    block_sync();
    const int places_left = at_most(desc.k - p - kSlice, kSlice);  // of the next slice
    from_a = from_a + kSlice * rows.along;
    from_b = from_b + kSlice * columns.along;
    share_a.template load<A>(from_a, rows_left, places_left, held_a);
    share_b.template load<B>(from_b, columns_left, places_left, held_b);
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

  const Scales scales{a_scale, b_scale};
  PLINTH_UNROLL
  for (int i = 0; i < kOwn; ++i) {
    PLINTH_UNROLL
    for (int j = 0; j < kOwn; ++j) {
      const int64_t row = i0 + own_row + i, column = j0 + own_column + j;
      if (row >= desc.m || column >= desc.n) continue;
      const Global<R> to = c + (batch * desc.c[0] + row * desc.c[1] + column * desc.c[2]);
      C result = scales.apply(sum[i][j]);
      if (bias) {
        const R added = bias[column];
        result += static_cast<C>(added);
      }
      if (desc.accumulate) {
        const R before = to[0];
        result += static_cast<C>(before);
      }
      to[0] = R(result);
    }
  }
}

}  // namespace

template <class A, class B, class R>
void matmul(void* stream, const MatmulDesc& desc, const A* a, const B* b, R* c, const R* bias,
            const float* a_scale, const float* b_scale) {
  if (desc.batch == 0 || desc.m == 0 || desc.n == 0) return;
  const Operand rows{desc.m, desc.a[1], desc.a[2], desc.a[2] == 1};
  const Operand columns{desc.n, desc.b[2], desc.b[1], desc.b[1] == 1};
  const int64_t tiles = (desc.m + kSide - 1) / kSide * ((desc.n + kSide - 1) / kSide);
  const auto blocks = static_cast<uint32_t>(desc.batch * tiles);
  constexpr size_t kBytes = sizeof(compute_t<A>) * 4 * kSlice * kPitch;
  launch("matmul", matmul_kernel<A, B, R>, {{blocks}, {kThreads}, kBytes},
         static_cast<Stream>(stream), desc, rows, columns, a, b, c, bias, a_scale, b_scale);
}

#define INSTANTIATE(A, B, R)                                                                     \
  template void matmul(void*, const MatmulDesc&, const A*, const B*, R*, const R*, const float*, \
                       const float*);
INSTANTIATE(double, double, double)
INSTANTIATE(float, float, float)
INSTANTIATE(BFloat16, BFloat16, BFloat16)
INSTANTIATE(Float16, Float16, Float16)
INSTANTIATE(BFloat16, BFloat16, float)
INSTANTIATE(Float16, Float16, float)
#define INSTANTIATE_FLOAT8(R)              \
  INSTANTIATE(Float8_e4m3, Float8_e4m3, R) \
  INSTANTIATE(Float8_e4m3, Float8_e5m2, R) \
  INSTANTIATE(Float8_e5m2, Float8_e4m3, R)
INSTANTIATE_FLOAT8(float)
INSTANTIATE_FLOAT8(BFloat16)
INSTANTIATE_FLOAT8(Float16)
#undef INSTANTIATE_FLOAT8
#undef INSTANTIATE

}  // namespace plinth::kernels::cuda
