#pragma once

// What options that take a number take, for CLI::Option::check(): what is wrong is told as what the
// option got and what it takes.

#include <cstdint>
#include <limits>

namespace CLI {
class Validator;
}  // namespace CLI

namespace plinth::apps {

// A whole number in plain decimal digits, from `least` on, to `most`.
CLI::Validator whole_number(int64_t least, int64_t most = INT64_MAX);

// What a generator is seeded with: all that 64 bits hold.
CLI::Validator seed_number();

// Finite numbers: from `least` on, to `most`; and above 0, to `most`.
CLI::Validator real_number(double least, double most = std::numeric_limits<double>::max());
CLI::Validator positive_number(double most = std::numeric_limits<double>::max());

// Sequences, samples or lines at once: as many as train.batch of a configuration may be.
CLI::Validator batch_size();

}  // namespace plinth::apps
