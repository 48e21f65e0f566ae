#include "kernels/attention/hopper/forward.cuh"

namespace plinth::kernels::cuda::attention {
template <class T>
const char* hopper_obstacle(const AttentionDesc& d, const T* q, const T* k, const T* v,
                            const T* out) {
  if (d.head_dim > 256) return "head_dim is beyond 256";
  if (d.head_dim % 8 != 0) return "head_dim is no multiple of 8";
  if (d.q_len >= kFar || d.kv_len >= kFar) return "a sequence has 2^30 rows or more";
  if (nothing_to_do(d)) return "there is nothing to do";
  if (!mappable(q, d.q) || !mappable(k, d.k) || !mappable(v, d.v) || !mappable(out, d.out))
    return "rows are not whole vectors of 16 bytes";
  return nullptr;
}

size_t hopper_forward_workspace(const AttentionDesc& d) {
  return tiles_differ(d) ? sizeof(int32_t) : 0;
}

template <class T>
void hopper_forward(Stream stream, const AttentionDesc& d, const T* q, const T* k, const T* v,
                    T* out, float* lse, void* workspace) {
  with_hopper_columns(d.head_dim, [&]<int kColumns>() {
    if (scales_only(d) && d.scale > 0 && d.dropout == 0) {
      launch_hopper_forward<T, kColumns, Scaled<T>>(stream, d, q, k, v, out, lse, workspace);
    } else {
      launch_hopper_forward<T, kColumns, Described<T>>(stream, d, q, k, v, out, lse, workspace);
    }
  });
}

#define PLINTH_INSTANTIATE(T)                                                                     \
  template const char* hopper_obstacle<T>(const AttentionDesc&, const T*, const T*, const T*,     \
                                          const T*);                                              \
  template void hopper_forward<T>(Stream, const AttentionDesc&, const T*, const T*, const T*, T*, \
                                  float*, void*);
PLINTH_INSTANTIATE(BFloat16)
PLINTH_INSTANTIATE(Float16)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cuda::attention
