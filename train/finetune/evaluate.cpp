#include "train/finetune/evaluate.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <span>

#include "core/autograd.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/ops/factories.h"
#include "train/evaluation_mode.h"

namespace plinth {
namespace {

// Calls visit(batch, its samples) for the batches of one of `ranks` that take turns, in their
// order.
void for_each_batch(FinetuneTask& task, const TaskData& data, int64_t batch, int64_t rank,
                    int64_t ranks,
                    const std::function<void(const Batch&, int64_t samples)>& visit) {
  check(batch > 0, ErrorKind::Argument, "evaluation", "batch got ", batch, ", takes 1 or more");
  const NoGradGuard no_grad;
  const EvaluationMode evaluation(task.model());
  for (int64_t begin = rank * batch; begin < data.size(); begin += ranks * batch) {
    const OpScope scope("evaluate_batch", ScopeKind::Phase);
    std::vector<int64_t> samples(static_cast<size_t>(std::min(batch, data.size() - begin)));
    std::iota(samples.begin(), samples.end(), begin);
    visit(data.batch(samples, 0), std::ssize(samples));
  }
}

void append_rows(std::span<const double> flat, int64_t rows, TaskOutputs& all) {
  const int64_t width = std::ssize(flat) / rows;
  for (int64_t row = 0; row < rows; ++row)
    all.emplace_back(flat.begin() + row * width, flat.begin() + (row + 1) * width);
}

// What batches gave, as numbers behind each other: samples, the mean loss, how many numbers the
// outputs are, these.
constexpr int64_t kHead = 3;

// The numbers of all ranks.
std::vector<std::vector<double>> gather(const std::vector<double>& own, Device device,
                                        distributed::ProcessGroup& group) {
  const int64_t ranks = group.size();
  const auto all_of = [&](const std::vector<double>& numbers) {
    const Tensor in = from_values(numbers, {std::ssize(numbers)}).to(device);
    const Tensor out = Tensor::empty({ranks * in.numel()}, in.options());
    group.all_gather(out, in).wait();
    return to_vector(group.to_host(out));
  };
  const std::vector<double> sizes = all_of({static_cast<double>(own.size())});
  std::vector<double> padded = own;
  padded.resize(static_cast<size_t>(std::ranges::max(sizes)));
  const std::vector<double> flat = all_of(padded);
  std::vector<std::vector<double>> parts;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    const auto first = flat.begin() + rank * std::ssize(padded);
    parts.emplace_back(first, first + static_cast<int64_t>(sizes[static_cast<size_t>(rank)]));
  }
  return parts;
}

}  // namespace

TaskOutputs task_outputs(FinetuneTask& task, const TaskData& data, int64_t batch) {
  TaskOutputs all;
  for_each_batch(task, data, batch, 0, 1, [&](const Batch& inputs, int64_t samples) {
    append_rows(to_vector(task.outputs(inputs)), samples, all);
  });
  return all;
}

double TaskEvaluation::score(std::string_view name) const {
  const auto found = std::ranges::find(scores, name, &TaskScore::name);
  return found == scores.end() ? std::numeric_limits<double>::quiet_NaN() : found->value;
}

TaskEvaluation evaluate_task(FinetuneTask& task, const TaskData& data, int64_t batch,
                             distributed::ProcessGroup* group) {
  check(data.size() > 0, ErrorKind::Argument, "evaluation", "got no examples");
  const int64_t rank = group ? group->rank() : 0, ranks = group ? group->size() : 1;
  std::vector<double> own;
  for_each_batch(task, data, batch, rank, ranks, [&](const Batch& examples, int64_t samples) {
    Tensor given;
    const double loss = task.loss(examples, &given).item();
    const std::vector<double> flat = to_vector(given);
    own.insert(own.end(), {static_cast<double>(samples), loss, static_cast<double>(flat.size())});
    own.insert(own.end(), flat.begin(), flat.end());
  });
  std::vector<std::vector<double>> parts = {own};
  if (group) parts = gather(own, task.model().parameters()[0].device(), *group);
  std::vector<size_t> at(parts.size());
  TaskOutputs outputs;
  double loss = 0;
  for (int64_t begin = 0, turn = 0; begin < data.size(); begin += batch, ++turn) {
    const auto from = static_cast<size_t>(turn % ranks);
    const auto next = std::span<const double>(parts[from]).subspan(at[from]);
    loss += next[1] * next[0];
    append_rows(next.subspan(kHead, static_cast<size_t>(next[2])), static_cast<int64_t>(next[0]),
                outputs);
    at[from] += kHead + static_cast<size_t>(next[2]);
  }
  return {loss / static_cast<double>(data.size()), data.score(outputs), std::move(outputs)};
}

}  // namespace plinth
