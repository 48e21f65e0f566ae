#include "kernels/index/index_cuda.h"

#include "kernels/first_outside_cuda.cuh"
#include "kernels/index/with_bits.h"
#include "kernels/segment_add.cuh"

namespace plinth::kernels::cuda {
namespace {

constexpr uint32_t kThreads = 256;
constexpr int kInFlight = 4;

// Words of 1 to 16 bytes in which a row is moved.
using Word16 = Vector<uint64_t, 2>;

// Thread t of the grid moves words t, t + step, ... of the rows from `first` on: word `w` of row
// first + r is number r * words + w.
template <class Word>
PLINTH_KERNEL void select_kernel(IndexShape shape, int64_t first, uint32_t count, Division words,
                                 Division indices, Global<const Word> x,
                                 Global<const int64_t> index, Global<Word> out) {
  const uint32_t begin = block_index().x * (kThreads * kInFlight) + thread_index();
  Word moved[kInFlight];
  PLINTH_UNROLL
  for (int k = 0; k < kInFlight; ++k) {
    const uint32_t number = begin + k * kThreads;
    if (number >= count) continue;
    const uint32_t row = words.quotient(number);
    const uint32_t word = number - row * words.divisor;
    const int64_t line = first + row;
    const int64_t outer = line < (int64_t{1} << 31) ? indices.quotient(static_cast<uint32_t>(line))
                                                    : line / shape.indices;
    const int64_t i = line - outer * shape.indices;
    const int64_t at = index[i];
    moved[k] = Word{};
    if (at >= 0 && at < shape.length)
      moved[k] = x[(outer * shape.length + at) * words.divisor + word];
  }
  PLINTH_UNROLL
  for (int k = 0; k < kInFlight; ++k) {
    const uint32_t number = begin + k * kThreads;
    if (number < count) out[first * words.divisor + number] = moved[k];
  }
}

template <class Word>
void select_words(void* stream, const IndexShape& shape, int64_t row_bytes, const void* x,
                  const int64_t* index, void* out) {
  const int64_t words = row_bytes / static_cast<int64_t>(sizeof(Word));
  const int64_t rows = shape.outer * shape.indices;
  // As many rows a launch as 31 bits number.
  const int64_t most = std::max<int64_t>(1, ((int64_t{1} << 31) - 1) / words);
  for (int64_t first = 0; first < rows; first += most) {
    const auto count = static_cast<uint32_t>(std::min(most, rows - first) * words);
    constexpr uint32_t kABlock = kThreads * kInFlight;
    launch("index_select", select_kernel<Word>, {{(count + kABlock - 1) / kABlock}, {kThreads}, 0},
           static_cast<Stream>(stream), shape, first, count, Division(words),
           Division(shape.indices), static_cast<const Word*>(x), index, static_cast<Word*>(out));
  }
}

// Element (o, i, k) is number (o * indices + i) * inner + k.
template <class Bits>
PLINTH_KERNEL void gather_kernel(IndexShape shape, int64_t count, Global<const Bits> x,
                                 Global<const int64_t> index, Global<Bits> out) {
  const int64_t number = static_cast<int64_t>(block_index().x) * kThreads + thread_index();
  if (number >= count) return;
  const int64_t row = number / shape.inner, k = number - row * shape.inner;
  const int64_t outer = row / shape.indices;
  const int64_t at = index[number];
  Bits value = 0;
  if (at >= 0 && at < shape.length) value = x[(outer * shape.length + at) * shape.inner + k];
  out[number] = value;
}

// A thread has a line (outer, k), and goes through its indices in order. F joins what is there with
// what is written.
template <class T, class F>
PLINTH_KERNEL void scatter_kernel(IndexShape shape, Global<const T> x, Global<const int64_t> index,
                                  Global<T> out, F join) {
  const int64_t line = static_cast<int64_t>(block_index().x) * kThreads + thread_index();
  if (line >= shape.outer * shape.inner) return;
  const int64_t outer = line / shape.inner, k = line - outer * shape.inner;
  for (int64_t i = 0; i < shape.indices; ++i) {
    const int64_t number = (outer * shape.indices + i) * shape.inner + k;
    const int64_t at = index[number];
    if (at < 0 || at >= shape.length) continue;
    const int64_t to = (outer * shape.length + at) * shape.inner + k;
    const T written = x[number], before = out[to];
    out[to] = join(before, written);
  }
}

template <class T>
struct Added {
  using C = compute_t<T>;
  PLINTH_DEVICE T operator()(T before, T written) const {
    return T(static_cast<C>(static_cast<C>(before) + static_cast<C>(written)));
  }
};
template <class T>
struct Replaced {
  PLINTH_DEVICE T operator()(T, T written) const { return written; }
};

template <class T, class F>
void scatter_by(const char* name, void* stream, const IndexShape& shape, const T* x,
                const int64_t* index, T* out, F join) {
  const int64_t lines = shape.outer * shape.inner;
  if (lines == 0 || shape.indices == 0) return;
  const auto blocks = static_cast<uint32_t>((lines + kThreads - 1) / kThreads);
  launch(name, scatter_kernel<T, F>, {{blocks}, {kThreads}, 0}, static_cast<Stream>(stream), shape,
         x, index, out, join);
}

}  // namespace

void index_select(void* stream, const IndexShape& shape, size_t element_size, const void* x,
                  const int64_t* index, void* out) {
  const int64_t bytes = shape.inner * static_cast<int64_t>(element_size);
  if (shape.outer == 0 || shape.indices == 0 || bytes == 0) return;
  const auto allows = [&](uintptr_t word) {
    return static_cast<uintptr_t>(bytes) % word == 0 &&
           reinterpret_cast<uintptr_t>(x) % word == 0 &&
           reinterpret_cast<uintptr_t>(out) % word == 0;
  };
  if (allows(16)) return select_words<Word16>(stream, shape, bytes, x, index, out);
  if (allows(8)) return select_words<uint64_t>(stream, shape, bytes, x, index, out);
  if (allows(4)) return select_words<uint32_t>(stream, shape, bytes, x, index, out);
  if (allows(2)) return select_words<uint16_t>(stream, shape, bytes, x, index, out);
  select_words<uint8_t>(stream, shape, bytes, x, index, out);
}

template <class T>
size_t index_add_workspace(const IndexShape& shape) {
  return segment_add_workspace<T>(shape.outer, shape.length, shape.indices, shape.inner);
}

template <class T>
void index_add(void* stream, const IndexShape& shape, const T* x, const int64_t* index, T* out,
               void* workspace) {
  segment_add(stream, shape.outer, shape.length, shape.indices, shape.inner, index, x, out,
              workspace);
}

void gather(void* stream, const IndexShape& shape, size_t element_size, const void* x,
            const int64_t* index, void* out) {
  const int64_t count = shape.outer * shape.indices * shape.inner;
  if (count == 0) return;
  with_bits(element_size, x, out, [&]<class T>(const T* from, T* to) {
    const auto blocks = static_cast<uint32_t>((count + kThreads - 1) / kThreads);
    launch("gather", gather_kernel<T>, {{blocks}, {kThreads}, 0}, static_cast<Stream>(stream),
           shape, count, from, index, to);
  });
}

template <class T>
void scatter_add(void* stream, const IndexShape& shape, const T* x, const int64_t* index, T* out) {
  scatter_by("scatter_add", stream, shape, x, index, out, Added<T>{});
}

void scatter(void* stream, const IndexShape& shape, size_t element_size, const void* x,
             const int64_t* index, void* out) {
  with_bits(element_size, x, out, [&]<class T>(const T* from, T* to) {
    scatter_by("scatter", stream, shape, from, index, to, Replaced<T>{});
  });
}

void report_bad_index(void* stream, int64_t count, int64_t length, const int64_t* index,
                      uint32_t check, IndexFault* fault) {
  report_outside(stream, count, {.limit = length}, index, check, fault);
}

#define PLINTH_INSTANTIATE(T)                                                                \
  template size_t index_add_workspace<T>(const IndexShape&);                                 \
  template void index_add<T>(void*, const IndexShape&, const T*, const int64_t*, T*, void*); \
  template void scatter_add<T>(void*, const IndexShape&, const T*, const int64_t*, T*);
PLINTH_INSTANTIATE(double)
PLINTH_INSTANTIATE(float)
PLINTH_INSTANTIATE(BFloat16)
PLINTH_INSTANTIATE(Float16)
PLINTH_INSTANTIATE(int64_t)
PLINTH_INSTANTIATE(int32_t)
PLINTH_INSTANTIATE(uint8_t)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cuda
