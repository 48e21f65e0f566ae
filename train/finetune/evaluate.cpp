#include "train/finetune/evaluate.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "core/autograd.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/ops/factories.h"
#include "train/evaluation_mode.h"

namespace plinth {
namespace {

// Calls visit(batch, its samples) for all samples in their order.
void for_each_batch(FinetuneTask& task, const TaskData& data, int64_t batch,
                    const std::function<void(const Batch&, int64_t samples)>& visit) {
  check(batch > 0, ErrorKind::Argument, "evaluation", "batch got ", batch, ", takes 1 or more");
  const NoGradGuard no_grad;
  const EvaluationMode evaluation(task.model());
  for (int64_t begin = 0; begin < data.size(); begin += batch) {
    const OpScope scope("evaluate_batch", ScopeKind::Phase);
    std::vector<int64_t> samples(static_cast<size_t>(std::min(batch, data.size() - begin)));
    std::iota(samples.begin(), samples.end(), begin);
    visit(data.batch(samples, 0), std::ssize(samples));
  }
}

void append_rows(const Tensor& outputs, int64_t rows, TaskOutputs& all) {
  const std::vector<double> flat = to_vector(outputs);
  const int64_t width = std::ssize(flat) / rows;
  for (int64_t row = 0; row < rows; ++row)
    all.emplace_back(flat.begin() + row * width, flat.begin() + (row + 1) * width);
}

}  // namespace

TaskOutputs task_outputs(FinetuneTask& task, const TaskData& data, int64_t batch) {
  TaskOutputs all;
  for_each_batch(task, data, batch, [&](const Batch& inputs, int64_t samples) {
    append_rows(task.outputs(inputs), samples, all);
  });
  return all;
}

double TaskEvaluation::score(std::string_view name) const {
  const auto found = std::ranges::find(scores, name, &TaskScore::name);
  return found == scores.end() ? std::numeric_limits<double>::quiet_NaN() : found->value;
}

TaskEvaluation evaluate_task(FinetuneTask& task, const TaskData& data, int64_t batch) {
  check(data.size() > 0, ErrorKind::Argument, "evaluation", "got no examples");
  TaskOutputs outputs;
  double loss = 0;
  for_each_batch(task, data, batch, [&](const Batch& examples, int64_t samples) {
    Tensor given;
    loss += task.loss(examples, &given).item() * static_cast<double>(samples);
    append_rows(given, samples, outputs);
  });
  return {loss / static_cast<double>(data.size()), data.score(outputs), std::move(outputs)};
}

}  // namespace plinth
