#include "nn/init.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/autograd.h"
#include "core/dry_run.h"
#include "core/error.h"
#include "core/ops/factories.h"
#include "kernels/parallel.h"

namespace plinth::nn {
namespace {

thread_local bool skip_init = false;

}  // namespace

SkipInit::SkipInit() : previous_(std::exchange(skip_init, true)) {}
SkipInit::~SkipInit() {
  skip_init = previous_;
}
bool SkipInit::active() {
  return skip_init;
}

namespace init {
namespace {

constexpr uint32_t kInitOp = 0xFFFFFFFFu;

// FNV-1a, 64 bits.
uint64_t hash(std::string_view text) {
  uint64_t value = 14695981039346656037u;
  for (const char c : text) value = (value ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return value;
}

struct Fans {
  double in, out;
};

Fans fans_of(const Tensor& weight, std::string_view subject) {
  check(weight.dim() >= 2, ErrorKind::Shape, subject, "the parameter has shape ", weight.shape(),
        ", expected at least two dimensions");
  double rest = 1;
  for (int64_t d = 2; d < weight.dim(); ++d) rest *= static_cast<double>(weight.size(d));
  return {rest * static_cast<double>(weight.size(1)), rest * static_cast<double>(weight.size(0))};
}

void assign(Tensor& parameter, const Tensor& value) {
  const NoGradGuard no_grad;
  parameter.copy_(value);
}

void fill_uniform(Tensor& parameter, const kernels::PhiloxKey& key, double bound) {
  assign(parameter, plinth::uniform(parameter.shape(), -bound, bound, key, parameter.options()));
}

void fill_normal(Tensor& parameter, const kernels::PhiloxKey& key, double stddev) {
  assign(parameter, plinth::normal(parameter.shape(), 0, stddev, key, parameter.options()));
}

double below(double z) {
  return 0.5 * std::erfc(-z * M_SQRT1_2);
}

// Number `element` of a standard normal stream: one Box-Muller pair a Philox block of four words,
// the sample counting the attempts.
double standard_normal(kernels::Philox2 stream, int64_t attempt, int64_t element) {
  const kernels::Philox4 words = kernels::philox(stream, attempt, element / 2);
  const double radius = std::sqrt(-2 * std::log(1 - double{kernels::uniform(words[0])}));
  const double angle = 2 * M_PI * double{kernels::uniform(words[1])};
  return radius * (element % 2 ? std::sin(angle) : std::cos(angle));
}

}  // namespace

kernels::PhiloxKey key_of(uint64_t seed, std::string_view name) {
  return {.seed = seed, .step = hash(name), .op = kInitOp, .sample = 0};
}

Initializer constant(double value) {
  return [value](Tensor& parameter, const kernels::PhiloxKey&) {
    const NoGradGuard no_grad;
    parameter.fill_(value);
  };
}
Initializer zeros() {
  return constant(0);
}
Initializer ones() {
  return constant(1);
}

Initializer uniform(double low, double high) {
  return [=](Tensor& parameter, const kernels::PhiloxKey& key) {
    assign(parameter, plinth::uniform(parameter.shape(), low, high, key, parameter.options()));
  };
}

Initializer normal(double mean, double stddev) {
  return [=](Tensor& parameter, const kernels::PhiloxKey& key) {
    assign(parameter, plinth::normal(parameter.shape(), mean, stddev, key, parameter.options()));
  };
}

Initializer trunc_normal(double mean, double stddev, double low, double high) {
  check(stddev > 0 && low < high, ErrorKind::Argument, "trunc_normal", "stddev is ", stddev,
        " and the range [", low, ", ", high, "], expected a positive stddev and low < high");
  const double inside = below((high - mean) / stddev) - below((low - mean) / stddev);
  check(inside >= 0.01, ErrorKind::Argument, "trunc_normal", "only ", inside,
        " of the distribution lies in [", low, ", ", high, "], expected at least 0.01");
  return [=](Tensor& parameter, const kernels::PhiloxKey& key) {
    const Tensor values = Tensor::empty(parameter.shape(), {DType::Float32, {}});
    if (is_dry_run()) return assign(parameter, values);
    float* out = values.data<float>();
    const auto stream = kernels::philox_stream(key);
    kernels::parallel_for(values.numel(), kernels::grain_for(32), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        double value = 0;
        int64_t attempt = 0;
        do value = mean + stddev * standard_normal(stream, attempt++, i);
        while (value < low || value > high);
        out[i] = static_cast<float>(value);
      }
    });
    assign(parameter, values);
  };
}

Initializer xavier_uniform(double gain) {
  return [gain](Tensor& parameter, const kernels::PhiloxKey& key) {
    const Fans fans = fans_of(parameter, "xavier_uniform");
    fill_uniform(parameter, key, gain * std::sqrt(6 / (fans.in + fans.out)));
  };
}
Initializer xavier_normal(double gain) {
  return [gain](Tensor& parameter, const kernels::PhiloxKey& key) {
    const Fans fans = fans_of(parameter, "xavier_normal");
    fill_normal(parameter, key, gain * std::sqrt(2 / (fans.in + fans.out)));
  };
}
Initializer kaiming_uniform(double gain) {
  return [gain](Tensor& parameter, const kernels::PhiloxKey& key) {
    fill_uniform(parameter, key, gain * std::sqrt(3 / fans_of(parameter, "kaiming_uniform").in));
  };
}
Initializer kaiming_normal(double gain) {
  return [gain](Tensor& parameter, const kernels::PhiloxKey& key) {
    fill_normal(parameter, key, gain / std::sqrt(fans_of(parameter, "kaiming_normal").in));
  };
}
Initializer uniform_fan_in() {
  return [](Tensor& parameter, const kernels::PhiloxKey& key) {
    fill_uniform(parameter, key, 1 / std::sqrt(fans_of(parameter, "uniform_fan_in").in));
  };
}

Initializer residual_normal(double stddev, int64_t layers) {
  check(layers > 0, ErrorKind::Argument, "residual_normal", "got ", layers,
        " layers, expected at least 1");
  return normal(0, stddev / std::sqrt(2 * static_cast<double>(layers)));
}

}  // namespace init
}  // namespace plinth::nn
