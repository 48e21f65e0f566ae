#include "data/images/image_dataset.h"

#include <algorithm>
#include <cctype>
#include <optional>

#include "core/error.h"
#include "core/io/text.h"
#include "data/images/image_files.h"
#include "data/tokenizer/parallel_tasks.h"

namespace plinth {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kImageDataset = "ImageDataset";

bool is_whole_number(const std::string& text) {
  constexpr size_t kDigits = 18;  // fit an int64
  return !text.empty() && text.size() <= kDigits &&
         std::ranges::all_of(text, [](unsigned char c) { return std::isdigit(c) != 0; });
}

// A model's config.json, in which they are kept, is UTF-8.
void check_utf8(const std::vector<std::string>& classes, const fs::path& source) {
  for (const std::string& name : classes)
    check(!first_invalid_utf8(name), ErrorKind::Format, source.string(), "has the class ",
          printable(name), ", whose name is not UTF-8");
}

// The distinct labels, ordered.
std::vector<std::string> classes_of(std::vector<std::string> labels) {
  const bool are_numbers = std::ranges::all_of(labels, is_whole_number);
  std::ranges::sort(labels, [&](const std::string& a, const std::string& b) {
    if (are_numbers && std::stoll(a) != std::stoll(b)) return std::stoll(a) < std::stoll(b);
    return a < b;
  });
  labels.erase(std::unique(labels.begin(), labels.end()), labels.end());
  return labels;
}

}  // namespace

ImageDataset::ImageDataset(std::vector<ImageSample> samples, std::vector<std::string> classes)
    : samples_(std::move(samples)), classes_(std::move(classes)) {
  for (const ImageSample& sample : samples_)
    check(sample.label >= 0 && sample.label < std::ssize(classes_), ErrorKind::Argument,
          kImageDataset, "label of ", sample.path.string(), " is ", sample.label, ", takes one of ",
          classes_.size(), " classes");
}

ImageDataset ImageDataset::from_folder(const fs::path& folder) {
  std::vector<ImageSample> samples;
  std::vector<std::string> classes;
  const auto is_folder = [](const fs::directory_entry& entry) { return entry.is_directory(); };
  for (const fs::path& group : sorted_entries<fs::directory_iterator>(folder, is_folder)) {
    for (fs::path& path : image_files(group))
      samples.push_back({std::move(path), std::ssize(classes)});
    classes.push_back(group.filename().string());
  }
  check(!classes.empty(), ErrorKind::Format, folder.string(), "has no folder, takes one a class");
  check(!samples.empty(), ErrorKind::Format, folder.string(),
        "has no image in its classes, takes .png, .jpg and .jpeg");
  check_utf8(classes, folder);
  return {std::move(samples), std::move(classes)};
}

ImageDataset ImageDataset::from_csv(const fs::path& file) {
  const auto rows = read_two_columns(file, "path", "label");
  std::vector<std::string> labels;
  labels.reserve(rows.size());
  for (const auto& [path, label] : rows) labels.push_back(label);
  const std::vector<std::string> classes = classes_of(labels);
  check_utf8(classes, file);
  std::map<std::string, int64_t> ids;
  for (const std::string& name : classes) ids.emplace(name, std::ssize(ids));
  std::vector<ImageSample> samples;
  samples.reserve(rows.size());
  for (const auto& [path, label] : rows)
    samples.push_back({file.parent_path() / path, ids.at(label)});
  return {std::move(samples), classes};
}

const ImageSample& ImageDataset::sample(int64_t i) const {
  check(i >= 0 && i < size(), ErrorKind::Argument, kImageDataset, "got sample ", i,
        ", takes one of ", size());
  return samples_[static_cast<size_t>(i)];
}

void BadFiles::add(const fs::path& path, const std::string& fault) {
  const std::lock_guard lock(mutex_);
  faults_.emplace(path.string(), fault);
}

int64_t BadFiles::count() const {
  const std::lock_guard lock(mutex_);
  return std::ssize(faults_);
}

std::map<std::string, std::string> BadFiles::faults() const {
  const std::lock_guard lock(mutex_);
  return faults_;
}

std::string BadFiles::report(int64_t all) const {
  const std::map<std::string, std::string> bad = faults();
  if (bad.empty()) return "";
  constexpr size_t kMost = 5;
  std::string text = detail::concat(bad.size(), " of ", all, " images were left out: ");
  size_t named = 0;
  for (const auto& [path, fault] : bad) {
    if (named == kMost) break;
    text += (named++ > 0 ? "; " : "") + fault;
  }
  return bad.size() > named ? text + detail::concat("; and ", bad.size() - named, " more") : text;
}

std::vector<std::optional<Image>> read_image_files(
    std::span<const fs::path> paths,
    const std::function<Image(const Image&, int64_t place)>& transform, BadFiles& bad,
    const ImageLimits& limits) {
  std::vector<std::optional<Image>> read(paths.size());
  parallel_tasks(std::ssize(paths), [&](int64_t i) {
    const fs::path& path = paths[static_cast<size_t>(i)];
    Image image;
    try {
      image = read_image(path, limits);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::Io && error.kind() != ErrorKind::Format) throw;
      return bad.add(path, error.what());
    }
    read[static_cast<size_t>(i)] = transform ? transform(image, i) : std::move(image);
  });
  return read;
}

std::vector<int64_t> usable_images(
    std::span<const fs::path> paths,
    const std::function<void(const Image& image, int64_t place)>& inspect, BadFiles& bad) {
  constexpr size_t kAtOnce = 1024;
  std::vector<int64_t> usable;
  for (size_t first = 0; first < paths.size(); first += kAtOnce) {
    const auto some = paths.subspan(first, std::min(kAtOnce, paths.size() - first));
    std::vector<char> refused(some.size(), 0);
    const auto look = [&](const Image& image, int64_t place) {
      try {
        if (inspect) inspect(image, static_cast<int64_t>(first) + place);
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::Io && error.kind() != ErrorKind::Format) throw;
        bad.add(some[static_cast<size_t>(place)], error.what());
        refused[static_cast<size_t>(place)] = 1;
      }
      return Image(1, 1);
    };
    const auto read = read_image_files(some, look, bad);
    for (size_t i = 0; i < some.size(); ++i) {
      if (read[i] && refused[i] == 0) usable.push_back(static_cast<int64_t>(first + i));
    }
  }
  return usable;
}

std::vector<Image> read_whole_images(
    std::span<const fs::path> paths,
    const std::function<Image(const Image& image, int64_t place)>& transform) {
  std::vector<Image> images(paths.size());
  parallel_tasks(std::ssize(paths), [&](int64_t i) {
    const auto place = static_cast<size_t>(i);
    images[place] = transform(read_image(paths[place]), i);
  });
  return images;
}

}  // namespace plinth
