#pragma once

// Labelled images in files.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/images/image.h"

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
  // classes hold no image, and for a name that is not UTF-8.
  static ImageDataset from_folder(const std::filesystem::path& folder);

  // A file of comma-separated values (RFC 4180), of which the first row names columns, "path" and
  // "label" among them. A path is relative to the file's folder. Classes are the labels: in the
  // order of their values where all are whole numbers, else alphabetical. Throws Error(Io) or
  // Error(Format) naming file and row, or a label that is not UTF-8.
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

// Decodes files, from several threads, and gives each image to `transform` with its place among
// them, which may be called from several at once. Bad files give nothing, and are added to `bad`:
// the same on any number of threads. Throws whatever `transform` does.
std::vector<std::optional<Image>> read_image_files(
    std::span<const std::filesystem::path> paths,
    const std::function<Image(const Image&, int64_t place)>& transform, BadFiles& bad,
    const ImageLimits& limits = {});

// The places of the files that hold whole images, in their order. Each is decoded once, so that
// what is trained on and scored is known before, and given to `inspect` with its place, from
// several threads; that may refuse it by an Error(Format) or Error(Io) that names a file. The
// others go to `bad`.
std::vector<int64_t> usable_images(
    std::span<const std::filesystem::path> paths,
    const std::function<void(const Image& image, int64_t place)>& inspect, BadFiles& bad);

// What `transform` makes of each file's image. Throws what read_image() does of the first file that
// is bad.
std::vector<Image> read_whole_images(
    std::span<const std::filesystem::path> paths,
    const std::function<Image(const Image& image, int64_t place)>& transform);

}  // namespace plinth
