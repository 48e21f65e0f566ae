#pragma once

// GPT-2's byte alphabet: each of the 256 bytes has one printable character, in which vocabularies
// spell their tokens. The 188 printable Latin-1 bytes stand for themselves; the others, in order,
// are U+0100 to U+0143. (Radford et al. 2019, encoder.py: bytes_to_unicode.)

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace plinth {

// The character of each byte.
const std::array<char32_t, 256>& byte_alphabet();

// Bytes spelled in the alphabet: " a" becomes "Ġa".
std::string spell_bytes(std::string_view bytes);

// The way back; nullopt if a character is not of the alphabet.
std::optional<std::string> bytes_of_spelling(std::string_view spelling);

}  // namespace plinth
