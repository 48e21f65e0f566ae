// One rank of a group of processes, for tests that kill or stop some of them.
//
//   gloo_rank FOLDER RANK SIZE TIMEOUT_MS
//
// Joins the group through files of FOLDER, prints "ready" after the first all_reduce, and goes on
// until one fails: then it prints the milliseconds that it waited and the error.

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <thread>
#include <utility>

#include "core/error.h"
#include "core/tensor.h"
#include "distributed/gloo/gloo_group.h"

namespace plinth::distributed {
namespace {

using Clock = std::chrono::steady_clock;

// A file a key, whole or absent.
class FolderStore : public Store {
 public:
  explicit FolderStore(std::filesystem::path folder) : folder_(std::move(folder)) {}

  void set(std::string_view key, std::string_view value) override {
    const auto temporary = folder_ / ("new." + std::to_string(getpid()) + file_of(key));
    std::ofstream(temporary, std::ios::binary) << value;
    std::filesystem::rename(temporary, folder_ / file_of(key));
  }
  std::string get(std::string_view key, Milliseconds timeout) override {
    const auto deadline = Clock::now() + timeout;
    while (true) {
      if (auto value = try_get(key)) return *value;
      check(Clock::now() < deadline, ErrorKind::Io, "store", "no key ", key);
      std::this_thread::sleep_for(Milliseconds(2));
    }
  }
  std::optional<std::string> try_get(std::string_view key) override {
    const std::ifstream file(folder_ / file_of(key), std::ios::binary);
    if (!file) return std::nullopt;
    std::ostringstream value;
    value << file.rdbuf();
    return value.str();
  }
  int64_t add(std::string_view key, int64_t amount) override {
    const int lock = open((folder_ / "lock").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    flock(lock, LOCK_EX);
    const int64_t sum = std::stoll(try_get(key).value_or("0")) + amount;
    set(key, std::to_string(sum));
    close(lock);
    return sum;
  }
  bool remove(std::string_view key) override {
    return std::filesystem::remove(folder_ / file_of(key));
  }

 private:
  static std::string file_of(std::string_view key) {
    std::string name = "key.";
    for (const char c : key) name += c == '/' ? '.' : c;
    return name;
  }

  std::filesystem::path folder_;
};

void run(char** arguments) {
  const int rank = std::atoi(arguments[2]), size = std::atoi(arguments[3]);
  const auto group =
      make_gloo_group(std::make_shared<FolderStore>(arguments[1]), rank, size,
                      {.name = "dp", .timeout = Milliseconds(std::atoi(arguments[4]))});
  const Tensor x = Tensor::empty({100'000}).fill_(1);
  bool first = true;
  while (true) {
    const auto start = Clock::now();
    try {
      group->all_reduce(x, ReduceOp::Max).wait();
    } catch (const Error& error) {
      const auto waited = std::chrono::duration_cast<Milliseconds>(Clock::now() - start);
      std::cout << waited.count() << ' ' << error.what() << std::endl;
      return;
    }
    if (std::exchange(first, false)) std::cout << "ready" << std::endl;
  }
}

}  // namespace
}  // namespace plinth::distributed

int main(int count, char** arguments) {
  if (count != 5) return 2;
  plinth::distributed::run(arguments);
  return 0;
}
