#include "data/shards/shard_writer.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "core/error.h"
#include "core/io/directory.h"
#include "data/shards/formats.h"

namespace plinth {
namespace {

constexpr size_t kBufferBytes = size_t{1} << 20;

bool fits_16_bits(int64_t vocab_size) {
  return vocab_size <= int64_t{1} << 16;
}

using Header = std::array<int32_t, kLlmcHeaderBytes / 4>;

Header make_header(int64_t vocab_size, int64_t tokens) {
  Header header{};
  const bool narrow = fits_16_bits(vocab_size);
  header[0] = narrow ? kLlmcMagic16 : kLlmcMagic32;
  header[1] = narrow ? kLlmcVersion16 : kLlmcVersion32;
  header[2] = static_cast<int32_t>(tokens);
  return header;
}

}  // namespace

ShardWriter::ShardWriter(const std::filesystem::path& path, int64_t vocab_size)
    : name_(path.string()), vocab_size_(vocab_size), file_(path) {
  check(vocab_size > 0 && vocab_size <= INT32_MAX, ErrorKind::Argument, name_, "vocab_size is ",
        vocab_size, ", expected 1 to ", INT32_MAX);
  // The number of tokens is filled in at the end.
  const Header header = make_header(vocab_size, 0);
  file_.write(std::as_bytes(std::span(header)));
}

void ShardWriter::append(std::span<const int32_t> tokens) {
  const auto count = static_cast<int64_t>(tokens.size());
  check(count <= kMostTokens - tokens_, ErrorKind::Argument, name_, "a shard holds at most ",
        kMostTokens, " tokens");
  const auto bad = std::find_if(tokens.begin(), tokens.end(),
                                [&](int32_t id) { return id < 0 || id >= vocab_size_; });
  check(bad == tokens.end(), ErrorKind::Argument, name_, "token ", tokens_ + (bad - tokens.begin()),
        " has id ", bad == tokens.end() ? 0 : *bad, ", expected 0 to ", vocab_size_ - 1);
  const size_t width = fits_16_bits(vocab_size_) ? 2 : 4;
  for (const int32_t id : tokens) {
    const size_t at = buffer_.size();
    buffer_.resize(at + width);
    std::memcpy(buffer_.data() + at, &id, width);  // little-endian: the low bytes come first
    if (buffer_.size() >= kBufferBytes) flush();
  }
  tokens_ += count;
}

void ShardWriter::flush() {
  file_.write(buffer_);
  buffer_.clear();
}

void ShardWriter::commit() {
  flush();
  const Header header = make_header(vocab_size_, tokens_);
  file_.overwrite(0, std::as_bytes(std::span(header)));
  file_.commit();
}

DatasetWriter::DatasetWriter(const std::filesystem::path& folder, std::string name,
                             int64_t vocab_size, int64_t tokens_per_shard)
    : folder_(folder),
      name_(std::move(name)),
      vocab_size_(vocab_size),
      tokens_per_shard_(tokens_per_shard) {
  check(tokens_per_shard > 0 && tokens_per_shard <= ShardWriter::kMostTokens, ErrorKind::Argument,
        folder.string(), "tokens_per_shard is ", tokens_per_shard, ", expected 1 to ",
        ShardWriter::kMostTokens);
  make_directories(folder);
}

void DatasetWriter::begin_shard() {
  if (shard_) shard_->commit();
  std::string number = std::to_string(paths_.size());
  number.insert(0, number.size() < 5 ? 5 - number.size() : 0, '0');
  paths_.push_back(folder_ / (name_ + "_" + number + ".bin"));
  // An older data set's shards would mix with this one's.
  check(!std::filesystem::exists(paths_.back()), ErrorKind::Argument, paths_.back().string(),
        "exists already; choose another folder or name, or remove it");
  shard_.emplace(paths_.back(), vocab_size_);
}

void DatasetWriter::append_document(std::span<const int32_t> tokens) {
  while (!tokens.empty()) {
    const auto count = static_cast<int64_t>(tokens.size());
    const bool full = shard_ && shard_->size() > 0 && count > tokens_per_shard_ - shard_->size();
    if (!shard_ || full) begin_shard();
    const auto taken = static_cast<size_t>(std::min(count, tokens_per_shard_));
    shard_->append(tokens.first(taken));
    tokens_ += static_cast<int64_t>(taken);
    tokens = tokens.subspan(taken);
  }
}

void DatasetWriter::finish() {
  check(shard_.has_value(), ErrorKind::Argument, folder_.string(), "there are no tokens to write");
  shard_->commit();
  shard_.reset();
}

}  // namespace plinth
