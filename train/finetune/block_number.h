#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>

namespace plinth {

// 3 of "bert.block3.mlp.up.weight" behind the prefix "bert.block"; nothing for other parameters.
inline std::optional<int64_t> block_number(std::string_view parameter, std::string_view prefix) {
  if (!parameter.starts_with(prefix)) return std::nullopt;
  parameter.remove_prefix(prefix.size());
  int64_t block = 0;
  const auto [end, error] =
      std::from_chars(parameter.data(), parameter.data() + parameter.size(), block);
  return error == std::errc() ? std::optional(block) : std::nullopt;
}

}  // namespace plinth
