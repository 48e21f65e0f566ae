// What a group refuses, and that it is unharmed by it.

#include <gtest/gtest.h>

#include "tests/distributed/backends.h"

namespace plinth::distributed {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class Arguments : public testing::TestWithParam<Backend> {
 protected:
  // The call's error on every rank, after which the group works.
  void expect(ErrorKind kind, const testing::Matcher<std::string>& message,
              const std::function<void(ProcessGroup&)>& call) {
    GetParam().run([&](ProcessGroup& group) {
      EXPECT_THAT(error_of(kind, [&] { call(group); }), message);
      const Tensor x = full({2}, 1);
      group.all_reduce(x).wait();
      EXPECT_EQ(x.data<float>()[1], static_cast<float>(group.size()));
    });
  }
};
INSTANTIATE_TEST_SUITE_P(Cpu, Arguments, testing::ValuesIn(all_backends()), name_of);

TEST_P(Arguments, UndefinedTensors) {
  const auto undefined = [](std::string_view op) {
    return AllOf(HasSubstr(std::string(op)), HasSubstr("undefined"));
  };
  expect(ErrorKind::Argument, undefined("all_reduce"), [](auto& g) { g.all_reduce({}); });
  expect(ErrorKind::Argument, undefined("broadcast"), [](auto& g) { g.broadcast({}, 0); });
  expect(ErrorKind::Argument, undefined("all_gather"),
         [](auto& g) { g.all_gather({}, full({1}, 0)); });
  expect(ErrorKind::Argument, undefined("reduce_scatter"),
         [](auto& g) { g.reduce_scatter(full({1}, 0), {}); });
  expect(ErrorKind::Argument, undefined("all_to_all"),
         [](auto& g) { g.all_to_all(full({1}, 0), {}); });
  expect(ErrorKind::Argument, undefined("send"), [](auto& g) { g.send({}, 0); });
  expect(ErrorKind::Argument, undefined("recv"), [](auto& g) { g.recv({}, 0); });
}

TEST_P(Arguments, TensorsThatAreNotContiguous) {
  expect(ErrorKind::Argument, HasSubstr("contiguous"), [](auto& g) {
    g.all_reduce(full({3, 4}, 0).transpose(0, 1));
  });
}

TEST_P(Arguments, DtypesThatCannotBeReduced) {
  expect(ErrorKind::DType, AllOf(HasSubstr("all_reduce"), HasSubstr("uint8")),
         [](auto& g) { g.all_reduce(full({2}, 0, DType::UInt8)); });
  expect(ErrorKind::DType, AllOf(HasSubstr("reduce_scatter"), HasSubstr("bool")), [](auto& g) {
    g.reduce_scatter(full({2}, 0, DType::Bool), full({2 * g.size()}, 0, DType::Bool));
  });
}

TEST_P(Arguments, TwoDtypes) {
  expect(ErrorKind::DType, AllOf(HasSubstr("float32"), HasSubstr("int32")),
         [](auto& g) { g.all_gather(full({2 * g.size()}, 0), full({2}, 0, DType::Int32)); });
}

TEST_P(Arguments, ShapesThatDoNotMeet) {
  expect(ErrorKind::Shape, AllOf(HasSubstr("all_gather"), HasSubstr("out has shape")),
         [](auto& g) { g.all_gather(full({2 * g.size() + 1}, 0), full({2}, 0)); });
  expect(ErrorKind::Shape, AllOf(HasSubstr("reduce_scatter"), HasSubstr("in has shape")),
         [](auto& g) {
           g.reduce_scatter(full({2, 3}, 0), full({2 * g.size(), 4}, 0));
         });
  expect(ErrorKind::Shape, HasSubstr("no dimension"),
         [](auto& g) { g.all_gather(full({g.size()}, 0), full({}, 0)); });
  expect(ErrorKind::Shape, AllOf(HasSubstr("all_to_all"), HasSubstr("add up to")), [](auto& g) {
    g.all_to_all(full({g.size()}, 0), full({g.size()}, 0), std::vector<int64_t>(g.size(), 2),
                 std::vector<int64_t>(g.size(), 1));
  });
}

TEST_P(Arguments, CountsOfRows) {
  expect(ErrorKind::Argument, HasSubstr("counts of rows"), [](auto& g) {
    g.all_to_all(full({1}, 0), full({1}, 0), std::vector<int64_t>(g.size() + 1), {});
  });
  expect(ErrorKind::Argument, HasSubstr("-1"), [](auto& g) {
    g.all_to_all(full({1}, 0), full({1}, 0), std::vector<int64_t>(g.size(), -1), {});
  });
}

TEST_P(Arguments, SharedMemory) {
  expect(ErrorKind::Argument, AllOf(HasSubstr("all_to_all"), HasSubstr("share memory")),
         [](auto& g) {
           const Tensor x = full({2 * g.size()}, 0);
           g.all_to_all(x, x);
         });
  expect(ErrorKind::Argument, AllOf(HasSubstr("all_gather"), HasSubstr("share memory")),
         [](auto& g) {
           const Tensor x = full({2 * g.size() + 1}, 0);
           g.all_gather(x.narrow(0, 0, 2 * g.size()), x.narrow(0, 2 * g.rank() + 1, 2));
         });
}

TEST_P(Arguments, RanksThatAreNone) {
  const auto none = AllOf(HasSubstr("takes 0 to"));
  expect(ErrorKind::Argument, none, [](auto& g) { g.broadcast(full({1}, 0), g.size()); });
  expect(ErrorKind::Argument, none, [](auto& g) { g.broadcast(full({1}, 0), -1); });
  expect(ErrorKind::Argument, none, [](auto& g) { g.send(full({1}, 0), g.size()); });
  expect(ErrorKind::Argument, none, [](auto& g) { g.recv(full({1}, 0), -1); });
  expect(ErrorKind::Argument, HasSubstr("itself"), [](auto& g) { g.send(full({1}, 0), g.rank()); });
  expect(ErrorKind::Argument, HasSubstr("itself"), [](auto& g) { g.recv(full({1}, 0), g.rank()); });
}

TEST_P(Arguments, Options) {
  const auto with = [](GroupOptions options) {
    GetParam().run_with(GetParam().ranks, options, [](ProcessGroup&) {});
  };
  EXPECT_THAT(error_of(ErrorKind::Argument, [&] { with({.timeout = Milliseconds(0)}); }),
              HasSubstr("timeout"));
}

}  // namespace
}  // namespace plinth::distributed
