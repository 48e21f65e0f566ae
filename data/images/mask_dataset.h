#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

namespace plinth {

// An image, and the mask that says what its pixels are of.
struct MaskedImage {
  std::filesystem::path image, mask;
};

// Of a folder with the folders "images" and "masks": for each .png, .jpg or .jpeg of the first, at
// any depth and ordered by path, the .png of the second that has its place and name. Of another
// file: comma-separated values (RFC 4180), of which the first row names columns, "path" and "mask"
// among them; paths are relative to the file's folder. Whether the masks are there is not looked
// at. Throws Error(Io) or Error(Format) naming file and row.
std::vector<MaskedImage> list_masked_images(const std::filesystem::path& source);

// 1 more than the highest class of all masks, but for `ignored`; those that cannot be read do not
// count. 0 where there is none.
int64_t count_classes(std::span<const MaskedImage> images, int64_t ignored);

}  // namespace plinth
