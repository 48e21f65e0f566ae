#pragma once

// What tasks that give a sample one of several labels have in common: its outputs are logits.

#include <cstdint>
#include <string>
#include <vector>

#include "data/tasks/labels.h"
#include "train/finetune/task.h"

namespace plinth {

// {"accuracy", "macro_f1", "micro_f1", "matthews"}, and "top5_accuracy" of more than five classes.
std::vector<std::string> class_score_names(int64_t classes);
// Of the largest logits, against the samples' labels.
std::vector<TaskScore> class_scores(const TaskOutputs& outputs, const std::vector<int64_t>& labels);
// A line of JSON a sample: the label, its probability, and those of all.
std::vector<std::string> class_predictions(const TaskOutputs& outputs, const Labels& labels);

}  // namespace plinth
