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

Shape whole_shape(const std::string& name, const Shape& part,
                  const distributed::ParameterParts* parts) {
  return parts ? parts->whole_shape(name, part) : part;
}

void check_shapes(const ShardedCheckpoint& checkpoint, const ShardedTraining& training,
                  const distributed::ParameterParts* parts) {
  const auto& shapes = checkpoint.index().shapes;
  for (const auto& [name, tensor] : training.whole_parameters()) {
    const auto found = shapes.find(name);
    check(found != shapes.end(), ErrorKind::Shape, ShardedCheckpoint::kIndex, "lacks ", name);
    const Shape shape{std::span<const int64_t>(found->second)};
    const Shape expected = whole_shape(name, tensor.shape(), parts);
    check(shape == expected, ErrorKind::Shape, ShardedCheckpoint::kIndex, name, " has ", shape,
          ", expected ", expected);
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

// "exp_avg.NAME", of the parameter NAME.
Shape part_shape(const std::string& state, const ShardedTraining& training) {
  const nn::StateDict parameters = training.whole_parameters();
  Tensor found = nn::find(parameters, state);
  if (!found.defined()) found = nn::find(parameters, state.substr(state.find('.') + 1));
  check(found.defined(), ErrorKind::Argument, "sharded checkpoint", "there is no parameter of ",
        state);
  return found.shape();
}

// Reads elements of this rank's parts, where `whole` reads those of whole parameters.
ShardedTraining::Reader part_reader(ShardedTraining::Reader whole, const ShardedTraining& training,
                                    const distributed::ParameterParts* parts) {
  if (!parts) return whole;
  return [whole = std::move(whole), &training, parts](const std::string& name, int64_t begin,
                                                      int64_t size) {
    Tensor result;
    int64_t at = 0;
    for (const auto& rows : parts->rows_of(name, part_shape(name, training), begin, size)) {
      for (int64_t row = 0; row < rows.rows; ++row, at += rows.count) {
        const Tensor values = whole(name, rows.begin + row * rows.stride, rows.count);
        if (!values.defined()) return Tensor();
        if (!result.defined()) result = Tensor::empty({size}, values.options());
        result.narrow(0, at, rows.count).copy_(values);
      }
    }
    return result;
  };
}

// "NAME@begin" of this rank's part, as slices of the whole that no other rank writes.
void add_parts(const std::string& name, const Tensor& values, const ShardedTraining& training,
               const distributed::ParameterParts& parts, const std::string& kind,
               nn::StateDict& slices) {
  const size_t mark = name.rfind('@');
  const std::string state = name.substr(0, mark);
  const int64_t first = std::stoll(name.substr(mark + 1)), last = first + values.numel();
  const Shape shape = part_shape(state, training);
  for (const auto& own : parts.own_elements(state, shape.numel())) {
    const int64_t begin = std::max(first, own.begin), end = std::min(last, own.begin + own.count);
    if (begin >= end) continue;
    int64_t at = begin - first;
    for (const auto& rows : parts.rows_of(state, shape, begin, end - begin)) {
      const Tensor slice = values.narrow(0, at, rows.rows * rows.count);
      at += slice.numel();
      const std::string place = kind + nn::Optimizer::part_name(state, rows.begin);
      if (rows.rows == 1) {
        slices.push_back({place, slice});
      } else {
        slices.push_back(
            {detail::concat(place, "+", rows.stride), slice.reshape({rows.rows, rows.count})});
      }
    }
  }
}

}  // namespace

nn::StateDict slices_of(const ShardedTraining& training, const nn::Ema* average,
                        const distributed::ParameterParts* parts) {
  nn::StateDict slices;
  const auto add = [&](const std::string& kind, const nn::StateDict& pieces) {
    for (const auto& [name, tensor] : pieces) {
      if (name == kUpdates) continue;
      if (parts) {
        add_parts(name, tensor.detach(), training, *parts, kind, slices);
      } else {
        slices.push_back({kind + name, tensor});
      }
    }
  };
  add("parameter.", training.named_pieces());
  add("optimizer.", training.optimizer_state());
  if (average) add("ema.", average->state_dict());
  return copies_of(slices);
}

ShardedIndex index_of(const ShardedTraining& training, const nn::Ema* average,
                      const distributed::ParameterParts* parts) {
  ShardedIndex index;
  index.files = training.shard_group().size() * (parts ? parts->group().size() : 1);
  index.optimizer_steps = training.steps();
  if (average) index.ema_updates = average->updates();
  for (const auto& [name, tensor] : training.whole_parameters()) {
    const Shape shape = whole_shape(name, tensor.shape(), parts);
    index.shapes[name] = {shape.begin(), shape.end()};
  }
  return index;
}

void restore_slices(const ShardedCheckpoint& checkpoint, ShardedTraining& training,
                    nn::Ema* average, const distributed::ParameterParts* parts) {
  const NoGradGuard no_grad;
  check_shapes(checkpoint, training, parts);
  const auto reader = [&](const std::string& kind) {
    return part_reader(
        [&checkpoint, kind](const std::string& name, int64_t begin, int64_t size) {
          return checkpoint.read(kind + name, begin, size);
        },
        training, parts);
  };
  const ShardedTraining::Reader parameters = reader("parameter.");
  for (const ShardedTraining::Piece& piece : training.pieces()) {
    const Tensor values = parameters(piece.parameter, piece.begin, piece.values.numel());
    check(values.defined(), ErrorKind::Format, "sharded checkpoint", "lacks ", piece.parameter);
    Tensor(piece.values).copy_(values.to(piece.values.device()));
  }
  training.updated();
  training.load_optimizer_state(reader("optimizer."), checkpoint.index().optimizer_steps);
  if (average) load_average(training, reader("ema."), updates_of(checkpoint), *average);
}

void restore_slices(const std::filesystem::path& optimizer, const std::filesystem::path& ema,
                    const std::function<void()>& load, ShardedTraining& training, nn::Ema* average,
                    const distributed::ParameterParts* parts) {
  const NoGradGuard no_grad;
  training.with_whole(load);
  const SafetensorsFile state = SafetensorsFile::open(optimizer);
  int64_t steps = 0;
  for (const double taken : to_vector(tensor_of(state.record("steps"), state.data("steps"))))
    steps = std::max(steps, static_cast<int64_t>(taken));
  training.load_optimizer_state(part_reader(reader_of(state), training, parts), steps);
  if (!average) return;
  const SafetensorsFile averages = SafetensorsFile::open(ema);
  const Tensor updates = tensor_of(averages.record(kUpdates), averages.data(kUpdates)).clone();
  load_average(training, part_reader(reader_of(averages), training, parts), updates, *average);
}

nn::StateDict whole_optimizer_state(const ShardedCheckpoint& checkpoint) {
  nn::StateDict state = checkpoint.whole("optimizer");
  const std::vector<int64_t> steps(checkpoint.index().shapes.size(),
                                   checkpoint.index().optimizer_steps);
  state.push_back({"steps", from_values(steps, {std::ssize(steps)})});
  return state;
}

nn::StateDict whole_average(const ShardedCheckpoint& checkpoint) {
  nn::StateDict averages = checkpoint.whole("ema");
  averages.push_back({kUpdates, updates_of(checkpoint)});
  return averages;
}

}  // namespace plinth
