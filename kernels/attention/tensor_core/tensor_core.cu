#include "kernels/attention/tensor_core/tensor_core.h"

#include "kernels/attention/tensor_core/launch.h"
#include "kernels/instantiate.h"

namespace plinth::kernels::cuda::attention {
namespace {

constexpr int64_t kUnit = 8;  // elements in 16 bytes

bool whole_strides(const AttentionDesc::Strides& s) {
  return s.batch % kUnit == 0 && s.head % kUnit == 0 && s.seq % kUnit == 0;
}

const char* reason(const AttentionDesc& d, bool backward,
                   std::initializer_list<const void*> pointers) {
  constexpr int64_t kMost = int64_t{1} << 29;  // what int32 holds of sums of positions
  if (d.head_dim < kUnit || d.head_dim > 256 || d.head_dim % kUnit != 0)
    return "head_dim is not a multiple of 8 up to 256";
  if (d.q_len >= kMost || d.kv_len >= kMost || d.batch >= kMost || d.heads > 65535)
    return "a size is beyond the kernel's integers";
  const bool whole = whole_strides(d.q) && whole_strides(d.k) && whole_strides(d.v) &&
                     whole_strides(d.out) &&
                     (!backward || (whole_strides(d.dq) && whole_strides(d.dk) &&
                                    whole_strides(d.dv) && whole_strides(d.dout)));
  if (!whole) return "rows do not begin at multiples of 16 bytes";
  for (const void* pointer : pointers) {
    if (std::bit_cast<uintptr_t>(pointer) % 16 != 0)
      return "rows do not begin at multiples of 16 bytes";
  }
  return nullptr;
}

}  // namespace

template <class T>
bool tensor_core_takes(const AttentionDesc& d, bool backward,
                       std::initializer_list<const void*> pointers, std::string* why) {
  const char* not_taken =
      sizeof(T) == 2 ? reason(d, backward, pointers) : "elements are not of 16 bits";
  if (not_taken != nullptr && why != nullptr) *why = not_taken;
  return not_taken == nullptr;
}

#define PLINTH_INSTANTIATE(T)                                    \
  template bool tensor_core_takes<T>(const AttentionDesc&, bool, \
                                     std::initializer_list<const void*>, std::string*);
PLINTH_FOR_EACH_FLOAT(PLINTH_INSTANTIATE)
#undef PLINTH_INSTANTIATE

template <class T>
void tensor_core_backward(Stream stream, const AttentionDesc& d, const T* dout, const T* q,
                          const T* k, const T* v, const float* lse, const float* delta, T* dq,
                          T* dk, T* dv) {
  tensor_core::launch_dq(stream, d, dout, q, k, v, lse, delta, dq);
  tensor_core::launch_dk_dv(stream, d, dout, q, k, v, lse, delta, dk, dv);
}

#define PLINTH_INSTANTIATE(T)                                                                   \
  template void tensor_core_backward<T>(Stream, const AttentionDesc&, const T*, const T*,       \
                                        const T*, const T*, const float*, const float*, T*, T*, \
                                        T*);
PLINTH_INSTANTIATE(BFloat16)
PLINTH_INSTANTIATE(Float16)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cuda::attention
