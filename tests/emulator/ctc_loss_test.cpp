#include "kernels/ctc_loss/ctc_loss_cuda.h"

#include <gtest/gtest.h>

#include "tests/emulator/kernel_testing.h"

namespace plinth::kernels::cuda {
namespace {

// Samples: labels that repeat, that return and that do not; all steps needed; no label; fewer steps
// than there are; one step; none; none and no label; too long for its steps.
struct CtcProblem {
  CtcLossDesc desc{.time = 9, .batch = 9, .classes = 5, .most = 4, .blank = 2};
  std::vector<int64_t> targets = {1, 1, 3, 1, /**/ 0, 1, 3, 4, /**/ 9, 9, 9, 9,
                                  3, 9, 9, 9, /**/ 4, 9, 9, 9, /**/ 1, 3, 9, 9,
                                  9, 9, 9, 9, /**/ 1, 1, 1, 9, /**/ 3, 0, 3, 3};
  std::vector<int64_t> input_lengths = {9, 4, 9, 7, 1, 0, 0, 4, 8};
  std::vector<int64_t> target_lengths = {4, 4, 0, 1, 1, 2, 0, 3, 4};
};

// More states than a block has threads.
CtcProblem long_problem() {
  CtcProblem p{.desc = {.time = 140, .batch = 1, .classes = 3, .most = 130, .blank = 0}};
  p.targets.clear();
  for (int64_t i = 0; i < p.desc.most; ++i) p.targets.push_back(1 + i % 2);
  p.input_lengths = {140};
  p.target_lengths = {130};
  return p;
}

// What the kernels give, and the CPU's in float64 of the same numbers.
template <class T>
struct CtcResults {
  using C = compute_t<T>;
  std::vector<double> loss, dx, loss64, dx64;

  explicit CtcResults(const CtcProblem& p) {
    const CtcLossDesc& d = p.desc;
    const int64_t n = d.time * d.batch * d.classes;
    Buffer<T> x(n), gradient(n);
    Buffer<C> losses(d.batch), dloss(d.batch);
    Buffer<int64_t> targets(d.batch * d.most), steps(d.batch), lengths(d.batch);
    Buffer<uint8_t> forward(ctc_loss_forward_workspace(d));
    Buffer<uint8_t> backward(ctc_loss_backward_workspace(d));
    x.fill_random(1);
    dloss.fill_random(2);
    targets.copy_from(p.targets);
    steps.copy_from(p.input_lengths);
    lengths.copy_from(p.target_lengths);
    const CtcTargets on_device{targets.data(), steps.data(), lengths.data()};
    ctc_loss_forward<T>(nullptr, d, x.data(), on_device, losses.data(), forward.data());
    ctc_loss_backward<T>(nullptr, d, dloss.data(), x.data(), on_device, gradient.data(),
                         backward.data());
    loss = losses.values();
    dx = gradient.values();
    loss64.resize(d.batch);
    dx64.resize(n);
    const CtcTargets on_host{p.targets.data(), p.input_lengths.data(), p.target_lengths.data()};
    const std::vector<double> in = x.values(), slopes = dloss.values();
    cpu::ctc_loss_forward<double>(d, in.data(), on_host, loss64.data());
    cpu::ctc_loss_backward<double>(d, slopes.data(), in.data(), on_host, dx64.data());
  }
};

template <class T>
void expect_ctc_loss() {
  CtcProblem p;
  p.desc.zero_infinity = true;
  const CtcResults<T> run(p);
  expect_close<compute_t<T>>(run.loss, run.loss64, 4);
  expect_close<T>(run.dx, run.dx64, 4);
}

TEST(CtcLossKernel, Float32MatchesFloat64) {
  expect_ctc_loss<float>();
}
TEST(CtcLossKernel, BFloat16MatchesFloat64) {
  expect_ctc_loss<BFloat16>();
}
TEST(CtcLossKernel, Float16MatchesFloat64) {
  expect_ctc_loss<Float16>();
}
TEST(CtcLossKernel, Float64MatchesFloat64) {
  expect_ctc_loss<double>();
}

TEST(CtcLossKernel, TakesMoreStatesThanThreads) {
  const CtcResults<float> run(long_problem());
  expect_close<float>(run.loss, run.loss64, 4);
  expect_close<float>(run.dx, run.dx64, 4);
}

TEST(CtcLossKernel, WhatNoPathGivesIsInfinite) {
  const CtcResults<float> run(CtcProblem{});
  for (size_t i = 0; i < run.loss.size(); ++i)
    EXPECT_EQ(std::isinf(run.loss[i]), std::isinf(run.loss64[i])) << "sample " << i;
  EXPECT_TRUE(std::isinf(run.loss[5]) && std::isinf(run.loss[7]));
  for (size_t i = 0; i < run.dx.size(); ++i)
    ASSERT_EQ(std::isnan(run.dx[i]), std::isnan(run.dx64[i])) << "element " << i;
}

TEST(CtcLossKernel, SameBitsInEveryOrderOfThreads) {
  CtcProblem p;
  p.desc.zero_infinity = true;
  device::emulation_seed() = 1;
  const CtcResults<float> one(p);
  device::emulation_seed() = 2;
  const CtcResults<float> two(p);
  EXPECT_EQ(one.loss, two.loss);
  EXPECT_EQ(one.dx, two.dx);
}

TEST(CtcLossKernel, ALabelOutOfRangeIsFoundWhereItCounts) {
  const CtcLossDesc desc{.time = 4, .batch = 2, .classes = 3, .most = 2, .blank = 0};
  Buffer<int64_t> targets(4), lengths(2);
  lengths.copy_from({1, 2});
  const auto report = [&](const std::vector<int64_t>& labels) {
    targets.copy_from(labels);
    OnDevice<IndexFault> fault{};
    report_bad_labels(nullptr, desc, {targets.data(), nullptr, lengths.data()}, 7, fault.pointer());
    return fault.value;
  };
  EXPECT_EQ(report({1, 9, 2, 1}).check, 0u);
  const IndexFault found = report({1, 9, 2, 3});
  EXPECT_EQ(found.check, 7u);
  EXPECT_EQ(found.element, 3);
  EXPECT_EQ(found.value, 3);
}

// As the nearest that are not, so that nothing else is read.
TEST(CtcLossKernel, LengthsOutOfRangeReadNothingOutside) {
  CtcProblem wrong, right;
  wrong.input_lengths[0] = 100;
  wrong.target_lengths[1] = 50;
  wrong.target_lengths[2] = -3;
  right.input_lengths[0] = 9;
  right.target_lengths[1] = 4;
  right.target_lengths[2] = 0;
  const auto losses = [](const CtcProblem& p) {
    Buffer<float> x(p.desc.time * p.desc.batch * p.desc.classes), loss(p.desc.batch);
    Buffer<int64_t> targets(p.desc.batch * p.desc.most), steps(p.desc.batch), lengths(p.desc.batch);
    Buffer<uint8_t> workspace(ctc_loss_forward_workspace(p.desc));
    x.fill_random(1);
    targets.copy_from(p.targets);
    steps.copy_from(p.input_lengths);
    lengths.copy_from(p.target_lengths);
    ctc_loss_forward<float>(nullptr, p.desc, x.data(),
                            {targets.data(), steps.data(), lengths.data()}, loss.data(),
                            workspace.data());
    return loss.values();
  };
  EXPECT_EQ(losses(wrong), losses(right));
}

}  // namespace
}  // namespace plinth::kernels::cuda
