// COCO's JSON, good and damaged.

#include "data/tasks/coco.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/io/file.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"

namespace plinth {
namespace {

using json = nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

json good() {
  return json::parse(R"({"info": {"year": 2014},
    "images": [{"id": 7, "file_name": "a.png", "height": 20, "width": 30, "license": 1},
               {"id": 3, "file_name": "b.png", "height": 10, "width": 10}],
    "categories": [{"id": 5, "name": "dog", "supercategory": "animal"}, {"id": 2, "name": "cat"}],
    "annotations": [
      {"id": 1, "image_id": 7, "category_id": 5, "bbox": [1, 2, 3.5, 4], "area": 9.5, "iscrowd": 0},
      {"id": 2, "image_id": 7, "category_id": 2, "bbox": [0, 0, 40, 10], "iscrowd": 1}]})");
}

struct Read {
  explicit Read(const json& content, int64_t most = 100) : bad(most) {
    write_file_atomically(here / "boxes.json", content.dump());
    data = read_coco(here / "boxes.json", bad);
  }
  TemporaryDirectory here;
  BadLines bad;
  CocoData data;
};

TEST(Coco, ReadsImagesWithTheirObjects) {
  const Read read(good());
  EXPECT_EQ(read.bad.summary(), "");
  EXPECT_THAT(read.data.categories, ElementsAre("cat", "dog"));  // by id
  ASSERT_EQ(read.data.images.size(), 2);
  const CocoImage& image = read.data.images[0];
  EXPECT_EQ(image.file_name, "a.png");
  EXPECT_EQ(image.height, 20);
  EXPECT_EQ(image.width, 30);
  ASSERT_EQ(image.objects.size(), 2);
  const CocoObject &dog = image.objects[0], &crowd = image.objects[1];
  EXPECT_EQ(dog.category, 1);
  EXPECT_EQ(dog.width, 3.5);
  EXPECT_EQ(dog.area, 9.5);
  EXPECT_FALSE(dog.crowd);
  EXPECT_EQ(crowd.category, 0);
  EXPECT_EQ(crowd.area, 400);  // the box's
  EXPECT_TRUE(crowd.crowd);
  EXPECT_TRUE(read.data.images[1].objects.empty());
}

// One change each, to the first entry of a list, leaves that entry out and names it.
TEST(Coco, LeavesOutAndNamesDamagedEntries) {
  struct Case {
    const char *list, *key;
    json value;
    const char* reason;
  };
  const json absent = "absent";
  const std::vector<Case> cases = {
      {"images", "id", "x", "image 1: id must be a whole number, got \"x\""},
      {"images", "id", 3, ""},
      {"images", "file_name", 5, "file_name must be a string"},
      {"images", "file_name", "", "file_name is empty"},
      {"images", "height", 0, "height and width are 0 and 30"},
      {"images", "width", 2.5, "width must be a whole number, got 2.5"},
      {"images", "width", absent, "has no field 'width'"},
      {"annotations", "image_id", 8, "image_id is 8, which is no image's"},
      {"annotations", "category_id", 9, "category_id is 9, which is no category's"},
      {"annotations", "category_id", absent, "has no field 'category_id'"},
      {"annotations", "bbox", absent, "has no field 'bbox'"},
      {"annotations", "bbox", {1, 2, 3}, "bbox must be 4 numbers, got [1,2,3]"},
      {"annotations", "bbox", {1, 2, "3", 4}, "bbox must be a number, got \"3\""},
      {"annotations", "bbox", {1, 2, 0, 4}, "bbox [1,2,0,4] has no area"},
      {"annotations", "bbox", {1, 2, -3, 4}, "has no area"},
      {"annotations", "bbox", {30, 2, 3, 4}, "lies outside its image of 30 x 20 pixels"},
      {"annotations", "bbox", {1, -9, 3, 4}, "lies outside its image"},
      {"annotations", "bbox", {1, 2, 1e300, 4}, "is no box of pixels"},
      {"annotations", "area", -1, "area is -1"},
      {"annotations", "area", "large", "area must be a number"},
      {"annotations", "iscrowd", 2, "iscrowd is 2, takes 0 or 1"},
      {"categories", "name", "cat", ""},
      {"categories", "name", "", "has the name"},
      {"categories", "id", nullptr, "has no field 'id'"},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(::testing::Message() << one.list << "." << one.key << " = " << one.value.dump());
    json content = good();
    json& entry = content[one.list][0];
    if (one.value == absent) {
      entry.erase(one.key);
    } else {
      entry[one.key] = one.value;
    }
    const Read read(content);
    EXPECT_GE(read.bad.count(), 1);
    if (std::string_view(one.list) == "annotations") {
      EXPECT_EQ(read.bad.count(), 1);
      EXPECT_THAT(read.bad.summary(), HasSubstr("boxes.json:1: annotation 1: "));
      EXPECT_EQ(read.data.images[0].objects.size(), 1);
    }
    EXPECT_THAT(read.bad.summary(), HasSubstr(one.reason));
  }
}

// Objects of an image or a category that is left out have none.
TEST(Coco, CountsWhatHungOnABadEntry) {
  json content = good();
  content["images"][0]["height"] = "tall";
  const Read read(content);
  EXPECT_EQ(read.bad.count(), 3);
  EXPECT_THAT(read.bad.summary(), HasSubstr("image 1: height must be a whole number"));
  EXPECT_EQ(read.data.images.size(), 1);
  EXPECT_THROW(Read(content, 2), Error);
}

TEST(Coco, RefusesFilesThatAreNone) {
  const auto refused = [](const json& content, const char* message) {
    expect_error(ErrorKind::Format, message, [&] { Read read(content); });
  };
  json content = good();
  content["annotations"] = 3;
  refused(content, "annotations must be an array");
  content.erase("annotations");
  refused(content, "has no field 'annotations'");
  refused(json::array(), "expected an object");
  content = good();
  content["categories"] = json::array();
  refused(content, "has no category");
  BadLines bad;
  expect_error(ErrorKind::Io, "none.json", [&] { read_coco("none.json", bad); });
}

}  // namespace
}  // namespace plinth
