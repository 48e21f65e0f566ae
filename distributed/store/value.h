#pragma once

// What all stores agree on: how long keys and values are, and what a number is.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace plinth::distributed {

inline constexpr size_t kMaxKey = 1024;
inline constexpr size_t kMaxValue = size_t{16} << 20;

// Error(Argument) for what is longer, or a timeout below 0.
void check_key(std::string_view op, std::string_view key);
void check_value(std::string_view op, std::string_view key, std::string_view value);
void check_timeout(std::string_view op, std::chrono::milliseconds timeout);

// The sum of a value, which counts as 0 where there is none, and an amount; nothing if the value is
// no decimal number or the sum does not fit.
std::optional<int64_t> sum(const std::optional<std::string>& value, int64_t amount);
// Throws Error(Io) for add() where sum() gives nothing.
[[noreturn]] void throw_no_number(std::string_view store, std::string_view key, int64_t amount);
// Throws Error(Io) for get() where the key did not come.
[[noreturn]] void throw_no_key(std::string_view store, std::string_view key,
                               std::chrono::milliseconds waited);

// From now on; no timeout is too long for it.
std::chrono::steady_clock::time_point deadline_after(std::chrono::milliseconds timeout);

// "0.25 s"
std::string seconds(std::chrono::milliseconds time);

}  // namespace plinth::distributed
