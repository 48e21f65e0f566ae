#include "train/model_parallel.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>
#include <utility>

#include "core/autocast.h"
#include "core/autograd.h"
#include "core/error.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/random.h"
#include "distributed/expert/expert_parallel.h"
#include "distributed/redistribute.h"
#include "nn/clip.h"
#include "nn/optim/groups.h"
#include "train/shared_model.h"

namespace plinth {

using distributed::GradientSet;
using distributed::ProcessGroup;

namespace {

// Checked before anything is cut.
distributed::DeviceMesh mesh_of(const std::shared_ptr<ProcessGroup>& world,
                                const ModelParallelOptions& options, const LanguageModel& model) {
  check_model_parallel(options, world->size(), model.info(), model.activation_checkpointing());
  return distributed::training_mesh(world, options.sizes);
}

std::vector<std::string> optimizer_order(const nn::Module& model) {
  std::vector<std::string> names;
  for (const nn::ParameterGroup& group : nn::decay_matrices(model, 0)) {
    for (const nn::NamedTensor& parameter : group.parameters) names.push_back(parameter.name);
  }
  return names;
}

// The values of all ranks, in their order, of which each gives one.
std::vector<double> gather_values(ProcessGroup& group, double own, Device device) {
  std::vector<double> values(group.size());
  values[group.rank()] = own;
  const Tensor shared = from_values(values, {group.size()}).to(device);
  group.all_reduce(shared).wait();
  return to_vector(group.to_host(shared));
}

void check_same(ProcessGroup& group, const Tensors& weights, Device device) {
  const std::vector<double> norms = gather_values(group, nn::global_norm(weights), device);
  const auto [least, most] = std::ranges::minmax(norms);
  check(least == most || std::isnan(least + most), ErrorKind::Config, "Trainer",
        "ranks begin with different weights: their norms are from ", least, " to ", most);
}

}  // namespace

void check_model_parallel(const ModelParallelOptions& options, int ranks,
                          const LanguageModelInfo& model, bool activation_checkpointing) {
  const auto [pp, ep, cp, tp] = options.sizes;
  const auto schedule = options.schedule;
  const int chunks = options.chunks;
  check(pp >= 1 && ep >= 1 && cp >= 1 && tp >= 1 && ranks % options.sizes.product() == 0,
        ErrorKind::Config, "parallel.pp", "got ", pp, ", with parallel.ep ", ep, ", parallel.cp ",
        cp, " and parallel.tp ", tp, "; their product takes a divisor of the ", ranks, " ranks");
  check(ep == 1 || model.experts > 0, ErrorKind::Config, "parallel.ep", "got ", ep, ", ",
        model.type, " has no experts: takes 1");
  check(ep == 1 || ep <= model.experts, ErrorKind::Config, "parallel.ep", "got ", ep,
        ", takes at most the ", model.experts, " experts");
  const bool takes_chunks = schedule == distributed::PipelineKind::Interleaved && pp > 1;
  check(chunks == 1 || (takes_chunks && chunks > 1), ErrorKind::Config, "parallel.chunks", "got ",
        chunks, ", takes 1 but for the schedule interleaved of several stages");
  check(int64_t{pp} * chunks <= model.layers, ErrorKind::Config, "parallel.pp", "got ", pp,
        " stages of ", chunks, " chunks, takes at most one for each of the ", model.layers,
        " layers");
  check(schedule != distributed::PipelineKind::ZeroBubbleH1 || !activation_checkpointing,
        ErrorKind::Config, "parallel.schedule",
        "got zb-h1, which needs the gradients of inputs and weights apart; "
        "model.activation_checkpointing computes them together");
}

ModelParallel::ModelParallel(LanguageModel& model, const std::shared_ptr<ProcessGroup>& world,
                             Device device, const ModelParallelOptions& options)
    : model_(model),
      options_(options),
      device_(device),
      mesh_(mesh_of(world, options, model)),
      data_(mesh_.group_over({"dp", "ep"})),
      shared_(mesh_.group_over({"dp", "ep", "cp"})),
      experts_(mesh_.group_over({"dp", "cp"})),
      pipeline_(mesh_.group("pp"), options.schedule, options.chunks, device),
      order_(optimizer_order(model)) {
  share_layers();
  for (int piece = mesh_.coordinate("pp"); piece < pipeline_.pieces(); piece += options_.sizes.pp)
    pieces_.push_back(make_piece(piece));
  for (Piece& piece : pieces_) {
    for (Part* part : piece.parts()) parts_.push_back(part);
  }
  join_ends();
  place();
}

// ---- the cut ----

void ModelParallel::share_layers() {
  const auto unless_alone = [&](const char* axis) {
    return mesh_.size(axis) > 1 ? mesh_.group(axis) : nullptr;
  };
  const distributed::LayerPlanOptions layers{.tp = unless_alone("tp"),
                                             .cp = unless_alone("cp"),
                                             .sequence = options_.sequence,
                                             .algorithm = options_.algorithm};
  if (layers.tp || layers.cp) layers_ = share_model(model_, layers);
}

ModelParallel::Blocks ModelParallel::blocks_of(int piece) const {
  const auto [first, count] =
      distributed::shard_range(model_.info().layers, pipeline_.pieces(), piece);
  return {first, count};
}

void ModelParallel::add_block(Piece& piece, nn::Module& block) {
  const std::shared_ptr<ProcessGroup>& group = mesh_.group("ep");
  std::unordered_set<const TensorImpl*> of_experts;
  for (const nn::NamedModule& entry : block.named_modules()) {
    auto* const layer = dynamic_cast<nn::MixtureOfExperts*>(entry.module);
    if (!layer || group->size() == 1) continue;
    distributed::spread_experts(*layer, group);
    const distributed::ShardRange own = distributed::own_experts(*layer, *group);
    for (int64_t e = 0; e < layer->expert_count(); ++e) {
      const bool is_own = e >= own.begin && e < own.begin + own.count;
      for (const Tensor& parameter : layer->expert(e).parameters()) {
        of_experts.insert(parameter.impl());
        if (is_own) piece.experts.parameters.push_back(parameter);
      }
    }
  }
  for (const Tensor& parameter : block.parameters()) {
    if (!of_experts.contains(parameter.impl())) piece.shared.parameters.push_back(parameter);
  }
}

void ModelParallel::add_shared(Piece& piece, const Tensor& parameter) const {
  const bool is_tied =
      options_.sizes.pp > 1 && model_.info().tied && parameter.is(model_.head_weight());
  (is_tied ? piece.tied : piece.shared).parameters.push_back(parameter);
}

ModelParallel::Piece ModelParallel::make_piece(int piece) {
  Piece result{{shared_}, {experts_}, {shared_}};
  result.tied.counts = piece == 0;
  const Tensors last = model_.last_parameters();
  if (piece == 0) {
    // What is neither a block's nor the last piece's; a tied output projection is both ends'.
    std::unordered_set<const TensorImpl*> others;
    for (int64_t i = 0; i < model_.info().layers; ++i) {
      for (const Tensor& parameter : model_.block(i).parameters()) others.insert(parameter.impl());
    }
    for (const Tensor& parameter : last) others.insert(parameter.impl());
    if (model_.info().tied) others.erase(model_.head_weight().impl());
    for (const Tensor& parameter : model_.parameters()) {
      if (!others.contains(parameter.impl())) add_shared(result, parameter);
    }
  }
  const Blocks blocks = blocks_of(piece);
  for (int64_t i = blocks.first; i < blocks.first + blocks.count; ++i)
    add_block(result, model_.block(i));
  if (piece + 1 == pipeline_.pieces()) {
    for (const Tensor& parameter : last) {
      const bool is_there = piece == 0 && model_.info().tied && parameter.is(model_.head_weight());
      if (!is_there) add_shared(result, parameter);
    }
  }
  return result;
}

void ModelParallel::join_ends() {
  if (!model_.info().tied || options_.sizes.pp == 1) return;
  const auto side = [last = options_.sizes.pp - 1](int stage) {
    return ProcessGroup::Side{stage == 0 || stage == last ? 0 : -1, stage};
  };
  ends_ = mesh_.group("pp")->split_by(side, "pp_ends");
}

void ModelParallel::place() {
  std::unordered_set<const TensorImpl*> own;
  for (const Part* part : parts_) {
    for (const Tensor& parameter : part->parameters) own.insert(parameter.impl());
  }
  const std::vector<nn::NamedTensor> parameters = model_.named_parameters();
  std::vector<bool> is_own;
  is_own.reserve(parameters.size());
  for (const nn::NamedTensor& entry : parameters)
    is_own.push_back(own.contains(entry.tensor.impl()));
  placement_.emplace(mesh_.group_over({"pp", "dp", "ep", "cp"}), parameters, is_own, device_);
}

void ModelParallel::make_gradients(nn::Optimizer& optimizer) {
  // An expert that no token reaches gives no gradient: which are sent before the step's end, and so
  // the order of sends in a group, would be another on each rank.
  distributed::DataParallelOptions of_experts = options_.data_parallel;
  of_experts.overlap = false;
  const bool has_all = model_.info().experts > 0 && options_.sizes.ep == 1;
  const auto make = [](Part& part, const distributed::DataParallelOptions& options) {
    part.gradients = std::make_unique<GradientSet>(part.parameters, part.group, options);
  };
  for (Piece& piece : pieces_) {
    const auto& of_shared = has_all ? of_experts : options_.data_parallel;
    make(piece.shared, of_shared);
    make(piece.experts, of_experts);
    make(piece.tied, of_shared);
  }
  optimizer_ = &optimizer;
  if (!options_.data_parallel.sharded) return;
  std::vector<distributed::GradientShare> shares;
  for (Part* part : parts_) shares.push_back(part->gradients->share());
  update_.emplace(shares, optimizer);
}

// ---- a step ----

Tensors ModelParallel::forward(int piece, const Tensors& x, const Batch& batch) {
  const bool is_first = piece == 0, is_last = piece + 1 == pipeline_.pieces();
  const Tensor ids = is_first ? model_.own_ids(batch[0].to(device_)) : Tensor();
  const Tensor targets = is_last ? batch[1].to(device_) : Tensor();
  if (is_first && is_last) return {model_.loss(batch[0].to(device_), targets)};
  const double coefficient = model_.is_training() ? model_.info().balance_coefficient : 0;
  nn::Residual y = is_first ? model_.embed(ids) : x[0];
  Tensors loads;
  if (!is_first && coefficient > 0) loads.push_back(x[1]);
  const Blocks blocks = blocks_of(piece);
  for (int64_t i = blocks.first; i < blocks.first + blocks.count; ++i)
    y = model_.run_block(i, y, nullptr, coefficient > 0 ? &loads : nullptr);
  Tensor load = loads.empty() ? Tensor() : loads[0];
  for (size_t i = 1; i < loads.size(); ++i) load = load + loads[i];
  if (!is_last) return load.defined() ? Tensors{y.sum(), load} : Tensors{y.sum()};
  const Tensor loss = model_.loss_of_hidden(model_.finish(y.sum()), targets);
  if (!load.defined()) return {loss};
  const Tensor mean = load * (1 / static_cast<double>(model_.info().layers));
  return {loss + model_.balance_loss({mean})};
}

void ModelParallel::run(const Step& step, BatchSource& data, std::vector<double>& losses) {
  const distributed::Share share = distributed::share_of(*data_, step.micro_batches);
  // Each rank of a part's group has as many passes through it.
  for (Part* part : parts_) {
    check(part->gradients != nullptr, ErrorKind::Argument, "ModelParallel",
          "run() was called before make_gradients()");
    part->gradients->begin(share.count * part->group->size());
  }
  std::vector<Batch> batches;
  for (int64_t i = 0; i < share.count; ++i) batches.push_back(data.next(step.micro_batch));

  distributed::PipelineModel work;
  work.begin = [&](int i) {
    const int64_t micro_batch = step.number * step.micro_batches + share.first + i;
    generator().begin_step(static_cast<uint64_t>(step.number), micro_batch * step.micro_batch);
  };
  work.forward = [&](int piece, int i, const Tensors& x) {
    const AutocastGuard precision(step.precision);
    return forward(piece, x, batches[i]);
  };
  work.before_gradients = [&](int piece, int) {
    for (Part* part : own_piece(piece).parts()) part->gradients->next();
  };
  const AutocastCache weights;
  const Tensors own_losses = pipeline_.run(work, static_cast<int>(share.count));
  // Ranks that share a micro-batch have the same loss.
  const bool gives = mesh_.coordinate("cp") == 0 && mesh_.coordinate("tp") == 0;
  for (size_t i = 0; gives && i < own_losses.size(); ++i)
    losses[share.first + i] = own_losses[i].item();
  for (Part* part : parts_) part->gradients->finish();
  if (ends_) ends_->all_reduce(model_.head_weight().grad()).wait();
}

double ModelParallel::exposed_seconds() const {
  double seconds = pipeline_.exposed_seconds();
  for (const Part* part : parts_) seconds += part->gradients->exposed_seconds();
  return seconds;
}

// Of what several ranks have the first gives it, or, with ZeRO, each its slices; of what two stages
// have the first.
double ModelParallel::grad_norm() const {
  std::vector<distributed::GradientPart> gradients;
  for (size_t i = 0; i < parts_.size(); ++i) {
    const Part& part = *parts_[i];
    if (!part.counts || (!update_ && part.group->rank() > 0)) continue;
    const auto own = update_ ? update_->gradient_parts(i)
                             : distributed::gradient_parts(part.gradients->gradients(), nullptr);
    gradients.insert(gradients.end(), own.begin(), own.end());
  }
  Tensors counted;
  if (shards()) {
    counted = shards()->counted(gradients);
  } else {
    for (const auto& part : gradients) counted.push_back(part.values);
  }
  return distributed::norm_over(counted, device_, {mesh_.world().get()});
}

void ModelParallel::step(double factor) {
  update_ ? update_->step(factor) : optimizer_->step(factor);
}

Tensor ModelParallel::evaluate(const Tensor& ids, const Tensor& targets) {
  distributed::PipelineModel work;
  work.forward = [&](int piece, int, const Tensors& x) {
    return forward(piece, x, {ids, targets});
  };
  const Tensor loss = pipeline_.evaluate(work);
  const Tensor shared = zeros({1}, {DType::Float64, device_});
  if (loss.defined()) shared.select(0, 0).copy_(loss);
  mesh_.group("pp")->broadcast(shared, options_.sizes.pp - 1).wait();
  return shared.reshape({});
}

// ---- weights and state ----

void ModelParallel::agree_on_weights() const {
  for (const Part* part : parts_) check_same(*part->group, part->parameters, device_);
}

nn::StateDict ModelParallel::gather_state() {
  const nn::StateDict own = update_ ? update_->state_dict() : optimizer_->state_dict();
  return placement_->gather_state(*optimizer_, own, order_);
}

void ModelParallel::load_state(const nn::StateDict& whole) {
  const nn::StateDict own = placement_->own_state(*optimizer_, whole, order_);
  update_ ? update_->load_state_dict(own) : optimizer_->load_state_dict(own);
}

nn::StateDict ModelParallel::gather(const nn::StateDict& own) {
  return placement_->gather(own, "average");
}

void ModelParallel::load_weights(const std::function<void()>& load) {
  placement_->fill();
  load();
  placement_->release();
}

}  // namespace plinth
