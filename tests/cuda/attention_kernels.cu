// The attention kernels on a real device, by the cases and the float64 expression of their tests on
// the emulator. One feature a test, so that a fault names it.

#include "tests/emulator/attention_kernels.h"

namespace plinth::kernels::cuda::attention_testing {
namespace {

struct Sizes {
  int64_t head_dim, queries, keys;  // the tile's
};

// Its name in a test's: head_dim and case.
using Feature = std::tuple<int64_t, Case>;

std::vector<Feature> features(const std::vector<Sizes>& sizes) {
  std::vector<Feature> result;
  for (const Sizes& s : sizes) {
    for (const Case& c : cases_of(s.head_dim, s.queries, s.keys))
      result.emplace_back(s.head_dim, c);
  }
  return result;
}

std::string name_of_feature(const testing::TestParamInfo<Feature>& info) {
  std::string name = std::to_string(std::get<0>(info.param)) + "_";
  for (const char x : std::get<1>(info.param).name) name += std::isalnum(x) ? x : '_';
  return name;
}

class DeviceAttention : public testing::TestWithParam<Feature> {
 protected:
  void SetUp() override {
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) GTEST_SKIP() << "no GPU";
  }
  const Case& feature() const { return std::get<1>(GetParam()); }
};

class DeviceAttentionHopper : public DeviceAttention {
 protected:
  void SetUp() override {
    DeviceAttention::SetUp();
    if (IsSkipped()) return;
    int major = 0;
    check_cuda(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0));
    if (major != 9) GTEST_SKIP() << "the device has no wgmma";
  }
};
TEST_P(DeviceAttentionHopper, BFloat16) {
  expect_matches(hopper<BFloat16>(), feature());
}
TEST_P(DeviceAttentionHopper, Float16) {
  expect_matches(hopper<Float16>(), feature());
}
TEST_P(DeviceAttentionHopper, SameBitsEachTime) {
  expect_same_bits_in_every_order(hopper<BFloat16>(), feature());
}
INSTANTIATE_TEST_SUITE_P(Features, DeviceAttentionHopper,
                         testing::ValuesIn(features({{64, 192, 128},
                                                     {80, 128, 128},
                                                     {96, 128, 128},
                                                     {128, 128, 128},
                                                     {160, 64, 80},
                                                     {256, 64, 64}})),
                         name_of_feature);

class DeviceAttentionTensorCore : public DeviceAttention {};
TEST_P(DeviceAttentionTensorCore, BFloat16) {
  expect_matches(tensor_core<BFloat16>(), feature());
}
TEST_P(DeviceAttentionTensorCore, Float16) {
  expect_matches(tensor_core<Float16>(), feature());
}
TEST_P(DeviceAttentionTensorCore, SameBitsEachTime) {
  expect_same_bits_in_every_order(tensor_core<BFloat16>(), feature());
}
INSTANTIATE_TEST_SUITE_P(
    Features, DeviceAttentionTensorCore,
    testing::ValuesIn(features({{64, 128, 64}, {80, 128, 64}, {128, 128, 64}, {256, 64, 64}})),
    name_of_feature);

class DeviceAttentionPlain : public DeviceAttention {};
TEST_P(DeviceAttentionPlain, Float32) {
  expect_matches(plain<float>(), feature());
}
TEST_P(DeviceAttentionPlain, BFloat16) {
  expect_matches(plain<BFloat16>(), feature());
}
INSTANTIATE_TEST_SUITE_P(Features, DeviceAttentionPlain,
                         testing::ValuesIn(features({{24, 64, 32}, {128, 64, 32}})),
                         name_of_feature);

}  // namespace
}  // namespace plinth::kernels::cuda::attention_testing
