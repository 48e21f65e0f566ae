#pragma once

// SentencePiece (Kudo and Richardson 2018, arXiv 1808.06226): encoding and training by
// libsentencepiece.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace plinth {

class SentencePiece {
 public:
  // From the bytes of a model file that parse_sentence_piece_file() takes. Throws Error(Format,
  // name) with libsentencepiece's reason.
  SentencePiece(const std::string& bytes, std::string_view name);
  ~SentencePiece();
  SentencePiece(SentencePiece&&) noexcept;

  // Appends the ids of valid UTF-8. Several threads may call it at once.
  void encode(std::string_view text, std::vector<int32_t>& ids) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

struct SentencePieceTraining {
  bool is_bpe = false;
  int64_t vocab_size = 0;  // pieces
};

// The bytes of a model file that is learned from the lines of these texts. A unigram model is as
// T5's: NFKC, <pad>, </s> and <unk> first, fewer pieces than asked for if the texts have no more.
// One of byte pairs is as Llama 2's: texts as they are, <unk>, <s>, </s> and the 256 bytes first.
// The result does not depend on the number of threads. Throws Error(Argument) with
// libsentencepiece's reason, such as a vocabulary that is too small for the characters.
std::string train_sentence_piece(std::span<const std::string_view> texts,
                                 const SentencePieceTraining& training);

}  // namespace plinth
