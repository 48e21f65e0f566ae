#pragma once

// The text of tests/fixtures/tokenizer_text.py, from the same generator.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace plinth::testing {

class SplitMix64 {
 public:
  explicit SplitMix64(uint64_t seed) : state_(seed) {}
  uint64_t next();
  uint64_t below(uint64_t bound) { return next() % bound; }

 private:
  uint64_t state_;
};

// All blocks; over a million characters.
const std::vector<std::string>& tokenizer_text();
std::vector<std::string_view> views_of(const std::vector<std::string>& texts);

// FNV-1a over whole numbers.
template <class Numbers>
uint64_t hash_of(const Numbers& numbers) {
  uint64_t value = 0xCBF29CE484222325u;
  for (const auto number : numbers)
    value = (value ^ static_cast<uint64_t>(number)) * 0x100000001B3u;
  return value;
}

std::string read_fixture(const std::string& name);

}  // namespace plinth::testing
