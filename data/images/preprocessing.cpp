#include "data/images/preprocessing.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/io/file.h"
#include "core/io/json.h"

namespace plinth {

namespace fs = std::filesystem;

namespace {

constexpr int64_t kMostSide = 1 << 14;
constexpr Normalization kClipNormalization = {.mean = {0.48145466F, 0.4578275F, 0.40821073F},
                                              .deviation = {0.26862954F, 0.26130258F, 0.27577711F}};

std::array<float, 3> three_numbers(const nlohmann::json& json, const char* key,
                                   const fs::path& file) {
  const bool fits = json.is_array() && json.size() == 3 &&
                    std::ranges::all_of(json, [](const auto& v) { return v.is_number(); });
  check(fits, ErrorKind::Format, file.string(), key, " got ", json.dump(), ", takes 3 numbers");
  return {json[0].get<float>(), json[1].get<float>(), json[2].get<float>()};
}

// A size as transformers writes it: {"height", "width"}, or a number for both.
Size2d two_sides(const nlohmann::json& json, const char* key, const fs::path& file) {
  const auto is_side = [](const nlohmann::json& v) {
    return v.is_number_integer() && v >= 1 && v <= kMostSide;
  };
  if (is_side(json)) return json.get<int64_t>();
  const bool fits = json.is_object() && json.contains("height") && json.contains("width") &&
                    is_side(json["height"]) && is_side(json["width"]);
  check(fits, ErrorKind::Format, file.string(), key, " got ", json.dump(),
        ", takes a height and a width from 1 to ", kMostSide);
  return {json["height"].get<int64_t>(), json["width"].get<int64_t>()};
}

// Whether what the file leaves out is as transformers' CLIPImageProcessor has it.
bool is_of_clip(const nlohmann::json& json) {
  for (const char* key : {"image_processor_type", "feature_extractor_type"}) {
    if (json.contains(key) && json[key].is_string() &&
        json[key].get_ref<const std::string&>().starts_with("CLIP"))
      return true;
  }
  return false;
}

void read_cut(const nlohmann::json& json, const fs::path& file, ImagePreprocessing& result) {
  const Size2d size = result.size;
  if (json.contains("crop_size")) {
    const Size2d cut = two_sides(json["crop_size"], "crop_size", file);
    check(cut.height == size.height && cut.width == size.width, ErrorKind::Format, file.string(),
          "crop_size got ", json["crop_size"].dump(), ", the model takes ", size.height, " x ",
          size.width);
  }
  if (!json.contains("size")) {
    result.shortest_edge = std::max(size.height, size.width);
    return;
  }
  const nlohmann::json& wanted = json["size"];
  const bool is_edge = wanted.is_object() && wanted.contains("shortest_edge");
  const Size2d before = two_sides(is_edge ? wanted["shortest_edge"] : wanted, "size", file);
  check(before.height >= size.height && before.width >= size.width, ErrorKind::Format,
        file.string(), "size got ", wanted.dump(), ", from which ", size.height, " x ", size.width,
        " cannot be cut");
  // A number alone is the shorter side in CLIP's older files.
  if (is_edge || (wanted.is_number() && is_of_clip(json))) {
    result.shortest_edge = before.height;
  } else {
    result.resized_to = before;
  }
}

// Of an image whose shorter side becomes `edge`.
Size2d size_with_edge(const Image& image, int64_t edge) {
  const auto longer = [&](int64_t side, int64_t other) { return edge * side / other; };
  return image.height <= image.width ? Size2d(edge, longer(image.width, image.height))
                                     : Size2d(longer(image.height, image.width), edge);
}

}  // namespace

ImagePreprocessing ImagePreprocessing::of(const fs::path& directory, Size2d size) {
  ImagePreprocessing result{.size = size};
  const fs::path file = directory / kPreprocessingFile;
  if (!fs::exists(file)) return result;
  const nlohmann::json json = parse_json(read_text_file(file), file.string());
  check(json.is_object(), ErrorKind::Format, file.string(), "is no JSON object");
  const bool is_clip = is_of_clip(json);
  if (is_clip) result.normalization = kClipNormalization;
  if (json.contains("image_mean"))
    result.normalization.mean = three_numbers(json["image_mean"], "image_mean", file);
  if (json.contains("image_std"))
    result.normalization.deviation = three_numbers(json["image_std"], "image_std", file);
  for (const float deviation : result.normalization.deviation)
    check(deviation > 0, ErrorKind::Format, file.string(), "image_std got ", deviation,
          ", takes numbers above 0");
  const auto value = [&](const char* key, const nlohmann::json& usual) {
    return json.contains(key) ? json[key] : usual;
  };
  for (const char* key : {"do_resize", "do_rescale", "do_normalize"})
    check(value(key, true) == true, ErrorKind::Format, file.string(), key, " got ",
          value(key, true).dump(), ", takes true");
  // Pillow's numbers of its filters.
  const nlohmann::json filter = value("resample", is_clip ? 3 : 2);
  check(filter == 2 || filter == 3, ErrorKind::Format, file.string(), "resample got ",
        filter.dump(), ", takes 2 (bilinear) or 3 (bicubic)");
  if (filter == 3) result.filter = ResizeFilter::Bicubic;
  const nlohmann::json cut = value("do_center_crop", is_clip);
  check(cut.is_boolean(), ErrorKind::Format, file.string(), "do_center_crop got ", cut.dump(),
        ", takes true or false");
  if (cut == true) read_cut(json, file, result);
  return result;
}

Size2d ImagePreprocessing::size_before_cut(const Image& image, ErrorKind kind,
                                           std::string_view subject) const {
  const Size2d before = shortest_edge ? size_with_edge(image, *shortest_edge) : *resized_to;
  check(before.height * before.width <= ImageLimits().max_pixels, kind, subject, "has ",
        image.height, " x ", image.width, " pixels, which to cut its middle out become ",
        before.height, " x ", before.width, ", takes at most ", ImageLimits().max_pixels);
  return before;
}

void ImagePreprocessing::check_usable(const Image& image, const fs::path& path) const {
  if (cuts()) size_before_cut(image, ErrorKind::Format, path.string());
}

Image ImagePreprocessing::apply(const Image& image) const {
  if (!cuts()) return resized(image, size.height, size.width, filter);
  const Size2d before = size_before_cut(image, ErrorKind::Shape, "image");
  const Image whole = resized(image, before.height, before.width, filter);
  return cropped(whole, (before.height - size.height) / 2, (before.width - size.width) / 2,
                 size.height, size.width);
}

Image ImagePreprocessing::apply(const Image& image, const ImageChange& change) const {
  const auto& part = change.part;
  const Image shown =
      part ? resized(cropped(image, part->top, part->left, part->height, part->width), size.height,
                     size.width, filter)
           : apply(image);
  return change.mirrored ? flipped(shown) : shown;
}

std::string ImagePreprocessing::to_json(std::string_view processor) const {
  const auto sides = [](Size2d of) {
    return nlohmann::ordered_json{{"height", of.height}, {"width", of.width}};
  };
  nlohmann::ordered_json json;
  json["image_processor_type"] = processor;
  json["do_resize"] = json["do_rescale"] = json["do_normalize"] = true;
  json["do_center_crop"] = cuts();
  if (cuts()) json["crop_size"] = sides(size);
  json["size"] = sides(resized_to.value_or(size));
  if (shortest_edge) json["size"] = {{"shortest_edge", *shortest_edge}};
  json["resample"] = filter == ResizeFilter::Bicubic ? 3 : 2;
  json["rescale_factor"] = 1.0 / 255;
  json["image_mean"] = normalization.mean;
  json["image_std"] = normalization.deviation;
  return json.dump(2) + "\n";
}

}  // namespace plinth
