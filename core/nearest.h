#pragma once

// The right name nearest to a wrong one, for messages.

#include <cstddef>
#include <limits>
#include <span>
#include <string_view>

namespace plinth {

// The fewest insertions, deletions, substitutions and swaps of neighbours that turn one text into
// the other, no part edited twice (optimal string alignment).
size_t edit_distance(std::string_view a, std::string_view b);

// The first candidate of the least edit distance, or an empty view if none is within max_distance.
std::string_view nearest(std::string_view name, std::span<const std::string_view> candidates,
                         size_t max_distance = std::numeric_limits<size_t>::max());

}  // namespace plinth
