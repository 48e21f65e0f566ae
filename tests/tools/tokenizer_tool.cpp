// Encodes and trains from the command line, for scripts/check_tokenizer_parity.py.
//
//   tokenizer_tool encode TOKENIZER < documents > ids
//   tokenizer_tool plain TOKENIZER < documents > ids       without special tokens
//   tokenizer_tool decode TOKENIZER < ids > documents
//   tokenizer_tool train VOCAB_SIZE MIN_FREQUENCY PATTERN FOLDER < documents
//
// Documents are a little-endian uint32 of their bytes, then the bytes; ids are a uint32 of their
// number, then int32 each. All print to standard error the seconds that the work took.

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "data/tokenizer/tokenizer.h"

namespace plinth {
namespace {

std::string read_input() {
  return {std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
}

std::vector<std::string_view> split_documents(std::string_view input) {
  std::vector<std::string_view> documents;
  while (input.size() >= 4) {
    uint32_t size;
    std::memcpy(&size, input.data(), 4);
    documents.push_back(input.substr(4, size));
    input.remove_prefix(4 + documents.back().size());
  }
  return documents;
}

class Stopwatch {
 public:
  ~Stopwatch() {
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start_;
    std::fprintf(stderr, "%.6f\n", elapsed.count());
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

int encode(const std::string& path, const EncodeOptions& options) {
  const Tokenizer tokenizer = Tokenizer::load(path);
  const std::string input = read_input();
  const std::vector<std::string_view> documents = split_documents(input);
  std::vector<std::vector<int32_t>> encoded;
  {
    const Stopwatch stopwatch;
    encoded = tokenizer.encode_batch(documents, options);
  }
  for (const std::vector<int32_t>& ids : encoded) {
    const auto count = static_cast<uint32_t>(ids.size());
    std::cout.write(reinterpret_cast<const char*>(&count), 4);
    std::cout.write(reinterpret_cast<const char*>(ids.data()),
                    static_cast<std::streamsize>(4 * ids.size()));
  }
  return 0;
}

int decode(const std::string& path) {
  const Tokenizer tokenizer = Tokenizer::load(path);
  const std::string input = read_input();
  std::vector<std::vector<int32_t>> documents;
  for (size_t at = 0; at + 4 <= input.size();) {
    uint32_t count;
    std::memcpy(&count, input.data() + at, 4);
    std::vector<int32_t>& ids = documents.emplace_back(count);
    std::memcpy(ids.data(), input.data() + at + 4, size_t{4} * count);
    at += 4 + size_t{4} * count;
  }
  std::string output;
  const Stopwatch stopwatch;
  for (const std::vector<int32_t>& ids : documents) {
    const std::string text = tokenizer.decode(ids);
    const auto size = static_cast<uint32_t>(text.size());
    output.append(reinterpret_cast<const char*>(&size), 4).append(text);
  }
  std::cout.write(output.data(), static_cast<std::streamsize>(output.size()));
  return 0;
}

int train(char** arguments) {
  const std::string input = read_input();
  const std::vector<std::string_view> documents = split_documents(input);
  TrainOptions options{.vocab_size = std::stoll(arguments[0]),
                       .min_frequency = std::stoll(arguments[1])};
  if (*arguments[2] != '\0') options.pattern = arguments[2];
  const Stopwatch stopwatch;
  Tokenizer::train(documents, options).save(arguments[3]);
  return 0;
}

int train_words(char** arguments) {
  const std::string input = read_input();
  const TrainOptions options{.kind = TokenizerKind::WordPiece,
                             .vocab_size = std::stoll(arguments[0])};
  const Stopwatch stopwatch;
  Tokenizer::train(split_documents(input), options).save(arguments[1]);
  return 0;
}

}  // namespace
}  // namespace plinth

int main(int argc, char** argv) {
  const std::string_view command = argc > 1 ? argv[1] : "";
  try {
    if (command == "encode" && argc == 3)
      return plinth::encode(argv[2], {.allow_special = true, .add_special = true});
    if (command == "plain" && argc == 3) return plinth::encode(argv[2], {});
    if (command == "decode" && argc == 3) return plinth::decode(argv[2]);
    if (command == "train" && argc == 6) return plinth::train(argv + 2);
    if (command == "train-words" && argc == 4) return plinth::train_words(argv + 2);
    std::cerr << "usage: tokenizer_tool encode|plain|decode TOKENIZER | "
                 "train VOCAB_SIZE MIN_FREQUENCY PATTERN FOLDER | train-words VOCAB_SIZE FOLDER\n";
    return 2;
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
