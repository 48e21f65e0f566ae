// Average precision of boxes, against pycocotools.

#include "metrics/detection.h"

#include <limits>

#include "core/error.h"
#include "tests/metrics/fixture.h"

namespace plinth::metrics {
namespace {

Box box_of(const nlohmann::json& json) {
  return {json[0], json[1], json[2], json[3]};
}

TEST(Detection, AgreesWithPycocotools) {
  for (const auto& one : read_cases("detection")) {
    std::vector<Object> objects;
    for (const auto& o : one["objects"])
      objects.push_back({o[0], o[1], box_of(o[2]), o[3], o[4].get<int>() != 0});
    std::vector<Detection> detections;
    for (const auto& d : one["detections"]) detections.push_back({d[0], d[1], box_of(d[2]), d[3]});
    const DetectionScores s = score_detections(detections, objects);
    const std::vector<double> actual = {s.precision,       s.precision_50,     s.precision_75,
                                        s.precision_small, s.precision_medium, s.precision_large,
                                        s.recall_1,        s.recall_10,        s.recall_100,
                                        s.recall_small,    s.recall_medium,    s.recall_large};
    for (size_t i = 0; i < actual.size(); ++i)
      expect_score(actual[i], one["expected"][i], "score " + std::to_string(i));
  }
}

TEST(Detection, SaysWhereThereIsNothing) {
  const DetectionScores none = score_detections({}, {});
  EXPECT_EQ(none.precision, -1);
  EXPECT_EQ(none.recall_large, -1);
  const std::vector<Object> objects = {{1, 1, {0, 0, 10, 10}, 100}};
  EXPECT_EQ(score_detections({}, objects).precision, 0);
  EXPECT_EQ(score_detections({}, objects).precision_large, -1);
}

TEST(Detection, RefusesWhatIsNoBox) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW(score_detections({}, std::vector<Object>{{1, 1, {0, 0, -1, 1}, 1}}), Error);
  EXPECT_THROW(score_detections(std::vector<Detection>{{1, 1, {nan, 0, 1, 1}, 1}}, {}), Error);
  EXPECT_THROW(score_detections(std::vector<Detection>{{1, 1, {0, 0, 1, 1}, nan}}, {}), Error);
}

}  // namespace
}  // namespace plinth::metrics
