#include "distributed/pipeline/executor.h"

#include <chrono>
#include <utility>
#include <vector>

#include "core/autograd.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/random.h"

namespace plinth::distributed {
namespace {

// The next random op's number within the micro-batch.
int64_t random_op() {
  return static_cast<int64_t>(generator().state().op);
}

void set_random_op(int64_t op) {
  kernels::PhiloxKey key = generator().state();
  key.op = static_cast<decltype(key.op)>(op);
  generator().restore(key);
}

}  // namespace

PipelineExecutor::PipelineExecutor(std::shared_ptr<ProcessGroup> group, PipelineKind kind,
                                   int chunks, Device device)
    : group_(std::move(group)), kind_(kind), chunks_(chunks), device_(device) {
  // Whether the kind takes the chunks; `stages` micro-batches suit every kind.
  make_schedule(kind_, stages(), chunks_, stages());
  check(stages() > 1 || chunks_ == 1, ErrorKind::Argument, "PipelineExecutor", "got ", chunks_,
        " chunks of one stage, takes 1");
  if (stages() == 1) return;
  activations_.emplace(*group_, 1, chunks_ > 1);
  gradients_.emplace(*group_, -1, chunks_ > 1);
}

// The neighbours' lists say in which order their parcels come.
void PipelineExecutor::expect(const PipelineSchedule& schedule) {
  const int before = (group_->rank() + stages() - 1) % stages();
  const int after = (group_->rank() + 1) % stages();
  std::vector<Parcel> forward, backward;
  for (const PipelineAction& action : schedule.actions[before]) {
    const int piece = action.chunk * stages() + before;
    if (action.kind == ActionKind::Forward && piece + 1 < pieces())
      forward.push_back({piece, action.micro_batch});
  }
  for (const PipelineAction& action : schedule.actions[after]) {
    const int piece = action.chunk * stages() + after;
    const bool sends =
        action.kind == ActionKind::Backward || action.kind == ActionKind::BackwardInput;
    if (sends && piece > 0) backward.push_back({piece, action.micro_batch});
  }
  activations_->expect(std::move(forward));
  gradients_->expect(std::move(backward));
}

Tensors PipelineExecutor::receive(Channel& channel, const Parcel& parcel) {
  const OpScope scope("wait_for_stage", ScopeKind::Phase);
  const auto start = std::chrono::steady_clock::now();
  Tensors tensors = channel.receive(parcel, device_);
  exposed_seconds_ +=
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return tensors;
}

Tensor PipelineExecutor::forward(const PipelineModel& model, const Parcel& parcel) {
  const auto [piece, micro_batch] = parcel;
  InFlight state;
  if (piece > 0) {
    state.x = receive(*activations_, {piece - 1, micro_batch});
    for (Tensor& x : state.x) {
      if (grad_enabled()) x.set_requires_grad();
    }
  }
  if (model.begin) model.begin(micro_batch);
  if (piece > 0) set_random_op(activations_->note(piece - 1));
  state.y = model.forward(piece, micro_batch, state.x);
  const bool is_last = piece + 1 == pieces();
  const Tensor loss = is_last ? state.y[0].detach() : Tensor();
  if (!is_last) {
    Tensors values;
    for (const Tensor& y : state.y) values.push_back(y.detach().contiguous());
    activations_->send(parcel, values, random_op());
  }
  if (grad_enabled()) in_flight_[parcel] = std::move(state);
  return loss;
}

// None for the loss, whose gradient is 1.
Tensors PipelineExecutor::output_gradients(const Parcel& parcel) {
  if (parcel.piece + 1 == pieces()) return {};
  return receive(*gradients_, {parcel.piece + 1, parcel.micro_batch});
}

void PipelineExecutor::backward(const PipelineModel& model, const Parcel& parcel) {
  const InFlight state = std::move(in_flight_.extract(parcel).mapped());
  const Tensors gradients = output_gradients(parcel);
  if (model.before_gradients) model.before_gradients(parcel.piece, parcel.micro_batch);
  // A first piece that is frozen takes none.
  if (needs_grad(state.y)) plinth::backward(state.y, gradients);
  if (parcel.piece == 0) return;
  Tensors of_inputs;
  for (const Tensor& x : state.x) of_inputs.push_back(x.grad().contiguous());
  gradients_->send(parcel, of_inputs, 0);
}

void PipelineExecutor::backward_input(const Parcel& parcel) {
  const InFlight state = std::move(in_flight_.extract(parcel).mapped());
  SplitBackward split(state.y, output_gradients(parcel), state.x);
  if (parcel.piece > 0) {
    Tensors of_inputs;
    for (const Tensor& gradient : split.input_gradients())
      of_inputs.push_back(gradient.contiguous());
    gradients_->send(parcel, of_inputs, 0);
  }
  split_.emplace(parcel, std::move(split));
}

void PipelineExecutor::backward_weight(const PipelineModel& model, const Parcel& parcel) {
  SplitBackward split = std::move(split_.extract(parcel).mapped());
  if (model.before_gradients) model.before_gradients(parcel.piece, parcel.micro_batch);
  split.finish();
}

void PipelineExecutor::flush() {
  if (!activations_) return;
  activations_->flush();
  gradients_->flush();
}

Tensors PipelineExecutor::run(const PipelineModel& model, int micro_batches) {
  const PipelineSchedule schedule = make_schedule(kind_, stages(), chunks_, micro_batches);
  in_flight_.clear();
  split_.clear();
  exposed_seconds_ = 0;
  if (activations_) expect(schedule);
  Tensors losses(has_last() ? micro_batches : 0);
  for (const PipelineAction& action : schedule.actions[group_->rank()]) {
    const Parcel parcel{piece_of(action.chunk), action.micro_batch};
    switch (action.kind) {
      case ActionKind::Forward: {
        const Tensor loss = forward(model, parcel);
        if (loss.defined()) losses[parcel.micro_batch] = loss;
        break;
      }
      case ActionKind::Backward: backward(model, parcel); break;
      case ActionKind::BackwardInput: backward_input(parcel); break;
      case ActionKind::BackwardWeight: backward_weight(model, parcel); break;
    }
  }
  flush();
  return losses;
}

Tensor PipelineExecutor::evaluate(const PipelineModel& model) {
  const NoGradGuard no_grad;
  if (activations_) {
    std::vector<Parcel> parcels;
    const int before = (group_->rank() + stages() - 1) % stages();
    for (int piece = before; piece + 1 < pieces(); piece += stages()) parcels.push_back({piece, 0});
    activations_->expect(std::move(parcels));
  }
  Tensor loss;
  for (int chunk = 0; chunk < chunks_; ++chunk) {
    const Tensor value = forward(model, {piece_of(chunk), 0});
    if (value.defined()) loss = value;
  }
  flush();
  return loss;
}

}  // namespace plinth::distributed
