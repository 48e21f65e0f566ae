#pragma once

// A task's model on examples: what it gives for each, its loss, and its scores.

#include <limits>
#include <string_view>
#include <vector>

#include "distributed/process_group.h"
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

// Of labelled data. Ranks of a group, which all call it, take turns at batches, and each gets all
// that one process gets. Throws Error(Argument) for no data, Error(Io) where a rank is missing.
TaskEvaluation evaluate_task(FinetuneTask& task, const TaskData& data, int64_t batch,
                             distributed::ProcessGroup* group = nullptr);

}  // namespace plinth
