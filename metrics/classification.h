#pragma once

// How well a classifier does: one label a sample. Equal to scikit-learn's classification metrics,
// with zero_division=0.

#include <cstdint>
#include <span>
#include <vector>

namespace plinth::metrics {

// Fractions from 0 to 1; 0 where nothing was predicted, or is there.
struct F1 {
  double precision = 0;
  double recall = 0;
  double f1 = 0;  // the harmonic mean
  int64_t support = 0;
};

// Labels, entities, words: how many were predicted, are there, and are both.
struct Counts {
  int64_t right = 0, predicted = 0, actual = 0;

  F1 f1() const;
};

// The mean of all, and that weighted by support.
F1 macro_average(std::span<const F1> scores);
F1 weighted_average(std::span<const F1> scores);

struct ClassificationScores {
  double accuracy = 0;          // of one label a sample: micro-averaged F1 as well
  double matthews = 0;          // correlation from -1 to 1 (Gorodkin 2004); 0 where undefined
  std::vector<int64_t> labels;  // that were predicted or are there, in order
  std::vector<F1> of_label;     // of each of these
  F1 macro, weighted;
};

// Throws Error(Argument) unless there are as many predictions as labels, and at least one.
ClassificationScores score_classes(std::span<const int64_t> predicted,
                                   std::span<const int64_t> actual);

// The fraction of samples whose label is among the k with the highest scores; of equal scores the
// later label's counts as higher, as in scikit-learn, and a NaN is among none. `scores` is
// [samples, classes]. Throws Error(Argument) for sizes that do not fit, a label that is none, or k
// outside 1 to classes.
double top_k_accuracy(std::span<const double> scores, int64_t classes,
                      std::span<const int64_t> actual, int64_t k);

}  // namespace plinth::metrics
