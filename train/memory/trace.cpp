#include "train/memory/trace.h"

#include <algorithm>
#include <numeric>
#include <tuple>
#include <utility>

#include "core/error.h"

namespace plinth {
namespace {

constexpr std::array<std::string_view, kMemoryKinds> kKindNames = {
    "parameters", "gradients", "optimizer", "activations", "backward", "communication", "other"};
constexpr std::array<std::string_view, 6> kPhaseNames = {"setup",    "start",     "forward",
                                                         "backward", "reduction", "update"};

constexpr std::string_view kBackward = "backward";

// Scopes whose blocks are of one kind, whatever they are in.
struct KnownScope {
  std::string_view name;
  MemoryKind kind;
};
constexpr KnownScope kKnown[] = {
    {"optimizer_step", MemoryKind::Optimizer},
    {"own_parameters", MemoryKind::Parameters},
    {"gathered_unit", MemoryKind::Parameters},
    {"own_gradients", MemoryKind::Gradients},
    {"unit_gradients", MemoryKind::Gradients},
    {"partial_sums", MemoryKind::Gradients},
    {"send_gradients", MemoryKind::Communication},
    {"gather_parameters", MemoryKind::Communication},
    {"linear_cross_entropy", MemoryKind::Backward},  // which computes its gradients with the loss
    {"moving_average", MemoryKind::Other},
    {"grad_norm", MemoryKind::Other},
    {"global_norm", MemoryKind::Other},
    {"sums_of_squares", MemoryKind::Other},
};

const KnownScope* known(std::string_view name) {
  const auto* const found = std::ranges::find(kKnown, name, &KnownScope::name);
  return found == std::end(kKnown) ? nullptr : found;
}

// The phase that a scope begins; it lasts until another one does.
const StepPhase* begun_by(std::string_view name) {
  struct Begins {
    std::string_view name;
    StepPhase phase;
  };
  static constexpr Begins kBegins[] = {
      {kBackward, StepPhase::Backward},      {"wait_for_gradients", StepPhase::Reduction},
      {"optimizer_step", StepPhase::Update}, {"grad_norm", StepPhase::Update},
      {"global_norm", StepPhase::Update},    {"sums_of_squares", StepPhase::Update},
  };
  const auto* const found = std::ranges::find(kBegins, name, &Begins::name);
  return found == std::end(kBegins) ? nullptr : &found->phase;
}

}  // namespace

std::string_view name(MemoryKind kind) {
  return kKindNames[static_cast<size_t>(kind)];
}

std::string_view name(StepPhase phase) {
  return kPhaseNames[static_cast<size_t>(phase)];
}

int64_t total(const BytesByKind& bytes) {
  return std::reduce(bytes.begin(), bytes.end());
}

std::string to_string(const StepPlace& place) {
  const bool counts = place.phase == StepPhase::Forward || place.phase == StepPhase::Backward;
  return counts && place.micro_batch > 0 ? detail::concat(name(place.phase), " ", place.micro_batch)
                                         : std::string(name(place.phase));
}

void MemoryTrace::begin_step() {
  now_ = {.phase = StepPhase::Start};
  for (auto& [address, block] : alive_) block.born = {};
  peak_ = bytes_;
  peak_place_ = now_;
  ended_.clear();
  samples_.clear();
  stride_ = 1;
}

void MemoryTrace::begin_micro_batch() {
  ++now_.micro_batch;
  now_.phase = StepPhase::Forward;
}

void MemoryTrace::tell(const Tensor& tensor, MemoryKind kind, const std::string& name) {
  if (!tensor.defined()) return;
  const auto found = alive_.find(tensor.storage()->data());
  if (found == alive_.end()) return;
  Block& block = found->second;
  bytes_[static_cast<size_t>(block.kind)] -= block.bytes;
  bytes_[static_cast<size_t>(kind)] += block.bytes;
  if (block.kind != kind) block.names = 0;
  block.kind = kind;
  if (block.names++ == 0) block.name = name;
}

// ---- what it hears ----

void MemoryTrace::enter(const char* name, ScopeKind kind) {
  scopes_.push_back({name, kind});
  if (now_.phase == StepPhase::Setup) return;
  if (const StepPhase* const phase = begun_by(name)) now_.phase = *phase;
  if (kind == ScopeKind::Module && !in_backward()) now_.phase = StepPhase::Forward;
}

bool MemoryTrace::in_backward() const {
  return std::ranges::any_of(scopes_, [](const Scope& scope) { return scope.name == kBackward; });
}

void MemoryTrace::leave() {
  if (!scopes_.empty()) scopes_.pop_back();
}

// By the innermost scope that says something; a module within a backward pass repeats its forward
// pass. The op is the outermost one below that scope.
void MemoryTrace::label(Block& block) const {
  const bool in_step = now_.phase != StepPhase::Setup;
  block.kind = now_.phase == StepPhase::Forward ? MemoryKind::Activations : MemoryKind::Other;
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    const KnownScope* const of = known(scope->name);
    const bool is_op = scope->kind == ScopeKind::Op || scope->kind == ScopeKind::Backward;
    if (is_op || of) block.op = scope->name;
    if (of) {
      block.kind = of->kind;
      return;
    }
    if (in_step && scope->kind == ScopeKind::Module) {
      block.module = scope->name;
      block.kind = MemoryKind::Activations;
      return;
    }
    if (in_step && (scope->kind == ScopeKind::Backward || scope->name == kBackward)) {
      block.kind = MemoryKind::Backward;
      return;
    }
  }
}

void MemoryTrace::allocated(const void* address, int64_t bytes) {
  Block block;
  block.bytes = bytes;
  block.born = now_;
  label(block);
  bytes_[static_cast<size_t>(block.kind)] += bytes;
  alive_.insert_or_assign(address, std::move(block));
  if (total(bytes_) > total(peak_)) {
    peak_ = bytes_;
    peak_place_ = now_;
    ended_.clear();
  }
  happened();
}

void MemoryTrace::shaped(const void* address, const Shape& shape, DType dtype) {
  const auto found = alive_.find(address);
  if (found == alive_.end()) return;
  found->second.shape = shape;
  found->second.dtype = dtype;
}

void MemoryTrace::freed(const void* address) noexcept {
  const auto found = alive_.find(address);
  if (found == alive_.end()) return;
  Block& block = found->second;
  bytes_[static_cast<size_t>(block.kind)] -= block.bytes;
  const bool at_peak = now_.phase != StepPhase::Setup && block.born.event <= peak_place_.event;
  if (at_peak) ended_.push_back({std::move(block), now_});
  alive_.erase(found);
  happened();
}

// ---- time ----

void MemoryTrace::happened() {
  if (now_.phase == StepPhase::Setup) return;
  ++now_.event;
  sample();
}

// Of each `stride_` events the moment with the most; twice as many when there are too many.
void MemoryTrace::sample() {
  const MemorySample here{now_, bytes_};
  const auto number = static_cast<size_t>(now_.event / stride_);
  if (number < samples_.size()) {
    if (total(bytes_) > total(samples_.back().bytes)) samples_.back() = here;
    return;
  }
  samples_.push_back(here);
  if (samples_.size() < kSamples) return;
  std::vector<MemorySample> half;
  half.reserve(kSamples);
  for (size_t i = 0; i < samples_.size(); i += 2) {
    const bool has_next = i + 1 < samples_.size();
    const bool takes_next = has_next && total(samples_[i + 1].bytes) > total(samples_[i].bytes);
    half.push_back(samples_[takes_next ? i + 1 : i]);
  }
  samples_ = std::move(half);
  stride_ *= 2;
}

std::vector<MemorySample> MemoryTrace::samples() const {
  return samples_;
}

// ---- the peak ----

TracedTensor MemoryTrace::traced(const Block& block) {
  TracedTensor tensor{.kind = block.kind,
                      .name = block.names > 0 ? block.name : block.op,
                      .module = block.module,
                      .shape = block.shape,
                      .dtype = block.dtype,
                      .bytes = block.bytes,
                      .born = block.born,
                      .died = {},
                      .stays = false};
  if (tensor.name.empty()) tensor.name = "tensor";
  if (block.names > 1) tensor.name += detail::concat(" and ", block.names - 1, " more");
  return tensor;
}

std::vector<TracedTensor> MemoryTrace::at_peak() const {
  std::vector<TracedTensor> tensors;
  for (const auto& [address, block] : alive_) {
    if (block.born.event > peak_place_.event) continue;
    tensors.push_back(traced(block));
    tensors.back().stays = true;
  }
  for (const auto& [block, died] : ended_) {
    tensors.push_back(traced(block));
    tensors.back().died = died;
  }
  const auto key = [](const TracedTensor& t) {
    return std::tuple(-t.bytes, t.kind, std::string_view(t.name), t.born.event);
  };
  std::ranges::sort(tensors, {}, key);
  return tensors;
}

}  // namespace plinth
