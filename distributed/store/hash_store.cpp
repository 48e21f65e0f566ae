#include "distributed/store/hash_store.h"

#include <charconv>

#include "core/error.h"

namespace plinth::distributed {
namespace {

int64_t number_of(std::string_view key, const std::string& value) {
  int64_t number = 0;
  const char* end = value.data() + value.size();
  const auto [stop, error] = std::from_chars(value.data(), end, number);
  check(error == std::errc() && stop == end, ErrorKind::Distributed, "store", "add to key '", key,
        "' got its value '", value, "', takes a decimal number of 64 bits");
  return number;
}

}  // namespace

void HashStore::set(std::string_view key, std::string_view value) {
  {
    const std::lock_guard lock(mutex_);
    values_.insert_or_assign(std::string(key), std::string(value));
  }
  changed_.notify_all();
}

std::string HashStore::get(std::string_view key, Milliseconds timeout) {
  std::unique_lock lock(mutex_);
  auto found = values_.end();
  const bool came = changed_.wait_for(lock, timeout, [&] {
    found = values_.find(key);
    return found != values_.end();
  });
  check(came, ErrorKind::Distributed, "store", "key '", key, "' was not set within ",
        timeout.count(), " ms");
  return found->second;
}

std::optional<std::string> HashStore::try_get(std::string_view key) {
  const std::lock_guard lock(mutex_);
  const auto found = values_.find(key);
  if (found == values_.end()) return std::nullopt;
  return found->second;
}

int64_t HashStore::add(std::string_view key, int64_t amount) {
  int64_t sum = 0;
  {
    const std::lock_guard lock(mutex_);
    const auto found = values_.try_emplace(std::string(key), "0").first;
    const int64_t before = number_of(key, found->second);
    check(!__builtin_add_overflow(before, amount, &sum), ErrorKind::Distributed, "store",
          "add to key '", key, "' got ", amount, ", which with its ", before,
          " is no number of 64 bits");
    found->second = std::to_string(sum);
  }
  changed_.notify_all();
  return sum;
}

bool HashStore::remove(std::string_view key) {
  const std::lock_guard lock(mutex_);
  const auto found = values_.find(key);
  if (found == values_.end()) return false;
  values_.erase(found);
  return true;
}

}  // namespace plinth::distributed
