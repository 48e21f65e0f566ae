#include "kernels/convert.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/optimizer/tensor_list.h"

namespace plinth::kernels::cpu {

template <class To>
void copy_parameters(std::span<const ParameterCopy<To>> list) {
  for_each_range(
      std::ssize(list), [&](int64_t t) { return list[t].n; },
      [&](int64_t t, int64_t begin, int64_t end) {
        narrow(end - begin, list[t].parameter + begin, list[t].copy + begin);
      });
}
template void copy_parameters(std::span<const ParameterCopy<BFloat16>>);
template void copy_parameters(std::span<const ParameterCopy<Float16>>);

}  // namespace plinth::kernels::cpu
