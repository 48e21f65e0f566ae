#include "apps/bench/ceiling.h"

#include <algorithm>
#include <limits>

#include "apps/bench/device_timer.h"
#include "core/autograd.h"
#include "core/ops/factories.h"
#include "core/ops/matmul.h"

namespace plinth::apps {

namespace {

constexpr int kTimes = 5;

// The best of a few, in seconds.
template <class Work>
double seconds(Device device, Work&& work) {
  const DeviceTimer timer(device);
  double least = std::numeric_limits<double>::infinity();
  for (int i = 0; i < kTimes; ++i) {
    synchronize(device);
    least = std::min(least, timer.milliseconds(work));
  }
  return least * 1e-3;
}

}  // namespace

Ceiling measure_ceiling(DType dtype, Device device) {
  const NoGradGuard no_grad;
  constexpr int64_t kBytes = int64_t{128} << 20;
  const int64_t width = device.is_cuda() ? 8192 : 1024;
  Ceiling ceiling;
  {
    const Tensor from = zeros({kBytes}, {DType::UInt8, device});
    Tensor to = zeros({kBytes}, {DType::UInt8, device});
    ceiling.bytes_per_s = 2.0 * kBytes / seconds(device, [&] { to.copy_(from); });
  }
  const Tensor a = randn({width, width}, {dtype, device});
  const double operations = 2.0 * static_cast<double>(width) * width * width;
  ceiling.flops_per_s = operations / seconds(device, [&] { matmul(a, a); });
  return ceiling;
}

Bound bound_of(const PassCost& cost, double milliseconds, const Ceiling& ceiling) {
  const double moving = 1e3 * cost.bytes / ceiling.bytes_per_s;
  const double computing = 1e3 * cost.flops / ceiling.flops_per_s;
  return {moving >= computing, std::max(moving, computing) / milliseconds};
}

}  // namespace plinth::apps
