#include "distributed/host/reduce_parts.h"

#include <algorithm>
#include <array>
#include <type_traits>

#include "core/error.h"
#include "kernels/convert.h"
#include "kernels/parallel.h"

namespace plinth::distributed {
namespace {

constexpr int64_t kBlock = 1024;

template <class T>
inline constexpr bool kIsNarrow = std::is_same_v<T, BFloat16> || std::is_same_v<T, Float16>;
template <class T>
using Compute = std::conditional_t<kIsNarrow<T>, float, T>;

// C's integers may not overflow, those without a sign wrap around.
template <class T>
T add(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    using Wraps = std::make_unsigned_t<T>;
    return static_cast<T>(static_cast<Wraps>(a) + static_cast<Wraps>(b));
  } else {
    return a + b;
  }
}

template <class T>
void combine(T* sum, const T* x, int64_t n, ReduceOp op) {
  switch (op) {
    case ReduceOp::Sum:
      for (int64_t i = 0; i < n; ++i) sum[i] = add(sum[i], x[i]);
      break;
    case ReduceOp::Max:
      for (int64_t i = 0; i < n; ++i) sum[i] = x[i] > sum[i] || x[i] != x[i] ? x[i] : sum[i];
      break;
    case ReduceOp::Min:
      for (int64_t i = 0; i < n; ++i) sum[i] = x[i] < sum[i] || x[i] != x[i] ? x[i] : sum[i];
      break;
  }
}

template <class T>
void load(int64_t n, const T* from, Compute<T>* to) {
  if constexpr (kIsNarrow<T>)
    kernels::widen(n, from, to);
  else
    std::copy_n(from, n, to);
}

template <class T>
void reduce_block(const std::vector<const void*>& parts, T* out, int64_t at, int64_t n,
                  ReduceOp op) {
  std::array<Compute<T>, kBlock> sum, x;
  load(n, static_cast<const T*>(parts[0]) + at, sum.data());
  for (size_t r = 1; r < parts.size(); ++r) {
    load(n, static_cast<const T*>(parts[r]) + at, x.data());
    combine(sum.data(), x.data(), n, op);
  }
  if constexpr (kIsNarrow<T>)
    kernels::narrow(n, sum.data(), out + at);
  else
    std::copy_n(sum.data(), n, out + at);
}

template <class T>
void reduce_all(const std::vector<const void*>& parts, void* out, int64_t count, ReduceOp op) {
  const int64_t grain = kernels::grain_for(std::ssize(parts));
  kernels::parallel_for(count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; at += kBlock)
      reduce_block(parts, static_cast<T*>(out), at, std::min(kBlock, end - at), op);
  });
}

}  // namespace

void reduce_parts(const std::vector<const void*>& parts, void* out, int64_t count, DType dtype,
                  ReduceOp op) {
  switch (dtype) {
    case DType::Float64: return reduce_all<double>(parts, out, count, op);
    case DType::Float32: return reduce_all<float>(parts, out, count, op);
    case DType::BFloat16: return reduce_all<BFloat16>(parts, out, count, op);
    case DType::Float16: return reduce_all<Float16>(parts, out, count, op);
    case DType::Int64: return reduce_all<int64_t>(parts, out, count, op);
    case DType::Int32: return reduce_all<int32_t>(parts, out, count, op);
    default: throw Error(ErrorKind::DType, "reduce", detail::concat("got ", name(dtype)));
  }
}

}  // namespace plinth::distributed
