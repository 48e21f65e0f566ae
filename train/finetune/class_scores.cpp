#include "train/finetune/class_scores.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/io/json.h"
#include "metrics/classification.h"
#include "train/finetune/probabilities.h"

namespace plinth {

namespace {

// Of fewer classes all are among the best.
constexpr int64_t kBest = 5;

double best_accuracy(const TaskOutputs& outputs, const std::vector<int64_t>& labels) {
  std::vector<double> scores;
  for (const std::vector<double>& logits : outputs)
    scores.insert(scores.end(), logits.begin(), logits.end());
  return metrics::top_k_accuracy(scores, std::ssize(outputs.front()), labels, kBest);
}

}  // namespace

std::vector<std::string> class_score_names(int64_t classes) {
  std::vector<std::string> names = {"accuracy", "macro_f1", "micro_f1", "matthews"};
  if (classes > kBest) names.emplace_back("top5_accuracy");
  return names;
}

std::vector<TaskScore> class_scores(const TaskOutputs& outputs,
                                    const std::vector<int64_t>& labels) {
  std::vector<int64_t> predicted;
  predicted.reserve(outputs.size());
  for (const std::vector<double>& logits : outputs)
    predicted.push_back(std::ranges::max_element(logits) - logits.begin());
  const metrics::ClassificationScores scores = metrics::score_classes(predicted, labels);
  std::vector<TaskScore> result = {{"accuracy", scores.accuracy},
                                   {"macro_f1", scores.macro.f1},
                                   {"micro_f1", scores.accuracy},  // the same, with one label each
                                   {"matthews", scores.matthews}};
  if (std::ssize(outputs.front()) > kBest)
    result.push_back({"top5_accuracy", best_accuracy(outputs, labels)});
  return result;
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
    lines.push_back(json_text(line));
  }
  return lines;
}

}  // namespace plinth
