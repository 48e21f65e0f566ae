#pragma once

// A task's model on examples: what it gives for each, its loss, and its scores.

#include <limits>
#include <string_view>
#include <vector>

#include "train/finetune/task.h"

namespace plinth {

// In evaluation mode, without a graph, `batch` samples at once.
TaskOutputs task_outputs(FinetuneTask& task, const TaskData& data, int64_t batch);

struct TaskEvaluation {
  double loss = std::numeric_limits<double>::quiet_NaN();  // the mean of the batches', by samples
  std::vector<TaskScore> scores;
  TaskOutputs outputs;

  // Of a name; NaN if there is none.
  double score(std::string_view name) const;
};

// Of labelled data. Throws Error(Argument) for none.
TaskEvaluation evaluate_task(FinetuneTask& task, const TaskData& data, int64_t batch);

}  // namespace plinth
