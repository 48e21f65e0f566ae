#include "train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>

#include "core/autocast.h"
#include "core/autograd.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/ops/factories.h"
#include "core/random.h"
#include "nn/clip.h"
#include "train/evaluation_mode.h"
#include "train/trainer_outputs.h"

namespace plinth {

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

TrainerOptions completed(TrainerOptions options) {
  if (options.micro_batch == 0) options.micro_batch = options.batch;
  check(options.batch > 0 && options.micro_batch > 0 && options.batch % options.micro_batch == 0,
        ErrorKind::Argument, "Trainer", "micro_batch got ", options.micro_batch,
        ", takes a divisor of batch (", options.batch, ")");
  check(options.steps > 0, ErrorKind::Argument, "Trainer", "steps got ", options.steps,
        ", takes 1 or more");
  if (!options.world) options.world = options.group;
  for (auto* group : {&options.group, &options.world}) {
    if (*group && (*group)->size() == 1) group->reset();
  }
  const int64_t ranks = options.group ? options.group->size() : 1;
  check(options.context > 0 && ranks % options.context == 0, ErrorKind::Argument, "Trainer",
        "context got ", options.context, ", takes a divisor of the ", ranks, " ranks of group");
  check(!options.plan || (options.group && !options.sharding), ErrorKind::Argument, "Trainer",
        "a plan takes a group of several ranks, and no sharding");
  if (options.group) {
    const int64_t micro_batches = options.batch / options.micro_batch * options.context;
    if (options.sharding) {
      const int64_t dp_shard = options.sharding->dp_shard;
      check(dp_shard % options.context == 0, ErrorKind::Argument, "Trainer", "dp_shard got ",
            dp_shard, ", takes a multiple of context (", options.context, ")");
      distributed::turns_of(*options.group, micro_batches, dp_shard);
    } else {
      distributed::share_of(options.plan ? options.plan->data_group() : *options.group,
                            micro_batches);
    }
  }
  if (!options.group) options.sharding.reset();
  options.log.directory = options.directory;
  options.log.steps = options.steps;
  return options;
}

// Of the flat gradients, so that ranks can share them.
int64_t buffer_multiple(const nn::Module& module, const TrainerOptions& options) {
  if (!options.group || options.plan || options.sharding) return 1;
  const Tensors parameters = module.parameters();
  const Device device = parameters.empty() ? Device{} : parameters[0].device();
  return distributed::DataParallel::multiple(*options.group, device, options.data_parallel.sharded);
}

nn::BufferMaker gradient_memory(const TrainerOptions& options) {
  if (!options.group || options.plan || options.sharding) return {};
  return distributed::DataParallel::memory(options.group);
}

}  // namespace

Trainer::Trainer(nn::Module& module, Loss loss, nn::Optimizer& optimizer, nn::Schedule schedule,
                 BatchSource& data, TrainerOptions options, TrainerHooks hooks)
    : module_(module),
      loss_(std::move(loss)),
      optimizer_(optimizer),
      schedule_(schedule),
      data_(data),
      options_(completed(std::move(options))),
      hooks_(std::move(hooks)),
      guard_(options_.guard),
      gradients_(options_.plan || options_.sharding ? Tensors{} : module.parameters(), {},
                 buffer_multiple(module, options_), gradient_memory(options_)),
      tree_(gradients_) {
  schedule_.validate();
  const nn::EmaOptions ema{.decay = options_.ema_decay};
  if (options_.sharding) {
    zero_ = std::make_unique<distributed::ShardedTraining>(options_.group, module_, optimizer_,
                                                           *options_.sharding);
    options_.sharding->values = {};
    if (options_.ema_decay > 0) ema_.emplace(zero_->named_pieces(), ema);
  } else {
    if (options_.group && !options_.plan)
      parallel_.emplace(options_.group, gradients_, options_.data_parallel);
    if (parallel_ && options_.data_parallel.sharded)
      sharded_.emplace(
          std::vector<distributed::GradientShare>{{options_.group, &gradients_, &*parallel_}},
          optimizer_);
    if (options_.ema_decay > 0)
      ema_.emplace(options_.plan ? options_.plan->own_parameters() : module_.named_parameters(),
                   ema);
  }
  generator().seed(options_.seed);
  module_.train();
}

Trainer::~Trainer() = default;

TrainResult Trainer::run() {
  outputs_ = std::make_unique<Outputs>();
  try {
    begin();
    const TrainResult result = loop();
    outputs_.reset();
    return result;
  } catch (...) {
    outputs_.reset();  // what was saved before stays, and is on disk when the error is told
    throw;
  }
}

TrainResult Trainer::loop() {
  const StopSignals stop;
  TrainResult result;
  if (step_ == 0) sample();
  bool stops = false;  // what ranks agreed on in the step before
  while (step_ < options_.steps && !is_out_of_patience() &&
         (options_.world ? !stops : !stop.requested())) {
    const auto start = std::chrono::steady_clock::now();
    const StepResult done = train_step(stop.requested());
    stops = done.stops;
    const double seconds = seconds_since(start);
    ++step_;
    result.loss = done.loss;
    const bool is_last = step_ == options_.steps;
    const bool validates = is_due(options_.validate_every) || is_last;
    if (validates) result.validation_loss = validate();
    record(done, seconds, validates ? result.validation_loss : StepReport::kUnknown);
    if (is_due(options_.sample_every) || is_last) sample();
    // Weights that may be spoilt are not worth the place of a good checkpoint, unless validation
    // has found them to be the best.
    const bool is_good = guard_.state().bad_in_a_row == 0;
    const bool is_best = options_.keep_best && best_step_ == step_;
    if (is_best || (is_good && is_due(options_.checkpoint_every))) save();
  }
  if (saved_step_ != step_) save();
  if (outputs_->writer) outputs_->writer->wait();
  if (outputs_->sharded_writer) outputs_->sharded_writer->wait();
  outputs_->recorder->finish();
  result.steps = step_;
  result.skipped_steps = guard_.state().skipped;
  result.best_step = best_step_;
  result.stopped_early = step_ < options_.steps && is_out_of_patience();
  if (step_ < options_.steps && !result.stopped_early)
    result.signal = stop.signal() != 0 ? stop.signal() : SIGTERM;
  return result;
}

double Trainer::step() {
  const double loss = train_step().loss;
  ++step_;
  return loss;
}

Trainer::StepResult Trainer::train_step(bool stops) {
  const OpScope scope("train_step", ScopeKind::Phase);
  const bool on_device = device().is_cuda() && optimizer_.steps_on_device() && !options_.world;
  const StepResult result = on_device ? step_on_device() : step_on_host(stops);
  if (result.accepted && ema_) ema_->update();
  return result;
}

void Trainer::add_gradients(std::vector<double>& losses) {
  const auto count = static_cast<int64_t>(losses.size());
  const auto loss_of = [&](int64_t i) {
    losses[i] = accumulate(step_ * options_.batch + i * options_.micro_batch);
  };
  if (options_.plan) {
    options_.plan->run({step_, count, options_.micro_batch, options_.precision}, data_, losses);
    return;
  }
  // A context-parallel rank's tokens of a micro-batch count as one of their own.
  const int64_t all = count * options_.context;
  if (zero_) {
    const distributed::Share own = zero_->share(all);
    zero_->begin_step(all);
    for (int64_t i = 0; i < own.count; ++i) loss_of(own.at(i) / options_.context);
    zero_->finish();
    return;
  }
  const AutocastCache weights;
  const distributed::Share own =
      parallel_ ? distributed::share_of(*options_.group, all) : distributed::Share{0, all};
  const int64_t first = own.first / own.count / options_.context * own.count;
  gradients_.zero();
  tree_.begin(own.first);
  for (int64_t i = 0; i < own.count; ++i) {
    if (i > 0) tree_.next();
    if (parallel_ && i + 1 == own.count) parallel_->begin(tree_, all);
    loss_of(first + i);
  }
  parallel_ ? parallel_->finish() : tree_.finish();
}

// Forward and backward of each micro-batch, then one update.
Trainer::StepResult Trainer::step_on_host(bool stops) {
  const int64_t count = options_.batch / options_.micro_batch;
  StepResult result;
  std::vector<double> losses(count);
  add_gradients(losses);
  if (options_.world) result.stops = gather(losses, stops);
  for (const double loss : losses) result.loss += loss;

  const double share = 1.0 / static_cast<double>(count);
  result.loss *= share;
  result.learning_rate = schedule_.at(step_);
  result.grad_norm = grad_norm() * share;
  check_ranks();  // the host has read all that the verdict and the update come of
  result.accepted = guard_.accept(step_ + 1, result.loss, result.grad_norm);
  if (!result.accepted) return result;
  optimizer_.set_lr(result.learning_rate);
  const double factor = share * nn::clip_factor(result.grad_norm, options_.clip_norm);
  update(factor);
  return result;
}

void Trainer::update(double factor) {
  if (options_.plan) return options_.plan->step(factor);
  if (zero_) return zero_->step(factor);
  sharded_ ? sharded_->step(factor) : optimizer_.step(factor);
}

// The same, given to the GPU whole. Its verdict and the guard's have the same grounds.
Trainer::StepResult Trainer::step_on_device() {
  if (!device_step_) device_step_ = make_device_step();
  StepResult result;
  result.learning_rate = schedule_.at(step_);
  optimizer_.set_lr(result.learning_rate);
  DeviceStep::Task task{static_cast<uint64_t>(step_), {}, guard_.loss_limit()};
  for (int64_t i = 0; i < options_.batch / options_.micro_batch; ++i)
    task.batches.push_back(data_.next(options_.micro_batch));

  const DeviceStep::Verdict verdict = device_step_->run(task);
  result.loss = verdict.loss;
  result.grad_norm = verdict.norm;
  result.accepted = verdict.accepted != 0;
  check(guard_.accept(step_ + 1, result.loss, result.grad_norm) == result.accepted, ErrorKind::Cuda,
        "Trainer", "at step ", step_ + 1, " the GPU ", result.accepted ? "took" : "left out",
        " an update that the host judges otherwise: loss ", result.loss, ", gradient norm ",
        result.grad_norm);
  if (result.accepted) optimizer_.count_step();
  return result;
}

Device Trainer::device() const {
  const Tensors buffers = options_.plan || zero_ ? module_.parameters() : gradients_.buffers();
  return buffers.empty() ? Device{} : buffers[0].device();
}

std::unique_ptr<DeviceStep> Trainer::make_device_step() {
  return std::make_unique<DeviceStep>(DeviceStep::Parts{loss_, gradients_, tree_, optimizer_},
                                      DeviceStep::Options{
                                          .device = device(),
                                          .micro_batches = options_.batch / options_.micro_batch,
                                          .micro_batch = options_.micro_batch,
                                          .clip_norm = options_.clip_norm,
                                          .precision = options_.precision,
                                          .graph = options_.cuda_graph,
                                      });
}

double Trainer::accumulate(int64_t first_sample) {
  const Batch batch = data_.next(options_.micro_batch);
  generator().begin_step(static_cast<uint64_t>(step_), first_sample);
  std::optional<distributed::ShardedPass> pass;
  if (zero_) pass.emplace(*zero_, distributed::ShardedPass::Kind::Training);
  Tensor loss;
  {
    const AutocastGuard precision(options_.precision);
    loss = loss_(batch);
  }
  pass ? pass->backward(loss) : loss.backward();
  return loss.item();
}

double Trainer::grad_norm() const {
  if (options_.plan) return options_.plan->grad_norm();
  if (const distributed::ParameterParts* const shards = options_.shards) {
    distributed::ProcessGroup* sharing = nullptr;  // ranks with other slices
    if (zero_) sharing = &zero_->shard_group();
    if (sharded_) sharing = options_.group.get();
    const auto parts = zero_      ? zero_->gradient_parts()
                       : sharded_ ? sharded_->gradient_parts(0)
                                  : distributed::gradient_parts(gradients_, nullptr);
    return distributed::norm_over(shards->counted(parts), device(), {sharing, &shards->group()});
  }
  if (zero_) return zero_->grad_norm();
  return sharded_ ? sharded_->grad_norm() : nn::global_norm(gradients_.contents());
}

// Sums of one number and zeros, which are exact: of ranks that share micro-batches one gives the
// losses. Ranks also learn here that all have written their parts of a checkpoint.
bool Trainer::gather(std::vector<double>& losses, bool stops) {
  const bool gives =
      options_.plan || ((!options_.group || options_.group->rank() % options_.context == 0) &&
                        (!options_.shards || options_.shards->group().rank() == 0));
  if (!gives) std::ranges::fill(losses, 0);
  ShardedWriter* const writer = outputs_ ? outputs_->sharded_writer.get() : nullptr;
  losses.push_back(writer && writer->is_written() ? 1 : 0);
  losses.push_back(stops ? 1 : 0);
  const Tensor shared = from_values(losses, {static_cast<int64_t>(losses.size())}).to(device());
  options_.world->all_reduce(shared).wait();
  losses = to_vector(options_.world->to_host(shared));
  const bool some_stops = losses.back() > 0;
  losses.pop_back();
  if (writer && losses.back() == options_.world->size()) writer->all_have_written();
  losses.pop_back();
  return some_stops;
}

void Trainer::tell_about_graph() {
  if (!device_step_) return;
  const std::string note = device_step_->take_note();
  if (!note.empty()) outputs_->recorder->message(note);
}

void Trainer::record(const StepResult& done, double seconds, double validation_loss) {
  tell_about_graph();
  if (guard_.state().bad_in_a_row > 0)
    outputs_->recorder->message(detail::concat("step ", step_, " skipped: loss ", done.loss,
                                               ", gradient norm ", done.grad_norm));
  StepReport report;
  report.step = step_;
  report.loss = done.loss;
  report.validation_loss = validation_loss;
  report.learning_rate = done.learning_rate;
  report.grad_norm = done.grad_norm;
  report.seconds = seconds;
  if (parallel_) report.exposed_communication = parallel_->exposed_seconds();
  if (options_.plan) report.exposed_communication = options_.plan->exposed_seconds();
  if (zero_) report.exposed_communication = zero_->exposed_seconds();
  report.tokens = options_.batch * options_.tokens_per_sample;
  report.flops = static_cast<double>(options_.batch) * options_.flops_per_sample;
  report.skipped = guard_.state().skipped;
  outputs_->recorder->step(report);
}

void Trainer::evaluate(const std::function<void()>& call) {
  const NoGradGuard no_grad;
  const EvaluationMode evaluation(module_);
  const auto run = [&] {
    std::optional<distributed::ShardedPass> pass;
    if (zero_) pass.emplace(*zero_, distributed::ShardedPass::Kind::Evaluation);
    call();
  };
  if (!ema_) return run();
  {
    const nn::EmaScope averaged(*ema_);
    if (zero_) zero_->updated();
    run();
  }
  if (zero_) zero_->updated();
}

double Trainer::validate() {
  if (!hooks_.validate) return StepReport::kUnknown;
  const OpScope scope("validate", ScopeKind::Phase);
  Validation found = 0;
  evaluate([&] { found = hooks_.validate(); });
  check_ranks();
  if (std::isfinite(found.cost) && !(found.cost >= best_loss_)) {
    best_loss_ = found.cost;
    best_step_ = step_;
  }
  return found.loss;
}

// Ranks that share the weights write it together.
void Trainer::sample() {
  const bool has_parts = options_.plan || options_.shards || options_.context > 1;
  if (!hooks_.sample || options_.sample_every == 0 || !(writes() || zero_ || has_parts)) return;
  const OpScope scope("sample", ScopeKind::Phase);
  TextSample text;
  evaluate([&] {
    const auto write = [&] { text = hooks_.sample(); };
    has_parts&& zero_ ? zero_->with_whole(write) : write();
  });
  text.step = step_;
  if (writes()) outputs_->recorder->sample(text);
}

// After the host has read from the device: a failure of ranks may have ended their collectives
// without a result.
void Trainer::check_ranks() const {
  if (options_.world) options_.world->raise_if_failed();
}

bool Trainer::is_due(int64_t every) const {
  return every > 0 && step_ % every == 0;
}

// Follows from what a checkpoint knows, so that a resumed run stops where the first did.
bool Trainer::is_out_of_patience() const {
  return options_.patience > 0 && options_.validate_every > 0 && best_step_ &&
         step_ - *best_step_ >= options_.patience * options_.validate_every;
}

}  // namespace plinth
