#include "metrics/classification.h"

#include <cmath>
#include <map>

#include "core/error.h"

namespace plinth::metrics {
namespace {

double ratio(double part, double whole) {
  return whole > 0 ? part / whole : 0;
}

using CountsByLabel = std::map<int64_t, Counts>;

double matthews_correlation(const CountsByLabel& counts, int64_t samples) {
  const auto n = static_cast<double>(samples);
  double right = 0, both = 0, predicted = 0, actual = 0;
  for (const auto& [label, count] : counts) {
    const auto p = static_cast<double>(count.predicted), t = static_cast<double>(count.actual);
    right += static_cast<double>(count.right);
    both += p * t;
    predicted += p * p;
    actual += t * t;
  }
  const double scale = (n * n - predicted) * (n * n - actual);
  return scale > 0 ? (right * n - both) / std::sqrt(scale) : 0;
}

F1 average(std::span<const F1> scores, bool by_support) {
  F1 sum;
  double weights = 0;
  for (const F1& score : scores) {
    const double weight = by_support ? static_cast<double>(score.support) : 1;
    sum.precision += weight * score.precision;
    sum.recall += weight * score.recall;
    sum.f1 += weight * score.f1;
    sum.support += score.support;
    weights += weight;
  }
  return {ratio(sum.precision, weights), ratio(sum.recall, weights), ratio(sum.f1, weights),
          sum.support};
}

}  // namespace

F1 Counts::f1() const {
  const auto hits = static_cast<double>(right);
  return {ratio(hits, static_cast<double>(predicted)), ratio(hits, static_cast<double>(actual)),
          ratio(2 * hits, static_cast<double>(predicted + actual)), actual};
}

F1 macro_average(std::span<const F1> scores) {
  return average(scores, false);
}

F1 weighted_average(std::span<const F1> scores) {
  return average(scores, true);
}

ClassificationScores score_classes(std::span<const int64_t> predicted,
                                   std::span<const int64_t> actual) {
  check(!actual.empty() && predicted.size() == actual.size(), ErrorKind::Argument, "score_classes",
        "got ", predicted.size(), " predictions for ", actual.size(),
        " labels, takes as many, and at least one");
  CountsByLabel counts;
  int64_t right = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    ++counts[predicted[i]].predicted;
    ++counts[actual[i]].actual;
    if (predicted[i] != actual[i]) continue;
    ++counts[actual[i]].right;
    ++right;
  }
  ClassificationScores scores;
  for (const auto& [label, count] : counts) {
    scores.labels.push_back(label);
    scores.of_label.push_back(count.f1());
  }
  scores.accuracy = ratio(static_cast<double>(right), static_cast<double>(actual.size()));
  scores.matthews = matthews_correlation(counts, std::ssize(actual));
  scores.macro = macro_average(scores.of_label);
  scores.weighted = weighted_average(scores.of_label);
  return scores;
}

double top_k_accuracy(std::span<const double> scores, int64_t classes,
                      std::span<const int64_t> actual, int64_t k) {
  constexpr auto op = "top_k_accuracy";
  check(classes > 0 && !actual.empty() && std::ssize(scores) == classes * std::ssize(actual),
        ErrorKind::Argument, op, "scores got ", scores.size(), " of ", actual.size(),
        " samples and ", classes, " classes, takes their product, at least one");
  check(k >= 1 && k <= classes, ErrorKind::Argument, op, "k got ", k, ", takes 1 to ", classes);
  int64_t hits = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const int64_t label = actual[i];
    check(label >= 0 && label < classes, ErrorKind::Argument, op, "actual got ", label,
          ", takes 0 to ", classes - 1);
    const auto row = scores.subspan(i * static_cast<size_t>(classes), static_cast<size_t>(classes));
    const double own = row[static_cast<size_t>(label)];
    int64_t higher = 0;
    for (int64_t other = 0; other < classes; ++other) {
      const double score = row[static_cast<size_t>(other)];
      const bool is_lower = score < own || (score == own && other <= label);  // never of a NaN
      if (!is_lower) ++higher;
    }
    if (higher < k) ++hits;
  }
  return ratio(static_cast<double>(hits), static_cast<double>(actual.size()));
}

}  // namespace plinth::metrics
