#include "train/finetune/detection_data.h"

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/io/json.h"
#include "core/ops/factories.h"
#include "data/images/encode.h"
#include "metrics/detection.h"
#include "train/finetune/probabilities.h"

namespace plinth {

namespace fs = std::filesystem;

namespace {

constexpr size_t kBox = 4;  // numbers of one

// Middle and size, as shares of an image or a part of one.
std::array<float, kBox> shares_of(const LabelledBox& box, int64_t height, int64_t width) {
  const auto share = [](double x, int64_t of) {
    return static_cast<float>(x / static_cast<double>(of));
  };
  return {share((box.left + box.right) / 2, width), share((box.top + box.bottom) / 2, height),
          share(box.right - box.left, width), share(box.bottom - box.top, height)};
}

std::string joined(const std::string& one, const std::string& other) {
  return one.empty() || other.empty() ? one + other : one + "; " + other;
}

}  // namespace

DetectionData::DetectionData(const VisionTask& task, const std::vector<std::string>& labels,
                             const std::vector<fs::path>& files)
    : task_(task), labels_(labels), has_objects_(true) {
  BadLines bad_entries(task.settings().max_bad_lines);
  std::vector<Entry> all;
  std::vector<fs::path> paths;
  for (const fs::path& file : files) {
    const CocoData data = read_coco(file, bad_entries);
    std::vector<int64_t> numbers;
    for (const std::string& name : data.categories) {
      const auto label = std::ranges::find(labels, name);
      check(label != labels.end(), ErrorKind::Format, file.string(), "has the category ", name,
            ", which the model has not");
      numbers.push_back(label - labels.begin());
    }
    const fs::path& folder = task.settings().image_folder;
    for (const CocoImage& image : data.images) {
      Entry entry{(folder.empty() ? file.parent_path() : folder) / image.file_name, image.height,
                  image.width, image.objects};
      for (CocoObject& object : entry.objects)
        object.category = numbers[static_cast<size_t>(object.category)];
      paths.push_back(entry.path);
      all.push_back(std::move(entry));
    }
  }
  BadFiles bad;
  const auto inspect = [&](const Image& image, int64_t place) {
    const Entry& entry = all[static_cast<size_t>(place)];
    check(image.height == entry.height && image.width == entry.width, ErrorKind::Format,
          entry.path.string(), "is ", image.height, " x ", image.width,
          " pixels high and wide, its annotations say ", entry.height, " x ", entry.width);
  };
  for (const int64_t i : usable_images(paths, inspect, bad))
    images_.push_back(std::move(all[static_cast<size_t>(i)]));
  faults_ = joined(bad_entries.summary(), bad.report(std::ssize(paths)));
}

DetectionData::DetectionData(const VisionTask& task, const std::vector<std::string>& labels,
                             std::span<const TaskInput> inputs)
    : task_(task), labels_(labels), has_objects_(false) {
  std::vector<fs::path> paths;
  for (const TaskInput& input : inputs) paths.push_back(image_of(input, kDetectionTask));
  for (const fs::path& path : paths) images_.push_back({.path = path, .objects = {}});
  read_whole_images(paths, [&](const Image& image, int64_t place) {
    Entry& entry = images_[static_cast<size_t>(place)];
    entry.height = image.height;
    entry.width = image.width;
    return Image(1, 1);
  });
}

// Cut off at the image's edge.
std::vector<LabelledBox> DetectionData::learned_boxes(const Entry& entry) {
  const auto width = static_cast<double>(entry.width), height = static_cast<double>(entry.height);
  std::vector<LabelledBox> boxes;
  for (const CocoObject& object : entry.objects) {
    if (object.crowd) continue;
    boxes.push_back({.left = std::clamp(object.x, 0.0, width),
                     .top = std::clamp(object.y, 0.0, height),
                     .right = std::clamp(object.x + object.width, 0.0, width),
                     .bottom = std::clamp(object.y + object.height, 0.0, height),
                     .label = object.category});
  }
  return boxes;
}

Batch DetectionData::batch(std::span<const int64_t> samples, int64_t) const {
  std::vector<fs::path> paths;
  std::vector<Target> targets;
  for (const int64_t sample : samples) {
    const Entry& entry = images_[static_cast<size_t>(sample)];
    paths.push_back(entry.path);
    targets.push_back({entry.height, entry.width, learned_boxes(entry)});
  }
  return joined_batch(paths, targets,
                      [&](const Image& image, int64_t) { return task_.prepared(image); });
}

Batch DetectionData::training_batch(std::span<const SampleKey> keys, int64_t) const {
  std::vector<fs::path> paths;
  std::vector<ImageChange> changes;
  std::vector<Target> targets;
  for (const SampleKey& key : keys) {
    const Entry& entry = images_[static_cast<size_t>(key.sample)];
    const ImageChange change = task_.change_of(entry.height, entry.width, key);
    Target target{entry.height, entry.width, learned_boxes(entry)};
    if (change.part)
      target = {change.part->height, change.part->width, cropped(target.boxes, *change.part)};
    if (change.mirrored) target.boxes = flipped(target.boxes, target.width);
    paths.push_back(entry.path);
    changes.push_back(change);
    targets.push_back(std::move(target));
  }
  return joined_batch(paths, targets, [&](const Image& image, int64_t place) {
    return task_.changed(image, changes[static_cast<size_t>(place)]);
  });
}

Batch DetectionData::joined_batch(
    std::span<const fs::path> paths, std::span<const Target> targets,
    const std::function<Image(const Image&, int64_t)>& transform) const {
  Batch batch = {task_.pixels_of(read_whole_images(paths, transform))};
  if (!has_objects_) return batch;
  size_t most = 1;
  for (const Target& target : targets) most = std::max(most, target.boxes.size());
  std::vector<int64_t> labels(targets.size() * most, -1);
  std::vector<float> sides(labels.size() * kBox, 0.0F);
  for (size_t i = 0; i < targets.size(); ++i) {
    const Target& target = targets[i];
    for (size_t k = 0; k < target.boxes.size(); ++k) {
      labels[i * most + k] = target.boxes[k].label;
      std::ranges::copy(shares_of(target.boxes[k], target.height, target.width),
                        sides.begin() + static_cast<int64_t>((i * most + k) * kBox));
    }
  }
  const auto images = std::ssize(targets), width = static_cast<int64_t>(most);
  batch.push_back(from_values(labels, {images, width}));
  batch.push_back(from_values(sides, {images, width, kBox}));
  return batch;
}

std::vector<DetectionData::Found> DetectionData::found_in(const Entry& entry,
                                                          const std::vector<double>& output) const {
  const auto classes = std::ssize(labels_) + 1;
  const auto width = static_cast<double>(entry.width), height = static_cast<double>(entry.height);
  std::vector<Found> all;
  for (auto at = output.begin(); at != output.end(); at += classes + static_cast<int64_t>(kBox)) {
    const std::vector<double> shares = probabilities({at, at + classes});
    const auto best = std::max_element(shares.begin(), shares.end() - 1);  // but for "none"
    const auto box = at + classes;
    all.push_back({.box = {.left = (box[0] - box[2] / 2) * width,
                           .top = (box[1] - box[3] / 2) * height,
                           .right = (box[0] + box[2] / 2) * width,
                           .bottom = (box[1] + box[3] / 2) * height,
                           .label = best - shares.begin()},
                   .score = *best});
  }
  return all;
}

std::vector<DetectionData::Found> DetectionData::likely_in(
    const Entry& entry, const std::vector<double>& output) const {
  std::vector<Found> found = found_in(entry, output);
  std::erase_if(found, [&](const Found& one) { return one.score < task_.settings().threshold; });
  std::ranges::stable_sort(found, std::ranges::greater(), &Found::score);
  return found;
}

std::vector<std::string> DetectionData::score_names() {
  return {"map", "map_50", "map_75", "map_small", "map_medium", "map_large", "mar_100"};
}

std::vector<TaskScore> DetectionData::score(const TaskOutputs& outputs) const {
  std::vector<metrics::Object> objects;
  std::vector<metrics::Detection> detections;
  for (int64_t i = 0; i < size(); ++i) {
    const Entry& entry = images_[static_cast<size_t>(i)];
    for (const CocoObject& object : entry.objects)
      objects.push_back({i,
                         object.category,
                         {object.x, object.y, object.width, object.height},
                         object.area,
                         object.crowd});
    for (const auto& [box, score] : found_in(entry, outputs[static_cast<size_t>(i)]))
      detections.push_back(
          {i, box.label, {box.left, box.top, box.right - box.left, box.bottom - box.top}, score});
  }
  const metrics::DetectionScores scores = metrics::score_detections(detections, objects);
  const std::vector<double> values = {
      scores.precision,        scores.precision_50,    scores.precision_75, scores.precision_small,
      scores.precision_medium, scores.precision_large, scores.recall_100};
  std::vector<TaskScore> named;
  for (const std::string& name : score_names()) named.push_back({name, values[named.size()]});
  return named;
}

std::vector<std::string> DetectionData::predictions(const TaskOutputs& outputs) const {
  std::vector<std::string> lines;
  for (size_t i = 0; i < images_.size(); ++i) {
    nlohmann::ordered_json line;
    line["image"] = images_[i].path.string();
    line["objects"] = nlohmann::json::array();
    for (const auto& [box, score] : likely_in(images_[i], outputs[i])) {
      nlohmann::ordered_json object;
      object["label"] = labels_[static_cast<size_t>(box.label)];
      object["score"] = score;
      object["box"] = {box.left, box.top, box.right, box.bottom};
      line["objects"].push_back(std::move(object));
    }
    lines.push_back(json_text(line));
  }
  return lines;
}

std::string DetectionData::picture(const TaskOutputs& outputs, int64_t example) const {
  const Entry& entry = images_.at(static_cast<size_t>(example));
  Image image = read_image(entry.path);
  const int64_t thickness = std::max<int64_t>(1, std::min(image.height, image.width) / 150);
  std::vector<Found> found = likely_in(entry, outputs.at(static_cast<size_t>(example)));
  std::ranges::reverse(found);  // the likeliest above the others
  for (const auto& [box, score] : found)
    draw_frame(image, {box.left, box.top, box.right, box.bottom}, class_colour(box.label + 1),
               thickness);
  return encode_png(image);
}

std::vector<std::string> categories_of(const std::vector<fs::path>& files) {
  std::vector<std::string> names;
  for (const fs::path& file : files) {
    BadLines uncounted(std::numeric_limits<int64_t>::max());  // they are when examples are read
    for (const std::string& name : read_coco(file, uncounted).categories) {
      if (std::ranges::find(names, name) == names.end()) names.push_back(name);
    }
  }
  return names;
}

}  // namespace plinth
