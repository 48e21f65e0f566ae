// What every store promises, on each of them.

#include "distributed/store/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <thread>
#include <vector>

#include "core/error.h"
#include "distributed/store/file_store.h"
#include "distributed/store/hash_store.h"
#include "distributed/store/value.h"
#include "tests/core/io/temporary_directory.h"
#include "tests/distributed/store/stores.h"

namespace plinth::distributed {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string message_of(const std::function<void()>& call, ErrorKind kind) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

class Stores : public testing::TestWithParam<const char*> {
 protected:
  // The store as a rank sees it; ranks see one table.
  std::shared_ptr<Store> rank() {
    const std::string kind = GetParam();
    if (kind == "file") return std::make_shared<FileStore>(directory_ / "store");
    if (kind == "hash") return hash_;
    return std::make_shared<TcpStore>(tcp_options(server_->endpoint()));
  }

 private:
  TemporaryDirectory directory_;
  std::shared_ptr<TcpStoreServer> server_ = tcp_server();
  std::shared_ptr<HashStore> hash_ = std::make_shared<HashStore>();
};

TEST_P(Stores, KeepsWhatWasSet) {
  const auto a = rank(), b = rank();
  a->set("address", "10.0.0.1");
  EXPECT_EQ(b->get("address", Milliseconds(0)), "10.0.0.1");
  EXPECT_EQ(b->try_get("address"), "10.0.0.1");
  b->set("address", "");
  EXPECT_EQ(a->try_get("address"), "");
  EXPECT_EQ(a->try_get("Address"), std::nullopt);
  EXPECT_TRUE(a->remove("address"));
  EXPECT_FALSE(b->remove("address"));
  EXPECT_EQ(b->try_get("address"), std::nullopt);
}

TEST_P(Stores, TakesAnyBytes) {
  const auto store = rank();
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  const std::vector<std::string> keys = {"",
                                         bytes,
                                         "..",
                                         "a/b",
                                         "a",
                                         ".lock",
                                         "/",
                                         "%2F",
                                         "a/=b",
                                         "=",
                                         std::string(200, 'k'),
                                         std::string(201, 'k'),
                                         std::string(kMaxKey, '/')};
  for (const std::string& key : keys) store->set(key, key + bytes);
  for (const std::string& key : keys) EXPECT_EQ(store->try_get(key), key + bytes) << key;
  const std::string large(5 << 20, 'x');
  store->set("large", large);
  EXPECT_TRUE(rank()->get("large", Milliseconds(0)) == large);
}

TEST_P(Stores, AddsFromManyThreadsAtOnce) {
  constexpr int kThreads = 8, kAdds = 200;
  const auto shared = rank();
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      // Some threads share a store, some have their own.
      const auto store = i % 2 == 0 ? shared : rank();
      for (int n = 0; n < kAdds; ++n) store->add("count", i % 2 == 0 ? 1 : 2);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(shared->add("count", 0), kThreads * kAdds * 3 / 2);
  EXPECT_EQ(shared->get("count", Milliseconds(0)), "2400");
}

TEST_P(Stores, AddsToNumbersOnly) {
  const auto store = rank();
  EXPECT_EQ(store->add("n", -5), -5);
  store->set("n", "9223372036854775806");
  EXPECT_EQ(store->add("n", 1), INT64_MAX);
  EXPECT_THAT(message_of([&] { store->add("n", 1); }, ErrorKind::Io), HasSubstr("'n'"));
  EXPECT_EQ(store->get("n", Milliseconds(0)), "9223372036854775807");
  for (const char* text : {"", "x", "1 ", "1x", "0x10"}) {
    store->set("text", text);
    EXPECT_THAT(message_of([&] { store->add("text", 1); }, ErrorKind::Io), HasSubstr("'text'"));
  }
}

TEST_P(Stores, WaitsForAKey) {
  const auto setter = rank();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i, store = rank()] {
      // A number wakes those who wait, too.
      EXPECT_EQ(store->get(i % 2 == 0 ? "key" : "number", std::chrono::seconds(20)),
                i % 2 == 0 ? "value" : "7");
    });
  }
  std::this_thread::sleep_for(Milliseconds(50));
  setter->set("key", "value");
  setter->add("number", 7);
  for (std::thread& thread : threads) thread.join();
}

// A rank whose one thread waits may ask for another key, such as the flag that ends all work.
TEST_P(Stores, AWaitHoldsUpNoOtherThread) {
  const auto store = rank();
  std::thread waiting([&] { EXPECT_EQ(store->get("late", std::chrono::seconds(20)), "now"); });
  std::this_thread::sleep_for(Milliseconds(20));
  EXPECT_EQ(store->try_get("flag"), std::nullopt);
  store->set("late", "now");
  waiting.join();
}

TEST_P(Stores, AWaitHasADeadline) {
  const auto store = rank();
  const auto start = std::chrono::steady_clock::now();
  const std::string message =
      message_of([&] { store->get("never\n", Milliseconds(120)); }, ErrorKind::Io);
  EXPECT_GE(std::chrono::steady_clock::now() - start, Milliseconds(120));
  EXPECT_THAT(message, AllOf(HasSubstr("'never\\x0a'"), HasSubstr("0.12 s")));
  // And the store goes on.
  store->set("never\n", "come");
  EXPECT_EQ(store->get("never\n", Milliseconds::max()), "come");
}

TEST_P(Stores, RefusesWhatIsTooLong) {
  const auto store = rank();
  const std::string long_key(kMaxKey + 1, 'k'), long_value(kMaxValue + 1, 'v');
  EXPECT_THAT(message_of([&] { store->set(long_key, ""); }, ErrorKind::Argument),
              HasSubstr("up to 1024"));
  EXPECT_THAT(message_of([&] { store->set("k", long_value); }, ErrorKind::Argument),
              HasSubstr("16777217"));
  message_of([&] { store->get(long_key, Milliseconds(0)); }, ErrorKind::Argument);
  message_of([&] { store->get("k", Milliseconds(-1)); }, ErrorKind::Argument);
  message_of([&] { store->try_get(long_key); }, ErrorKind::Argument);
  message_of([&] { store->add(long_key, 1); }, ErrorKind::Argument);
  message_of([&] { store->remove(long_key); }, ErrorKind::Argument);
}

TEST_P(Stores, APrefixMakesATableOfItsOwn) {
  const auto store = rank();
  PrefixStore a(store, "a"), b(store, "b");
  a.set("key", "1");
  b.set("key", "2");
  EXPECT_EQ(a.get("key", Milliseconds(0)), "1");
  EXPECT_EQ(store->get("b/key", Milliseconds(0)), "2");
  EXPECT_EQ(a.add("n", 3), 3);
  EXPECT_EQ(b.try_get("n"), std::nullopt);
  EXPECT_TRUE(a.remove("key"));
  EXPECT_EQ(b.try_get("key"), "2");
}

INSTANTIATE_TEST_SUITE_P(, Stores, testing::Values("tcp", "file", "hash"),
                         [](const auto& info) { return std::string(info.param); });

// --- FileStore alone
// --------------------------------------------------------------------------------

TEST(FileStore, LeavesNothingOutsideItsDirectory) {
  const TemporaryDirectory here;
  FileStore store(here / "store");
  store.set("../outside", "x");
  store.set("/etc/plinth", "x");
  EXPECT_EQ(here.names(), std::vector<std::string>{"store"});
}

TEST(FileStore, NamesADirectoryThatCannotBe) {
  const TemporaryDirectory here;
  FileStore(here / "a");
  std::filesystem::create_directory(here / "a" / "=key");
  FileStore store(here / "a");
  EXPECT_THAT(message_of([&] { store.set("key", "x"); }, ErrorKind::Io), HasSubstr("=key"));
  EXPECT_THAT(message_of([&] { FileStore(here / "a" / ".lock" / "b"); }, ErrorKind::Io),
              HasSubstr(".lock"));
}

}  // namespace
}  // namespace plinth::distributed
