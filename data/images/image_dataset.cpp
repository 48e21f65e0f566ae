#include "data/images/image_dataset.h"

#include <algorithm>
#include <cctype>
#include <optional>

#include "core/error.h"
#include "core/ops/factories.h"
#include "data/images/csv_rows.h"
#include "data/tokenizer/parallel_tasks.h"

namespace plinth {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kName = "ImageDataset";

bool is_image_file(const fs::path& path) {
  std::string extension = path.extension().string();
  std::ranges::transform(extension, extension.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return extension == ".png" || extension == ".jpg" || extension == ".jpeg";
}

template <class Iterator, class Accept>
std::vector<fs::path> sorted_entries(const fs::path& folder, Accept&& accept) {
  std::vector<fs::path> paths;
  try {
    for (const fs::directory_entry& entry : Iterator(folder)) {
      if (accept(entry)) paths.push_back(entry.path());
    }
  } catch (const fs::filesystem_error& error) {
    throw Error(ErrorKind::Io, folder.string(),
                detail::concat("cannot be listed: ", error.code().message()));
  }
  std::ranges::sort(paths);
  return paths;
}

bool is_whole_number(const std::string& text) {
  constexpr size_t kDigits = 18;  // fit an int64
  return !text.empty() && text.size() <= kDigits &&
         std::ranges::all_of(text, [](unsigned char c) { return std::isdigit(c) != 0; });
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

size_t column(const CsvRow& names, std::string_view wanted, const fs::path& file) {
  const auto found = std::ranges::find(names.fields, wanted);
  check(found != names.fields.end(), ErrorKind::Format, file.string(), "has no column \"", wanted,
        "\" in its first row; takes path and label");
  return static_cast<size_t>(found - names.fields.begin());
}

}  // namespace

ImageDataset::ImageDataset(std::vector<ImageSample> samples, std::vector<std::string> classes)
    : samples_(std::move(samples)), classes_(std::move(classes)) {
  for (const ImageSample& sample : samples_)
    check(sample.label >= 0 && sample.label < std::ssize(classes_), ErrorKind::Argument, kName,
          "label of ", sample.path.string(), " is ", sample.label, ", takes one of ",
          classes_.size(), " classes");
}

ImageDataset ImageDataset::from_folder(const fs::path& folder) {
  std::vector<ImageSample> samples;
  std::vector<std::string> classes;
  const auto is_folder = [](const fs::directory_entry& entry) { return entry.is_directory(); };
  const auto is_image = [](const fs::directory_entry& entry) {
    return entry.is_regular_file() && is_image_file(entry.path());
  };
  for (const fs::path& group : sorted_entries<fs::directory_iterator>(folder, is_folder)) {
    for (fs::path& path : sorted_entries<fs::recursive_directory_iterator>(group, is_image))
      samples.push_back({std::move(path), std::ssize(classes)});
    classes.push_back(group.filename().string());
  }
  check(!classes.empty(), ErrorKind::Format, folder.string(), "has no folder, takes one a class");
  check(!samples.empty(), ErrorKind::Format, folder.string(),
        "has no image in its classes, takes .png, .jpg and .jpeg");
  return {std::move(samples), std::move(classes)};
}

ImageDataset ImageDataset::from_csv(const fs::path& file) {
  const std::vector<CsvRow> rows = read_csv_rows(file);
  check(rows.size() > 1, ErrorKind::Format, file.string(), "has ", rows.size(),
        " rows, takes one of names and those of images");
  const size_t path_column = column(rows[0], "path", file);
  const size_t label_column = column(rows[0], "label", file);
  std::vector<std::string> labels;
  for (size_t i = 1; i < rows.size(); ++i) {
    check(rows[i].fields.size() == rows[0].fields.size(), ErrorKind::Format, file.string(), "line ",
          rows[i].line, " has ", rows[i].fields.size(), " fields, takes ", rows[0].fields.size());
    check(!rows[i].fields[path_column].empty() && !rows[i].fields[label_column].empty(),
          ErrorKind::Format, file.string(), "line ", rows[i].line, " has an empty path or label");
    labels.push_back(rows[i].fields[label_column]);
  }
  const std::vector<std::string> classes = classes_of(labels);
  std::map<std::string, int64_t> ids;
  for (const std::string& name : classes) ids.emplace(name, std::ssize(ids));
  std::vector<ImageSample> samples;
  for (size_t i = 1; i < rows.size(); ++i)
    samples.push_back({file.parent_path() / rows[i].fields[path_column], ids.at(labels[i - 1])});
  return {std::move(samples), classes};
}

const ImageSample& ImageDataset::sample(int64_t i) const {
  check(i >= 0 && i < size(), ErrorKind::Argument, kName, "got sample ", i, ", takes one of ",
        size());
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

std::vector<SampleKey> ImageBatch::keys(uint64_t seed, int64_t epoch) const {
  std::vector<SampleKey> all;
  for (const int64_t sample : samples)
    all.push_back({.seed = seed, .epoch = epoch, .sample = sample});
  return all;
}

ImageBatch read_images(const ImageDataset& data, std::span<const int64_t> samples,
                       const std::function<Image(const Image&, int64_t sample)>& transform,
                       BadFiles& bad, const ImageLimits& limits) {
  std::vector<std::optional<Image>> read(samples.size());
  parallel_tasks(std::ssize(samples), [&](int64_t i) {
    const int64_t number = samples[static_cast<size_t>(i)];
    const ImageSample& sample = data.sample(number);
    Image image;
    try {
      image = read_image(sample.path, limits);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::Io && error.kind() != ErrorKind::Format) throw;
      return bad.add(sample.path, error.what());
    }
    read[static_cast<size_t>(i)] = transform ? transform(image, number) : std::move(image);
  });
  ImageBatch batch;
  std::vector<int64_t> labels;
  for (size_t i = 0; i < samples.size(); ++i) {
    if (!read[i]) continue;
    batch.images.push_back(std::move(*read[i]));
    batch.samples.push_back(samples[i]);
    labels.push_back(data.sample(samples[i]).label);
  }
  batch.labels = from_values(labels, {std::ssize(labels)});
  return batch;
}

}  // namespace plinth
