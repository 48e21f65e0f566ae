#include "core/ops/factories.h"

#include <cmath>
#include <cstring>

#include "core/autograd.h"
#include "core/dry_run.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/ops/elementwise.h"
#include "core/ops/loops.h"
#include "core/ops/on_device.h"
#include "core/ops/reduce.h"
#include "core/random.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/elementwise_cuda.h"
#include "kernels/parallel.h"

namespace plinth {
namespace {

// A scalar as a kernel's argument: no copy from memory that a captured graph would read again.
Tensor filled_on_gpu(const Tensor& value, Device device) {
  Tensor out = Tensor::empty({}, {value.dtype(), device});
#ifdef PLINTH_CUDA_BACKEND
  dispatch_all(value.dtype(), [&]<class T>() {
    kernels::cuda::fill(stream_of(out), loop_over(out), *value.data<T>(), out.data<T>());
  });
#endif
  return out;
}

}  // namespace

Tensor zeros(const Shape& shape, TensorOptions options) {
  const OpScope scope(__func__);
  Tensor out = Tensor::empty(shape, options);
  // All dtypes have zero as zero bits.
  const size_t bytes = static_cast<size_t>(out.numel()) * size_of(options.dtype);
  if (options.device.is_cuda()) {
    cuda::fill_bytes(out.raw_data(), 0, bytes, current_stream(options.device));
  } else if (bytes > 0 && !is_dry_run()) {  // whose memory is zeros
    std::memset(out.raw_data(), 0, bytes);
  }
  return out;
}

Tensor full(const Shape& shape, double value, TensorOptions options) {
  const OpScope scope(__func__);
  Tensor out = Tensor::empty(shape, options);
  copy_into(out, scalar(value, options));
  return out;
}

Tensor ones(const Shape& shape, TensorOptions options) {
  const OpScope scope(__func__);
  return full(shape, 1, options);
}
Tensor zeros_like(const Tensor& x) {
  const OpScope scope(__func__);
  return zeros(x.shape(), x.options());
}
Tensor ones_like(const Tensor& x) {
  const OpScope scope(__func__);
  return ones(x.shape(), x.options());
}

Tensor scalar(double value, TensorOptions options) {
  const OpScope scope(__func__);
  const Tensor wide = Tensor::empty({}, {DType::Float64, {}});
  *wide.data<double>() = value;
  const Tensor host = wide.to(options.dtype);
  return options.device.is_cpu() ? host : filled_on_gpu(host, options.device);
}

Tensor arange(double start, double end, double step, TensorOptions options) {
  const OpScope scope(__func__);
  check(step != 0 && std::isfinite(step) && std::isfinite(start) && std::isfinite(end),
        ErrorKind::Argument, "arange", "start ", start, ", end ", end, ", step ", step,
        " are not a finite range with a step other than 0");
  const double numbers = std::ceil((end - start) / step);
  constexpr double kMost = 1LL << 53;  // beyond it doubles do not count
  check(numbers <= kMost, ErrorKind::Argument, "arange", "start ", start, ", end ", end, ", step ",
        step, " are ", numbers, " numbers, expected at most 2^53");
  const int64_t count = numbers > 0 ? static_cast<int64_t>(numbers) : 0;
  if (options.device.is_cuda()) {  // made there: no copy, which would break a capture
    const Tensor number = cumsum(ones({count}, {DType::Float64, options.device}), 0) - 1.0;
    return (number * step + start).to(options.dtype);
  }
  const Tensor wide = Tensor::empty({count}, {DType::Float64, {}});
  double* values = wide.data<double>();
  for (int64_t i = 0; i < count; ++i) values[i] = start + static_cast<double>(i) * step;
  return wide.to(options.dtype);
}

Tensor eye(int64_t n, TensorOptions options) {
  const OpScope scope(__func__);
  const Tensor index = arange(0, static_cast<double>(n));
  return eq(index.unsqueeze(1), index).to(options.dtype).to(options.device);
}

Tensor tril_mask(int64_t rows, int64_t cols, int64_t diagonal) {
  const OpScope scope(__func__);
  return le(arange(0, static_cast<double>(cols)),
            (arange(0, static_cast<double>(rows)) + static_cast<double>(diagonal)).unsqueeze(1));
}

template <class T>
Tensor from_values(std::span<const T> values, const Shape& shape) {
  const OpScope scope(__func__);
  check(static_cast<int64_t>(values.size()) == shape.numel(), ErrorKind::Shape, "from_values",
        "got ", values.size(), " values for shape ", shape);
  Tensor out = Tensor::empty(shape, {dtype_of<T>, {}});
  std::copy(values.begin(), values.end(), out.data<T>());
  return out;
}
template Tensor from_values<double>(std::span<const double>, const Shape&);
template Tensor from_values<float>(std::span<const float>, const Shape&);
template Tensor from_values<int64_t>(std::span<const int64_t>, const Shape&);
template Tensor from_values<int32_t>(std::span<const int32_t>, const Shape&);
template Tensor from_values<uint8_t>(std::span<const uint8_t>, const Shape&);

std::vector<double> to_vector(const Tensor& x) {
  const NoGradGuard no_grad;
  const Tensor wide = x.detach().to(Device{}).to(DType::Float64).contiguous();
  const double* values = wide.data<double>();
  return {values, values + wide.numel()};
}

// ---- random ----

namespace {

// Calls f(element, word 0 .. 3 of its block) so that each block is computed once.
template <class F>
void for_each_block(int64_t count, const kernels::PhiloxKey& key, F f) {
  if (is_dry_run()) return;
  const auto stream = kernels::philox_stream(key);
  kernels::parallel_for((count + 3) / 4, kernels::grain_for(16), [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block)
      f(block * 4, kernels::philox(stream, key.sample, block));
  });
}

}  // namespace

Tensor uniform(const Shape& shape, double low, double high, const kernels::PhiloxKey& key,
               TensorOptions options) {
  const OpScope scope(__func__);
  check(low <= high, ErrorKind::Argument, "uniform", "low is ", low, ", expected at most high, ",
        high);
  const Tensor out = Tensor::empty(shape, {DType::Float32, {}});
  float* values = out.data<float>();
  const float width = static_cast<float>(high - low), start = static_cast<float>(low);
  for_each_block(out.numel(), key, [&](int64_t first, const kernels::Philox4& words) {
    for (int64_t i = first; i < std::min(first + 4, out.numel()); ++i) {
      values[i] = start + width * kernels::uniform(words[i - first]);
    }
  });
  return out.to(options.dtype).to(options.device);
}

Tensor normal(const Shape& shape, double mean, double stddev, const kernels::PhiloxKey& key,
              TensorOptions options) {
  const OpScope scope(__func__);
  check(stddev >= 0, ErrorKind::Argument, "normal", "stddev is ", stddev, ", expected at least 0");
  const Tensor out = Tensor::empty(shape, {DType::Float32, {}});
  float* values = out.data<float>();
  for_each_block(out.numel(), key, [&](int64_t first, const kernels::Philox4& words) {
    for (int64_t pair = 0; pair < 4 && first + pair < out.numel(); pair += 2) {
      // 1 - u lies in (0, 1], where the logarithm is finite.
      const float radius = std::sqrt(-2.0f * std::log(1.0f - kernels::uniform(words[pair])));
      const float angle = 2.0f * static_cast<float>(M_PI) * kernels::uniform(words[pair + 1]);
      const float a = static_cast<float>(mean), s = static_cast<float>(stddev);
      values[first + pair] = a + s * radius * std::cos(angle);
      if (first + pair + 1 < out.numel())
        values[first + pair + 1] = a + s * radius * std::sin(angle);
    }
  });
  return out.to(options.dtype).to(options.device);
}

Tensor rand(const Shape& shape, TensorOptions options) {
  const OpScope scope(__func__);
  return uniform(shape, 0, 1, generator().next(), options);
}
Tensor randn(const Shape& shape, TensorOptions options) {
  const OpScope scope(__func__);
  return normal(shape, 0, 1, generator().next(), options);
}

}  // namespace plinth
