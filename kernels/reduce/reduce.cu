#include "kernels/reduce/fold.cuh"
#include "kernels/reduce/reduce_cuda.h"

namespace plinth::kernels::cuda {
namespace {

constexpr int64_t kMaxSegments = 1024;
constexpr int64_t kFewOutputs = 1024;         // fewer than these are cut into segments
constexpr int64_t kElementsASegment = 16384;  // at least, of a row
constexpr int64_t kRowsASegment = 128;        // at least, of columns
constexpr int64_t kWarpRow = 2048;            // the longest row that a warp reduces

// One reduction as the kernels see it. A unit of work is a segment of an output (or of a strip of
// columns); unit u is segment u % segments of output u / segments.
struct Work {
  DeviceLoop<2> kept;  // output, input
  ReducedDims reduced;
  int64_t count = 0;    // elements that go into an output
  int64_t segment = 0;  // elements of a segment
  Division segments;
  int64_t outputs = 0;
  bool vectors = false;  // along what is reduced, or of columns
  uint32_t group = 0;    // threads of a unit, of rows
  Fold fold = Fold::Sum;
  Finish finish = Finish::None;
};

// Elements of a vector: 16 bytes of floats. Bytes (mostly masks) move four at a time, which is less
// to compile.
template <class T>
inline constexpr int kWidth = sizeof(T) == 1 ? 4 : kVectorWidth<T>;

template <class F, class A>
PLINTH_DEVICE A fold_pairwise(const A (&v)[kReduceInFlight], F fold) {
  static_assert(kReduceInFlight == 4);
  return fold(fold(v[0], v[1]), fold(v[2], v[3]));
}

// A group of threads folds a segment of one output, whose neighbours in memory (if any) are
// reduced. Which element goes to which thread does not depend on whether vectors are read.
template <class T>
PLINTH_KERNEL void reduce_rows_kernel(Work work, Global<const T> x, Global<accumulate_t<T>> partial,
                                      Global<T> out) {
  using A = accumulate_t<T>;
  constexpr int W = kWidth<T>;
  const Shared<A> scratch = shared_array<A>(0, 32);
  const uint32_t groups = kReduceThreads / work.group, group = thread_index() / work.group;
  const uint32_t unit = block_index().x * groups + group;
  const uint32_t output = work.segments.quotient(unit);
  if (output >= work.outputs) return;  // a whole warp, or the whole block
  const uint32_t segment = unit - output * work.segments.divisor;
  const auto at = work.kept.offsets(output);
  const int64_t begin = segment * work.segment;
  const int64_t end = begin + work.segment < work.count ? begin + work.segment : work.count;
  const Global<const T> from = x + at.of[1];
  const int64_t step = static_cast<int64_t>(work.group) * W;
  const int64_t first = begin + static_cast<int64_t>(thread_index() % work.group) * W;

  with_constant<kFolds>(work.fold, [&]<Fold known>() {
    const Folding<known, T> fold;
    A total = fold.identity();
    for (int64_t i = first; i < end; i += kReduceInFlight * step) {
      A v[kReduceInFlight];
      Vector<T, W> vectors[kReduceInFlight];
      PLINTH_UNROLL
      for (int k = 0; k < kReduceInFlight; ++k) {
        if (work.vectors && i + k * step + W <= end)
          vectors[k] = load_vector<Vector<T, W>>(from + (i + k * step));
      }
      PLINTH_UNROLL
      for (int k = 0; k < kReduceInFlight; ++k) {
        v[k] = fold.identity();
        const int64_t here = i + k * step, stop = here + W < end ? here + W : end;
        if (work.vectors && here + W <= end) {
          PLINTH_UNROLL
          for (int e = 0; e < W; ++e) v[k] = fold(v[k], fold.map(vectors[k][e]));
        } else {
          for (int64_t e = here; e < stop; ++e) {
            const T element = from[work.reduced.offset(e)];
            v[k] = fold(v[k], fold.map(element));
          }
        }
      }
      total = fold(total, fold_pairwise(v, fold));
    }
    total = join_group(total, work.group, fold.identity(), fold, scratch);
    if (thread_index() % work.group != 0) return;
    if (partial) {
      partial[segment * work.outputs + output] = total;
    } else {
      out[at.of[0]] = finished<T>(work.finish, total, work.count);
    }
  });
}

// A block folds a segment of 32 vectors of neighbouring columns: lane l has vector l, and the
// block's warps take rows in turn.
template <int W, class T>
PLINTH_KERNEL void reduce_columns_kernel(Work work, Global<const T> x,
                                         Global<accumulate_t<T>> partial, Global<T> out) {
  using A = accumulate_t<T>;
  constexpr int kWarps = kReduceThreads / 32;
  const Shared<A> sums = shared_array<A>(0, size_t{kWarps} * 32 * W);
  const uint32_t strip = work.segments.quotient(block_index().x);
  const uint32_t segment = block_index().x - strip * work.segments.divisor;
  const uint32_t vector = strip * 32 + lane_index();
  const bool exists = vector < work.kept.count;
  const auto at = work.kept.offsets(exists ? vector : 0);
  const int64_t begin = segment * work.segment;
  const int64_t end = begin + work.segment < work.count ? begin + work.segment : work.count;
  const Global<const T> from = x + at.of[1];

  with_constant<kFolds>(work.fold, [&]<Fold known>() {
    const Folding<known, T> fold;
    A total[W];
    PLINTH_UNROLL
    for (int e = 0; e < W; ++e) total[e] = fold.identity();
    for (int64_t r = begin + warp_index(); exists && r < end; r += kReduceInFlight * kWarps) {
      Vector<T, W> rows[kReduceInFlight];
      PLINTH_UNROLL
      for (int k = 0; k < kReduceInFlight; ++k) {
        if (r + k * kWarps < end)
          rows[k] = load_vector<Vector<T, W>>(from + work.reduced.offset(r + k * kWarps));
      }
      PLINTH_UNROLL
      for (int e = 0; e < W; ++e) {
        A v[kReduceInFlight];
        PLINTH_UNROLL
        for (int k = 0; k < kReduceInFlight; ++k)
          v[k] = r + k * kWarps < end ? fold.map(rows[k][e]) : fold.identity();
        total[e] = fold(total[e], fold_pairwise(v, fold));
      }
    }
    PLINTH_UNROLL
    for (int e = 0; e < W; ++e) sums[(warp_index() * W + e) * 32 + lane_index()] = total[e];
    block_sync();
    // Warp w joins column w, w + 8, ... of each lane's vector.
    for (uint32_t e = warp_index(); exists && e < W; e += kWarps) {
      A whole = fold.identity();
      PLINTH_UNROLL
      for (int w = 0; w < kWarps; ++w) {
        const A part = sums[(w * W + e) * 32 + lane_index()];
        whole = fold(whole, part);
      }
      if (partial) {
        partial[segment * work.outputs + static_cast<int64_t>(vector) * W + e] = whole;
      } else {
        out[at.of[0] + static_cast<int64_t>(e) * work.kept.stride[0][0] / W] =
            finished<T>(work.finish, whole, work.count);
      }
    }
  });
}

// A warp joins the segments of an output.
template <class T>
PLINTH_KERNEL void join_kernel(Work work, Global<const accumulate_t<T>> partial, Global<T> out) {
  using A = accumulate_t<T>;
  const int64_t output =
      static_cast<int64_t>(block_index().x) * (kReduceThreads / 32) + warp_index();
  if (output >= work.outputs) return;
  const auto at = work.kept.offsets(static_cast<uint32_t>(output));
  with_constant<kFolds>(work.fold, [&]<Fold known>() {
    const Folding<known, T> fold;
    A total = fold.identity();
    for (uint32_t s = lane_index(); s < work.segments.divisor; s += 32) {
      const A part = partial[s * work.outputs + output];
      total = fold(total, part);
    }
    total = warp_reduce(total, fold);
    if (lane_index() == 0) out[at.of[0]] = finished<T>(work.finish, total, work.count);
  });
}

// ---- planning ----

struct Plan {
  Loop<2> kept;
  Loop<1> reduced;
  int64_t outputs = 0, count = 0;
  bool columns = false;  // neighbours are kept
  int64_t segments = 1;
  int64_t segment = 0;
};

Plan plan_of(const Reduction& shape) {
  Plan plan{simplified(shape.kept), simplified(shape.reduced), elements(shape.kept),
            elements(shape.reduced)};
  const bool rows = plan.reduced.inner_stride(0) == 1 && plan.reduced.inner() >= 32;
  plan.columns = !rows && (plan.kept.inner_stride(1) == 1 || plan.count < 64);
  const int64_t least = plan.columns ? kRowsASegment : kElementsASegment;
  // Columns are few where a row of them does not fill the GPU.
  const bool few = plan.outputs < (plan.columns ? 64 * kFewOutputs : kFewOutputs);
  if (few && plan.count > least) {
    const int64_t wanted = (plan.count + least - 1) / least;
    const int64_t pieces = std::min(wanted, kMaxSegments);
    plan.segment = ((plan.count + pieces - 1) / pieces + least - 1) / least * least;
    plan.segments = (plan.count + plan.segment - 1) / plan.segment;
  } else {
    plan.segment = std::max<int64_t>(plan.count, 1);
  }
  return plan;
}

template <class T>
bool rows_in_vectors(const Plan& plan, const T* x) {
  constexpr int64_t W = kWidth<T>;
  if (plan.reduced.dims != 1 || plan.reduced.stride[0][0] != 1) return false;
  if (reinterpret_cast<uintptr_t>(x) % 16 != 0) return false;
  for (int d = 0; d < plan.kept.dims; ++d) {
    if (plan.kept.size[d] > 1 && plan.kept.stride[1][d] % W != 0) return false;
  }
  return true;
}

// Columns are read in vectors where the input has them, whatever the output's strides.
template <class T>
bool columns_in_vectors(const Plan& plan, const T* x) {
  constexpr int64_t W = kWidth<T>;
  const int inner = plan.kept.dims - 1;
  bool takes = plan.kept.stride[1][inner] == 1 && reinterpret_cast<uintptr_t>(x) % 16 == 0 &&
               plan.kept.inner() % W == 0;
  for (int d = 0; takes && d < inner; ++d) takes = plan.kept.stride[1][d] % W == 0;
  for (int d = 0; takes && d < plan.reduced.dims; ++d)
    takes = plan.reduced.size[d] == 1 || plan.reduced.stride[0][d] % W == 0;
  return takes;
}

template <class T>
void run(void* stream, Fold fold, Finish finish, const Reduction& shape, const T* x, T* out,
         void* workspace) {
  if (elements(shape.kept) == 0) return;
  const Plan whole = plan_of(shape);
  using A = accumulate_t<T>;
  const auto s = static_cast<Stream>(stream);
  for_each_part(whole.kept, {0, 0}, [&](const Loop<2>& part, std::array<int64_t, 2> from) {
    Plan plan = whole;
    plan.kept = part;
    T* const to = out + from[0];
    const T* const in = x + from[1];
    Work work;
    work.reduced = reduced_dims(plan.reduced);
    work.count = plan.count;
    work.segment = plan.segment;
    work.segments = Division(plan.segments);
    work.outputs = elements(part);
    work.fold = fold;
    work.finish = finish;
    A* const partial = plan.segments > 1 ? static_cast<A*>(workspace) : nullptr;
    if (plan.columns) {
      // Integers are rarely summed: one kernel is enough.
      constexpr int kColumns = std::is_integral_v<T> ? 1 : kWidth<T>;
      const bool vectors = kColumns > 1 && columns_in_vectors(plan, in);
      const int64_t W = vectors ? kColumns : 1;
      work.kept = device_loop(part, W);
      const auto blocks = static_cast<uint32_t>((work.kept.count + 31) / 32 * plan.segments);
      const LaunchShape launched{
          {blocks}, {kReduceThreads}, kReduceThreads * static_cast<size_t>(W) * sizeof(A)};
      if (vectors) {
        launch("reduce_columns", reduce_columns_kernel<kColumns, T>, launched, s, work, in, partial,
               to);
      } else {
        launch("reduce_columns", reduce_columns_kernel<1, T>, launched, s, work, in, partial, to);
      }
    } else {
      work.kept = device_loop(part, 1);
      work.vectors = rows_in_vectors(plan, in);
      work.group = plan.count <= kWarpRow ? 32 : kReduceThreads;
      const int64_t groups = kReduceThreads / work.group;
      const auto blocks =
          static_cast<uint32_t>((work.outputs * plan.segments + groups - 1) / groups);
      launch("reduce_rows", reduce_rows_kernel<T>, {{blocks}, {kReduceThreads}, 32 * sizeof(A)}, s,
             work, in, partial, to);
    }
    if (!partial) return;
    work.kept = device_loop(part, 1);
    const auto blocks = static_cast<uint32_t>((work.outputs + 7) / 8);
    launch("reduce_join", join_kernel<T>, {{blocks}, {kReduceThreads}, 0}, s, work,
           static_cast<const A*>(partial), to);
  });
}

}  // namespace

size_t reduce_workspace(const Reduction& shape) {
  const Plan plan = plan_of(shape);
  return plan.segments > 1 ? static_cast<size_t>(plan.segments * plan.outputs) * sizeof(double) : 0;
}

template <class T>
void reduce(void* stream, ReduceOp op, const Reduction& shape, const T* x, T* out,
            void* workspace) {
  const auto fold = [&](Fold fold, Finish finish = Finish::None) {
    run(stream, fold, finish, shape, x, out, workspace);
  };
  switch (op) {
    case ReduceOp::Sum: return fold(Fold::Sum);
    case ReduceOp::Mean: return fold(Fold::Sum, Finish::Mean);
    case ReduceOp::Norm: return fold(Fold::Squares, Finish::Root);
    case ReduceOp::Prod: return fold(Fold::Product);
    case ReduceOp::Max: return fold(Fold::Max);
    case ReduceOp::Min: return fold(Fold::Min);
  }
}

void any(void* stream, const Reduction& shape, const bool* x, bool* out, void* workspace) {
  run(stream, Fold::Max, Finish::Truth, shape, reinterpret_cast<const uint8_t*>(x),
      reinterpret_cast<uint8_t*>(out), workspace);
}

void all(void* stream, const Reduction& shape, const bool* x, bool* out, void* workspace) {
  run(stream, Fold::Min, Finish::Truth, shape, reinterpret_cast<const uint8_t*>(x),
      reinterpret_cast<uint8_t*>(out), workspace);
}

#define PLINTH_INSTANTIATE(T) \
  template void reduce<T>(void*, ReduceOp, const Reduction&, const T*, T*, void*);
PLINTH_INSTANTIATE(double)
PLINTH_INSTANTIATE(float)
PLINTH_INSTANTIATE(BFloat16)
PLINTH_INSTANTIATE(Float16)
PLINTH_INSTANTIATE(int64_t)
PLINTH_INSTANTIATE(int32_t)
PLINTH_INSTANTIATE(uint8_t)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cuda
