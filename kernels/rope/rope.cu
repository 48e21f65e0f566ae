#include "kernels/rope/rope_cuda.h"

#include "kernels/first_outside_cuda.cuh"
#include "kernels/instantiate.h"
#include "kernels/rows_cuda.cuh"

namespace plinth::kernels::cuda {
namespace {

constexpr uint32_t kThreads = 128;

// Pairs that a thread turns at once: those of one vector, or of two.
template <class T, bool kInterleaved>
constexpr int kPairs = kInterleaved ? kVectorWidth<T> / 2 : kVectorWidth<T>;

// n elements of a table, in accesses of 16 bytes at most.
template <int n, class C>
PLINTH_DEVICE void read_table(Global<const C> from, C (&values)[n]) {
  constexpr int kWidth = n < kVectorWidth<C> ? n : kVectorWidth<C>;
  PLINTH_UNROLL
  for (int i = 0; i < n; i += kWidth) {
    C part[kWidth];
    read<C>(from + i, part);
    PLINTH_UNROLL
    for (int e = 0; e < kWidth; ++e) values[i + e] = part[e];
  }
}

// Pairs [i, i + n) of a head.
template <class T, bool kInterleaved, int n>
PLINTH_DEVICE void turn(int64_t i, int64_t half, Global<const T> x, Global<const compute_t<T>> cos,
                        Global<const compute_t<T>> sin, compute_t<T> sign, Global<T> y) {
  using C = compute_t<T>;
  C c[n], s[n];
  read_table<n>(cos + i, c);
  read_table<n>(sin + i, s);
  if constexpr (kInterleaved) {
    C v[2 * n];
    read<T>(x + 2 * i, v);
    PLINTH_UNROLL
    for (int e = 0; e < n; ++e) {
      const C a = v[2 * e], b = v[2 * e + 1];
      v[2 * e] = a * c[e] - b * (sign * s[e]);
      v[2 * e + 1] = a * (sign * s[e]) + b * c[e];
    }
    write<T>(y + 2 * i, v);
  } else {
    C a[n], b[n];
    read<T>(x + i, a);
    read<T>(x + half + i, b);
    PLINTH_UNROLL
    for (int e = 0; e < n; ++e) {
      const C turned = a[e] * c[e] - b[e] * (sign * s[e]);
      b[e] = a[e] * (sign * s[e]) + b[e] * c[e];
      a[e] = turned;
    }
    write<T>(y + i, a);
    write<T>(y + half + i, b);
  }
}

// Interleaved pairs at a pointer that may split them.
template <class T>
PLINTH_DEVICE void turn_pair(Global<const T> x, compute_t<T> c, compute_t<T> s, Global<T> y) {
  using C = compute_t<T>;
  C a[1], b[1];
  read<T>(x, a);
  read<T>(x + 1, b);
  y[0] = T(a[0] * c - b[0] * s);
  y[1] = T(a[0] * s + b[0] * c);
}

template <class T, bool kInterleaved, bool kWhole>
PLINTH_KERNEL void rope_kernel(RopeDesc d, Global<const T> x, Global<const compute_t<T>> cos,
                               Global<const compute_t<T>> sin, Global<const int64_t> positions,
                               Global<T> y) {
  using C = compute_t<T>;
  constexpr int kTurned = kWhole ? kPairs<T, kInterleaved> : 1;
  constexpr int kCopied = kWhole ? kVectorWidth<T> : 1;
  const int64_t token = block_index().x, batch = token / d.seq, place = token % d.seq;
  const int64_t half = d.rotary_dim / 2;
  int64_t position = d.offset + place;
  if (positions) {
    const int64_t given = positions[token];
    position = given < 0 ? 0 : given < d.table_rows ? given : d.table_rows - 1;
  }
  const C sign = d.inverse ? C(-1) : C(1);
  const auto turns = static_cast<uint32_t>(half / kTurned);
  const uint32_t units = turns + static_cast<uint32_t>((d.head_dim - d.rotary_dim) / kCopied);
  const uint32_t all = units * static_cast<uint32_t>(d.heads);
  for (uint32_t u = thread_index(); u < all; u += block_threads()) {
    const int64_t head = u / units, unit = u % units;
    const Global<const T> in = x + batch * d.in.batch + place * d.in.seq + head * d.in.head;
    const Global<T> out = y + batch * d.out.batch + place * d.out.seq + head * d.out.head;
    if (unit >= turns) {
      const int64_t at = d.rotary_dim + (unit - turns) * kCopied;
      C kept[kCopied];
      read<T>(in + at, kept);
      write<T>(out + at, kept);
    } else if constexpr (kInterleaved && !kWhole) {
      const C c = cos[position * half + unit], s = sin[position * half + unit];
      turn_pair<T>(in + 2 * unit, c, sign * s, out + 2 * unit);
    } else {
      turn<T, kInterleaved, kTurned>(unit * kTurned, half, in, cos + position * half,
                                     sin + position * half, sign, out);
    }
  }
}

// Whether all that a thread takes at once is whole, aligned vectors.
template <class T>
bool whole(const RopeDesc& d, const T* x, const compute_t<T>* cos, const compute_t<T>* sin,
           const T* y) {
  constexpr int64_t kWidth = kVectorWidth<T>;
  const int64_t pairs = d.interleaved ? kPairs<T, true> : kPairs<T, false>;
  for (const cpu::RopeStrides& s : {d.in, d.out}) {
    if (s.batch % kWidth != 0 || s.seq % kWidth != 0 || s.head % kWidth != 0) return false;
  }
  return d.rotary_dim / 2 % pairs == 0 && d.rotary_dim % kWidth == 0 && d.head_dim % kWidth == 0 &&
         common_offset(x, y, cos, sin) == 0;
}

template <class T, bool kInterleaved>
void launch_rope(void* stream, const RopeDesc& d, const T* x, const compute_t<T>* cos,
                 const compute_t<T>* sin, const int64_t* positions, T* y) {
  launch("rope",
         whole(d, x, cos, sin, y) ? rope_kernel<T, kInterleaved, true>
                                  : rope_kernel<T, kInterleaved, false>,
         {{static_cast<uint32_t>(d.batch * d.seq)}, {kThreads}, 0}, static_cast<Stream>(stream), d,
         x, cos, sin, positions, y);
}

}  // namespace

template <class T>
void rope(void* stream, const RopeDesc& desc, const T* x, const compute_t<T>* cos,
          const compute_t<T>* sin, const int64_t* positions, T* y) {
  if (desc.batch == 0 || desc.seq == 0 || desc.heads == 0 || desc.head_dim == 0) return;
  if (desc.interleaved) {
    launch_rope<T, true>(stream, desc, x, cos, sin, positions, y);
  } else {
    launch_rope<T, false>(stream, desc, x, cos, sin, positions, y);
  }
}

void first_bad_position(void* stream, int64_t n, int64_t table_rows, const int64_t* positions,
                        int64_t* first) {
  first_outside(stream, n, {.limit = table_rows}, positions, first);
}

#define PLINTH_INSTANTIATE(T)                                                  \
  template void rope<T>(void*, const RopeDesc&, const T*, const compute_t<T>*, \
                        const compute_t<T>*, const int64_t*, T*);
PLINTH_FOR_EACH_FLOAT(PLINTH_INSTANTIATE)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cuda
