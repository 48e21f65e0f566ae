#include "data/tokenizer/byte_alphabet.h"

#include "data/tokenizer/utf8.h"

namespace plinth {
namespace {

constexpr char32_t kFirstSubstitute = 0x100;
constexpr char32_t kAlphabetEnd = 0x144;

bool stands_for_itself(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xFF && byte != 0xAD);
}

std::array<int16_t, kAlphabetEnd> make_inverse() {
  std::array<int16_t, kAlphabetEnd> inverse;
  inverse.fill(-1);
  for (int byte = 0; byte < 256; ++byte) {
    inverse[byte_alphabet()[static_cast<size_t>(byte)]] = static_cast<int16_t>(byte);
  }
  return inverse;
}

}  // namespace

const std::array<char32_t, 256>& byte_alphabet() {
  static const std::array<char32_t, 256> alphabet = [] {
    std::array<char32_t, 256> characters;
    char32_t substitute = kFirstSubstitute;
    for (int byte = 0; byte < 256; ++byte) {
      characters[static_cast<size_t>(byte)] =
          stands_for_itself(byte) ? static_cast<char32_t>(byte) : substitute++;
    }
    return characters;
  }();
  return alphabet;
}

std::string spell_bytes(std::string_view bytes) {
  std::string spelling;
  spelling.reserve(bytes.size() + bytes.size() / 4);
  for (const char byte : bytes) append_utf8(spelling, byte_alphabet()[static_cast<uint8_t>(byte)]);
  return spelling;
}

std::optional<std::string> bytes_of_spelling(std::string_view spelling) {
  static const std::array<int16_t, kAlphabetEnd> inverse = make_inverse();
  std::string bytes;
  bytes.reserve(spelling.size());
  while (!spelling.empty()) {
    const Utf8Step step = next_utf8(spelling);
    if (!step.valid || step.code_point >= kAlphabetEnd || inverse[step.code_point] < 0) {
      return std::nullopt;
    }
    bytes.push_back(static_cast<char>(inverse[step.code_point]));
    spelling.remove_prefix(static_cast<size_t>(step.length));
  }
  return bytes;
}

}  // namespace plinth
