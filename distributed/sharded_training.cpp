#include "distributed/sharded_training.h"

#include <algorithm>
#include <cmath>

#include "core/autograd.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/ops/factories.h"
#include "distributed/mesh.h"
#include "nn/clip.h"

namespace plinth::distributed {
namespace {

int64_t shard_size(const ProcessGroup& world, int64_t dp_shard) {
  const int64_t size = dp_shard == 0 ? world.size() : dp_shard;
  check(size > 0 && world.size() % size == 0, ErrorKind::Argument, "ShardedTraining",
        "dp_shard got ", dp_shard, ", takes a divisor of the ", world.size(), " ranks of group ",
        world.name(), ", or 0 for all");
  return size;
}

void check_module(const nn::Module& module, const nn::Optimizer& optimizer) {
  const nn::StateDict parameters = module.named_parameters(), state = module.state_dict();
  check(!parameters.empty(), ErrorKind::Argument, "ShardedTraining", "the module has no parameter");
  for (const auto& [name, tensor] : parameters)
    check(tensor.requires_grad(), ErrorKind::Argument, "ShardedTraining", "parameter ", name,
          " takes no gradient; ranks share all parameters or none");
  check(state.size() == parameters.size(), ErrorKind::Argument, "ShardedTraining",
        "the module has buffers to save, as ", state.back().name, "; ranks share parameters only");
  const nn::StateDict& updated = optimizer.whole_parameters();
  bool updates_all = updated.size() == parameters.size();
  for (const auto& [name, tensor] : updated)
    updates_all &= nn::find(parameters, name).defined() && nn::find(parameters, name).is(tensor);
  check(updates_all, ErrorKind::Argument, "ShardedTraining", "the optimizer has ", updated.size(),
        " parameters, takes the ", parameters.size(), " of the module by their names");
}

Tensors tensors_of(const std::vector<nn::NamedTensor>& named) {
  Tensors tensors;
  for (const nn::NamedTensor& entry : named) tensors.push_back(entry.tensor);
  return tensors;
}

}  // namespace

Share turns_of(const ProcessGroup& world, int64_t micro_batches, int64_t dp_shard) {
  const int64_t ranks = shard_size(world, dp_shard);
  const Share run = share_of(world, micro_batches);
  const int64_t replica = world.rank() / ranks;
  return {replica * ranks * run.count + world.rank() % ranks, run.count, ranks};
}

ShardedTraining::ShardedTraining(std::shared_ptr<ProcessGroup> world, nn::Module& module,
                                 nn::Optimizer& optimizer, const ShardingOptions& options)
    : world_(std::move(world)), dp_shard_(options.dp_shard), optimizer_(optimizer) {
  check(options.stage == 2 || options.stage == 3, ErrorKind::Argument, "ShardedTraining",
        "stage got ", options.stage, ", takes 2 or 3");
  check_module(module, optimizer);
  const std::vector<nn::NamedTensor> named = module.named_parameters();
  const Tensors parameters = tensors_of(named);
  const auto size = static_cast<int>(shard_size(*world_, options.dp_shard));
  if (size == world_->size()) {
    groups_.shard = world_;
  } else {
    const DeviceMesh mesh(world_, {{"dp_replicate", world_->size() / size}, {"dp_shard", size}});
    groups_ = {mesh.group("dp_shard"), mesh.group("dp_replicate")};
  }
  layout_ = std::make_unique<nn::FlatLayout>(parameters);
  std::vector<size_t> unit_of;
  const size_t units = find_blocks(module, parameters, unit_of);
  plan_ =
      std::make_unique<ShardPlan>(*layout_, unit_of, units, nn::norm_chunk(parameters[0].device()),
                                  groups_.shard->rank(), size);
  {
    const OpScope scope("own_parameters", ScopeKind::Phase);
    parameters_ = std::make_unique<ParameterShards>(
        groups_.shard, *plan_, *layout_, parameters, options.stage == 2, [&](size_t i) {
          check(options.values != nullptr, ErrorKind::Argument, "ShardedTraining", "parameter ",
                named[i].name, " is absent, takes values for it");
          return options.values(named[i]);
        });
  }
  {
    const OpScope scope("own_gradients", ScopeKind::Phase);
    gradients_ = std::make_unique<GradientShards>(groups_, *plan_, *layout_, parameters);
  }
  gradients_->when_complete([this](size_t unit) {
    if (unit != rest()) parameters_->release(unit);
  });
  cut_pieces(named);
  optimizer_.keep_parts([&](const Tensor& parameter) {
    const auto at = std::ranges::find_if(
        named, [&](const nn::NamedTensor& entry) { return entry.tensor.is(parameter); });
    std::vector<nn::Optimizer::Part> parts;
    for (const Piece& piece : pieces_) {
      if (piece.parameter == at->name) parts.push_back({piece.begin, piece.values});
    }
    return parts;
  });
}

// Children that have children are blocks; what two of them share, and all else, is the rest.
size_t ShardedTraining::find_blocks(nn::Module& module, const Tensors& parameters,
                                    std::vector<size_t>& unit_of) {
  const std::vector<nn::NamedModule> modules = module.named_modules();
  std::vector<Tensors> held;
  for (const nn::NamedModule& entry : modules) {
    const std::string inside = entry.path + ".";
    const bool is_child = !entry.path.empty() && entry.path.find('.') == std::string::npos;
    if (!is_child || std::ranges::none_of(modules, [&](const nn::NamedModule& other) {
          return other.path.starts_with(inside);
        }))
      continue;
    blocks_.emplace(entry.module, held.size());
    held.push_back(entry.module->parameters());
  }
  for (const Tensor& parameter : parameters) {
    std::vector<size_t> holders;
    for (size_t b = 0; b < held.size(); ++b) {
      if (std::ranges::any_of(held[b], [&](const Tensor& own) { return own.is(parameter); }))
        holders.push_back(b);
    }
    unit_of.push_back(holders.size() == 1 ? holders[0] : held.size());
  }
  return held.size() + 1;
}

// What this rank's runs have of each parameter.
void ShardedTraining::cut_pieces(const std::vector<nn::NamedTensor>& named) {
  for (size_t u = 0; u < plan_->units().size(); ++u) {
    const ShardUnit& unit = plan_->units()[u];
    for (size_t r = 0; r < unit.runs.size(); ++r) {
      const ShardRun& run = unit.runs[r];
      for (size_t i = 0; i < unit.parameters.size(); ++i) {
        const int64_t first = unit.offsets[i];
        const int64_t count = layout_->places()[unit.parameters[i]].shape.numel();
        const int64_t begin = std::max(run.own_begin, first);
        const int64_t end = std::min(run.own_begin + run.own_size, first + count);
        if (begin >= end) continue;
        const Tensor own = parameters_->own(u, r);
        const int64_t at = begin - run.own_begin;
        Tensor values =
            Tensor::from_storage(own.storage(), {end - begin}, {1}, own.offset() + at, own.dtype());
        values.set_requires_grad();
        pieces_.push_back({named[unit.parameters[i]].name, begin - first, values});
        piece_gradients_.push_back(
            gradients_->sums().narrow(0, run.own_offset + at, end - begin).detach());
      }
    }
  }
}

Share ShardedTraining::share(int64_t micro_batches) const {
  return turns_of(*world_, micro_batches, dp_shard_);
}

// ---- a step ----

void ShardedTraining::begin_step(int64_t micro_batches) {
  exposed_before_ = parameters_->exposed_seconds();
  gradients_->begin_step(micro_batches);
}

double ShardedTraining::exposed_seconds() const {
  return gradients_->exposed_seconds() + parameters_->exposed_seconds() - exposed_before_;
}

// Every rank fills in the chunks that it owns; sums of one number and zeros are exact.
double ShardedTraining::grad_norm() const {
  const OpScope scope("grad_norm");
  const NoGradGuard no_grad;
  const Tensor& sums = gradients_->sums();
  const int64_t chunk = nn::norm_chunk(sums.device());
  const Tensor squares =
      zeros({(layout_->size(0) + chunk - 1) / chunk}, {DType::Float64, sums.device()});
  for (const ShardPlan::Owned& owned : plan_->owned()) {
    const Tensor own = nn::chunk_sums_of_squares(sums.narrow(0, owned.offset, owned.size));
    squares.narrow(0, owned.begin / chunk, own.numel()).copy_(own);
  }
  groups_.shard->all_reduce(squares).wait();
  const double sum = nn::sum_of_chunks(squares);
  groups_.shard->raise_if_failed();
  return std::sqrt(sum);
}

std::vector<GradientPart> ShardedTraining::gradient_parts() const {
  std::vector<GradientPart> parts;
  for (size_t i = 0; i < pieces_.size(); ++i)
    parts.push_back({nn::find(optimizer_.whole_parameters(), pieces_[i].parameter),
                     pieces_[i].begin, piece_gradients_[i]});
  return parts;
}

void ShardedTraining::step(double grad_scale) {
  for (size_t i = 0; i < pieces_.size(); ++i) pieces_[i].values.set_grad(piece_gradients_[i]);
  optimizer_.step(grad_scale);
  ++steps_;
  updated();
}

// ---- what this rank has ----

nn::StateDict ShardedTraining::named_pieces() const {
  nn::StateDict named;
  for (const Piece& piece : pieces_)
    named.push_back({nn::Optimizer::part_name(piece.parameter, piece.begin), piece.values});
  return named;
}

double ShardedTraining::parameter_norm() const {
  const NoGradGuard no_grad;
  double squares = 0;
  for (const Piece& piece : pieces_) squares += std::pow(nn::global_norm({piece.values}), 2);
  const Tensor sum = from_values(std::vector<double>{squares}, {1}).to(gradients_->sums().device());
  groups_.shard->all_reduce(sum).wait();
  return std::sqrt(groups_.shard->to_host(sum).item());
}

nn::StateDict ShardedTraining::optimizer_state() const {
  nn::StateDict state = optimizer_.state_dict();
  std::erase_if(state,
                [](const nn::NamedTensor& entry) { return entry.name == nn::Optimizer::kSteps; });
  return state;
}

void ShardedTraining::load_optimizer_state(const Reader& state, int64_t steps) {
  nn::StateDict own;
  std::vector<int64_t> own_steps;
  for (const nn::NamedTensor& parameter : optimizer_.whole_parameters()) {
    for (const Piece& piece : pieces_) {
      if (piece.parameter != parameter.name) continue;
      own_steps.push_back(steps);
      if (steps == 0) continue;
      for (const std::string& name : optimizer_.state_names()) {
        const Tensor part = state(name + "." + piece.parameter, piece.begin, piece.values.numel());
        if (part.defined())
          own.push_back(
              {name + "." + nn::Optimizer::part_name(piece.parameter, piece.begin), part});
      }
    }
  }
  own.push_back({nn::Optimizer::kSteps, from_values(own_steps, {std::ssize(own_steps)})});
  optimizer_.load_state_dict(own);
  steps_ = steps;
}

void ShardedTraining::with_whole(const std::function<void()>& call) {
  parameters_->use_all();
  try {
    call();
  } catch (...) {
    parameters_->release_all();
    throw;
  }
  parameters_->take_own();
  parameters_->release_all();
}

// ---- passes ----

ShardedPass::ShardedPass(ShardedTraining& training, Kind kind) : training_(training), kind_(kind) {
  training_.parameters_->use(training_.rest());
  if (kind == Kind::Training) training_.gradients_->begin_micro_batch();
}

ShardedPass::~ShardedPass() {
  try {
    training_.parameters_->release_all();
  } catch (...) {  // a transfer that nobody waited for: the next collective tells of it
    return;
  }
}

void ShardedPass::backward(const Tensor& loss) {
  backward_ = true;
  loss.backward();
  training_.gradients_->end_micro_batch();
}

// The next one is gathered while this one computes.
void ShardedPass::use(size_t unit) {
  training_.parameters_->use(unit);
  if (!backward_ && unit + 1 < training_.rest()) training_.parameters_->fetch(unit + 1);
  if (backward_ && unit > 0) training_.parameters_->fetch(unit - 1);
}

void ShardedPass::enter(const nn::Module& module) {
  const auto block = training_.blocks_.find(&module);
  if (block != training_.blocks_.end()) use(block->second);
}

// Between a forward and its backward pass the last block stays, since it is needed again at once.
void ShardedPass::leave(const nn::Module& module, const Tensor& output) {
  const auto block = training_.blocks_.find(&module);
  if (block == training_.blocks_.end()) return;
  const size_t unit = block->second;
  if (output.defined() && output.requires_grad()) {
    output.register_hook([this, unit](const Tensor&) {
      training_.gradients_->reach_end_of(unit);
      use(unit);
      return Tensor();
    });
  }
  const bool is_last = unit + 1 == training_.rest();
  if (backward_ || (kind_ == Kind::Training && is_last)) return;
  check(kind_ == Kind::Evaluation || output.defined(), ErrorKind::Argument, "ShardedTraining",
        "block ", module.type_name(), " gives something other than one tensor");
  training_.parameters_->release(unit);
}

}  // namespace plinth::distributed
