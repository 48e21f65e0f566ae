#include "data/images/mask_dataset.h"

#include <algorithm>

#include "core/error.h"
#include "data/images/image_files.h"
#include "data/images/mask.h"
#include "data/tokenizer/parallel_tasks.h"

namespace plinth {

namespace fs = std::filesystem;

namespace {

std::vector<MaskedImage> of_folder(const fs::path& folder) {
  const fs::path images = folder / "images", masks = folder / "masks";
  for (const fs::path& part : {images, masks})
    check(fs::is_directory(part), ErrorKind::Format, folder.string(), "has no folder ",
          part.filename().string(), ", takes images and masks");
  const auto is_image = [](const fs::directory_entry& entry) {
    return entry.is_regular_file() && is_image_file(entry.path());
  };
  std::vector<MaskedImage> all;
  for (const fs::path& image : sorted_entries<fs::recursive_directory_iterator>(images, is_image))
    all.push_back({image, (masks / image.lexically_relative(images)).replace_extension(".png")});
  check(!all.empty(), ErrorKind::Format, images.string(),
        "has no image, takes .png, .jpg and .jpeg");
  return all;
}

}  // namespace

std::vector<MaskedImage> list_masked_images(const fs::path& source) {
  if (fs::is_directory(source)) return of_folder(source);
  std::vector<MaskedImage> all;
  for (const auto& [image, mask] : read_two_columns(source, "path", "mask"))
    all.push_back({source.parent_path() / image, source.parent_path() / mask});
  return all;
}

int64_t count_classes(std::span<const MaskedImage> images, int64_t ignored) {
  std::vector<int64_t> counts(images.size(), 0);
  parallel_tasks(std::ssize(images), [&](int64_t i) {
    int64_t& count = counts[static_cast<size_t>(i)];
    try {
      for (const uint8_t value : read_mask(images[static_cast<size_t>(i)].mask).classes) {
        if (value != ignored) count = std::max<int64_t>(count, value + 1);
      }
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::Io && error.kind() != ErrorKind::Format) throw;
    }
  });
  return counts.empty() ? 0 : std::ranges::max(counts);
}

}  // namespace plinth
