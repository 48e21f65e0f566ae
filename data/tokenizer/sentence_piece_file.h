#pragma once

// SentencePiece's model file, "tokenizer.model" or "spiece.model": a protocol buffer, of which
// Plinth reads what decoding needs. libsentencepiece reads it too, for encoding, and trusts it;
// what it would stumble over is refused here.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace plinth {

struct SentencePieceFile {
  enum class Type : uint8_t { Normal = 1, Unknown, Control, UserDefined, Unused, Byte };
  struct Piece {
    std::string text;
    float score = 0;
    Type type = Type::Normal;
  };
  std::vector<Piece> pieces;  // by id
  bool is_unigram = true;     // else byte pairs
  bool maps_characters = false;
  bool adds_dummy_prefix = true;
  bool removes_extra_spaces = true;
  std::string unknown_surface = " \xE2\x81\x87 ";  // what an unknown token is as text
};

// Throws Error(Format, name) for what is truncated or malformed, for a model without pieces or with
// too many, a piece that is empty or not UTF-8, one that is given twice, a score that is not
// finite, places outside a table of replacements, and what Plinth would decode otherwise: a table
// for decoded text, whitespace as a suffix, models of words or characters.
SentencePieceFile parse_sentence_piece_file(std::string_view bytes, std::string_view name);

}  // namespace plinth
