// What the emulator's cuBLASLt refuses: each of these calls is an error of NVIDIA's library, too.

#include "kernels/library/cublaslt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/device/emulate/error.h"
#include "tests/emulator/kernel_testing.h"

namespace plinth::kernels::cuda::lt {
namespace {

using testing::HasSubstr;

constexpr int kSide = 16;

// A product of three matrices of 16 x 16 that is right; tests make it wrong.
struct Call {
  Call(int type, int result, int compute = kComputeFloat32, int scale = kFloat32) {
    of.desc_create(&desc, compute, scale);
    of.layout_create(&a, type, kSide, kSide, kSide);
    of.layout_create(&b, type, kSide, kSide, kSide);
    of.layout_create(&d, result, kSide, kSide, kSide);
    of.preference_create(&preference);
  }
  ~Call() {
    of.desc_destroy(desc);
    for (void* layout : {a, b, d}) of.layout_destroy(layout);
    of.preference_destroy(preference);
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  template <class T>
  void set(int attribute, T value) {
    ASSERT_EQ(of.desc_set(desc, attribute, &value, sizeof value), kSuccess);
  }
  // Why the heuristics, or the product, are refused; "success" if they are not.
  std::string make(const void* from_a, const void* from_b, void* to, void* workspace = nullptr,
                   size_t workspace_bytes = 0) {
    Candidate candidate;
    int found = 0;
    int status = of.heuristic(nullptr, desc, a, b, d, d, preference, 1, &candidate, &found);
    if (status == kSuccess) {
      const float one = 1, zero = 0;
      status = of.matmul(nullptr, desc, &one, from_a, a, from_b, b, &zero, to, d, to, d,
                         &candidate.algorithm, workspace, workspace_bytes, nullptr);
    }
    return of.status_string(status);
  }

  const Library& of = library();
  void *desc, *a, *b, *d, *preference;
};

class CublasLt : public testing::Test {
 protected:
  Buffer<float> x{kSide * kSide}, y{kSide * kSide};
  Buffer<Float8_e4m3> narrow{kSide * kSide};
};

TEST_F(CublasLt, MakesAProduct) {
  Call call(kFloat32, kFloat32);
  EXPECT_EQ(call.make(x.data(), x.data(), y.data()), "success");
}

TEST_F(CublasLt, RefusesAttributesOfAnotherSize) {
  const Call call(kFloat32, kFloat32);
  const int64_t wide = 1;
  EXPECT_EQ(call.of.desc_set(call.desc, kDescTransposeA, &wide, sizeof wide), kInvalidValue);
  EXPECT_EQ(call.of.layout_set(call.a, kLayoutBatches, &wide, sizeof wide), kInvalidValue);
  EXPECT_EQ(call.of.preference_set(call.preference, kPreferWorkspace, &wide, 4), kInvalidValue);
  EXPECT_EQ(call.of.desc_set(call.desc, 999, &wide, sizeof wide), kInvalidValue);
}

TEST_F(CublasLt, RefusesShapesThatDoNotMeet) {
  Call call(kFloat32, kFloat32);
  call.of.layout_destroy(call.a);
  call.of.layout_create(&call.a, kFloat32, kSide, kSide + 1, kSide);
  EXPECT_THAT(call.make(x.data(), x.data(), y.data()), HasSubstr("differ in k"));
  call.of.layout_destroy(call.a);
  call.of.layout_create(&call.a, kFloat32, kSide, kSide, kSide - 1);
  EXPECT_THAT(call.make(x.data(), x.data(), y.data()), HasSubstr("leading dimension"));
}

TEST_F(CublasLt, RefusesTypesThatAreNotInItsTable) {
  EXPECT_THAT(Call(kFloat32, kBFloat16).make(x.data(), x.data(), y.data()), HasSubstr("types"));
  EXPECT_THAT(Call(kFloat64, kFloat64).make(x.data(), x.data(), y.data()), HasSubstr("types"));
  EXPECT_THAT(Call(kBFloat16, kFloat16).make(x.data(), x.data(), y.data()), HasSubstr("types"));
}

TEST_F(CublasLt, RefusesFloat8InOtherThanItsLayout) {
  const auto product = [&](int32_t transpose_a, int32_t transpose_b, int type_b) {
    Call call(kFloat8E4m3, kFloat32);
    call.of.layout_destroy(call.b);
    call.of.layout_create(&call.b, type_b, kSide, kSide, kSide);
    call.set(kDescTransposeA, transpose_a);
    call.set(kDescTransposeB, transpose_b);
    return call.make(narrow.data(), narrow.data(), y.data());
  };
  EXPECT_EQ(product(kTransposed, kAsIs, kFloat8E4m3), "success");
  EXPECT_EQ(product(kTransposed, kAsIs, kFloat8E5m2), "success");
  EXPECT_THAT(product(kAsIs, kAsIs, kFloat8E4m3), HasSubstr("A transposed"));
  EXPECT_THAT(product(kTransposed, kTransposed, kFloat8E4m3), HasSubstr("A transposed"));
  EXPECT_THAT(product(kTransposed, kAsIs, kBFloat16), HasSubstr("not float8"));
}

TEST_F(CublasLt, RefusesScalesBesideOtherTypes) {
  Call call(kFloat32, kFloat32);
  call.set(kDescScaleA, static_cast<const float*>(x.data()));
  EXPECT_THAT(call.make(x.data(), x.data(), y.data()), HasSubstr("scales"));
}

TEST_F(CublasLt, RefusesPointersThatAreNotAligned) {
  Call call(kFloat32, kFloat32);
  EXPECT_THAT(call.make(x.data() + 1, x.data(), y.data()), HasSubstr("aligned"));
}

TEST_F(CublasLt, RefusesAnEpilogueWithoutItsOperands) {
  Call call(kFloat32, kFloat32);
  call.set(kDescEpilogue, uint32_t{kBias});
  EXPECT_THAT(call.make(x.data(), x.data(), y.data()), HasSubstr("bias is null"));
  call.set(kDescBias, static_cast<void*>(x.data()));
  EXPECT_EQ(call.make(x.data(), x.data(), y.data()), "success");
  call.set(kDescEpilogue, uint32_t{kGeluAuxBias});
  EXPECT_THAT(call.make(x.data(), x.data(), y.data()), HasSubstr("multiple of 8"));
  call.set(kDescAuxStride, int64_t{kSide});
  EXPECT_THAT(call.make(x.data(), x.data(), y.data()), HasSubstr("auxiliary matrix is null"));
}

TEST_F(CublasLt, RefusesAWorkspaceThatIsNotAligned) {
  Call call(kFloat32, kFloat32);
  Buffer<uint8_t> workspace(512);
  EXPECT_THAT(call.make(x.data(), x.data(), y.data(), workspace.data() + 16, 256),
              HasSubstr("256 bytes"));
}

TEST_F(CublasLt, FailsOnMemoryOfTheHost) {
  Call call(kFloat32, kFloat32);
  alignas(256) static float host[kSide * kSide];
  EXPECT_THROW(call.make(host, x.data(), y.data()), emulate::KernelError);
  EXPECT_THROW(call.make(x.data(), x.data(), host), emulate::KernelError);
}

TEST_F(CublasLt, FailsBeyondTheEndOfABuffer) {
  Call call(kFloat32, kFloat32);
  Buffer<float> shorter(kSide * kSide - 1);
  EXPECT_THROW(call.make(x.data(), shorter.data(), y.data()), emulate::KernelError);
}

TEST_F(CublasLt, FailsOnAScaleOfTheHost) {
  Call call(kFloat8E4m3, kFloat32);
  static const float scale = 1;
  call.set(kDescTransposeA, int32_t{kTransposed});
  call.set(kDescScaleB, &scale);
  EXPECT_THROW(call.make(narrow.data(), narrow.data(), y.data()), emulate::KernelError);
}

}  // namespace
}  // namespace plinth::kernels::cuda::lt
