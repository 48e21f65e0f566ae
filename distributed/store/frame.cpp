#include "distributed/store/frame.h"

namespace plinth::distributed::wire {
namespace {

void append(std::string& bytes, uint64_t value, size_t count) {
  for (size_t i = 0; i < count; ++i) bytes += static_cast<char>(value >> (8 * i) & 0xff);
}

uint64_t decode(std::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes.size(); ++i)
    value |= uint64_t{static_cast<uint8_t>(bytes[i])} << (8 * i);
  return value;
}

}  // namespace

FrameWriter::FrameWriter(uint8_t kind) : bytes_(kPrefix, '\0') {
  append(bytes_, kind, 1);
}

FrameWriter& FrameWriter::number(uint64_t value) {
  append(bytes_, value, 8);
  return *this;
}

FrameWriter& FrameWriter::text(std::string_view value) {
  append(bytes_, value.size(), 4);
  bytes_ += value;
  return *this;
}

std::string FrameWriter::finish() {
  std::string prefix;
  append(prefix, bytes_.size() - kPrefix, kPrefix);
  bytes_.replace(0, kPrefix, prefix);
  return std::move(bytes_);
}

uint64_t FrameReader::take(size_t bytes) {
  if (rest_.size() < bytes) {
    ok_ = false;
    rest_ = {};
    return 0;
  }
  const uint64_t value = decode(rest_.substr(0, bytes));
  rest_.remove_prefix(bytes);
  return value;
}

uint8_t FrameReader::take_byte() {
  return static_cast<uint8_t>(take(1));
}

uint64_t FrameReader::number() {
  return take(8);
}

std::string_view FrameReader::text() {
  const uint64_t length = take(4);
  if (rest_.size() < length) {
    ok_ = false;
    rest_ = {};
    return {};
  }
  const std::string_view value = rest_.substr(0, length);
  rest_.remove_prefix(length);
  return value;
}

std::optional<size_t> announced_length(std::string_view bytes) {
  if (bytes.size() < kPrefix) return std::nullopt;
  return decode(bytes.substr(0, kPrefix));
}

bool same_secret(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  // Volatile, so that no compiler leaves the loop at the first difference.
  volatile uint8_t difference = 0;
  for (size_t i = 0; i < a.size(); ++i) difference = difference | static_cast<uint8_t>(a[i] ^ b[i]);
  return difference == 0;
}

}  // namespace plinth::distributed::wire
