#include "data/images/preprocessing.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/io/file.h"
#include "core/io/json.h"

namespace plinth {

namespace fs = std::filesystem;

namespace {

std::array<float, 3> three_numbers(const nlohmann::json& json, const char* key,
                                   const fs::path& file) {
  const bool fits = json.is_array() && json.size() == 3 &&
                    std::ranges::all_of(json, [](const auto& v) { return v.is_number(); });
  check(fits, ErrorKind::Format, file.string(), key, " got ", json.dump(), ", takes 3 numbers");
  return {json[0].get<float>(), json[1].get<float>(), json[2].get<float>()};
}

}  // namespace

ImagePreprocessing ImagePreprocessing::of(const fs::path& directory) {
  ImagePreprocessing result;
  const fs::path file = directory / kPreprocessingFile;
  if (!fs::exists(file)) return result;
  const nlohmann::json json = parse_json(read_text_file(file), file.string());
  check(json.is_object(), ErrorKind::Format, file.string(), "is no JSON object");
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
  const nlohmann::json filter = value("resample", 2);
  check(filter == 2 || filter == 3, ErrorKind::Format, file.string(), "resample got ",
        filter.dump(), ", takes 2 (bilinear) or 3 (bicubic)");
  if (filter == 3) result.filter = ResizeFilter::Bicubic;
  return result;
}

std::string ImagePreprocessing::to_json(Size2d size, std::string_view processor) const {
  nlohmann::ordered_json json;
  json["image_processor_type"] = processor;
  json["do_resize"] = json["do_rescale"] = json["do_normalize"] = true;
  json["size"] = {{"height", size.height}, {"width", size.width}};
  json["resample"] = filter == ResizeFilter::Bicubic ? 3 : 2;
  json["rescale_factor"] = 1.0 / 255;
  json["image_mean"] = normalization.mean;
  json["image_std"] = normalization.deviation;
  return json.dump(2) + "\n";
}

}  // namespace plinth
