#pragma once

// From text files to what pretraining reads: a tokenizer and token shards.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace plinth {

struct PrepareOptions {
  std::vector<std::string> texts;   // files
  std::filesystem::path out;        // folder of the tokenizer and the shards
  std::filesystem::path tokenizer;  // a folder with a tokenizer.json; or else
  int64_t train_vocab = 0;          // how many tokens to learn from the training documents
  std::string kind = "byte-bpe";    // of those: or "unigram", "sentencepiece-bpe", "wordpiece"
  int64_t sentinels = 0;            // T5's, of unigram and sentencepiece-bpe
  bool cased = false;               // of wordpiece: keeps case and accents
  std::string documents = "file";   // what a document is: "file", "line" or "paragraph"
  double validation_share = 0;      // of the documents
  uint64_t seed = 0;                // which ones
  int64_t shard_tokens = 100'000'000;
};

struct PreparedCorpus {
  int64_t documents = 0;
  int64_t bytes = 0;
  int64_t vocab_size = 0;
  int64_t train_tokens = 0;
  int64_t validation_tokens = 0;
};

// The documents of a text, in order, as "line" or "paragraph" (lines up to an empty one) or "file"
// says; a line may end as on Windows. Those of white space alone are left out.
std::vector<std::string_view> split_documents(std::string_view text, std::string_view documents);

// Writes the tokenizer, train_NNNNN.bin and, if any documents are held out, validation_NNNNN.bin.
// Each document ends with the end-of-text token, if the tokenizer has one. Which documents are held
// out is drawn by the seed; a corpus of a single document is cut, at a line end if one lies near,
// else between characters, and the end held out. Throws Error(Io) or Error(Format) naming the file
// that is missing or empty, Error(Argument) for a folder that holds shards already, or files of
// another tokenizer, and where the share leaves no text to train on, or none to hold out. Files of
// the tokenizer to use stay as they are where `out` is its folder.
PreparedCorpus prepare_corpus(const PrepareOptions& options);

}  // namespace plinth
