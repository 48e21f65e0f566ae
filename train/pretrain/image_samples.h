#pragma once

// Images to pretrain on, and their texts.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/tensor.h"
#include "data/images/preprocessing.h"
#include "data/images/sample_random.h"
#include "train/pretrain/config.h"

namespace plinth {

// How they become pixels.
struct ImageShape {
  ImagePreprocessing preprocessing;
  // Changes at random, by a sample's key alone.
  double min_crop_area = 1;
  bool flip = false;
};

class ImageSamples {
 public:
  // Those of folders, at any depth, and of tables (.csv, .tsv, .jsonl) with data.image_column and,
  // if texts are wanted, data.text_column; a folder has no texts. All are decoded once: what cannot
  // be read, or not be preprocessed so, is left out, counted and told. Throws Error(Config) naming
  // `key` where no image is left, or a folder is to have texts, and what reading tables throws.
  ImageSamples(const PretrainConfig& config, const std::vector<std::string>& files,
               std::string_view key, bool with_texts, const ImagePreprocessing& preprocessing,
               const std::function<void(const std::string&)>& tell);

  int64_t size() const { return std::ssize(images_); }
  // Of the files, and of how many images are left.
  uint64_t fingerprint() const { return fingerprint_; }
  // Of a sample that has one.
  const std::string& text(int64_t sample) const { return texts_[static_cast<size_t>(sample)]; }

  // float32 [keys, 3, height, width]. Throws Error(Format) for a file that was good before.
  Tensor pixels(std::span<const SampleKey> keys, const ImageShape& shape) const;

 private:
  std::vector<std::filesystem::path> images_;
  std::vector<std::string> texts_;  // of each image; "" where there are none
  uint64_t fingerprint_ = 0;
};

}  // namespace plinth
