#include "train/pretrain/image_samples.h"

#include <utility>

#include "core/error.h"
#include "data/images/augment.h"
#include "data/images/image_dataset.h"
#include "data/images/image_files.h"
#include "data/images/resize.h"
#include "data/tasks/table.h"
#include "train/data_fingerprint.h"

namespace plinth {
namespace {

namespace fs = std::filesystem;

struct Found {
  std::vector<fs::path> images;
  std::vector<std::string> texts;
};

void add_table(const PretrainConfig& config, const fs::path& file, bool with_texts, BadLines& bad,
               Found& found) {
  TableOptions options{.columns = {config.data.image_column}};
  if (with_texts) options.columns.push_back(config.data.text_column);
  read_table(file, options, bad, [&](int64_t line, const std::vector<std::string>& values) {
    for (size_t i = 0; i < values.size(); ++i) {
      if (values[i].empty()) return bad.skip(file, line, "has an empty " + options.columns[i]);
    }
    found.images.push_back(file.parent_path() / values[0]);
    found.texts.push_back(with_texts ? values[1] : "");
  });
}

}  // namespace

ImageSamples::ImageSamples(const PretrainConfig& config, const std::vector<std::string>& files,
                           std::string_view key, bool with_texts,
                           const ImagePreprocessing& preprocessing,
                           const std::function<void(const std::string&)>& tell) {
  Found found;
  BadLines bad_lines(config.data.max_bad_lines);
  for (const fs::path file : files) {
    if (!fs::is_directory(file)) {
      add_table(config, file, with_texts, bad_lines, found);
      continue;
    }
    check(!with_texts, ErrorKind::Config, key, file.string(),
          " is a folder, takes a .csv, .tsv or .jsonl with a text for each image");
    for (fs::path& path : image_files(file)) found.images.push_back(std::move(path));
    found.texts.resize(found.images.size());
  }
  if (bad_lines.count() > 0) tell(detail::concat(key, ": ", bad_lines.summary()));
  BadFiles bad_files;
  const auto inspect = [&](const Image& image, int64_t place) {
    preprocessing.check_usable(image, found.images[static_cast<size_t>(place)]);
  };
  for (const int64_t i : usable_images(found.images, inspect, bad_files)) {
    images_.push_back(std::move(found.images[static_cast<size_t>(i)]));
    texts_.push_back(std::move(found.texts[static_cast<size_t>(i)]));
  }
  if (bad_files.count() > 0)
    tell(detail::concat(key, ": ", bad_files.report(std::ssize(found.images))));
  check(size() > 0, ErrorKind::Config, key, "has no image that can be read");
  fingerprint_ = fingerprint_of({files.begin(), files.end()}) + static_cast<uint64_t>(size());
}

Tensor ImageSamples::pixels(std::span<const SampleKey> keys, const ImageShape& shape) const {
  std::vector<fs::path> chosen;
  for (const SampleKey& key : keys) chosen.push_back(images_[static_cast<size_t>(key.sample)]);
  const auto transform = [&](const Image& image, int64_t place) {
    const SampleKey& key = keys[static_cast<size_t>(place)];
    return shape.preprocessing.apply(
        image, {image.height, image.width, key, shape.min_crop_area, shape.flip});
  };
  return to_tensor(read_whole_images(chosen, transform), shape.preprocessing.normalization);
}

}  // namespace plinth
