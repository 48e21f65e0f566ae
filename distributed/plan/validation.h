#pragma once

// Published measurements of training steps beside what the cost model says of them.

#include <string>
#include <vector>

#include "distributed/plan/cost.h"

namespace plinth::plan {

enum class Metric {
  Seconds,            // of a step
  ModelTeraflops,     // a second and GPU, attention to what the causal mask leaves
  HardwareTeraflops,  // the same with recomputation, attention to the whole sequence
  TokensPerSecond     // a GPU
};

struct Measurement {
  std::string table;  // where it was published
  std::string row;
  const Gpu* gpu = nullptr;
  Workload work;
  Strategy strategy;
  Metric metric = Metric::Seconds;
  double measured = 0;
};

// Table 5 of Korthikanti et al. 2022 (arXiv 2205.05198), which calibrates the model.
std::vector<Measurement> calibration_rows();
// Every other table, which it predicts.
std::vector<Measurement> prediction_rows();

double predict(const Measurement& row, const Calibration& calibration = {});
// How much more than measured, as a share.
double relative_error(const Measurement& row, const Calibration& calibration = {});
// Of the absolute errors.
double median_error(const std::vector<Measurement>& rows, const Calibration& calibration = {});

// The two numbers, in steps of 0.005, that give the calibration rows the least sum of squared
// relative errors.
Calibration calibrate();

}  // namespace plinth::plan
