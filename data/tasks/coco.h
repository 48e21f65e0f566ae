#pragma once

// Images with boxes around objects, in COCO's JSON (Lin et al. 2014, arXiv 1405.0312; the format is
// that of https://cocodataset.org/#format-data).

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/tasks/bad_lines.h"

namespace plinth {

struct CocoObject {
  int64_t category = 0;                        // its place in CocoData::categories
  double x = 0, y = 0, width = 0, height = 0;  // pixels; x and y of the upper left corner
  double area = 0;     // pixels of the object; where the file has none, the box's
  bool crowd = false;  // a box around many
};

struct CocoImage {
  std::string file_name;
  int64_t height = 0, width = 0;  // pixels
  std::vector<CocoObject> objects;
};

struct CocoData {
  std::vector<std::string> categories;  // names, in the order of their ids
  std::vector<CocoImage> images;        // as they stand in the file
};

// Of an object with the lists "images" (id, file_name, height, width), "categories" (id, name) and
// "annotations" (image_id, category_id, bbox [x, y, width, height]; area, iscrowd). An entry that
// lacks a field, has one of another kind, repeats an id or a name, belongs to an image or a
// category that there is not, or whose box is empty or lies outside its image, goes to `bad`, by
// its number in its list from 1. Throws Error(Io), or Error(Format) for what is no JSON, lacks a
// list or has no category, and what `bad` throws.
CocoData read_coco(const std::filesystem::path& file, BadLines& bad);

}  // namespace plinth
