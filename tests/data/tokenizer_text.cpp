#include "tests/data/tokenizer_text.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>

#include "data/tokenizer/utf8.h"
#include "tests/fixtures.h"

namespace plinth::testing {
namespace {

constexpr size_t kBlocks = 160;
constexpr size_t kBlockCharacters = 8000;
constexpr uint64_t kWords = 300;

size_t characters(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

class Generator {
 public:
  Generator() : json_(nlohmann::json::parse(read_fixture("tokenizer/alphabets.json"))) {}

  std::string block(uint64_t number) {
    SplitMix64 random(number + 1);
    const auto& separators = json_["separators"];
    std::string text;
    for (size_t size = 0; size < kBlockCharacters;) {
      const uint64_t alphabet = random.below(json_["alphabets"].size());
      const uint64_t words = 1 + random.below(8);
      for (uint64_t i = 0; i < words; ++i) {
        const uint64_t which =
            std::min({random.below(kWords), random.below(kWords), random.below(kWords)});
        std::string part = word(alphabet, which);
        part += separators[random.below(separators.size())].get_ref<const std::string&>();
        size += characters(part);
        text += part;
      }
    }
    return text;
  }

 private:
  std::string word(uint64_t alphabet_number, uint64_t which) {
    const auto [entry, is_new] = words_.try_emplace({alphabet_number, which});
    if (!is_new) return entry->second;
    const auto& alphabet = json_["alphabets"][alphabet_number];
    if (alphabet.contains("words"))
      return entry->second = alphabet["words"][which % alphabet["words"].size()];
    SplitMix64 random(alphabet_number * 1000003 + which);
    const uint64_t length = 1 + random.below(alphabet["longest"].get<uint64_t>());
    for (uint64_t i = 0; i < length; ++i)
      append_utf8(entry->second, character(alphabet["ranges"], random));
    return entry->second;
  }

  static char32_t character(const nlohmann::json& ranges, SplitMix64& random) {
    uint64_t total = 0;
    for (const auto& range : ranges)
      total += range[1].get<uint64_t>() - range[0].get<uint64_t>() + 1;
    uint64_t index = random.below(total);
    for (const auto& range : ranges) {
      const uint64_t size = range[1].get<uint64_t>() - range[0].get<uint64_t>() + 1;
      if (index < size) return static_cast<char32_t>(range[0].get<uint64_t>() + index);
      index -= size;
    }
    return 0;
  }

  nlohmann::json json_;
  std::map<std::pair<uint64_t, uint64_t>, std::string> words_;
};

}  // namespace

uint64_t SplitMix64::next() {
  state_ += 0x9E3779B97F4A7C15u;
  uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

const std::vector<std::string>& tokenizer_text() {
  static const std::vector<std::string> blocks = [] {
    Generator generator;
    std::vector<std::string> made;
    for (uint64_t number = 0; number < kBlocks; ++number) made.push_back(generator.block(number));
    return made;
  }();
  return blocks;
}

std::vector<std::string_view> views_of(const std::vector<std::string>& texts) {
  return {texts.begin(), texts.end()};
}

std::string read_fixture(const std::string& name) {
  std::ifstream file(std::string(PLINTH_FIXTURES) + "/" + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace plinth::testing
