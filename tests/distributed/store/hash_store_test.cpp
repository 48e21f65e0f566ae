#include "distributed/store/hash_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <thread>
#include <vector>

#include "core/error.h"

namespace plinth::distributed {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::AllOf;
using testing::HasSubstr;

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::Distributed);
    return error.what();
  }
  return "no error";
}

TEST(HashStore, KeepsAnyBytes) {
  HashStore store;
  const std::string key("a\0b", 3), value("\0\xff\n", 3);
  EXPECT_FALSE(store.try_get(key));
  store.set(key, value);
  EXPECT_EQ(store.get(key, milliseconds(0)), value);
  store.set(key, "");
  EXPECT_EQ(store.try_get(key), "");
  EXPECT_TRUE(store.remove(key));
  EXPECT_FALSE(store.remove(key));
  EXPECT_FALSE(store.try_get(key));
}

TEST(HashStore, WaitsForAKey) {
  HashStore store;
  std::jthread setter([&] {
    std::this_thread::sleep_for(milliseconds(5));
    store.set("late", "value");
  });
  EXPECT_EQ(store.get("late", seconds(60)), "value");
}

TEST(HashStore, NamesTheKeyThatDidNotCome) {
  HashStore store;
  EXPECT_THAT(message_of([&] { store.get("rank/3", milliseconds(7)); }),
              AllOf(HasSubstr("rank/3"), HasSubstr("7 ms")));
}

TEST(HashStore, LosesNoAddition) {
  HashStore store;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([&] {
        for (int i = 0; i < 100; ++i) store.add("count", 2);
      });
  }
  EXPECT_EQ(store.get("count", milliseconds(0)), "800");
  EXPECT_EQ(store.add("count", -801), -1);
}

TEST(HashStore, AddsToNumbersOnly) {
  HashStore store;
  store.set("word", "12x");
  EXPECT_THAT(message_of([&] { store.add("word", 1); }),
              AllOf(HasSubstr("word"), HasSubstr("12x")));
  store.set("large", "9223372036854775807");
  EXPECT_THAT(message_of([&] { store.add("large", 1); }), HasSubstr("64 bits"));
  EXPECT_EQ(store.try_get("large"), "9223372036854775807");
}

TEST(PrefixStore, SharesAStore) {
  const auto shared = std::make_shared<HashStore>();
  PrefixStore first(shared, "first"), second(shared, "second");
  first.set("key", "1");
  second.set("key", "2");
  EXPECT_EQ(first.get("key", milliseconds(0)), "1");
  EXPECT_EQ(shared->try_get("second/key"), "2");
  EXPECT_EQ(first.add("key", 5), 6);
  EXPECT_TRUE(second.remove("key"));
  EXPECT_FALSE(second.try_get("key"));
}

}  // namespace
}  // namespace plinth::distributed
