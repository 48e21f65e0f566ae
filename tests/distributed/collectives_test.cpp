// What every backend has to give: each collective, dtype and size against a plain loop.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>

#include "tests/distributed/backends.h"

namespace plinth::distributed {
namespace {

constexpr DType kReducible[] = {DType::Float64, DType::Float32, DType::BFloat16,
                                DType::Float16, DType::Int64,   DType::Int32};
constexpr DType kAll[] = {DType::Float64,     DType::Float32,     DType::BFloat16, DType::Float16,
                          DType::Float8_e4m3, DType::Float8_e5m2, DType::Int64,    DType::Int32,
                          DType::UInt8,       DType::Bool};
constexpr int64_t kSizes[] = {0, 1, 7, 1003};

// Element i of rank r: small integers, exact in every dtype that is reduced, as are their sums.
int64_t element(int rank, int64_t i) {
  return (i * 7 + rank * 5 + i * rank) % 19 - 9;
}

int64_t reduced(int ranks, int64_t i, ReduceOp op) {
  int64_t result = element(0, i);
  for (int r = 1; r < ranks; ++r) {
    const int64_t x = element(r, i);
    result = op == ReduceOp::Sum   ? result + x
             : op == ReduceOp::Max ? std::max(result, x)
                                   : std::min(result, x);
  }
  return result;
}

// Reducible dtypes from and to integers; others byte by byte.
template <class Value>
Tensor make(const Shape& shape, DType dtype, Value value) {
  const Tensor wide = Tensor::empty(shape, {DType::Int64});
  for (int64_t i = 0; i < wide.numel(); ++i) wide.data<int64_t>()[i] = value(i);
  return wide.to(dtype);
}

void expect_equal(const Tensor& got, const Tensor& expected) {
  ASSERT_EQ(got.shape(), expected.shape());
  ASSERT_EQ(got.dtype(), expected.dtype());
  const auto bytes = static_cast<size_t>(got.numel()) * size_of(got.dtype());
  if (bytes > 0 && std::memcmp(got.raw_data(), expected.raw_data(), bytes) != 0)
    ADD_FAILURE() << "got " << to_string(got) << "\nexpected " << to_string(expected);
}

// Elements of any dtype that differ by rank and place.
Tensor bytes_of(const Shape& shape, DType dtype, int rank) {
  const Tensor result = Tensor::empty(shape, {dtype});
  auto* const bytes = static_cast<unsigned char*>(result.raw_data());
  const auto count = result.numel() * static_cast<int64_t>(size_of(dtype));
  for (int64_t i = 0; i < count; ++i)
    bytes[i] = dtype == DType::Bool ? (i + rank) % 2 : (i * 31 + rank * 57 + 1) % 251;
  return result;
}

void expect_part(const Tensor& whole, int64_t begin, const Tensor& expected) {
  expect_equal(whole.narrow(0, begin, expected.size(0)).contiguous(), expected);
}

class Collectives : public testing::TestWithParam<Backend> {};
INSTANTIATE_TEST_SUITE_P(Cpu, Collectives, testing::ValuesIn(all_backends()), name_of);

TEST_P(Collectives, AllReduce) {
  GetParam().run([](ProcessGroup& group) {
    for (const DType dtype : kReducible)
      for (const int64_t n : kSizes)
        for (const ReduceOp op : {ReduceOp::Sum, ReduceOp::Max, ReduceOp::Min}) {
          const Tensor x = make({n}, dtype, [&](int64_t i) { return element(group.rank(), i); });
          group.all_reduce(x, op).wait();
          expect_equal(x,
                       make({n}, dtype, [&](int64_t i) { return reduced(group.size(), i, op); }));
        }
  });
}

TEST_P(Collectives, ReduceScatter) {
  GetParam().run([](ProcessGroup& group) {
    for (const DType dtype : kReducible)
      for (const int64_t n : kSizes)
        for (const ReduceOp op : {ReduceOp::Sum, ReduceOp::Max, ReduceOp::Min}) {
          const auto all = [&](int64_t i) { return element(group.rank(), i); };
          const Tensor in = make({group.size() * n, 3}, dtype, all);
          const Tensor out = Tensor::empty({n, 3}, {dtype});
          group.reduce_scatter(out, in, op).wait();
          const Tensor expected = make({n, 3}, dtype, [&](int64_t i) {
            return reduced(group.size(), group.rank() * n * 3 + i, op);
          });
          expect_equal(out, expected);
          expect_equal(in, make(in.shape(), dtype, all));
          const Tensor part = in.narrow(0, group.rank() * n, n);
          group.reduce_scatter(part, in, op).wait();
          expect_equal(part, expected);
        }
  });
}

TEST_P(Collectives, AllGather) {
  GetParam().run([](ProcessGroup& group) {
    for (const DType dtype : kAll)
      for (const int64_t n : kSizes) {
        const Tensor in = bytes_of({n, 2}, dtype, group.rank());
        const Tensor out = bytes_of({group.size() * n, 2}, dtype, 100);
        group.all_gather(out, in).wait();
        const Tensor in_place = bytes_of(out.shape(), dtype, 100);
        in_place.narrow(0, group.rank() * n, n).copy_(in);
        group.all_gather(in_place, in_place.narrow(0, group.rank() * n, n)).wait();
        for (int r = 0; r < group.size(); ++r) {
          expect_part(out, r * n, bytes_of({n, 2}, dtype, r));
          expect_part(in_place, r * n, bytes_of({n, 2}, dtype, r));
        }
      }
  });
}

TEST_P(Collectives, AllToAll) {
  GetParam().run([](ProcessGroup& group) {
    for (const DType dtype : kAll)
      for (const int64_t n : kSizes) {
        const Tensor in = bytes_of({group.size() * n, 2}, dtype, group.rank());
        const Tensor out = Tensor::empty(in.shape(), {dtype});
        group.all_to_all(out, in).wait();
        for (int r = 0; r < group.size(); ++r)
          expect_part(out, r * n,
                      bytes_of(in.shape(), dtype, r).narrow(0, group.rank() * n, n).contiguous());
      }
  });
}

// Rank r sends (r + to) % 3 rows, so that some pairs have nothing to send.
TEST_P(Collectives, AllToAllOfUnequalParts) {
  GetParam().run([](ProcessGroup& group) {
    const auto rows = [](int from, int to) { return (from + to) % 3; };
    const auto rows_before = [&](int from, int to) {
      int64_t sum = 0;
      for (int r = 0; r < to; ++r) sum += rows(from, r);
      return sum;
    };
    std::vector<int64_t> sent, received;
    int64_t in_all = 0;
    for (int r = 0; r < group.size(); ++r) {
      sent.push_back(rows(group.rank(), r));
      received.push_back(rows(r, group.rank()));
      in_all += received.back();
    }
    const auto of_rank = [&](int rank) {
      return bytes_of({rows_before(rank, group.size()), 5}, DType::BFloat16, rank);
    };
    const Tensor out = Tensor::empty({in_all, 5}, {DType::BFloat16});
    group.all_to_all(out, of_rank(group.rank()), sent, received).wait();
    int64_t at = 0;
    for (int r = 0; r < group.size(); ++r) {
      expect_part(out, at,
                  of_rank(r).narrow(0, rows_before(r, group.rank()), received[r]).contiguous());
      at += received[r];
    }
  });
}

TEST_P(Collectives, Broadcast) {
  GetParam().run([](ProcessGroup& group) {
    for (const DType dtype : kAll)
      for (const int64_t n : kSizes)
        for (int root = 0; root < group.size(); ++root) {
          const Tensor x = bytes_of({n}, dtype, group.rank());
          group.broadcast(x, root).wait();
          expect_equal(x, bytes_of({n}, dtype, root));
        }
  });
}

// Around a ring, several messages at once.
TEST_P(Collectives, SendAndRecv) {
  GetParam().run([](ProcessGroup& group) {
    if (group.size() == 1) return;
    const int next = (group.rank() + 1) % group.size();
    const int previous = (group.rank() + group.size() - 1) % group.size();
    for (const DType dtype : kAll) {
      std::vector<Tensor> got;
      std::vector<Work> works;
      const auto send = [&] {
        for (const int64_t n : kSizes)
          works.push_back(group.send(bytes_of({n}, dtype, group.rank()), next));
      };
      const auto recv = [&] {
        for (const int64_t n : kSizes) {
          got.push_back(Tensor::empty({n}, {dtype}));
          works.push_back(group.recv(got.back(), previous));
        }
      };
      if (group.rank() == 0)
        recv(), send();
      else
        send(), recv();
      for (const Work& work : works) work.wait();
      for (const Tensor& x : got) expect_equal(x, bytes_of(x.shape(), dtype, previous));
    }
  });
}

TEST_P(Collectives, LargeTensors) {
  GetParam().run([](ProcessGroup& group) {
    const int64_t n = 1'000'003;
    const auto own = [&](int64_t i) { return element(group.rank(), i); };
    const auto sum = [&](int64_t i) { return reduced(group.size(), i, ReduceOp::Sum); };
    for (const DType dtype : {DType::Float32, DType::BFloat16}) {
      const Tensor x = make({n}, dtype, own);
      group.all_reduce(x).wait();
      expect_equal(x, make({n}, dtype, sum));
      const Tensor y = make({n}, dtype, own);
      group.broadcast(y, group.size() - 1).wait();
      expect_equal(y, make({n}, dtype, [&](int64_t i) { return element(group.size() - 1, i); }));
    }
  });
}

// 256 + 1 + 1 is 258 in bfloat16, but 256 if each sum is rounded.
TEST_P(Collectives, NarrowSumsAreRoundedOnce) {
  GetParam().run([](ProcessGroup& group) {
    const Tensor x = full({5}, group.rank() == 0 ? 256 : 1, DType::BFloat16);
    group.all_reduce(x).wait();
    expect_equal(x, full({5}, 255 + group.size(), DType::BFloat16));
  });
}

TEST_P(Collectives, ExtremesOfNaNAreNaN) {
  GetParam().run([](ProcessGroup& group) {
    for (const ReduceOp op : {ReduceOp::Max, ReduceOp::Min})
      for (int odd = 0; odd < group.size(); ++odd) {
        const double nan = std::numeric_limits<double>::quiet_NaN();
        const Tensor x = full({3}, group.rank() == odd ? nan : 1);
        group.all_reduce(x, op).wait();
        for (int i = 0; i < 3; ++i) EXPECT_TRUE(std::isnan(x.data<float>()[i]));
      }
  });
}

TEST_P(Collectives, IntegersWrapAround) {
  GetParam().run([](ProcessGroup& group) {
    const Tensor x = Tensor::empty({1}, {DType::Int32});
    x.data<int32_t>()[0] = group.rank() == 0 ? std::numeric_limits<int32_t>::max() : 1;
    group.all_reduce(x).wait();
    const auto wide = int64_t{std::numeric_limits<int32_t>::max()} + group.size() - 1;
    EXPECT_EQ(x.data<int32_t>()[0], static_cast<int32_t>(wide));
  });
}

// No rank leaves the barrier before all have come.
TEST_P(Collectives, Barrier) {
  std::atomic<int> come = 0;
  GetParam().run([&](ProcessGroup& group) {
    for (int round = 1; round <= 3; ++round) {
      ++come;
      group.barrier().wait();
      EXPECT_GE(come.load(), round * group.size());
      group.barrier().wait();
    }
  });
}

TEST_P(Collectives, WorkIsDoneInOrder) {
  GetParam().run([](ProcessGroup& group) {
    const Tensor x = full({1000}, 1);
    std::vector<Work> works;
    for (int i = 0; i < 5; ++i) {
      works.push_back(group.all_reduce(x));
      works.push_back(group.in_order([x] {
        for (int64_t k = 0; k < x.numel(); ++k) x.data<float>()[k] += 1;
      }));
    }
    works.back().wait();
    for (const Work& work : works) EXPECT_TRUE(work.is_done());
    double expected = 1;
    for (int i = 0; i < 5; ++i) expected = expected * group.size() + 1;
    expect_equal(x, full({1000}, expected));
    EXPECT_TRUE(Work().is_done());
    Work().wait();
  });
}

TEST_P(Collectives, KeepsTensorsUntilItIsDone) {
  GetParam().run([](ProcessGroup& group) {
    const Tensor out = Tensor::empty({group.size() * 100}, {});
    const Work work = group.all_gather(out, full({100}, group.rank()));
    work.wait();
    for (int r = 0; r < group.size(); ++r)
      EXPECT_EQ(out.data<float>()[r * 100 + 99], static_cast<float>(r));
  });
}

TEST_P(Collectives, Split) {
  GetParam().run([](ProcessGroup& group) {
    // Even and odd ranks, those in reverse order; then none of rank 0; parts of a part.
    const bool odd = group.rank() % 2 == 1;
    const auto half = group.split(odd, odd ? group.rank() : -group.rank(), "half");
    ASSERT_TRUE(half);
    EXPECT_EQ(half->name(), "half");
    EXPECT_EQ(half->backend(), group.backend());
    EXPECT_EQ(half->options().timeout, group.options().timeout);
    EXPECT_EQ(half->size(), odd ? group.size() / 2 : (group.size() + 1) / 2);
    const Tensor ranks = Tensor::empty({half->size()}, {DType::Int64});
    half->all_gather(ranks, full({1}, group.rank(), DType::Int64)).wait();
    for (int r = 0; r < half->size(); ++r) {
      const int of_group = odd ? 2 * r + 1 : 2 * (half->size() - 1 - r);
      EXPECT_EQ(ranks.data<int64_t>()[r], of_group);
    }
    const auto rest = group.split(group.rank() > 0 ? 7 : -1, 0, "rest");
    EXPECT_EQ(rest == nullptr, group.rank() == 0);
    const auto alone = half->split(half->rank(), 0, "alone");
    EXPECT_EQ(alone->size(), 1);
    for (const auto& part : {rest, alone, half}) {
      if (!part) continue;
      const Tensor x = full({9}, 1);
      part->all_reduce(x).wait();
      expect_equal(x, full({9}, part->size()));
    }
    group.barrier().wait();
  });
}

}  // namespace
}  // namespace plinth::distributed
