#include "kernels/attention/decode/decode.h"

#include "kernels/attention/decode/split.cuh"
#include "kernels/first_outside_cuda.cuh"
#include "kernels/instantiate.h"

namespace plinth::kernels::cuda {
namespace attention {
namespace decode {
namespace {

// How many splits the keys that the queries of any one sequence see can touch.
int64_t slots_of(const AttentionDesc& d) {
  const int64_t slots = std::max<int64_t>(1, ceil_div(d.kv_len, kDecodeSplit));
  if (d.window == 0) return slots;
  const int64_t seen = d.window + d.q_len - 1 + (d.causal ? 0 : d.window - 1);
  return std::min(slots, ceil_div(seen, kDecodeSplit) + 1);
}

int64_t rows_of(const AttentionDesc& d) {
  return d.batch * d.heads * d.q_len;
}

template <class T>
Parts<compute_t<T>> parts_of(const AttentionDesc& d, void* workspace) {
  using C = compute_t<T>;
  const int64_t slots = slots_of(d), parts = rows_of(d) * slots;
  if (slots == 1) return {};
  auto* const sums = static_cast<C*>(workspace);
  C* const tops = sums + parts * d.head_dim;
  return {sums, tops, tops + parts, slots};
}

constexpr int kMostColumns = 256;
constexpr int kAhead = 4;  // parts that a warp reads before it adds them

// Shared memory of the warps that add a row's parts.
template <class C>
constexpr size_t kJoinBytes = sizeof(C) * (kWarps * (kMostColumns + 1) + 32);

// Adds a row's parts, a block a row: warp w parts w, w + kWarps, ..., then the warps in order.
template <class T>
PLINTH_KERNEL void join_kernel(Arguments<T> a) {
  using C = compute_t<T>;
  const Shared<C> sums = shared_array<C>(0, kWarps * kMostColumns);
  const Shared<C> totals = shared_array<C>(sizeof(C) * kWarps * kMostColumns, kWarps);
  const Shared<C> scratch = shared_array<C>(sizeof(C) * kWarps * (kMostColumns + 1), 32);
  const int64_t row = block_index().x, position = row % a.d.q_len;
  const int64_t head = row / a.d.q_len % a.d.heads;
  const Problem p = a.problem(row / a.d.q_len / a.d.heads);
  const Range keys = a.keys(p);
  int64_t count = 0;
  if (keys.begin < keys.end) count = ceil_div(keys.end, kDecodeSplit) - keys.begin / kDecodeSplit;
  const int64_t first = row * a.parts.slots;
  const int lane = static_cast<int>(lane_index()), warp = static_cast<int>(warp_index());

  C top = -std::numeric_limits<C>::infinity();
  for (int64_t s = thread_index(); s < count; s += kThreads) {
    const C other = a.parts.tops[first + s];
    top = Max{}(top, other);
  }
  top = block_reduce<Max>(top, -std::numeric_limits<C>::infinity(), scratch);
  const C origin = origin_of(top);

  C values[kMostColumns / 32] = {}, total = 0;
  for (int64_t s = warp; s < count; s += kWarps * kAhead) {
    C factors[kAhead], part_totals[kAhead], parts[kAhead][kMostColumns / 32];
    PLINTH_UNROLL
    for (int u = 0; u < kAhead; ++u) {
      const int64_t part = s + u * kWarps;
      if (part >= count) continue;
      factors[u] = a.parts.tops[first + part];
      part_totals[u] = a.parts.totals[first + part];
      PLINTH_UNROLL
      for (int i = 0; i < kMostColumns / 32; ++i) {
        const int x = lane + 32 * i;
        if (x < a.d.head_dim) parts[u][i] = a.parts.sums[(first + part) * a.d.head_dim + x];
      }
    }
    PLINTH_UNROLL
    for (int u = 0; u < kAhead; ++u) {
      if (s + u * kWarps >= count) continue;
      const C factor = power_of_2(factors[u] - origin);
      total += part_totals[u] * factor;
      PLINTH_UNROLL
      for (int i = 0; i < kMostColumns / 32; ++i) {
        if (lane + 32 * i < a.d.head_dim) values[i] += parts[u][i] * factor;
      }
    }
  }
  PLINTH_UNROLL
  for (int i = 0; i < kMostColumns / 32; ++i) {
    if (lane + 32 * i < a.d.head_dim) sums[warp * kMostColumns + lane + 32 * i] = values[i];
  }
  if (lane == 0) totals[warp] = total;
  block_sync();
  const int64_t warps = least(count, kWarps);
  total = 0;
  for (int w = 0; w < warps; ++w) {
    const C other = totals[w];
    total += other;
  }
  const Finished<C> end = finished(a.described, head, top, total);
  if (thread_index() == 0) a.lse[row] = end.lse;
  const Global<T> to = row_of(a.out, a.d.out, p.batch, head, position);
  for (int x = static_cast<int>(thread_index()); x < a.d.head_dim; x += kThreads) {
    C sum = 0;
    for (int w = 0; w < warps; ++w) {
      const C other = sums[w * kMostColumns + x];
      sum += other;
    }
    to[x] = T(sum * end.factor);
  }
}

template <class T>
void run(Stream stream, const AttentionDesc& d, const Pages& pages, const T* q, const T* k,
         const T* v, T* out, compute_t<T>* lse, void* workspace) {
  if (rows_of(d) == 0) return;
  const Arguments<T> a{
      d, pages, Described<T>(d), parts_of<T>(d, workspace), d.kv_lengths, q, k, v, out, lse};
  run_splits<T>(stream, a);
  if (a.parts.slots == 1) return;
  const LaunchShape shape{
      {static_cast<uint32_t>(rows_of(d))}, {kThreads}, kJoinBytes<compute_t<T>>};
  launch("attention_decode_join", join_kernel<T>, shape, stream, a);
}

// Whether rows so far apart are whole vectors.
template <class T>
bool whole(const AttentionDesc& d) {
  constexpr int64_t kWidth = kVectorWidth<T>;
  const auto fit = [](const AttentionDesc::Strides& s) {
    return s.batch % kWidth == 0 && s.head % kWidth == 0 && s.seq % kWidth == 0;
  };
  return d.head_dim <= kMostColumns && d.head_dim % kWidth == 0 && fit(d.k) && fit(d.v);
}

// Looks at the lengths, then at the pages in use, for the first that is bad. One block's work.
PLINTH_KERNEL void report_bad_pages_kernel(Pages pages, int64_t batch, int64_t columns,
                                           Global<const int64_t> lengths, uint32_t lengths_check,
                                           uint32_t pages_check, Global<uint32_t> fault_check,
                                           Global<int64_t> fault_element,
                                           Global<int64_t> fault_value) {
  const int64_t none = batch * (columns + 1), room = columns * pages.size.divisor;
  int64_t found = none;
  for (int64_t i = thread_index(); i < none && found == none; i += block_threads()) {
    if (i < batch) {
      const int64_t length = lengths[i];
      if (length < 0 || length > room) found = i;
      continue;
    }
    const int64_t sequence = (i - batch) / columns, number = (i - batch) % columns;
    if (number * pages.size.divisor >= length_of(lengths, sequence, room)) continue;
    const int64_t page = pages.at(sequence, number);
    if (page < 0 || page >= pages.count) found = i;
  }
  found = block_reduce<Min>(found, none, shared_array<int64_t>(0, 32));
  if (thread_index() != 0 || found == none) return;
  const uint32_t check = found < batch ? lengths_check : pages_check;
  if (atomic_compare_exchange(fault_check, 0u, check) != 0) return;  // an earlier one counts
  const int64_t entry = found - batch;
  int64_t value = 0;
  if (entry < 0) {
    value = lengths[found];
  } else {
    value = pages.at(entry / columns, entry % columns);
  }
  fault_element[0] = entry < 0 ? found : entry;
  fault_value[0] = value;
}

}  // namespace
}  // namespace decode

template <class T>
bool decode_takes(const AttentionDesc& d) {
  return d.q_len <= kDecodeQueries && d.heads * d.q_len <= kDecodeRows * d.kv_heads &&
         d.kv_len < (int64_t{1} << 31) && d.dropout == 0 && d.cu_seqlens_q == nullptr &&
         d.custom == nullptr && decode::whole<T>(d);
}

template <class T>
bool decode_takes(const AttentionDesc& d, const T* k, const T* v, const void* workspace) {
  const auto aligned = [](const T* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; };
  return decode_takes<T>(d) && aligned(k) && aligned(v) &&
         (workspace != nullptr || decode_workspace<T>(d) == 0);
}

template <class T>
size_t decode_workspace(const AttentionDesc& d) {
  const int64_t slots = decode::slots_of(d);
  if (slots == 1) return 0;
  return static_cast<size_t>(decode::rows_of(d) * slots * (d.head_dim + 2)) * sizeof(compute_t<T>);
}

template <class T>
void decode_forward(Stream stream, const AttentionDesc& d, const T* q, const T* k, const T* v,
                    T* out, compute_t<T>* lse, void* workspace) {
  decode::run<T>(stream, d, {}, q, k, v, out, lse, workspace);
}

}  // namespace attention

template <class T>
bool paged_attention_takes(const PagedAttentionDesc& d) {
  return attention::decode::whole<T>(d.attention);
}

template <class T>
size_t paged_attention_workspace(const PagedAttentionDesc& d) {
  return attention::decode_workspace<T>(d.attention);
}

template <class T>
void paged_attention_forward(void* stream, const PagedAttentionDesc& d, const T* q, const T* k,
                             const T* v, T* out, compute_t<T>* lse, void* workspace) {
  attention::decode::run<T>(static_cast<Stream>(stream), d.attention, attention::decode::Pages(d),
                            q, k, v, out, lse, workspace);
}

void report_bad_pages(void* stream, const PagedAttentionDesc& d, uint32_t lengths_check,
                      uint32_t pages_check, IndexFault* fault) {
  if (d.attention.batch == 0) return;
  launch("report_bad_pages", attention::decode::report_bad_pages_kernel,
         {{1}, {kFirstOutsideThreads}, 32 * sizeof(int64_t)}, static_cast<Stream>(stream),
         attention::decode::Pages(d), d.attention.batch, d.attention.kv_len / d.page_size,
         d.attention.kv_lengths, lengths_check, pages_check, &fault->check, &fault->element,
         &fault->value);
}

#define PLINTH_INSTANTIATE(T)                                                                      \
  template bool attention::decode_takes<T>(const AttentionDesc&);                                  \
  template bool attention::decode_takes<T>(const AttentionDesc&, const T*, const T*, const void*); \
  template size_t attention::decode_workspace<T>(const AttentionDesc&);                            \
  template void attention::decode_forward<T>(Stream, const AttentionDesc&, const T*, const T*,     \
                                             const T*, T*, compute_t<T>*, void*);                  \
  template bool paged_attention_takes<T>(const PagedAttentionDesc&);                               \
  template size_t paged_attention_workspace<T>(const PagedAttentionDesc&);                         \
  template void paged_attention_forward<T>(void*, const PagedAttentionDesc&, const T*, const T*,   \
                                           const T*, T*, compute_t<T>*, void*);
PLINTH_FOR_EACH_FLOAT(PLINTH_INSTANTIATE)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cuda
