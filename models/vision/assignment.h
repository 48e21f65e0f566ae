#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace plinth {

// Pairs rows and columns of `cost` [rows, columns] one to one, as many as there are of the fewer,
// so that the sum of the pairs' costs is the least: the column of each row, -1 for none. By
// shortest augmenting paths (Jonker and Volgenant 1987, "A shortest augmenting path algorithm for
// dense and sparse linear assignment problems"), in at most fewer² x more steps; of several best
// pairings, always the same. Throws Error(Shape) for another number of costs, Error(Argument) for
// one that is not finite.
std::vector<int64_t> least_cost_pairs(std::span<const double> cost, int64_t rows, int64_t columns);

}  // namespace plinth
