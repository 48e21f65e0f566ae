// Encodes and trains from the command line, for scripts/check_tokenizer_parity.py.
//
//   tokenizer_tool encode TOKENIZER < documents > ids
//   tokenizer_tool train VOCAB_SIZE MIN_FREQUENCY PATTERN FOLDER < documents
//
// Documents are a little-endian uint32 of their bytes, then the bytes; ids are a uint32 of their
// number, then int32 each. Both print to standard error the seconds that the work took.

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

int encode(const std::string& path) {
  const Tokenizer tokenizer = Tokenizer::load(path);
  const std::string input = read_input();
  const std::vector<std::string_view> documents = split_documents(input);
  std::vector<std::vector<int32_t>> encoded;
  {
    const Stopwatch stopwatch;
    encoded = tokenizer.encode_batch(documents, {.allow_special = true, .add_special = true});
  }
  for (const std::vector<int32_t>& ids : encoded) {
    const auto count = static_cast<uint32_t>(ids.size());
    std::cout.write(reinterpret_cast<const char*>(&count), 4);
    std::cout.write(reinterpret_cast<const char*>(ids.data()),
                    static_cast<std::streamsize>(4 * ids.size()));
  }
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

}  // namespace
}  // namespace plinth

int main(int argc, char** argv) {
  const std::string_view command = argc > 1 ? argv[1] : "";
  try {
    if (command == "encode" && argc == 3) return plinth::encode(argv[2]);
    if (command == "train" && argc == 6) return plinth::train(argv + 2);
    std::cerr << "usage: tokenizer_tool encode TOKENIZER | train VOCAB_SIZE MIN_FREQUENCY PATTERN "
                 "FOLDER\n";
    return 2;
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
