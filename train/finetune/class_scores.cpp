#include "train/finetune/class_scores.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "metrics/classification.h"
#include "train/finetune/probabilities.h"

namespace plinth {

std::vector<std::string> class_score_names() {
  return {"accuracy", "macro_f1", "micro_f1", "matthews"};
}

std::vector<TaskScore> class_scores(const TaskOutputs& outputs,
                                    const std::vector<int64_t>& labels) {
  std::vector<int64_t> predicted;
  predicted.reserve(outputs.size());
  for (const std::vector<double>& logits : outputs)
    predicted.push_back(std::ranges::max_element(logits) - logits.begin());
  const metrics::ClassificationScores scores = metrics::score_classes(predicted, labels);
  return {{"accuracy", scores.accuracy},
          {"macro_f1", scores.macro.f1},
          {"micro_f1", scores.accuracy},  // the same, with one label a sample
          {"matthews", scores.matthews}};
}

std::vector<std::string> class_predictions(const TaskOutputs& outputs, const Labels& labels) {
  std::vector<std::string> lines;
  for (const std::vector<double>& logits : outputs) {
    const std::vector<double> shares = probabilities(logits);
    const auto best = std::ranges::max_element(shares) - shares.begin();
    nlohmann::ordered_json line;
    line["label"] = labels.name(best);
    line["score"] = shares[static_cast<size_t>(best)];
    for (size_t i = 0; i < shares.size(); ++i)
      line["probabilities"][labels.name(static_cast<int64_t>(i))] = shares[i];
    lines.push_back(line.dump());
  }
  return lines;
}

}  // namespace plinth
