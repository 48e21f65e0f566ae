#include "distributed/store/hash_store.h"

#include <optional>

#include "distributed/store/value.h"

namespace plinth::distributed {

void HashStore::set(std::string_view key, std::string_view value) {
  check_key("set", key);
  check_value("set", key, value);
  {
    const std::lock_guard lock(mutex_);
    values_.insert_or_assign(std::string(key), std::string(value));
  }
  changed_.notify_all();
}

std::string HashStore::get(std::string_view key, Milliseconds timeout) {
  check_key("get", key);
  check_timeout("get", timeout);
  std::unique_lock lock(mutex_);
  auto found = values_.end();
  const bool came = changed_.wait_until(lock, deadline_after(timeout), [&] {
    found = values_.find(key);
    return found != values_.end();
  });
  if (!came) throw_no_key("store", key, timeout);
  return found->second;
}

std::optional<std::string> HashStore::try_get(std::string_view key) {
  check_key("try_get", key);
  const std::lock_guard lock(mutex_);
  const auto found = values_.find(key);
  if (found == values_.end()) return std::nullopt;
  return found->second;
}

int64_t HashStore::add(std::string_view key, int64_t amount) {
  check_key("add", key);
  std::optional<int64_t> result;
  {
    const std::lock_guard lock(mutex_);
    const auto found = values_.find(key);
    result = sum(found == values_.end() ? std::nullopt : std::optional(found->second), amount);
    if (!result) throw_no_number("store", key, amount);
    values_.insert_or_assign(std::string(key), std::to_string(*result));
  }
  changed_.notify_all();
  return *result;
}

bool HashStore::remove(std::string_view key) {
  check_key("remove", key);
  const std::lock_guard lock(mutex_);
  const auto found = values_.find(key);
  if (found == values_.end()) return false;
  values_.erase(found);
  return true;
}

}  // namespace plinth::distributed
