#include "train/checkpoint/sharded_state.h"

#include "core/autograd.h"
#include "core/error.h"
#include "core/ops/factories.h"
#include "models/tensor_files.h"

namespace plinth {

using distributed::ShardedTraining;

namespace {

constexpr const char* kUpdates = "updates";

// "average.NAME@begin" of this rank's pieces, read one by one.
void load_average(const ShardedTraining& training, const ShardedTraining::Reader& read,
                  const Tensor& updates, nn::Ema& average) {
  nn::StateDict own;
  for (const ShardedTraining::Piece& piece : training.pieces()) {
    const std::string part = nn::Optimizer::part_name(piece.parameter, piece.begin);
    own.push_back(
        {"average." + part, read("average." + piece.parameter, piece.begin, piece.values.numel())});
  }
  own.push_back({kUpdates, updates});
  average.load_state_dict(own);
}

Tensor updates_of(const ShardedCheckpoint& checkpoint) {
  check(checkpoint.index().ema_updates.has_value(), ErrorKind::Format, ShardedCheckpoint::kIndex,
        "has no moving average of the weights, which this run keeps");
  return full({}, static_cast<double>(*checkpoint.index().ema_updates), {DType::Int64, {}});
}

void check_shapes(const ShardedCheckpoint& checkpoint, const ShardedTraining& training) {
  const auto& shapes = checkpoint.index().shapes;
  for (const auto& [name, tensor] : training.whole_parameters()) {
    const auto found = shapes.find(name);
    check(found != shapes.end(), ErrorKind::Shape, ShardedCheckpoint::kIndex, "lacks ", name);
    const Shape shape{std::span<const int64_t>(found->second)};
    check(shape == tensor.shape(), ErrorKind::Shape, ShardedCheckpoint::kIndex, name, " has ",
          shape, ", expected ", tensor.shape());
  }
}

// Reads parts of a file's tensors, without reading the others.
ShardedTraining::Reader reader_of(const SafetensorsFile& file) {
  return [&file](const std::string& name, int64_t begin, int64_t size) {
    if (!file.find(name)) return Tensor();
    const Tensor values = tensor_of(file.record(name), file.data(name)).reshape({-1});
    check(begin + size <= values.numel(), ErrorKind::Shape, name, "has ", values.numel(),
          " elements, expected ", begin + size, " or more");
    return values.narrow(0, begin, size);
  };
}

}  // namespace

nn::StateDict slices_of(const ShardedTraining& training, const nn::Ema* average) {
  nn::StateDict slices;
  for (const auto& [name, tensor] : training.named_pieces())
    slices.push_back({"parameter." + name, tensor});
  for (const auto& [name, tensor] : training.optimizer_state())
    slices.push_back({"optimizer." + name, tensor});
  if (average) {
    for (const auto& [name, tensor] : average->state_dict()) {
      if (name != kUpdates) slices.push_back({"ema." + name, tensor});
    }
  }
  return copies_of(slices);
}

ShardedIndex index_of(const ShardedTraining& training, const nn::Ema* average) {
  ShardedIndex index;
  index.files = training.shard_group().size();
  index.optimizer_steps = training.steps();
  if (average) index.ema_updates = average->updates();
  for (const auto& [name, tensor] : training.whole_parameters())
    index.shapes[name] = {tensor.shape().begin(), tensor.shape().end()};
  return index;
}

void restore_slices(const ShardedCheckpoint& checkpoint, ShardedTraining& training,
                    nn::Ema* average) {
  const NoGradGuard no_grad;
  check_shapes(checkpoint, training);
  for (const ShardedTraining::Piece& piece : training.pieces()) {
    const Tensor values =
        checkpoint.read("parameter." + piece.parameter, piece.begin, piece.values.numel());
    check(values.defined(), ErrorKind::Format, "sharded checkpoint", "lacks ", piece.parameter);
    Tensor(piece.values).copy_(values.to(piece.values.device()));
  }
  training.updated();
  training.load_optimizer_state(
      [&](const std::string& name, int64_t begin, int64_t size) {
        return checkpoint.read("optimizer." + name, begin, size);
      },
      checkpoint.index().optimizer_steps);
  if (!average) return;
  const auto read = [&](const std::string& name, int64_t begin, int64_t size) {
    return checkpoint.read("ema." + name, begin, size);
  };
  load_average(training, read, updates_of(checkpoint), *average);
}

void restore_slices(const std::filesystem::path& optimizer, const std::filesystem::path& ema,
                    const std::function<void()>& load, ShardedTraining& training,
                    nn::Ema* average) {
  const NoGradGuard no_grad;
  training.with_whole(load);
  const SafetensorsFile state = SafetensorsFile::open(optimizer);
  int64_t steps = 0;
  for (const double taken : to_vector(tensor_of(state.record("steps"), state.data("steps"))))
    steps = std::max(steps, static_cast<int64_t>(taken));
  training.load_optimizer_state(reader_of(state), steps);
  if (!average) return;
  const SafetensorsFile averages = SafetensorsFile::open(ema);
  const Tensor updates = tensor_of(averages.record(kUpdates), averages.data(kUpdates)).clone();
  load_average(training, reader_of(averages), updates, *average);
}

void restore_whole(const ShardedCheckpoint& checkpoint, nn::Module& module, size_t parameters,
                   const std::function<void(const nn::StateDict&)>& load_optimizer,
                   nn::Ema* average) {
  module.load_state_dict(checkpoint.whole("parameter"));
  nn::StateDict state = checkpoint.whole("optimizer");
  const std::vector<int64_t> steps(parameters, checkpoint.index().optimizer_steps);
  state.push_back({"steps", from_values(steps, {std::ssize(steps)})});
  load_optimizer(state);
  if (!average) return;
  nn::StateDict averages = checkpoint.whole("ema");
  averages.push_back({kUpdates, updates_of(checkpoint)});
  average->load_state_dict(averages);
}

}  // namespace plinth
