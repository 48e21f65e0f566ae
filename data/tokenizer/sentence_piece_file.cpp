#include "data/tokenizer/sentence_piece_file.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <unordered_set>

#include "core/error.h"
#include "core/io/text.h"
#include "data/tokenizer/char_map.h"
#include "data/tokenizer/tokenizer_spec.h"

namespace plinth {
namespace {

// A field of a message, in protocol buffers' wire format.
struct Field {
  uint64_t number = 0;
  uint64_t value = 0;      // of a varint, or the bits of a fixed one
  std::string_view bytes;  // of what has a length
  bool has_length = false;
};

class Fields {
 public:
  Fields(std::string_view message, std::string_view name) : rest_(message), name_(name) {}

  bool next(Field& field) {
    if (rest_.empty()) return false;
    const uint64_t tag = varint();
    field = {.number = tag >> 3, .value = 0, .bytes = {}, .has_length = (tag & 7) == 2};
    switch (tag & 7) {
      case 0: field.value = varint(); break;
      case 1: field.value = fixed(8); break;
      case 2: field.bytes = take(varint()); break;
      case 5: field.value = fixed(4); break;
      default: refuse();
    }
    if (field.number == 0) refuse();
    return true;
  }

 private:
  [[noreturn]] void refuse() const {
    throw Error(ErrorKind::Format, name_, "is no SentencePiece model, or is cut off");
  }
  std::string_view take(uint64_t size) {
    if (size > rest_.size()) refuse();
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<uint8_t>(take(1).front());
      value |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
    refuse();
  }
  uint64_t fixed(size_t size) {
    uint64_t value = 0;
    std::memcpy(&value, take(size).data(), size);
    return value;
  }

  std::string_view rest_, name_;
};

SentencePieceFile::Piece read_piece(std::string_view message, std::string_view name) {
  SentencePieceFile::Piece piece;
  Fields fields(message, name);
  for (Field field; fields.next(field);) {
    if (field.number == 1) piece.text = field.bytes;
    if (field.number == 2) piece.score = std::bit_cast<float>(static_cast<uint32_t>(field.value));
    if (field.number != 3) continue;
    check(field.value >= 1 && field.value <= 6, ErrorKind::Format, name, "a piece is of type ",
          field.value, ", expected 1 to 6");
    piece.type = static_cast<SentencePieceFile::Type>(field.value);
  }
  const bool is_text = !piece.text.empty() && piece.text.find('\0') == std::string::npos &&
                       !first_invalid_utf8(piece.text);
  check(is_text, ErrorKind::Format, name, "piece ", printable(piece.text),
        " is empty, not UTF-8, or has a zero");
  check(std::isfinite(piece.score), ErrorKind::Format, name, "the score of piece ",
        printable(piece.text), " is not finite");
  return piece;
}

void read_trainer(std::string_view message, SentencePieceFile& file, std::string_view name) {
  Fields fields(message, name);
  for (Field field; fields.next(field);) {
    if (field.number == 3) {
      check(field.value == 1 || field.value == 2, ErrorKind::Format, name, "model_type is ",
            field.value, ", which is not supported; 1 (unigram) and 2 (bpe) are");
      file.is_unigram = field.value == 1;
    }
    if (field.number == 24)
      check(field.value == 0, ErrorKind::Format, name,
            "treat_whitespace_as_suffix is set, which is not supported");
    if (field.number == 44) file.unknown_surface = field.bytes;
  }
}

void read_normalizer(std::string_view message, SentencePieceFile& file, std::string_view name) {
  Fields fields(message, name);
  for (Field field; fields.next(field);) {
    if (field.number == 2 && !field.bytes.empty()) {
      const CharMap refused_if_damaged(field.bytes, name);
      file.maps_characters = true;
    }
    if (field.number == 3) file.adds_dummy_prefix = field.value != 0;
    if (field.number == 4) file.removes_extra_spaces = field.value != 0;
  }
}

void refuse_denormalizer(std::string_view message, std::string_view name) {
  Fields fields(message, name);
  for (Field field; fields.next(field);)
    check(field.number != 2 || field.bytes.empty(), ErrorKind::Format, name,
          "denormalizer_spec has a charsmap, which is not supported");
}

}  // namespace

SentencePieceFile parse_sentence_piece_file(std::string_view bytes, std::string_view name) {
  check(!bytes.empty(), ErrorKind::Format, name, "is empty, expected a SentencePiece model");
  SentencePieceFile file;
  std::unordered_set<std::string> seen;
  Fields fields(bytes, name);
  for (Field field; fields.next(field);) {
    if (field.number > 5) continue;
    check(field.has_length, ErrorKind::Format, name, "is no SentencePiece model");
    if (field.number == 2) read_trainer(field.bytes, file, name);
    if (field.number == 3) read_normalizer(field.bytes, file, name);
    if (field.number == 5) refuse_denormalizer(field.bytes, name);
    if (field.number != 1) continue;
    check(std::ssize(file.pieces) < kMostTokens, ErrorKind::Format, name, "has more than ",
          kMostTokens, " pieces");
    file.pieces.push_back(read_piece(field.bytes, name));
    if (!seen.insert(file.pieces.back().text).second)
      throw Error(ErrorKind::Format, name,
                  detail::concat("piece ", printable(file.pieces.back().text), " is given twice"));
  }
  check(!file.pieces.empty(), ErrorKind::Format, name, "has no pieces");
  return file;
}

}  // namespace plinth
