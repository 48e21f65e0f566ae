#include "kernels/reduce/reduce.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <type_traits>
#include <vector>

#include "kernels/parallel.h"

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

// What a reduction does: identity, the value that an element counts as, how values join, and what
// becomes of the total.
template <class C, class Map, class Combine, class Finish>
struct Rule {
  C identity;
  Map map;
  Combine combine;
  Finish finish;
};

// Elements of a block take turns in sixteen chains, which fill a vector register; the chains join
// pairwise. Each way to walk the tensor keeps to this, so that its layout changes no bit.
constexpr int kLanes = 16;

template <int width = kLanes / 2, class C, class Combine>
C join_lanes(C* lanes, Combine combine) {
  for (int l = 0; l < width; ++l) lanes[l] = combine(lanes[l], lanes[l + width]);
  if constexpr (width > 1) return join_lanes<width / 2>(lanes, combine);
  return lanes[0];
}

template <class C, class T, class R>
C reduce_block(const T* x, int64_t n, int64_t stride, const R& rule) {
  C lanes[kLanes];
  std::fill_n(lanes, kLanes, rule.identity);
  const auto take = [&](int64_t lane, const T& element) {
    lanes[lane] = rule.combine(lanes[lane], rule.map(static_cast<C>(element)));
  };
  int64_t i = 0;
  if (stride == 1) {
    for (; i + kLanes <= n; i += kLanes) {
#pragma omp simd
      for (int l = 0; l < kLanes; ++l) take(l, x[i + l]);
    }
  }
  for (; i < n; ++i) take(i % kLanes, x[i * stride]);
  return join_lanes(lanes, rule.combine);
}

template <class C, class T, class R>
C reduce_all(const Loop<1>& loop, const T* x, const R& rule) {
  PairwiseTree<C, decltype(rule.combine)> tree(rule.identity, rule.combine);
  const int64_t inner = loop.inner(), stride = loop.inner_stride(0), total = loop.rows() * inner;
  T gathered[kBlock];
  for (int64_t begin = 0; begin < total; begin += kBlock) {
    const int64_t n = std::min(kBlock, total - begin);
    const int64_t column = begin % inner;
    const T* row = x + loop.offsets(begin / inner)[0] + column * stride;
    if (column + n <= inner) {
      tree.add(reduce_block<C>(row, n, stride, rule));
      continue;
    }
    // A block that spans several inner rows.
    for (int64_t i = 0, c = column; i < n; ++i, ++c) {
      if (c == inner) {
        c = 0;
        row = x + loop.offsets((begin + i) / inner)[0];
      } else if (i > 0) {
        row += stride;
      }
      gathered[i] = *row;
    }
    tree.add(reduce_block<C>(gathered, n, 1, rule));
  }
  return rule.finish(tree.result());
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
template <class C, class T, class R>
void reduce_columns(const Loop<1>& loop, const T* x, T* out, int64_t width, const R& rule) {
  const int64_t total = loop.rows() * loop.inner();
  std::vector<std::vector<C>> levels;
  std::vector<C> lanes(kLanes * width);
  uint64_t count = 0;
  const auto join = [&](C* into, const C* more) {
#pragma omp simd
    for (int64_t c = 0; c < width; ++c) into[c] = rule.combine(into[c], more[c]);
  };
  const auto push = [&] {
    for (int64_t half = kLanes / 2; half > 0; half /= 2) {
      for (int64_t l = 0; l < half; ++l)
        join(lanes.data() + l * width, lanes.data() + (l + half) * width);
    }
    std::vector<C> block(lanes.begin(), lanes.begin() + width);
    size_t level = 0;
    for (uint64_t bits = count++; bits & 1; bits >>= 1, ++level) {
      join(levels[level].data(), block.data());
      block.swap(levels[level]);
    }
    if (level == levels.size()) levels.emplace_back();
    levels[level].swap(block);
  };
  for (int64_t begin = 0; begin < total; begin += kBlock) {
    std::ranges::fill(lanes, rule.identity);
    for (int64_t i = begin; i < std::min(total, begin + kBlock); ++i) {
      const T* row =
          x + loop.offsets(i / loop.inner())[0] + i % loop.inner() * loop.inner_stride(0);
      C* __restrict sums = lanes.data() + (i - begin) % kLanes * width;
#pragma omp simd
      for (int64_t c = 0; c < width; ++c)
        sums[c] = rule.combine(sums[c], rule.map(static_cast<C>(row[c])));
    }
    push();
  }
  std::vector<C> result(width, rule.identity);
  bool any = false;
  for (size_t level = 0; level < levels.size(); ++level) {
    if (!((count >> level) & 1)) continue;
    if (any) join(levels[level].data(), result.data());
    result.swap(levels[level]);
    any = true;
  }
  for (int64_t c = 0; c < width; ++c) out[c] = static_cast<T>(rule.finish(result[c]));
}

template <class C, class T, class R>
void run_rule(const Reduction& shape, const T* x, T* out, const R& rule) {
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
                          std::min(kWidth, inner - first), rule);
      }
    });
    return;
  }
  parallel_for(rows * inner, grain_for(work), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto at = shape.kept.offsets(i / inner);
      const int64_t column = i % inner;
      out[at[0] + column * shape.kept.inner_stride(0)] = static_cast<T>(
          reduce_all<C>(shape.reduced, x + at[1] + column * shape.kept.inner_stride(1), rule));
    }
  });
}

template <class T, class Combine, class Map = std::identity, class Finish = std::identity>
void run(const Reduction& shape, const T* x, T* out, compute_t<T> identity, Combine combine,
         Map map = {}, Finish finish = {}) {
  run_rule<compute_t<T>>(shape, x, out,
                         Rule<compute_t<T>, Map, Combine, Finish>{identity, map, combine, finish});
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
  const auto add = [](C a, C b) { return static_cast<C>(a + b); };
  switch (op) {
    case ReduceOp::Sum: return run(shape, x, out, C(0), add);
    case ReduceOp::Mean: {
      const C count = static_cast<C>(reduced_count(shape));
      return run(shape, x, out, C(0), add, std::identity(), [count](C total) {
        return count != 0 || std::is_floating_point_v<C> ? total / count : C(0);
      });
    }
    case ReduceOp::Norm:
      return run(
          shape, x, out, C(0), add, [](C v) { return static_cast<C>(v * v); },
          [](C total) { return static_cast<C>(std::sqrt(total)); });
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
