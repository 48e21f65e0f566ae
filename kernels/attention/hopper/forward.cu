#include "kernels/attention/hopper/forward.cuh"
#include "kernels/attention/hopper/maps.h"

namespace plinth::kernels::cuda::attention {
namespace {

template <class T, int kColumns, class Rule>
void launch_forward(Stream stream, const AttentionDesc& d, const T* q, const T* k, const T* v,
                    T* out, float* lse) {
  using Tile = ForwardTile<T, kColumns, Rule::kScaleOnly>;
  const ForwardArguments<T, Rule> arguments{d,
                                            {d.kv_lengths, d.cu_seqlens_q, d.cu_seqlens_k},
                                            schedule_of(d, Tile::kRows, sizeof(T)),
                                            Rule(d),
                                            Dropout<float>(d),
                                            out,
                                            lse};
  const auto map = [&](const T* p, const AttentionDesc::Strides& s, int64_t heads, int64_t length,
                       int64_t rows) {
    return head_map(p, s, d, heads, length, rows, Tile::kBoxColumns, Tile::kSwizzle);
  };
  const auto blocks =
      static_cast<uint32_t>(std::min(arguments.schedule.count, device_limits().multiprocessors));
  launch("hopper_attention_forward", hopper_forward_kernel<T, kColumns, Rule>,
         {{blocks}, {Tile::kThreads}, Tile::kSharedBytes}, stream,
         map(q, d.q, d.heads, d.q_len, 64), map(k, d.k, d.kv_heads, d.kv_len, Tile::kKeys),
         map(v, d.v, d.kv_heads, d.kv_len, Tile::kKeys), map(out, d.out, d.heads, d.q_len, 64),
         arguments);
}

}  // namespace

template <class T>
const char* hopper_obstacle(const AttentionDesc& d, const T* q, const T* k, const T* v,
                            const T* out) {
  if (d.head_dim > 256) return "head_dim is beyond 256";
  if (d.head_dim % 8 != 0) return "head_dim is no multiple of 8";
  if (d.q_len >= kFar || d.kv_len >= kFar) return "a sequence has 2^30 rows or more";
  if (d.q_len == 0 || d.kv_len == 0 || d.batch == 0 || d.heads == 0)
    return "there is nothing to do";
  if (!mappable(q, d.q) || !mappable(k, d.k) || !mappable(v, d.v) || !mappable(out, d.out))
    return "rows are not whole vectors of 16 bytes";
  return nullptr;
}

template <class T>
void hopper_forward(Stream stream, const AttentionDesc& d, const T* q, const T* k, const T* v,
                    T* out, float* lse) {
  with_hopper_columns(d.head_dim, [&]<int kColumns>() {
    if (scales_only(d) && d.scale > 0 && d.dropout == 0) {
      launch_forward<T, kColumns, Scaled<T>>(stream, d, q, k, v, out, lse);
    } else {
      launch_forward<T, kColumns, Described<T>>(stream, d, q, k, v, out, lse);
    }
  });
}

#define PLINTH_INSTANTIATE(T)                                                                     \
  template const char* hopper_obstacle<T>(const AttentionDesc&, const T*, const T*, const T*,     \
                                          const T*);                                              \
  template void hopper_forward<T>(Stream, const AttentionDesc&, const T*, const T*, const T*, T*, \
                                  float*);
PLINTH_INSTANTIATE(BFloat16)
PLINTH_INSTANTIATE(Float16)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cuda::attention
