#pragma once

// Token files made by hand.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "core/io/file.h"
#include "data/shards/formats.h"

namespace plinth::testing {

// Appends values as they lie in memory.
class Bytes {
 public:
  template <class T>
  Bytes& put(T value, size_t count = 1) {
    for (size_t i = 0; i < count; ++i) {
      const size_t at = bytes_.size();
      bytes_.resize(at + sizeof value);
      std::memcpy(bytes_.data() + at, &value, sizeof value);
    }
    return *this;
  }
  template <class T>
  Bytes& put_all(const std::vector<T>& values) {
    for (const T value : values) put(value);
    return *this;
  }
  Bytes& text(std::string_view text) {
    const auto bytes = bytes_of(text);
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  const std::vector<std::byte>& bytes() const { return bytes_; }
  operator std::span<const std::byte>() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

inline Bytes llmc_header(int32_t magic, int32_t version, int32_t tokens) {
  return Bytes().put(magic).put(version).put(tokens).put(int32_t{0}, 253);
}

inline Bytes llmc16(const std::vector<uint16_t>& tokens) {
  return llmc_header(kLlmcMagic16, kLlmcVersion16, static_cast<int32_t>(tokens.size()))
      .put_all(tokens);
}

inline Bytes llmc32(const std::vector<uint32_t>& tokens) {
  return llmc_header(kLlmcMagic32, kLlmcVersion32, static_cast<int32_t>(tokens.size()))
      .put_all(tokens);
}

struct MegatronParts {
  std::string magic = std::string("MMIDIDX\0\0", 9);
  uint64_t version = 1;
  uint8_t type = 8;
  std::vector<int32_t> lengths;
  std::vector<int64_t> pointers;
  std::vector<int64_t> documents;
  uint64_t extra_sequences = 0;  // claimed, not there
  uint64_t extra_documents = 0;

  Bytes bytes() const {
    return Bytes()
        .text(magic)
        .put(version)
        .put(type)
        .put(lengths.size() + extra_sequences)
        .put(documents.size() + extra_documents)
        .put_all(lengths)
        .put_all(pointers)
        .put_all(documents);
  }
};

}  // namespace plinth::testing
