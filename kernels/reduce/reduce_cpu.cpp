#include "kernels/reduce/reduce.h"

#include <algorithm>
#include <type_traits>
#include <vector>

namespace plinth::kernels::cpu {
namespace {

constexpr int64_t kBlock = 128;

// Joins partial results pairwise, as if the whole list were halved again and again, while holding
// only one value a level: bit k of `count` says whether level k holds 2^k blocks.
template <class C, class Combine>
class PairwiseTree {
 public:
  PairwiseTree(C identity, Combine combine) : identity_(identity), combine_(combine) {}
  void add(C value) {
    int level = 0;
    for (uint64_t bits = count_++; bits & 1; bits >>= 1) value = combine_(levels_[level++], value);
    levels_[level] = value;
  }
  C result() const {
    C total = identity_;
    bool any = false;
    for (int level = 0; level < 64; ++level) {
      if (!((count_ >> level) & 1)) continue;
      total = any ? combine_(levels_[level], total) : levels_[level];
      any = true;
    }
    return total;
  }

 private:
  C identity_;
  Combine combine_;
  uint64_t count_ = 0;
  std::array<C, 64> levels_{};
};

template <class C, class T, class Combine>
C reduce_block(const T* x, int64_t n, int64_t stride, C identity, Combine combine) {
  // Sixteen independent chains fill a vector register.
  constexpr int kLanes = 16;
  C lanes[kLanes];
  std::fill_n(lanes, kLanes, identity);
  int64_t i = 0;
  if (stride == 1) {
    for (; i + kLanes <= n; i += kLanes) {
#pragma omp simd
      for (int l = 0; l < kLanes; ++l) lanes[l] = combine(lanes[l], static_cast<C>(x[i + l]));
    }
  }
  for (; i < n; ++i) lanes[i % kLanes] = combine(lanes[i % kLanes], static_cast<C>(x[i * stride]));
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int l = 0; l < width; ++l) lanes[l] = combine(lanes[l], lanes[l + width]);
  }
  return lanes[0];
}

template <class C, class T, class Combine>
C reduce_all(const Loop<1>& loop, const T* x, C identity, Combine combine) {
  PairwiseTree<C, Combine> tree(identity, combine);
  const int64_t rows = loop.rows(), inner = loop.inner(), stride = loop.inner_stride(0);
  for (int64_t r = 0; r < rows; ++r) {
    const T* row = x + loop.offsets(r)[0];
    for (int64_t i = 0; i < inner; i += kBlock) {
      tree.add(
          reduce_block(row + i * stride, std::min(kBlock, inner - i), stride, identity, combine));
    }
  }
  return tree.result();
}

int64_t reduced_count(const Reduction& shape) {
  return shape.reduced.rows() * shape.reduced.inner();
}

// Whether the kept dimension is the one with neighbouring elements, as in a sum over rows.
template <class T>
bool keeps_inner(const Reduction& shape) {
  return shape.kept.dims > 0 && shape.kept.inner_stride(1) == 1 &&
         shape.kept.inner_stride(0) == 1 && shape.kept.inner() >= 8;
}

// Reduces `width` neighbouring columns at once: rows of the input are read whole.
template <class C, class T, class Combine>
void reduce_columns(const Loop<1>& loop, const T* x, T* out, int64_t width, C identity,
                    Combine combine) {
  const int64_t total = loop.rows() * loop.inner();
  std::vector<std::vector<C>> levels;
  std::vector<C> block(width);
  uint64_t count = 0;
  const auto push = [&] {
    size_t level = 0;
    for (uint64_t bits = count++; bits & 1; bits >>= 1, ++level) {
      for (int64_t c = 0; c < width; ++c) block[c] = combine(levels[level][c], block[c]);
    }
    if (level == levels.size()) levels.emplace_back(width);
    levels[level].swap(block);
  };
  for (int64_t begin = 0; begin < total; begin += kBlock) {
    block.assign(width, identity);
    for (int64_t i = begin; i < std::min(total, begin + kBlock); ++i) {
      const T* row =
          x + loop.offsets(i / loop.inner())[0] + i % loop.inner() * loop.inner_stride(0);
      C* __restrict sums = block.data();
      for (int64_t c = 0; c < width; ++c) sums[c] = combine(sums[c], static_cast<C>(row[c]));
    }
    push();
  }
  std::vector<C> result(width, identity);
  bool any = false;
  for (size_t level = 0; level < levels.size(); ++level) {
    if (!((count >> level) & 1)) continue;
    for (int64_t c = 0; c < width; ++c)
      result[c] = any ? combine(levels[level][c], result[c]) : levels[level][c];
    any = true;
  }
  for (int64_t c = 0; c < width; ++c) out[c] = static_cast<T>(result[c]);
}

template <class T, class Combine>
void run(const Reduction& shape, const T* x, T* out, compute_t<T> identity, Combine combine) {
  using C = compute_t<T>;
  const int64_t work = std::max<int64_t>(1, reduced_count(shape));
  const int64_t rows = shape.kept.rows(), inner = shape.kept.inner();
  if (keeps_inner<T>(shape)) {
    constexpr int64_t kWidth = 256;
    const int64_t strips = (inner + kWidth - 1) / kWidth;
    parallel_for(rows * strips, grain_for(work * kWidth), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const auto at = shape.kept.offsets(i / strips);
        const int64_t first = i % strips * kWidth;
        reduce_columns<C>(shape.reduced, x + at[1] + first, out + at[0] + first,
                          std::min(kWidth, inner - first), identity, combine);
      }
    });
    return;
  }
  parallel_for(rows * inner, grain_for(work), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto at = shape.kept.offsets(i / inner);
      const int64_t column = i % inner;
      out[at[0] + column * shape.kept.inner_stride(0)] = static_cast<T>(reduce_all<C>(
          shape.reduced, x + at[1] + column * shape.kept.inner_stride(1), identity, combine));
    }
  });
}

template <class C>
constexpr C lowest() {
  return std::is_floating_point_v<C> ? -std::numeric_limits<C>::infinity()
                                     : std::numeric_limits<C>::lowest();
}
template <class C>
constexpr C highest() {
  return std::is_floating_point_v<C> ? std::numeric_limits<C>::infinity()
                                     : std::numeric_limits<C>::max();
}

// Calls f(output offset, input offset) for every output element, from several threads.
template <class F>
void for_each_output(const Reduction& shape, F f) {
  const int64_t rows = shape.kept.rows(), inner = shape.kept.inner();
  parallel_for(rows * inner, grain_for(std::max<int64_t>(1, reduced_count(shape))),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) {
                   const auto at = shape.kept.offsets(i / inner);
                   f(at[0] + i % inner * shape.kept.inner_stride(0),
                     at[1] + i % inner * shape.kept.inner_stride(1));
                 }
               });
}

template <class T>
const T& element(const Loop<1>& loop, const T* x, int64_t i) {
  return x[loop.offsets(i / loop.inner())[0] + i % loop.inner() * loop.inner_stride(0)];
}

}  // namespace

template <class T>
void reduce(ReduceOp op, const Reduction& shape, const T* x, T* out) {
  using C = compute_t<T>;
  switch (op) {
    case ReduceOp::Sum:
      return run(shape, x, out, C(0), [](C a, C b) { return static_cast<C>(a + b); });
    case ReduceOp::Prod:
      return run(shape, x, out, C(1), [](C a, C b) { return static_cast<C>(a * b); });
    case ReduceOp::Max:
      return run(shape, x, out, lowest<C>(), [](C a, C b) { return a != a || a > b ? a : b; });
    case ReduceOp::Min:
      return run(shape, x, out, highest<C>(), [](C a, C b) { return a != a || a < b ? a : b; });
  }
}

template <class T>
void argmax(const Reduction& shape, const T* x, int64_t* out) {
  using C = compute_t<T>;
  const int64_t count = reduced_count(shape);
  for_each_output(shape, [&](int64_t to, int64_t from) {
    int64_t best = 0;
    C value = element(shape.reduced, x + from, 0);
    for (int64_t i = 1; i < count && value == value; ++i) {
      const C candidate = element(shape.reduced, x + from, i);
      if (candidate > value || candidate != candidate) {
        value = candidate;
        best = i;
      }
    }
    out[to] = best;
  });
}

void any(const Reduction& shape, const bool* x, bool* out) {
  const int64_t count = reduced_count(shape);
  for_each_output(shape, [&](int64_t to, int64_t from) {
    bool found = false;
    for (int64_t i = 0; i < count && !found; ++i) found = element(shape.reduced, x + from, i);
    out[to] = found;
  });
}

void all(const Reduction& shape, const bool* x, bool* out) {
  const int64_t count = reduced_count(shape);
  for_each_output(shape, [&](int64_t to, int64_t from) {
    bool holds = true;
    for (int64_t i = 0; i < count && holds; ++i) holds = element(shape.reduced, x + from, i);
    out[to] = holds;
  });
}

template <class T>
void cumsum(int64_t rows, int64_t length, const T* x, T* out) {
  using C = compute_t<T>;
  parallel_for(rows, grain_for(length), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      C total = 0;
      for (int64_t i = r * length; i < (r + 1) * length; ++i) {
        total = static_cast<C>(total + static_cast<C>(x[i]));
        out[i] = static_cast<T>(total);
      }
    }
  });
}

#define PLINTH_INSTANTIATE(T)                                        \
  template void reduce<T>(ReduceOp, const Reduction&, const T*, T*); \
  template void argmax<T>(const Reduction&, const T*, int64_t*);     \
  template void cumsum<T>(int64_t, int64_t, const T*, T*);
PLINTH_INSTANTIATE(double)
PLINTH_INSTANTIATE(float)
PLINTH_INSTANTIATE(BFloat16)
PLINTH_INSTANTIATE(Float16)
PLINTH_INSTANTIATE(int64_t)
PLINTH_INSTANTIATE(int32_t)
PLINTH_INSTANTIATE(uint8_t)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cpu
