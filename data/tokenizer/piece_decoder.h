#pragma once

// Text from the ids of pieces that spell a space as U+2581, as SentencePiece has it, and as Hugging
// Face's tokenizers have it.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace plinth {

inline constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581

struct PieceDecoderSpec {
  // What becomes of spaces before a text's first word.
  enum class Leading {
    Kept,
    OneDropped,     // the first, whichever piece it comes from
    Dropped,        // one of each piece as long as there is no text
    FirstsDropped,  // all of the first piece
  };
  Leading leading = Leading::Kept;
  // Hugging Face's rules: of bytes in a row that are no UTF-8, each becomes U+FFFD, not only those
  // that are part of no character; and a space that is a byte is one that is dropped.
  bool is_hugging_face = false;
  std::vector<std::string> texts;  // of each piece, by id; spaces marked but where it is no piece
  std::vector<int16_t> bytes;      // the byte that a piece stands for, or -1
  std::vector<bool> is_literal;    // an added token, whose text is its own
};

class PieceDecoder {
 public:
  explicit PieceDecoder(PieceDecoderSpec spec);

  std::string decode(std::span<const int32_t> ids) const;
  // What one piece adds to a text, as raw bytes.
  std::string text_of(int32_t id, bool is_first) const;
  // Whether a piece leaves the next one first.
  bool stays_first(int32_t id) const;

 private:
  int16_t byte_of(int32_t id) const { return spec_.bytes[static_cast<size_t>(id)]; }
  bool drops_space_byte() const {
    return spec_.is_hugging_face && spec_.leading == PieceDecoderSpec::Leading::OneDropped;
  }
  std::string repaired(const std::string& run) const;

  PieceDecoderSpec spec_;
};

}  // namespace plinth
