#include "models/vision/assignment.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace plinth {

namespace {

constexpr double kFar = std::numeric_limits<double>::infinity();

// Pairs each of few things with one of many. A thing's price is what others must be better by to
// take its place: cost - price(few) - price(many) is never negative, and 0 for those that are
// paired.
template <class Cost>
class Pairing {
 public:
  Pairing(int64_t few, int64_t many, const Cost& cost)
      : cost_(cost),
        few_price_(static_cast<size_t>(few)),
        many_price_(static_cast<size_t>(many)),
        partner_(static_cast<size_t>(many), -1) {}

  // Of each of the many, -1 for none.
  std::vector<int64_t> partners() {
    for (int64_t i = 0; i < std::ssize(few_price_); ++i) add(i);
    return partner_;
  }

 private:
  // Finds the cheapest path from `start` to one of the many that is free, on which others change
  // their partners, and goes it.
  void add(int64_t start) {
    const size_t many = many_price_.size();
    std::vector<double> distance(many, kFar);
    std::vector<int64_t> before(many, -1);  // on the path; -1: the start
    std::vector<bool> done(many, false);
    double gone = 0;
    int64_t at = start, last = -1, end = -1;
    while (end < 0) {
      size_t nearest = many;
      for (size_t j = 0; j < many; ++j) {
        if (done[j]) continue;
        const double step = cost_(at, static_cast<int64_t>(j)) - price(at) - many_price_[j];
        if (gone + step < distance[j]) {
          distance[j] = gone + step;
          before[j] = last;
        }
        if (nearest == many || distance[j] < distance[nearest]) nearest = j;
      }
      done[nearest] = true;
      gone = distance[nearest];
      last = static_cast<int64_t>(nearest);
      at = partner_[nearest];
      if (at < 0) end = last;
    }
    few_price_[static_cast<size_t>(start)] += gone;
    for (size_t j = 0; j < many; ++j) {
      if (!done[j] || partner_[j] < 0) continue;
      few_price_[static_cast<size_t>(partner_[j])] += gone - distance[j];
      many_price_[j] -= gone - distance[j];
    }
    for (int64_t j = end; j >= 0; j = before[static_cast<size_t>(j)]) {
      const int64_t previous = before[static_cast<size_t>(j)];
      partner_[static_cast<size_t>(j)] =
          previous < 0 ? start : partner_[static_cast<size_t>(previous)];
    }
  }

  double price(int64_t i) const { return few_price_[static_cast<size_t>(i)]; }

  const Cost& cost_;
  std::vector<double> few_price_, many_price_;
  std::vector<int64_t> partner_;
};

}  // namespace

std::vector<int64_t> least_cost_pairs(std::span<const double> cost, int64_t rows, int64_t columns) {
  constexpr auto op = "least_cost_pairs";
  check(rows >= 0 && columns >= 0 && std::ssize(cost) == rows * columns, ErrorKind::Shape, op,
        "cost has ", cost.size(), " numbers, expected ", rows, " x ", columns);
  check(std::ranges::all_of(cost, [](double value) { return std::isfinite(value); }),
        ErrorKind::Argument, op, "cost got a number that is not finite");
  const auto by_row = [&](int64_t i, int64_t j) {
    return cost[static_cast<size_t>(i * columns + j)];
  };
  const auto by_column = [&](int64_t j, int64_t i) { return by_row(i, j); };
  if (rows > columns) return Pairing(columns, rows, by_column).partners();
  const std::vector<int64_t> row_of = Pairing(rows, columns, by_row).partners();
  std::vector<int64_t> column_of(static_cast<size_t>(rows), -1);
  for (int64_t j = 0; j < columns; ++j) {
    const int64_t row = row_of[static_cast<size_t>(j)];
    if (row >= 0) column_of[static_cast<size_t>(row)] = j;
  }
  return column_of;
}

}  // namespace plinth
