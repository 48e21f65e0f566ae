// paged_attention has no gradient, and so no row in the table.

#include "core/ops/paged_attention.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/autograd.h"
#include "core/error.h"
#include "core/flop_counter.h"
#include "core/ops/attention.h"
#include "core/ops/factories.h"
#include "core/ops/views.h"
#include "core/stream.h"
#include "each_device.h"
#include "naive.h"
#include "op_table.h"

namespace plinth::op_table {
namespace {

using testing::HasSubstr;

constexpr int64_t kPages = 9, kPageSize = 3, kHeads = 4, kKvHeads = 2, kQueries = 2, kDim = 8;
const std::vector<int64_t> kLengths = {7, 0, 9};

class PagedAttention : public EachDevice {
 protected:
  void SetUp() override {
    EachDevice::SetUp();
    if (IsSkipped()) return;
    Sampler sample;
    q = sample({3, kHeads, kQueries, kDim});
    k = sample({kPages, kPageSize, kKvHeads, kDim});
    v = sample({kPages, kPageSize, kKvHeads, kDim});
    slopes = from_values<double>({0.5, 0.25, 0.125, 0}, {4});
    sinks = from_values<double>({0.1, -2, 0.7, 1}, {4});
    lengths = from_values(kLengths, {3});
    // Entries beyond the lengths lead nowhere.
    table = from_values<int64_t>({4, 0, 8, -1, -1, 99, 2, 6, 1}, {3, 3});
  }

  Tensor call(DType dtype, const PagedAttentionOptions& options = {}) {
    const auto there = [&](const Tensor& x) { return x.to(dtype).to(GetParam()); };
    return paged_attention(there(q), there(k), there(v), table.to(GetParam()),
                           lengths.to(GetParam()), options);
  }

  PagedAttentionOptions everything(DType dtype) {
    const DType wide = dtype == DType::Float64 ? dtype : DType::Float32;
    return {.window = 6,
            .scale = 0.3,
            .soft_cap = 1.1,  // between float32's numbers
            .alibi_slopes = slopes.to(wide).to(GetParam()),
            .sinks = sinks.to(wide).to(GetParam())};
  }

  // By loops in float64, of what dtype holds.
  Tensor expected(DType dtype, const PagedAttentionOptions& o) {
    const auto held = [&](const Tensor& x) { return x.to(dtype).to(DType::Float64); };
    const Tensor from_q = held(q), from_k = held(k), from_v = held(v);
    const double scale = o.scale != 0 ? o.scale : 1 / std::sqrt(double(kDim));
    return naive::build(q.shape(), [&](const naive::Index& i) {
      const int64_t b = i[0], h = i[1], head = h / (kHeads / kKvHeads), length = kLengths[b];
      const int64_t beside = i[2] + length - kQueries;
      double total = o.sinks.defined() ? std::exp(naive::at(sinks, {h})) : 0, sum = 0;
      for (int64_t j = 0; j < length; ++j) {
        if (o.causal && j > beside) continue;
        if (o.window > 0 && std::abs(beside - j) >= o.window) continue;
        const auto page = static_cast<int64_t>(naive::at(table, {b, j / kPageSize}));
        double score = 0;
        for (int64_t d = 0; d < kDim; ++d)
          score += scale * naive::at(from_q, {b, h, i[2], d}) *
                   naive::at(from_k, {page, j % kPageSize, head, d});
        if (o.soft_cap > 0) score = o.soft_cap * std::tanh(score / o.soft_cap);
        if (o.alibi_slopes.defined()) score -= naive::at(slopes, {h}) * std::abs(beside - j);
        const double weight = std::exp(score);
        total += weight;
        sum += weight * naive::at(from_v, {page, j % kPageSize, head, i[3]});
      }
      return total > 0 ? sum / total : 0;
    });
  }

  void expect_near(const Tensor& result, const Tensor& expected, double tolerance) {
    const Tensor there = result.to(Device{}).to(DType::Float64).contiguous();
    ASSERT_EQ(there.shape(), expected.shape());
    for (int64_t i = 0; i < expected.numel(); ++i)
      EXPECT_NEAR(there.data<double>()[i], expected.data<double>()[i], tolerance) << i;
  }

  // The message of what f throws, or of what it leaves for the host to find.
  template <class F>
  std::string message_of(F f) {
    try {
      f();
      synchronize(GetParam());
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  Tensor q, k, v, slopes, sinks, lengths, table;
};

TEST_P(PagedAttention, MatchesLoopsInFloat64) {
  const std::pair<DType, double> dtypes[] = {{DType::Float64, 1e-12},
                                             {DType::Float32, 4e-6},
                                             {DType::BFloat16, 3e-2},
                                             {DType::Float16, 4e-3}};
  for (const auto& [dtype, tolerance] : dtypes) {
    SCOPED_TRACE(name(dtype));
    for (const PagedAttentionOptions& options :
         {PagedAttentionOptions{}, PagedAttentionOptions{.causal = false}, everything(dtype)})
      expect_near(call(dtype, options), expected(dtype, options), tolerance);
  }
}

TEST_P(PagedAttention, TheLargestWindowIsNone) {
  for (const bool causal : {true, false}) {
    const Tensor all = call(DType::Float32, {.causal = causal});
    const Tensor windowed = call(DType::Float32, {.causal = causal, .window = INT64_MAX});
    expect_near(windowed, all.to(Device{}).to(DType::Float64).contiguous(), 0);
  }
}

TEST_P(PagedAttention, TakesNoHeads) {
  q = q.narrow(1, 0, 0);
  k = k.narrow(2, 0, 0), v = v.narrow(2, 0, 0);
  EXPECT_EQ(call(DType::Float32).shape(), (Shape{3, 0, kQueries, kDim}));
}

TEST_P(PagedAttention, TakesTablesOfInt32AndPagesInAnyOrder) {
  const Tensor first = call(DType::Float32);
  table = table.to(DType::Int32);
  const auto swapped = [&](const Tensor& x) {
    return x.transpose(0, 2).contiguous().transpose(0, 2);
  };
  const auto there = [&](const Tensor& x) { return x.to(DType::Float32).to(GetParam()); };
  const Tensor second = paged_attention(there(q), swapped(there(k)), swapped(there(v)),
                                        table.to(GetParam()), lengths.to(GetParam()));
  expect_near(second, first.to(Device{}).to(DType::Float64).contiguous(), 0);
}

TEST_P(PagedAttention, ReportsPagesAndLengthsOutOfBounds) {
  const auto run = [&] { return message_of([&] { call(DType::Float32); }); };
  EXPECT_EQ(run(), "");
  table.data<int64_t>()[7] = kPages;
  EXPECT_THAT(run(), HasSubstr("paged_attention: block_table 9 (element 7) is out of range for a "
                               "size of 9"));
  table.data<int64_t>()[7] = -1;
  EXPECT_THAT(run(), HasSubstr("block_table -1 (element 7)"));
  for (const int64_t bad : {10, -1}) {
    lengths.data<int64_t>()[2] = bad;
    EXPECT_THAT(run(), HasSubstr("paged_attention: kv_lengths " + std::to_string(bad) +
                                 " (element 2) is out of range for a size of 10"));
  }
  EXPECT_EQ(message_of([] {}), "");
}

TEST_P(PagedAttention, SaysWhatAGpuTakes) {
  const auto there = [&](const Shape& shape) {
    return zeros(shape, {DType::BFloat16, GetParam()});
  };
  const std::string message = message_of([&] {
    paged_attention(there({3, 4, 1, 12}), there({9, 3, 2, 12}), there({9, 3, 2, 12}),
                    table.to(GetParam()), lengths.to(GetParam()));
  });
  if (GetParam().is_cpu()) {
    EXPECT_EQ(message, "");
  } else {
    EXPECT_THAT(message, HasSubstr("a GPU takes a head_dim of at most 256 and rows that begin and "
                                   "end at multiples of 16 bytes, 8 elements"));
  }
}

INSTANTIATE_TEST_SUITE_P(Cpu, PagedAttention, testing::Values(Device{}));
#ifdef PLINTH_CUDA_BACKEND
INSTANTIATE_TEST_SUITE_P(Gpu, PagedAttention, testing::Values(Device{DeviceType::CUDA, 0}));
#endif

TEST(PagedAttentionOp, HasTheBitsOfAttention) {
  Sampler sample;
  const Tensor q = sample({1, 4, 2, 8}).to(DType::Float32);
  const Tensor k = sample({3, 4, 2, 8}).to(DType::Float32);
  const Tensor v = sample({3, 4, 2, 8}).to(DType::Float32);
  const Tensor y = paged_attention(q, k, v, from_values<int64_t>({0, 1, 2}, {1, 3}),
                                   from_values<int64_t>({11}, {1}), {.window = 7});
  const auto cache = [](const Tensor& x) {
    return x.reshape({1, 12, 2, 8}).narrow(1, 0, 11).transpose(1, 2);
  };
  const Tensor expected = attention(q, cache(k), cache(v), {.causal = true, .window = 7});
  const Tensor a = y.contiguous(), b = expected.contiguous();
  for (int64_t i = 0; i < a.numel(); ++i) EXPECT_EQ(a.data<float>()[i], b.data<float>()[i]);
}

TEST(PagedAttentionOp, CountsWhatTheQueriesSee) {
  const Tensor q = zeros({2, 4, 2, 8}), pages = zeros({4, 4, 2, 8});
  const Tensor table = from_values<int64_t>({0, 1, 2, 3}, {2, 2});
  const FlopCounter counter;
  paged_attention(q, pages, pages, table, from_values<int64_t>({5, 1}, {2}));
  EXPECT_EQ(counter.count(), 4 * (4 + 5 + 0 + 1) * 4 * 8);
}

TEST(PagedAttentionOp, RefusesWhatDoesNotFit) {
  const Tensor q = zeros({2, 4, 1, 8}), pages = zeros({5, 3, 2, 8});
  const Tensor table = zeros({2, 2}, {DType::Int32, {}}), lengths = zeros({2}, {DType::Int64, {}});
  struct Bad {
    std::function<void()> call;
    ErrorKind kind;
    const char* message;
  };
  const Bad all[] = {
      {[&] {
         paged_attention(zeros({2, 8}), pages, pages, table, lengths);
       },
       ErrorKind::Shape,
       "paged_attention: q has shape [2, 8], expected [batch, heads, queries, head_dim]"},
      {[&] {
         paged_attention(q, zeros({5, 3, 2, 4}), pages, table, lengths);
       },
       ErrorKind::Shape,
       "k_pages has shape [5, 3, 2, 4], expected [pages, page_size, kv_heads, 8] (q is [2, 4, 1, "
       "8])"},
      {[&] {
         paged_attention(q, zeros({5, 0, 2, 8}), zeros({5, 0, 2, 8}), table, lengths);
       },
       ErrorKind::Shape, "k_pages has shape [5, 0, 2, 8]"},
      {[&] {
         paged_attention(q, pages, zeros({5, 4, 2, 8}), table, lengths);
       },
       ErrorKind::Shape, "v_pages has shape [5, 4, 2, 8], expected [5, 3, 2, 8] (that of k_pages)"},
      {[&] { paged_attention(q, pages.to(DType::Float16), pages, table, lengths); },
       ErrorKind::DType, "k_pages has dtype float16, expected float32 (that of q)"},
      {[&] {
         paged_attention(q, zeros({5, 3, 3, 8}), zeros({5, 3, 3, 8}), table, lengths);
       },
       ErrorKind::Shape, "q has 4 heads, expected a multiple of k_pages' 3"},
      {[&] { paged_attention(q.clone().set_requires_grad(), pages, pages, table, lengths); },
       ErrorKind::Argument, "requires grad, but there is no gradient; hold a NoGradGuard"},
      {[&] { paged_attention(q, pages, pages, Tensor(), lengths); }, ErrorKind::Argument,
       "block_table is undefined"},
      {[&] {
         paged_attention(q, pages, pages, zeros({2, 2}), lengths);
       },
       ErrorKind::DType, "block_table has dtype float32, takes int32, int64"},
      {[&] {
         paged_attention(q, pages, pages, zeros({3, 2}, {DType::Int32, {}}), lengths);
       },
       ErrorKind::Shape, "block_table has shape [3, 2], expected [2, max_pages]"},
      {[&] { paged_attention(q, pages, pages, table, table); }, ErrorKind::DType,
       "kv_lengths has dtype int32, expected int64"},
      {[&] {
         paged_attention(q, pages, pages, table, zeros({3}, {DType::Int64, {}}));
       },
       ErrorKind::Shape, "kv_lengths has shape [3], expected [2] (batch size of q)"},
      {[&] { paged_attention(q, pages, pages, table, lengths, {.window = -1}); },
       ErrorKind::Argument, "window is -1, expected at least 0"},
      {[&] { paged_attention(q, pages, pages, table, lengths, {.scale = NAN}); },
       ErrorKind::Argument, "scale is nan, expected a finite number"},
      {[&] { paged_attention(q, pages, pages, table, lengths, {.soft_cap = -2}); },
       ErrorKind::Argument, "soft_cap is -2, expected a finite number of at least 0"},
      {[&] { paged_attention(q, pages, pages, table, lengths, {.scale = 1e-50}); },
       ErrorKind::Argument, "paged_attention: scale is 1e-50, expected 0 or a size within"},
      {[&] { paged_attention(q, pages, pages, table, lengths, {.soft_cap = 1e39}); },
       ErrorKind::Argument, "paged_attention: soft_cap is 1e+39, expected 0 or a size within"},
      {[&] {
         paged_attention(q, pages, pages, table, lengths,
                         {.alibi_slopes = zeros({4}, {DType::Float64, {}})});
       },
       ErrorKind::DType, "alibi_slopes has dtype float64, expected float32 for a q of float32"},
      {[&] { paged_attention(q, pages, pages, table, lengths, {.sinks = zeros({2})}); },
       ErrorKind::Shape, "sinks has shape [2], expected [4] (heads of q)"},
  };
  for (const Bad& bad : all) {
    try {
      bad.call();
      ADD_FAILURE() << "no error: " << bad.message;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), bad.kind) << error.what();
      EXPECT_THAT(error.what(), HasSubstr(bad.message));
    }
  }
}

}  // namespace
}  // namespace plinth::op_table
