// Groups of NCCL: of one rank on a GPU, and of several with the emulator's NCCL, whose other ranks
// have the same elements as this one.

#include "distributed/nccl/nccl_group.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "core/error.h"
#include "core/ops/factories.h"
#include "core/stream.h"
#include "distributed/nccl/library.h"
#include "distributed/nccl/unique_id.h"
#include "distributed/store/hash_store.h"
#include "tests/cuda/nccl_device.h"

namespace plinth::distributed {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

// Needs no GPU.
TEST(NcclId, IsTheSameOnAllRanks) {
  if (!nccl::library().error.empty()) GTEST_SKIP() << nccl::library().error;
  HashStore store;
  nccl::UniqueId second;
  std::jthread other([&] {
    second = nccl::exchange_unique_id(store, 1, "group 'world'", std::chrono::minutes(1));
  });
  const auto first = nccl::exchange_unique_id(store, 0, "group 'world'", std::chrono::minutes(1));
  other.join();
  EXPECT_EQ(first.bytes, second.bytes);
  EXPECT_NE(first.bytes, nccl::UniqueId().bytes);
}

class Nccl : public OnDeviceWithNccl {};

Tensor count_up(int64_t n, DType dtype = DType::Float32) {
  const Tensor x = Tensor::empty({n}, {DType::Float32});
  for (int64_t i = 0; i < n; ++i) x.data<float>()[i] = static_cast<float>(i % 50);
  return x.to(dtype).to(kDevice);
}

// On the host, when the device is done.
std::vector<float> values(const Tensor& x) {
  const Tensor host = x.to(DType::Float32).to(Device{});
  return {host.data<float>(), host.data<float>() + host.numel()};
}

TEST_F(Nccl, OneRankKeepsWhatItHas) {
  const auto group = make_nccl_group(std::make_shared<HashStore>(), 0, 1, kDevice);
  EXPECT_EQ(group->backend(), "nccl");
  EXPECT_TRUE(group->serves(kDevice));
  EXPECT_FALSE(group->serves(Device{}));
  for (const DType dtype : {DType::Float64, DType::Float32, DType::BFloat16, DType::Float16,
                            DType::Int64, DType::Int32}) {
    const Tensor x = count_up(1000, dtype);
    const std::vector<float> before = values(x);
    for (const ReduceOp op : {ReduceOp::Sum, ReduceOp::Max}) {
      group->all_reduce(x, op).wait();
      const Tensor part = Tensor::empty({1000}, {dtype, kDevice});
      group->reduce_scatter(part, x, op).wait();
      EXPECT_EQ(values(x), before);
      EXPECT_EQ(values(part), before);
    }
    const Tensor out = Tensor::empty({1000}, {dtype, kDevice});
    group->all_gather(out, x).wait();
    EXPECT_EQ(values(out), before);
    const Tensor exchanged = Tensor::empty({1000}, {dtype, kDevice});
    group->all_to_all(exchanged, x).wait();
    EXPECT_EQ(values(exchanged), before);
    group->broadcast(x, 0).wait();
    EXPECT_EQ(values(x), before);
  }
  group->barrier().wait();
}

TEST_F(Nccl, WorkIsDoneInOrder) {
  const auto group = make_nccl_group(std::make_shared<HashStore>(), 0, 1, kDevice);
  Tensor x = count_up(100);
  std::vector<float> expected = values(x);
  for (int i = 0; i < 3; ++i) {
    group->all_reduce(x);
    group->in_order([x]() mutable { x.add_(x); });
  }
  const Work last = group->all_reduce(x);
  last.wait();
  for (float& value : expected) value *= 8;
  EXPECT_EQ(values(x), expected);
  EXPECT_TRUE(last.is_done());
}

TEST_F(Nccl, ManyCallsAtOnce) {
  const auto group = make_nccl_group(std::make_shared<HashStore>(), 0, 1, kDevice);
  const Tensor x = count_up(10);
  const std::vector<float> expected = values(x);
  for (int i = 0; i < 2500; ++i) group->broadcast(x, 0);
  group->barrier().wait();
  EXPECT_EQ(values(x), expected);
}

TEST_F(Nccl, RefusesWhatItCannotServe) {
  const auto store = std::make_shared<HashStore>();
  const auto group = make_nccl_group(store, 0, 1, kDevice);
  EXPECT_THROW(group->all_reduce(Tensor::empty({1}, {})), Error);
  EXPECT_THROW(make_nccl_group(nullptr, 0, 1, kDevice), Error);
  EXPECT_THROW(make_nccl_group(std::make_shared<HashStore>(), 1, 1, kDevice), Error);
  EXPECT_THROW(make_nccl_group(std::make_shared<HashStore>(), 0, 1, Device{}), Error);
}

TEST_F(Nccl, BuffersStartAtZeroAndOutliveTheGroup) {
  auto group = make_nccl_group(std::make_shared<HashStore>(), 0, 1, kDevice);
  const Tensor buffer = group->make_buffer(1000, {DType::Float32, kDevice});
  EXPECT_EQ(values(buffer), std::vector<float>(1000, 0));
  Tensor(buffer).copy_(count_up(1000));
  group->all_reduce(buffer).wait();
  EXPECT_EQ(group->make_buffer(0, {DType::Float32, kDevice}).numel(), 0);
  EXPECT_THROW(group->make_buffer(1, {}), Error);
  group.reset();
  EXPECT_EQ(values(buffer), values(count_up(1000)));
}

#ifdef PLINTH_EMULATE

GroupOptions short_deadline() {
  return {.name = "tp", .timeout = std::chrono::milliseconds(200)};
}

// Rank 0 of two; the other does as it does.
std::shared_ptr<ProcessGroup> make_first(const std::shared_ptr<Store>& store,
                                         GroupOptions options = {.name = "tp"}) {
  store->set("here/1", "");
  return make_nccl_group(store, 0, 2, kDevice, std::move(options));
}

std::string error_of(ErrorKind kind, const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(name(error.kind()), name(kind)) << error.what();
    return error.what();
  }
  return "no error";
}

// What a test does not want to write out.
std::vector<std::string> calls_since(size_t start) {
  const auto calls = nccl::emulated_state().calls;
  return {calls.begin() + static_cast<std::ptrdiff_t>(start), calls.end()};
}
size_t calls_so_far() {
  return nccl::emulated_state().calls.size();
}

void expect_no_faults() {
  EXPECT_THAT(nccl::emulated_state().faults, testing::IsEmpty());
}

TEST_F(Nccl, MakesACommunicatorAndLetsItGo) {
  make_first(std::make_shared<HashStore>());
  EXPECT_THAT(nccl::emulated_state().calls,
              ElementsAre("ncclGetUniqueId", "ncclCommInitRankConfig 0 of 2", "ncclCommFinalize",
                          "ncclCommDestroy"));
  expect_no_faults();
}

TEST_F(Nccl, CallsTheLibraryAsItIsMeant) {
  const auto group = make_first(std::make_shared<HashStore>());
  const size_t start = calls_so_far();
  const Tensor x = count_up(4), two = count_up(8), one = Tensor::empty({4}, {.device = kDevice});
  const Tensor bytes = Tensor::empty({3}, {DType::Float8_e4m3, kDevice});
  const Tensor doubles = Tensor::empty({3}, {DType::Bool, kDevice});
  group->all_reduce(x, ReduceOp::Max);
  group->reduce_scatter(one, two, ReduceOp::Min);
  group->all_gather(two, one);
  group->broadcast(bytes, 1);
  group->send(doubles, 1);
  group->recv(x, 1);
  group->barrier().wait();
  synchronize(kDevice);
  EXPECT_THAT(
      calls_since(start),
      ElementsAre("ncclAllReduce float32 max 4", "ncclReduceScatter float32 min 4",
                  "ncclAllGather float32 4", "ncclBroadcast uint8 3 from 1", "ncclSend uint8 3 1",
                  "ncclRecv float32 4 1", "ncclAllReduce int32 max 1"));
  expect_no_faults();
}

TEST_F(Nccl, ExchangesInOneGroupOfMessages) {
  const auto group = make_first(std::make_shared<HashStore>());
  const size_t start = calls_so_far();
  const Tensor x = count_up(3), y = Tensor::empty({3}, {.device = kDevice}).zero_();
  group->all_to_all(y, x, {3, 0}, {3, 0}).wait();
  EXPECT_EQ(values(y), values(x));
  EXPECT_THAT(calls_since(start), ElementsAre("ncclGroupStart", "ncclSend float32 3 0",
                                              "ncclRecv float32 3 0", "ncclGroupEnd"));
  expect_no_faults();
}

TEST_F(Nccl, SumsOfSeveralRanks) {
  const auto group = make_first(std::make_shared<HashStore>());
  const Tensor x = count_up(10), y = count_up(10, DType::BFloat16);
  const Tensor part = Tensor::empty({5}, {DType::BFloat16, kDevice});
  const size_t start = calls_so_far();
  group->reduce_scatter(part, y).wait();
  group->all_reduce(x).wait();
  group->all_reduce(y).wait();
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(values(x)[i], 2 * i);
    EXPECT_EQ(values(y)[i], 2 * i);
  }
  for (int i = 0; i < 5; ++i) EXPECT_EQ(values(part)[i], 2 * i);
  // Narrow floats are summed in float32.
  EXPECT_THAT(calls_since(start),
              ElementsAre("ncclReduceScatter float32 sum 5", "ncclAllReduce float32 sum 10",
                          "ncclAllReduce float32 sum 10"));
}

TEST_F(Nccl, Splits) {
  const auto store = std::make_shared<HashStore>();
  const auto group = make_first(store);
  const size_t start = calls_so_far();
  const auto part = group->split(3, 5, "part");
  ASSERT_TRUE(part);
  EXPECT_EQ(part->name(), "part");
  EXPECT_EQ(part->size(), 2);
  EXPECT_EQ(group->split(-4, 0, "none"), nullptr);
  const Tensor x = count_up(2);
  part->all_reduce(x).wait();
  EXPECT_EQ(values(x)[1], 2);
  EXPECT_THAT(calls_since(start), ElementsAre("ncclCommSplit 3 5", "ncclCommSplit -1 0",
                                              "ncclAllReduce float32 sum 2"));
  expect_no_faults();
}

// What a group does for a buffer, to its end.
std::vector<std::string> calls_for_buffer(int version) {
  nccl::set_emulated_state({.version = version});
  auto group = make_first(std::make_shared<HashStore>());
  const size_t start = calls_so_far();
  const Tensor buffer = group->make_buffer(6, {DType::BFloat16, kDevice});
  group.reset();
  return calls_since(start);
}

TEST_F(Nccl, RegistersItsBuffersAsTheVersionCan) {
  EXPECT_THAT(calls_for_buffer(22809),
              ElementsAre("ncclMemAlloc 12", "ncclCommWindowRegister symmetric 12",
                          "ncclCommFinalize", "ncclCommDestroy"));
  EXPECT_THAT(calls_for_buffer(22605), ElementsAre("ncclMemAlloc 12", "ncclCommRegister 12",
                                                   "ncclCommFinalize", "ncclCommDestroy"));
  EXPECT_THAT(calls_for_buffer(21805), ElementsAre("ncclCommFinalize", "ncclCommDestroy"));
  EXPECT_EQ(nccl::emulated_state().calls.back(), "ncclCommDestroy");
  expect_no_faults();
}

// A work that is under way as long as nobody waits for the device.
std::string failure_of(const Work& work) {
  for (int i = 0; i < 5000; ++i) {
    try {
      work.wait();
    } catch (const Error& error) {
      EXPECT_EQ(name(error.kind()), name(ErrorKind::Io));
      return error.what();
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return "no error";
}

void expect_failed(ProcessGroup& group, const testing::Matcher<std::string>& message) {
  EXPECT_THAT(error_of(ErrorKind::Io, [&] { group.barrier().wait(); }), message);
  EXPECT_EQ(nccl::emulated_state().calls.back(), "ncclCommAbort");
}

TEST_F(Nccl, ABufferThatDoesNotFitFailsTheGroup) {
  const auto group = make_first(std::make_shared<HashStore>());
  const auto much = [&] { group->make_buffer(int64_t{1} << 40, {DType::Float32, kDevice}); };
  EXPECT_THAT(error_of(ErrorKind::OutOfMemory, much), HasSubstr("4398046511104 bytes"));
  expect_failed(*group, HasSubstr("4398046511104 bytes"));
}

TEST_F(Nccl, ErrorsOfTheLibraryFailTheGroup) {
  const auto group = make_first(std::make_shared<HashStore>(), short_deadline());
  const Work work = group->all_reduce(count_up(4));
  nccl::set_emulated_error(nccl::kRemoteError);
  const auto message = AllOf(HasSubstr("remote process exited"), HasSubstr("group 'tp'"));
  EXPECT_THAT(failure_of(work), AllOf(HasSubstr("all_reduce #1 of float32 [4]"), message));
  EXPECT_TRUE(work.is_done());
  expect_failed(*group, message);
}

TEST_F(Nccl, TheDeadlineNamesTheRanksThatDidNotCome) {
  const auto group = make_first(std::make_shared<HashStore>(), short_deadline());
  const Work work = group->all_reduce(count_up(4));
  const auto message = HasSubstr("all_reduce #1 of float32 [4] waited 200 ms for rank 1 (");
  EXPECT_THAT(failure_of(work), message);
  expect_failed(*group, message);
}

TEST_F(Nccl, WhatAnotherRankPostsFailsTheGroup) {
  const auto store = std::make_shared<HashStore>();
  const auto group = make_first(store, {.timeout = std::chrono::seconds(1)});
  const Work work = group->all_reduce(count_up(4));
  store->set("failure", "rank 1 has given up: its disk is full");
  EXPECT_THAT(failure_of(work), HasSubstr("its disk is full"));
  expect_failed(*group, HasSubstr("its disk is full"));
}

TEST_F(Nccl, AbortTellsTheOthers) {
  const auto store = std::make_shared<HashStore>();
  const auto group = make_first(store);
  group->abort("the user wants to stop");
  EXPECT_THAT(store->get("failure", std::chrono::minutes(1)),
              HasSubstr("rank 0 has given up: the user wants to stop"));
  expect_failed(*group, HasSubstr("the user wants to stop"));
}

TEST_F(Nccl, WhatWorkInOrderThrowsFailsTheGroup) {
  const auto group = make_first(std::make_shared<HashStore>());
  const Work work = group->in_order([] { throw Error(ErrorKind::Argument, "sum", "is bad"); });
  EXPECT_THAT(error_of(ErrorKind::Argument, [&] { work.wait(); }), HasSubstr("is bad"));
  expect_failed(*group, HasSubstr("is bad"));
}

TEST_F(Nccl, WhatTheHostReadsAfterAFailureIsNoResult) {
  const auto group =
      make_first(std::make_shared<HashStore>(), {.timeout = std::chrono::seconds(10)});
  auto part = group->split(0, 0, "part");
  const Tensor x = count_up(4);
  EXPECT_EQ(to_vector(group->to_host(x)), to_vector(x));
  auto state = nccl::emulated_state();
  state.all_reduces_left = 0;
  nccl::set_emulated_state(state);
  part->all_reduce(x).wait();  // the host goes on
  const auto message = AllOf(HasSubstr("part"), HasSubstr("remote process exited"));
  EXPECT_THAT(error_of(ErrorKind::Io, [&] { part->to_host(x); }), message);
  // What other groups do with it is spoilt as well.
  EXPECT_THAT(error_of(ErrorKind::Io, [&] { group->raise_if_failed(); }), message);
  part.reset();
  group->raise_if_failed();
}

TEST_F(Nccl, TheHostWaitsForWorkIfItIsTold) {
  const auto group =
      make_first(std::make_shared<HashStore>(), {.timeout = std::chrono::seconds(10)});
  cuda::emulated::set_busy(true);
  const Tensor x = count_up(4);
  const int64_t before = x.use_count();
  const Work work = group->all_reduce(x);
  EXPECT_FALSE(work.is_done());
  EXPECT_GT(x.use_count(), before);
  work.wait_on_host();
  EXPECT_TRUE(work.is_done());
  EXPECT_EQ(x.use_count(), before);
  auto state = nccl::emulated_state();
  state.all_reduces_left = 0;
  nccl::set_emulated_state(state);
  const Work lost = group->all_reduce(x);
  EXPECT_THAT(error_of(ErrorKind::Io, [&] { lost.wait_on_host(); }), HasSubstr("all_reduce #2"));
  cuda::emulated::set_busy(false);
}

TEST_F(Nccl, ACallDoesNotWaitForTheDevice) {
  const auto group = make_first(std::make_shared<HashStore>());
  cuda::emulated::set_busy(true);
  const Tensor x = count_up(1);
  auto* const late = static_cast<float*>(cuda::host_allocate(sizeof(float)));
  *late = -1;
  group->in_order([&] { cuda::copy(late, x.raw_data(), sizeof(float), current_stream(kDevice)); });
  for (int i = 0; i < 3; ++i) group->all_reduce(x);
  EXPECT_EQ(*late, -1);
  synchronize(kDevice);
  EXPECT_EQ(*late, 0);
  cuda::host_free(late);
}

TEST_F(Nccl, ADeviceThatFailedDoesNotEndTheProgramWithTheGroup) {
  auto group = make_first(std::make_shared<HashStore>());
  group->all_reduce(count_up(4));
  synchronize(kDevice);  // a device that failed would not write to what is freed now
  cuda::emulated::set_failed(true);
  group.reset();
  cuda::emulated::set_failed(false);
}

TEST_F(Nccl, ACommunicatorThatCannotBeMade) {
  nccl::set_emulated_state({.init_error = nccl::kRemoteError});
  EXPECT_THAT(error_of(ErrorKind::Nccl, [] { make_first(std::make_shared<HashStore>()); }),
              AllOf(HasSubstr("ncclCommInitRankConfig"), HasSubstr("from the emulator")));
  nccl::set_emulated_state({.polls = 1'000'000'000});
  EXPECT_THAT(
      error_of(ErrorKind::Io, [] { make_first(std::make_shared<HashStore>(), short_deadline()); }),
      HasSubstr("within 200 ms"));
}

TEST_F(Nccl, SystemsWithoutTheLibrary) {
  nccl::set_emulated_state({.missing = true});
  EXPECT_THAT(error_of(ErrorKind::Nccl, [] { make_first(std::make_shared<HashStore>()); }),
              HasSubstr("libnccl.so.2"));
}

TEST_F(Nccl, NamesTheRanksThatDoNotComeAtAll) {
  EXPECT_THAT(
      error_of(
          ErrorKind::Io,
          [] { make_nccl_group(std::make_shared<HashStore>(), 0, 3, kDevice, short_deadline()); }),
      HasSubstr("200 ms for ranks 1 and 2 to come"));
}

#endif

}  // namespace
}  // namespace plinth::distributed
