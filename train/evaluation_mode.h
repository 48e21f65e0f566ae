#pragma once

#include "nn/module.h"

namespace plinth {

// While one lives, a module is in evaluation; then it is as it was.
class EvaluationMode {
 public:
  explicit EvaluationMode(nn::Module& module)
      : module_(module), was_training_(module.is_training()) {
    module_.eval();
  }
  ~EvaluationMode() { module_.train(was_training_); }
  EvaluationMode(const EvaluationMode&) = delete;
  EvaluationMode& operator=(const EvaluationMode&) = delete;

 private:
  nn::Module& module_;
  bool was_training_;
};

}  // namespace plinth
