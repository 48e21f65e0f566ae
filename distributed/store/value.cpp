#include "distributed/store/value.h"

#include <algorithm>
#include <charconv>

#include "core/error.h"
#include "core/io/text.h"

namespace plinth::distributed {

void check_key(std::string_view op, std::string_view key) {
  check(key.size() <= kMaxKey, ErrorKind::Argument, op, "key has ", key.size(),
        " bytes, takes up to ", kMaxKey);
}

void check_value(std::string_view op, std::string_view key, std::string_view value) {
  check(value.size() <= kMaxValue, ErrorKind::Argument, op, "value of key ", printable(key),
        " has ", value.size(), " bytes, takes up to ", kMaxValue);
}

void check_timeout(std::string_view op, std::chrono::milliseconds timeout) {
  check(timeout.count() >= 0, ErrorKind::Argument, op, "timeout got ", timeout.count(),
        " ms, takes 0 or more");
}

std::optional<int64_t> sum(const std::optional<std::string>& value, int64_t amount) {
  int64_t number = 0;
  if (value) {
    const char* end = value->data() + value->size();
    const auto [stop, error] = std::from_chars(value->data(), end, number);
    if (error != std::errc() || stop != end) return std::nullopt;
  }
  int64_t result = 0;
  if (__builtin_add_overflow(number, amount, &result)) return std::nullopt;
  return result;
}

void throw_no_number(std::string_view store, std::string_view key, int64_t amount) {
  throw Error(ErrorKind::Io, store,
              detail::concat("cannot add ", amount, " to key ", printable(key),
                             ", whose value is no number or too large a one"));
}

void throw_no_key(std::string_view store, std::string_view key, std::chrono::milliseconds waited) {
  throw Error(
      ErrorKind::Io, store,
      detail::concat("key ", printable(key), " did not come; waited ", seconds(waited), " for it"));
}

std::chrono::steady_clock::time_point deadline_after(std::chrono::milliseconds timeout) {
  constexpr std::chrono::milliseconds longest = std::chrono::hours(24 * 365);
  return std::chrono::steady_clock::now() + std::min(timeout, longest);
}

std::string seconds(std::chrono::milliseconds time) {
  return detail::concat(static_cast<double>(time.count()) / 1000, " s");
}

}  // namespace plinth::distributed
