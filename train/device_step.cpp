#include "train/device_step.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/autograd.h"
#include "core/error.h"
#include "core/ops/factories.h"
#include "core/ops/on_device.h"
#include "core/random.h"
#include "nn/clip.h"

namespace plinth {
namespace {

// In the first, optimizers make their state; the second runs as all later ones do.
constexpr int64_t kWarmUpSteps = 2;

// Where things lie in one block of memory.
class Layout {
 public:
  size_t add(size_t bytes) {
    constexpr size_t kUnit = 256;  // what kernels expect of a tensor's first element
    return std::exchange(end_, end_ + (bytes + kUnit - 1) / kUnit * kUnit);
  }
  size_t bytes() const { return end_; }

 private:
  size_t end_ = 0;
};

size_t bytes_of(const Tensor& x) {
  return static_cast<size_t>(x.numel()) * size_of(x.dtype());
}

}  // namespace

DeviceStep::DeviceStep(Parts parts, const Options& options)
    : parts_(std::move(parts)),
      options_(options),
      losses_(zeros({options.micro_batches}, {DType::Float64, options.device})),
      verdict_(options.device, sizeof(Verdict)) {
  if (!options_.graph) note_ = "CUDA graph: not used, since train.cuda_graph is false";
}

DeviceStep::Verdict DeviceStep::run(const Task& task) {
  write_inputs(task);
  inputs_->send();
  if (options_.graph && !graph_ && eager_steps_ >= kWarmUpSteps) capture();
  if (graph_) {
    graph_->launch();
  } else {
    enqueue();
    ++eager_steps_;
  }
  verdict_.fetch();
  synchronize(current_stream(options_.device));
  return *verdict_.host<Verdict>();
}

std::string DeviceStep::take_note() {
  return std::exchange(note_, "");
}

// ---- what the host writes ----

void DeviceStep::write_inputs(const Task& task) {
  parts_.gradients.attach();
  const std::vector<Scalars> scalars = parts_.optimizer.next_scalars(share());
  if (!fits(task.batches)) lay_out(task.batches, scalars.size());
  *inputs_->host<double>(loss_limit_at_) = task.loss_limit;
  std::ranges::copy(scalars, inputs_->host<Scalars>(scalars_at_));
  auto* const places = inputs_->host<kernels::PhiloxPlace>(places_at_);
  const int64_t first = static_cast<int64_t>(task.step) * options_.micro_batches;
  for (int64_t i = 0; i < options_.micro_batches; ++i) {
    places[i] = {task.step, (first + i) * options_.micro_batch};
    for (size_t j = 0; j < batches_[i].size(); ++j) {
      const size_t at =
          static_cast<size_t>(batches_[i][j].offset()) * size_of(batches_[i][j].dtype());
      const Tensor source = task.batches[i][j].contiguous();
      std::memcpy(inputs_->host<std::byte>(at), source.raw_data(), bytes_of(source));
    }
  }
}

// Whether the device has room for exactly these.
bool DeviceStep::fits(const std::vector<Batch>& batches) const {
  const auto same = [](const Tensor& a, const Tensor& b) {
    return a.shape() == b.shape() && a.dtype() == b.dtype();
  };
  return std::ranges::equal(batches_, batches, [&](const Batch& a, const Batch& b) {
    return std::ranges::equal(a, b, same);
  });
}

void DeviceStep::lay_out(const std::vector<Batch>& batches, size_t scalars) {
  graph_.reset();
  eager_steps_ = 0;
  Layout layout;
  loss_limit_at_ = layout.add(sizeof(double));
  places_at_ = layout.add(batches.size() * sizeof(kernels::PhiloxPlace));
  scalars_at_ = layout.add(scalars * sizeof(Scalars));
  std::vector<size_t> places;
  for (const Batch& batch : batches) {
    for (const Tensor& x : batch) {
      check(x.device().is_cpu(), ErrorKind::Device, "Trainer", "a tensor of a batch is on ",
            x.device(), ", expected cpu: the trainer copies it");
      places.push_back(layout.add(bytes_of(x)));
    }
  }
  batches_.clear();
  inputs_.emplace(options_.device, layout.bytes());
  auto place = places.begin();
  for (const Batch& batch : batches) {
    Batch& there = batches_.emplace_back();
    for (const Tensor& x : batch) there.push_back(inputs_->tensor(*place++, x.shape(), x.dtype()));
  }
}

// ---- what the device does ----

void DeviceStep::capture() {
  try {
    graph_.emplace(options_.device, [this] { enqueue(); });
    note_ = detail::concat("CUDA graph: captured after ", eager_steps_,
                           " steps; the step is now one call");
  } catch (const Error& error) {
    parts_.tree.clear();
    options_.graph = false;
    note_ = detail::concat("CUDA graph: not used, kernels are launched one by one: ", error.what());
  }
}

void DeviceStep::enqueue() {
  parts_.gradients.zero();
  enqueue_gradients();
  judge(nn::sums_of_squares(parts_.gradients.buffers()));
  parts_.optimizer.step_on_device(
      {.scalars = inputs_->device<Scalars>(scalars_at_), .verdict = verdict_.device<Verdict>()});
}

void DeviceStep::enqueue_gradients() {
  AutocastCache weights(weights_);
  for (int64_t i = 0; i < options_.micro_batches; ++i) {
    if (i > 0) parts_.tree.next();
    enqueue_micro_batch(i);
  }
  parts_.tree.finish();
  weights_ = weights.used();
}

// Adds its gradients, and leaves its loss in losses_.
void DeviceStep::enqueue_micro_batch(int64_t i) {
  generator().begin_step(0, 0, inputs_->device<kernels::PhiloxPlace>(places_at_) + i);
  Tensor loss;
  {
    const AutocastGuard precision(options_.precision);
    loss = parts_.loss(batches_[i]);
  }
  loss.backward();
  const NoGradGuard no_grad;
  losses_[i].copy_(loss.detach().reshape({}));
}

void DeviceStep::judge(const Tensor& sums) const {
#ifdef PLINTH_CUDA_BACKEND
  kernels::cuda::judge_step(stream_of(sums),
                            {.losses = losses_.data<double>(),
                             .micro_batches = options_.micro_batches,
                             .sums = sums.data<double>(),
                             .sum_count = sums.numel(),
                             .share = share(),
                             .max_norm = options_.clip_norm,
                             .max_loss = inputs_->device<double>(loss_limit_at_)},
                            verdict_.device<Verdict>());
#else
  static_cast<void>(sums);
#endif
}

}  // namespace plinth
