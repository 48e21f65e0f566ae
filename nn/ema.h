#pragma once

// An exponential moving average of parameters (Polyak & Juditsky 1992), often better than the last
// ones themselves.

#include <cstdint>
#include <vector>

#include "nn/module.h"

namespace plinth::nn {

struct EmaOptions {
  double decay = 0.999;
  // Takes min(decay, (1 + updates) / (10 + updates)), so that the first values are soon forgotten.
  bool warm_up = true;
};

class Ema {
 public:
  // Starts from the parameters as they are; averages are float32 (float64 of float64). Throws
  // Error(Argument) unless 0 <= decay < 1.
  explicit Ema(const Module& module, EmaOptions options = {});
  // The same of these tensors, which need not be a module's.
  explicit Ema(const StateDict& parameters, EmaOptions options = {});

  // average += (1 - decay) (parameter - average). To be called after each optimizer step.
  void update();
  int64_t updates() const { return updates_; }

  // `average.NAME` of each parameter, and `updates`.
  StateDict state_dict() const;
  void load_state_dict(const StateDict& saved);

 private:
  friend class EmaScope;
  struct Entry {
    std::string name;
    Tensor parameter, average;
  };

  EmaOptions options_;
  std::vector<Entry> entries_;
  int64_t updates_ = 0;
};

// While one lives, the parameters hold their averages: for evaluation, or for saving them.
class EmaScope {
 public:
  explicit EmaScope(Ema& ema);
  ~EmaScope();
  EmaScope(const EmaScope&) = delete;
  EmaScope& operator=(const EmaScope&) = delete;

 private:
  Ema& ema_;
  Tensors saved_;
};

}  // namespace plinth::nn
