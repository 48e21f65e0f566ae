#include "models/labels.h"

#include <array>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace plinth {

std::vector<std::string> read_labels(const ConfigJson& json, size_t least) {
  constexpr std::array<std::string_view, 1> kProblems = {"single_label_classification"};
  json.word("problem_type", kProblems[0], kProblems);
  std::vector<std::string> labels;
  const ConfigJson names = json.object("id2label");
  while (names.has(std::to_string(labels.size())))
    labels.push_back(names.text(std::to_string(labels.size()), ""));
  if (labels.empty()) labels = {"LABEL_0", "LABEL_1"};
  check(labels.size() >= least, ErrorKind::Format, json.subject(),
        "id2label has 1 label, takes 2 or more: Plinth's classifiers do no regression");
  return labels;
}

void write_labels(const std::vector<std::string>& labels, nlohmann::ordered_json& json) {
  for (size_t i = 0; i < labels.size(); ++i) {
    json["id2label"][std::to_string(i)] = labels[i];
    json["label2id"][labels[i]] = i;
  }
}

}  // namespace plinth
