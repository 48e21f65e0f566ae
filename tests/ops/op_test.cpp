// The tests of every op of the table.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <cstring>

#include "core/autograd.h"
#include "core/cuda/runtime.h"
#include "core/gradcheck.h"
#include "core/ops/factories.h"
#include "core/ops/views.h"
#include "op_table.h"

namespace plinth::op_table {
namespace {

constexpr DType kFloats[] = {DType::Float64, DType::Float32, DType::BFloat16, DType::Float16};

// The distance from 1 to the next value.
double epsilon(DType dtype) {
  switch (dtype) {
    case DType::Float64: return 0x1p-52;
    case DType::Float32: return 0x1p-23;
    case DType::BFloat16: return 0x1p-7;
    default: return 0x1p-10;
  }
}

bool is_input_floating(const Tensor& x) {
  return x.defined() && is_floating_point(x.dtype());
}

// Where the ops of the running test compute; references stay on the CPU.
Device device_under_test;

// The case's inputs in dtype, as new leaves.
Tensors inputs_in(const Case& c, DType dtype, bool requires_grad = true) {
  Tensors inputs;
  for (const Tensor& x : c.inputs) {
    if (is_input_floating(x)) {
      inputs.push_back(x.to(dtype).clone().to(device_under_test).set_requires_grad(requires_grad));
    } else {
      inputs.push_back(x.defined() ? x.clone().to(device_under_test) : x);
    }
  }
  return inputs;
}

// Inputs rounded to dtype, but held in float64: what a reference is given.
Tensors rounded_inputs(const Case& c, DType dtype) {
  Tensors inputs;
  for (const Tensor& x : c.inputs) {
    inputs.push_back(is_input_floating(x) ? x.to(dtype).to(DType::Float64) : x);
  }
  return inputs;
}

// Irregular gradients of the outputs that have one, exact in every dtype.
Tensors output_gradients(const Tensors& outputs) {
  Tensors gradients;
  uint32_t number = 100;
  for (const Tensor& y : outputs) {
    gradients.push_back(uniform(y.shape(), -1, 1, {.seed = 2, .op = number++})
                            .to(DType::BFloat16)
                            .to(DType::Float16)
                            .to(y.dtype())
                            .to(y.device()));
  }
  return gradients;
}

struct Result {
  Tensors outputs;
  Tensors gradients;  // one an input; undefined where there is none
};

// Forward, and backward from irregular gradients.
Result run(const Case& c, const Tensors& inputs) {
  Result result{c.op(inputs), Tensors(inputs.size())};
  Tensors roots, targets;
  std::vector<size_t> numbers;
  for (const Tensor& y : result.outputs) {
    if (is_floating_point(y.dtype()) && y.requires_grad()) roots.push_back(y);
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].defined() || !inputs[i].requires_grad()) continue;
    targets.push_back(inputs[i]);
    numbers.push_back(i);
  }
  if (roots.empty() || targets.empty()) return result;
  const Tensors gradients = grad(roots, targets, output_gradients(roots), {.allow_unused = true});
  for (size_t k = 0; k < numbers.size(); ++k) result.gradients[numbers[k]] = gradients[k];
  return result;
}

void expect_close(const Tensor& actual, const Tensor& expected, double units, double magnitude,
                  DType precision, const std::string& what) {
  ASSERT_EQ(actual.shape(), expected.shape()) << what;
  const std::vector<double> a = to_vector(actual), e = to_vector(expected);
  double scale = magnitude;
  for (double v : e) {
    if (std::isfinite(v)) scale = std::max(scale, std::fabs(v));
  }
  // The last term is half of float16's smallest number.
  const double tolerance =
      units * epsilon(precision) * scale + (precision == DType::Float16 ? units * 0x1p-25 : 0);
  for (size_t i = 0; i < a.size(); ++i) {
    if ((std::isnan(e[i]) && std::isnan(a[i])) || a[i] == e[i]) continue;
    ASSERT_LE(std::fabs(a[i] - e[i]), tolerance)
        << what << ", element " << i << ": got " << a[i] << ", expected " << e[i] << ", "
        << std::fabs(a[i] - e[i]) / (epsilon(precision) * scale) << " units";
  }
}

void expect_close(const Result& actual, const Result& expected, const Tolerance& tolerance,
                  double magnitude, DType precision, const std::string& what) {
  for (size_t i = 0; i < actual.outputs.size(); ++i)
    expect_close(actual.outputs[i], expected.outputs[i], 2 * tolerance.units, magnitude, precision,
                 what);
  for (size_t i = 0; i < actual.gradients.size(); ++i) {
    ASSERT_EQ(actual.gradients[i].defined(), expected.gradients[i].defined()) << what;
    if (!actual.gradients[i].defined()) continue;
    expect_close(actual.gradients[i], expected.gradients[i], 2 * tolerance.gradient_units,
                 magnitude, precision, what);
  }
}

std::vector<char> bytes_of(const Tensor& x) {
  const Tensor flat = x.detach().to(Device{}).contiguous();
  const char* bytes = static_cast<const char*>(flat.raw_data());
  return {bytes, bytes + flat.numel() * static_cast<int64_t>(size_of(flat.dtype()))};
}

void expect_same_bits(const Result& actual, const Result& expected, const std::string& what) {
  ASSERT_EQ(actual.outputs.size(), expected.outputs.size()) << what;
  for (size_t i = 0; i < actual.outputs.size(); ++i) {
    EXPECT_TRUE(bytes_of(actual.outputs[i]) == bytes_of(expected.outputs[i]))
        << what << ", output " << i;
  }
  for (size_t i = 0; i < actual.gradients.size(); ++i) {
    ASSERT_EQ(actual.gradients[i].defined(), expected.gradients[i].defined()) << what;
    if (!actual.gradients[i].defined()) continue;
    EXPECT_TRUE(bytes_of(actual.gradients[i]) == bytes_of(expected.gradients[i]))
        << what << ", gradient " << i;
  }
}

// Equal values with every other element of memory unused.
Tensor spread(const Tensor& x) {
  return stack({x, x}, -1).select(-1, 0).detach();
}
// Equal values with the dimensions in the opposite order in memory.
Tensor reversed(const Tensor& x) {
  Shape order;
  for (int64_t d = x.dim(); d > 0; --d) order.push_back(d - 1);
  return x.permute(order).clone().permute(order).detach();
}

class OpFamily : public testing::TestWithParam<std::tuple<Device, size_t>> {
 protected:
  // One thread is quickest for small tensors; one test says that more give the same bits.
  void SetUp() override {
    omp_set_num_threads(1);
    device_under_test = std::get<Device>(GetParam());
    if (device_under_test.is_cuda() && cuda::device_count() == 0)
      GTEST_SKIP() << cuda::why_no_device();
  }
  void TearDown() override { device_under_test = {}; }

  static const std::vector<Row>& rows() { return families()[std::get<size_t>(GetParam())].rows; }

  // Calls f(row, case) for all cases, and says which one failed or threw.
  template <class F>
  void for_each_case(F f) {
    for (const Row& row : rows()) {
      if (device_under_test.is_cuda() && !row.on_gpu) continue;
      Sampler sampler;
      for (const Case& c : row.cases(sampler)) {
        SCOPED_TRACE(row.name + ", " + c.label);
        try {
          f(row, c);
        } catch (const Error& error) {
          ADD_FAILURE() << "threw: " << error.what();
        }
      }
    }
  }
};

TEST_P(OpFamily, ValuesAgreeWithFloat64InEveryDtype) {
  for_each_case([](const Row& row, const Case& c) {
    for (DType dtype : kFloats) {
      const Tensors outputs = c.op(inputs_in(c, dtype, false));
      const Tensors expected = (c.reference ? c.reference : c.op)(rounded_inputs(c, dtype));
      ASSERT_EQ(outputs.size(), expected.size());
      for (size_t i = 0; i < outputs.size(); ++i) {
        const std::string what(name(dtype));
        // CUDA's functions of float64 err by up to two units.
        const bool two = device_under_test.is_cuda() && dtype == DType::Float64;
        expect_close(outputs[i], expected[i], (two ? 2 : 1) * row.tolerance.units, c.magnitude,
                     dtype, what);
      }
    }
  });
}

// Finite differences of emulated kernels take minutes, and say no more than the test below, which
// compares with the CPU's gradients.
bool skips_finite_differences() {
#ifdef PLINTH_EMULATE
  return device_under_test.is_cuda();
#else
  return false;
#endif
}

TEST_P(OpFamily, GradientsAgreeWithFiniteDifferences) {
  if (skips_finite_differences()) GTEST_SKIP();
  for_each_case([](const Row&, const Case& c) {
    if (c.gradcheck) {
      EXPECT_EQ(gradcheck(c.op, inputs_in(c, DType::Float64)), "");
    }
  });
}

TEST_P(OpFamily, GradientsAgreeWithFloat64InEveryDtype) {
  for_each_case([](const Row& row, const Case& c) {
    for (DType dtype : {DType::Float32, DType::BFloat16, DType::Float16}) {
      Tensors wide = rounded_inputs(c, dtype);
      for (Tensor& x : wide) {
        if (is_input_floating(x)) x.set_requires_grad();
      }
      const Result actual = run(c, inputs_in(c, dtype)), expected = run(c, wide);
      for (size_t i = 0; i < actual.gradients.size(); ++i) {
        ASSERT_EQ(actual.gradients[i].defined(), expected.gradients[i].defined());
        if (!actual.gradients[i].defined()) continue;
        EXPECT_EQ(actual.gradients[i].dtype(), dtype);
        const std::string what = std::string(name(dtype)) + ", gradient " + std::to_string(i);
        expect_close(actual.gradients[i], expected.gradients[i], row.tolerance.gradient_units,
                     c.magnitude, dtype, what);
      }
    }
  });
}

TEST_P(OpFamily, SecondDerivativesAreRightOrRefused) {
  if (skips_finite_differences()) GTEST_SKIP();
  for_each_case([](const Row& row, const Case& c) {
    if (!c.gradcheck) return;
    const Tensors inputs = inputs_in(c, DType::Float64);
    if (row.second == Second::Exists) {
      EXPECT_EQ(gradgradcheck(c.op, inputs), "");
    } else if (row.second == Second::Refused) {
      try {
        gradgradcheck(c.op, inputs);
        ADD_FAILURE() << "a second derivative was given";
      } catch (const Error& error) {
        EXPECT_THAT(error.what(), testing::AnyOf(testing::HasSubstr("has no gradient, but one was"),
                                                 testing::HasSubstr("has no second derivative")));
      }
    }
  });
}

TEST_P(OpFamily, LayoutInMemoryChangesNoBit) {
  for_each_case([](const Row& row, const Case& c) {
    for (DType dtype : {DType::Float32, DType::BFloat16}) {
      const Result expected = run(c, inputs_in(c, dtype));
      for (const auto& [layout, relaid] : {std::pair("spread", &spread), {"reversed", &reversed}}) {
        Tensors inputs = inputs_in(c, dtype);
        for (Tensor& x : inputs) {
          if (!x.defined()) continue;
          const bool requires_grad = x.requires_grad();
          x = relaid(x.detach());
          if (requires_grad) x.set_requires_grad();
        }
        if (!row.same_bits_in_any_layout) continue;
        const Result result = run(c, inputs);
        if (device_under_test.is_cpu()) {
          expect_same_bits(result, expected, layout);
        } else {
          // Kernels there add in an order that depends on the strides as well.
          expect_close(result, expected, row.tolerance, c.magnitude, dtype, layout);
        }
      }
    }
  });
}

TEST_P(OpFamily, BitsAreTheSameOnAnyNumberOfThreadsAndInputsStay) {
  for_each_case([](const Row&, const Case& c) {
    for (DType dtype : {DType::Float32, DType::BFloat16}) {
      const Tensors inputs = inputs_in(c, dtype);
      std::vector<std::vector<char>> before;
      for (const Tensor& x : inputs)
        before.push_back(x.defined() ? bytes_of(x) : std::vector<char>());
      omp_set_num_threads(1);
      const Result expected = run(c, inputs);
      for (int count : {1, 2, 3}) {
        if (device_under_test.is_cuda() && count > 1) break;
        omp_set_num_threads(count);
        expect_same_bits(run(c, inputs), expected, std::to_string(count) + " threads");
      }
      for (size_t i = 0; i < inputs.size(); ++i) {
        if (!inputs[i].defined()) continue;
        EXPECT_TRUE(bytes_of(inputs[i]) == before[i]) << "input " << i << " was changed";
        EXPECT_EQ(inputs[i].version(), 0u) << "input " << i;
      }
    }
  });
}

TEST_P(OpFamily, BadArgumentsAreNamed) {
  if (device_under_test.is_cuda()) GTEST_SKIP() << "checks come before the choice of a kernel";
  for (const Row& row : rows()) {
    for (const ErrorCase& bad : row.errors) {
      SCOPED_TRACE(row.name + ", expecting \"" + bad.message + "\"");
      try {
        bad.call();
        ADD_FAILURE() << "nothing was thrown";
      } catch (const Error& error) {
        EXPECT_THAT(error.what(), testing::HasSubstr(bad.message));
        EXPECT_EQ(name(error.kind()), name(bad.kind));
      }
    }
  }
}

std::string name_of(const testing::TestParamInfo<std::tuple<Device, size_t>>& info) {
  return families()[std::get<size_t>(info.param)].name;
}

INSTANTIATE_TEST_SUITE_P(Cpu, OpFamily,
                         testing::Combine(testing::Values(Device{}),
                                          testing::Range(size_t{0}, families().size())),
                         name_of);
#ifdef PLINTH_CUDA_BACKEND
INSTANTIATE_TEST_SUITE_P(Gpu, OpFamily,
                         testing::Combine(testing::Values(Device{DeviceType::CUDA, 0}),
                                          testing::Range(size_t{0}, families().size())),
                         name_of);
#endif

}  // namespace
}  // namespace plinth::op_table
