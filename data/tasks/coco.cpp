#include "data/tasks/coco.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "core/io/json.h"
#include "core/io/text.h"
#include "data/json_fields.h"

namespace plinth {
namespace {

using json_fields::Json;

int64_t whole_number(const Json& entry, std::string_view key, std::string_view name) {
  const Json& value = json_fields::at(entry, key, name);
  const bool fits = value.is_number_integer() &&
                    !(value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{INT64_MAX});
  check(fits, ErrorKind::Format, name, key, " must be a whole number, got ", value.dump());
  return value.get<int64_t>();
}

double number(const Json& value, std::string_view key, std::string_view name) {
  check(value.is_number() && std::isfinite(value.get<double>()), ErrorKind::Format, name, key,
        " must be a number, got ", value.dump());
  return value.get<double>();
}

class CocoReader {
 public:
  CocoReader(const std::filesystem::path& file, BadLines& bad)
      : file_(file), bad_(bad), json_(read_json(file)) {}

  CocoData read() {
    each("categories", "category", [&](const Json& entry, std::string_view name) {
      const int64_t id = whole_number(entry, "id", name);
      const std::string& text = json_fields::string(entry, "name", name);
      check(!names_.contains(id), ErrorKind::Format, name, "repeats the id ", id);
      const bool is_new =
          std::ranges::none_of(names_, [&](const auto& known) { return known.second == text; });
      check(!text.empty() && is_new, ErrorKind::Format, name, "has the name ", printable(text),
            ", takes one of its own");
      names_[id] = text;
    });
    check(!names_.empty(), ErrorKind::Format, file_.string(), "has no category");
    for (const auto& [id, text] : names_) {
      places_[id] = std::ssize(data_.categories);
      data_.categories.push_back(text);
    }
    each("images", "image",
         [&](const Json& entry, std::string_view name) { add_image(entry, name); });
    each("annotations", "annotation",
         [&](const Json& entry, std::string_view name) { add_object(entry, name); });
    return std::move(data_);
  }

 private:
  template <class Add>
  void each(std::string_view key, std::string_view kind, Add&& add) {
    const Json& list = json_fields::array(json_, key, file_.string());
    int64_t number = 0;
    for (const Json& entry : list) {
      const std::string name = detail::concat(kind, " ", ++number);
      try {
        add(entry, name);
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::Format) throw;
        bad_.skip(file_, number, error.what());
      }
    }
  }

  void add_image(const Json& entry, std::string_view name) {
    const int64_t id = whole_number(entry, "id", name);
    check(!images_.contains(id), ErrorKind::Format, name, "repeats the id ", id);
    CocoImage image{.file_name = json_fields::string(entry, "file_name", name),
                    .height = whole_number(entry, "height", name),
                    .width = whole_number(entry, "width", name),
                    .objects = {}};
    check(!image.file_name.empty(), ErrorKind::Format, name, "file_name is empty");
    constexpr int64_t kMost = INT32_MAX;
    check(std::min(image.height, image.width) >= 1 && std::max(image.height, image.width) <= kMost,
          ErrorKind::Format, name, "height and width are ", image.height, " and ", image.width,
          ", takes pixels");
    images_[id] = std::ssize(data_.images);
    data_.images.push_back(std::move(image));
  }

  void add_object(const Json& entry, std::string_view name) {
    const int64_t image_id = whole_number(entry, "image_id", name);
    const int64_t category_id = whole_number(entry, "category_id", name);
    check(images_.contains(image_id), ErrorKind::Format, name, "image_id is ", image_id,
          ", which is no image's");
    check(places_.contains(category_id), ErrorKind::Format, name, "category_id is ", category_id,
          ", which is no category's");
    CocoImage& image = data_.images[static_cast<size_t>(images_.at(image_id))];
    CocoObject object = box_of(json_fields::at(entry, "bbox", name), name);
    check(object.x < static_cast<double>(image.width) &&
              object.y < static_cast<double>(image.height) && object.x + object.width > 0 &&
              object.y + object.height > 0,
          ErrorKind::Format, name, "bbox ", entry["bbox"].dump(), " lies outside its image of ",
          image.width, " x ", image.height, " pixels");
    object.category = places_.at(category_id);
    const Json& area = json_fields::get(entry, "area", name);
    object.area = area.is_null() ? object.width * object.height : number(area, "area", name);
    check(object.area >= 0, ErrorKind::Format, name, "area is ", object.area, ", takes 0 or more");
    const Json& crowd = json_fields::get(entry, "iscrowd", name);
    check(crowd.is_null() || crowd.is_boolean() || crowd == 0 || crowd == 1, ErrorKind::Format,
          name, "iscrowd is ", crowd.dump(), ", takes 0 or 1");
    object.crowd = crowd == 1 || crowd == true;
    image.objects.push_back(object);
  }

  static CocoObject box_of(const Json& json, std::string_view name) {
    check(json.is_array() && json.size() == 4, ErrorKind::Format, name, "bbox must be 4 numbers, ",
          "got ", json.dump());
    CocoObject box;
    double* const sides[] = {&box.x, &box.y, &box.width, &box.height};
    constexpr double kMost = INT32_MAX;
    for (size_t i = 0; i < 4; ++i) {
      *sides[i] = number(json[i], "bbox", name);
      check(std::abs(*sides[i]) <= kMost, ErrorKind::Format, name, "bbox ", json.dump(),
            " is no box of pixels");
    }
    check(box.width > 0 && box.height > 0, ErrorKind::Format, name, "bbox ", json.dump(),
          " has no area");
    return box;
  }

  const std::filesystem::path& file_;
  BadLines& bad_;
  Json json_;
  CocoData data_;
  std::map<int64_t, std::string> names_;  // of categories, by id
  std::map<int64_t, int64_t> places_;     // of categories, by id
  std::map<int64_t, int64_t> images_;     // their places, by id
};

}  // namespace

CocoData read_coco(const std::filesystem::path& file, BadLines& bad) {
  return CocoReader(file, bad).read();
}

}  // namespace plinth
