// What concerns connections alone.

#include "distributed/gloo/gloo_group.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "distributed/store/hash_store.h"
#include "tests/distributed/backends.h"

namespace plinth::distributed {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::shared_ptr<ProcessGroup> make_alone(const GlooOptions& gloo) {
  return make_gloo_group(std::make_shared<HashStore>(), 0, 1, {}, gloo);
}

TEST(Gloo, RefusesAddressesThatThisMachineHasNot) {
  EXPECT_THAT(error_of(ErrorKind::Argument, [] { make_alone({.address = "no such name"}); }),
              HasSubstr("address got 'no such name'"));
  // Of the range kept for examples (RFC 5737).
  EXPECT_THAT(error_of(ErrorKind::Argument, [] { make_alone({.address = "192.0.2.1"}); }),
              HasSubstr("address got '192.0.2.1'"));
  EXPECT_THAT(error_of(ErrorKind::Argument, [] { make_alone({.interface = "nosuch0"}); }),
              HasSubstr("interface got 'nosuch0'"));
}

TEST(Gloo, TakesAnInterface) {
  make_alone({.interface = "lo"})->barrier().wait();
}

TEST(Gloo, RefusesWhatIsNoGroup) {
  EXPECT_THAT(error_of(ErrorKind::Argument, [] { make_gloo_group(nullptr, 0, 1); }),
              HasSubstr("no store"));
  EXPECT_THAT(
      error_of(ErrorKind::Argument, [] { make_gloo_group(std::make_shared<HashStore>(), 2, 2); }),
      HasSubstr("rank got 2 of 2"));
}

TEST(Gloo, NamesTheRanksThatDoNotComeAtAll) {
  const auto store = std::make_shared<HashStore>();
  const auto come = [&](int rank) {
    EXPECT_THAT(
        error_of(
            ErrorKind::Io,
            [&] { make_gloo_group(store, rank, 4, {.name = "dp", .timeout = Milliseconds(50)}); }),
        AllOf(HasSubstr("group 'dp'"), HasSubstr("50 ms for ranks 1 and 3 to come")));
  };
  std::jthread other([&] { come(2); });
  come(0);
}

// A store that stops to answer: the deadline holds nevertheless.
class SilentStore : public HashStore {
 public:
  std::optional<std::string> try_get(std::string_view key) override {
    if (silent) throw Error(ErrorKind::Io, "store", "does not answer");
    return HashStore::try_get(key);
  }
  std::atomic<bool> silent = false;
};

TEST(Gloo, KeepsTheDeadlineWithoutTheStore) {
  const auto store = std::make_shared<SilentStore>();
  const GroupOptions options{.name = "dp", .timeout = Milliseconds(300)};
  std::atomic<bool> seen = false;
  std::jthread other([&] {
    const auto group = make_gloo_group(store, 1, 2, options);
    group->barrier().wait();
    store->silent = true;
    while (!seen) std::this_thread::sleep_for(Milliseconds(1));
  });
  const auto group = make_gloo_group(store, 0, 2, options);
  group->barrier().wait();
  EXPECT_THAT(
      error_of(ErrorKind::Io, [&] { group->barrier().wait(); }),
      AllOf(HasSubstr("barrier #2"), HasSubstr("waited 300 ms"), HasSubstr("does not answer")));
  seen = true;
}

}  // namespace
}  // namespace plinth::distributed
