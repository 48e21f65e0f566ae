#include "data/tokenizer/sentence_piece.h"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <algorithm>
#include <string>
#include <unordered_map>

#include "core/error.h"

namespace plinth {
namespace {

using sentencepiece::util::Status;

// The lines of texts, one after the other.
class Lines final : public sentencepiece::SentenceIterator {
 public:
  explicit Lines(std::span<const std::string_view> texts) : texts_(texts) { Next(); }

  bool done() const override { return done_; }
  const std::string& value() const override { return line_; }
  Status status() const override { return {}; }

  void Next() override {
    line_.clear();
    while (line_.empty() && !texts_.empty()) {
      const std::string_view rest = texts_.front().substr(at_);
      const size_t end = std::min(rest.find('\n'), rest.size());
      line_ = rest.substr(0, end);
      at_ += end + 1;
      if (at_ < texts_.front().size()) continue;
      texts_ = texts_.subspan(1);
      at_ = 0;
    }
    done_ = line_.empty();
  }

 private:
  std::span<const std::string_view> texts_;
  size_t at_ = 0;
  std::string line_;
  bool done_ = false;
};

}  // namespace

struct SentencePiece::State {
  sentencepiece::SentencePieceProcessor processor;
};

SentencePiece::SentencePiece(const std::string& bytes, std::string_view name)
    : state_(std::make_unique<State>()) {
  try {
    const Status status = state_->processor.LoadFromSerializedProto(bytes);
    check(status.ok(), ErrorKind::Format, name,
          "libsentencepiece refuses it: ", status.error_message());
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw Error(ErrorKind::Format, name,
                detail::concat("libsentencepiece refuses it: ", error.what()));
  }
}

SentencePiece::~SentencePiece() = default;
SentencePiece::SentencePiece(SentencePiece&&) noexcept = default;

void SentencePiece::encode(std::string_view text, std::vector<int32_t>& ids) const {
  std::vector<int> encoded;
  const Status status = state_->processor.Encode(text, &encoded);
  check(status.ok(), ErrorKind::Argument, "tokenizer",
        "libsentencepiece does not encode a text: ", status.error_message());
  ids.insert(ids.end(), encoded.begin(), encoded.end());
}

std::string train_sentence_piece(std::span<const std::string_view> texts,
                                 const SentencePieceTraining& training) {
  std::unordered_map<std::string, std::string> options = {
      {"model_type", training.is_bpe ? "bpe" : "unigram"},
      {"vocab_size", std::to_string(training.vocab_size)},
      {"max_sentence_length", std::to_string(1 << 30)},  // bytes; longer ones would be left out
      {"num_threads", "16"},                             // sums are split by it
      {"minloglevel", "2"},                              // errors
  };
  if (training.is_bpe) {
    options.insert({{"byte_fallback", "true"},
                    {"normalization_rule_name", "identity"},
                    {"remove_extra_whitespaces", "false"}});
  } else {
    options.insert({{"hard_vocab_limit", "false"},
                    {"pad_id", "0"},
                    {"eos_id", "1"},
                    {"unk_id", "2"},
                    {"bos_id", "-1"}});
  }
  Lines lines(texts);
  std::string model;
  const Status status = sentencepiece::SentencePieceTrainer::Train(options, &lines, &model);
  check(status.ok(), ErrorKind::Argument, "Tokenizer::train",
        "libsentencepiece learns no model: ", status.error_message());
  return model;
}

}  // namespace plinth
