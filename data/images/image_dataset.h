#pragma once

// Labelled images in files, and batches of them.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "core/tensor.h"
#include "data/images/image.h"
#include "data/images/sample_random.h"

namespace plinth {

struct ImageSample {
  std::filesystem::path path;
  int64_t label = 0;  // of ImageDataset::classes()
};

class ImageDataset {
 public:
  // A folder of folders, one a class, whose names are the classes in alphabetical order. Samples
  // are the files in them, at any depth, that end in .png, .jpg or .jpeg, ordered by path. Throws
  // Error(Io) for a folder that cannot be read, Error(Format) for one without a class or whose
  // classes hold no image.
  static ImageDataset from_folder(const std::filesystem::path& folder);

  // A file of comma-separated values (RFC 4180), of which the first row names columns, "path" and
  // "label" among them. A path is relative to the file's folder. Classes are the labels: in the
  // order of their values where all are whole numbers, else alphabetical. Throws Error(Io) or
  // Error(Format) naming file and row.
  static ImageDataset from_csv(const std::filesystem::path& file);

  // Throws Error(Argument) for a label outside the classes.
  ImageDataset(std::vector<ImageSample> samples, std::vector<std::string> classes);

  int64_t size() const { return std::ssize(samples_); }
  // Throws Error(Argument) for a sample that there is not.
  const ImageSample& sample(int64_t i) const;
  const std::vector<std::string>& classes() const { return classes_; }

 private:
  std::vector<ImageSample> samples_;
  std::vector<std::string> classes_;
};

// Files that could not be read, or are not whole images: each once, by its path, with what is
// wrong. May be added to from several threads.
class BadFiles {
 public:
  void add(const std::filesystem::path& path, const std::string& fault);
  int64_t count() const;
  std::map<std::string, std::string> faults() const;
  // "3 of 100 images were left out: a.png: ...; b.png: ...; and 1 more"; empty where there are
  // none.
  std::string report(int64_t all) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::string> faults_;
};

struct ImageBatch {
  std::vector<Image> images;
  std::vector<int64_t> samples;  // their numbers in the data set
  Tensor labels;                 // int64 [images]

  // What augmentations draw by.
  std::vector<SampleKey> keys(uint64_t seed, int64_t epoch) const;
};

// Decodes these samples, from several threads, and gives each to `transform`, which may be called
// from several at once. Those whose files are bad are left out, and added to `bad`: the batch may
// be smaller, and empty, but is the same on any number of threads. Throws Error(Argument) for a
// sample that there is not, and whatever `transform` does.
ImageBatch read_images(const ImageDataset& data, std::span<const int64_t> samples,
                       const std::function<Image(const Image&, int64_t sample)>& transform,
                       BadFiles& bad, const ImageLimits& limits = {});

}  // namespace plinth
