#pragma once

// The images of tests/fixtures, and what Pillow makes of them.

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>

#include "core/io/safetensors.h"
#include "data/images/image.h"
#include "tests/fixtures.h"

namespace plinth {

inline std::filesystem::path image_fixture(const std::string& name) {
  return std::filesystem::path(PLINTH_FIXTURES) / "images" / name;
}

// A tensor [height, width, 3] of expected.safetensors.
inline Image expected_image(const std::string& name) {
  static const SafetensorsFile file = SafetensorsFile::open(image_fixture("expected.safetensors"));
  const TensorRecord& record = file.record(name);
  Image image(record.shape[0], record.shape[1]);
  const std::span<const std::byte> bytes = file.data(name);
  std::ranges::transform(bytes, image.bytes.begin(),
                         [](std::byte byte) { return std::to_integer<uint8_t>(byte); });
  return image;
}

// The largest difference of two values; 256 where sizes differ.
inline int distance(const Image& a, const Image& b) {
  if (a.height != b.height || a.width != b.width) return 256;
  int largest = 0;
  for (size_t i = 0; i < a.bytes.size(); ++i)
    largest = std::max(largest, std::abs(a.bytes[i] - b.bytes[i]));
  return largest;
}

}  // namespace plinth
