#pragma once

// Who has the memory of a training step: every tensor of a dry run (core/dry_run.h) from its
// allocation to its end, by what it is for. It hears of the allocator's blocks and of the scopes
// (core/op_scope.h) in which they are made; what follows from neither, as which block has which
// parameter, it is told.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/dry_run.h"
#include "core/op_scope.h"
#include "core/tensor.h"

namespace plinth {

enum class MemoryKind : uint8_t {
  Parameters,     // also those of other ranks, while they are here
  Gradients,      // of parameters: sums, parts of sums, and what arrives from other ranks for them
  Optimizer,      // its state, and what a step of it needs meanwhile
  Activations,    // of a forward pass, or of one that checkpointing repeats
  Backward,       // gradients of activations, and of parameters before they are added to the sums
  Communication,  // buffers of collectives
  Other           // tables, norms, losses
};
inline constexpr size_t kMemoryKinds = 7;
// "parameters", ...
std::string_view name(MemoryKind kind);

using BytesByKind = std::array<int64_t, kMemoryKinds>;
int64_t total(const BytesByKind& bytes);

// A part of the step.
enum class StepPhase : uint8_t { Setup, Start, Forward, Backward, Reduction, Update };
// "forward", ...
std::string_view name(StepPhase phase);

struct StepPlace {
  StepPhase phase = StepPhase::Setup;
  int32_t micro_batch = 0;  // of this rank, counted from 1; 0: unknown
  int64_t event = 0;        // allocations and ends of blocks in this step before
  bool operator==(const StepPlace&) const = default;
};
// "forward 2"
std::string to_string(const StepPlace& place);

// A tensor that was alive at the peak.
struct TracedTensor {
  MemoryKind kind = MemoryKind::Other;
  // The parameters or states in it; else the op that made it, and the module in which.
  std::string name, module;
  Shape shape;  // as it was made
  DType dtype = DType::Float32;
  int64_t bytes = 0;  // of its block
  StepPlace born;     // before the step: Setup
  StepPlace died;
  bool stays = false;  // beyond the step
};

struct MemorySample {
  StepPlace place;
  BytesByKind bytes = {};
};

class MemoryTrace final : public MemoryListener, public ScopeListener {
 public:
  // The step that is reported begins; what was heard of events so far is forgotten.
  void begin_step();
  // Where micro-batches follow one another, each's forward pass, before it; else they have no
  // number.
  void begin_micro_batch();
  // What is alive belongs to something: a block may have several names.
  void tell(const Tensor& tensor, MemoryKind kind, const std::string& name);

  // Of the step. Block bytes, as MemoryStats counts them.
  const BytesByKind& peak() const { return peak_; }
  StepPlace peak_place() const { return peak_place_; }
  // The largest first.
  std::vector<TracedTensor> at_peak() const;
  // In the order of time, each the most of its part of the step; at most kSamples.
  std::vector<MemorySample> samples() const;
  static constexpr size_t kSamples = 512;

  // ---- what it hears ----
  void allocated(const void* block, int64_t bytes) override;
  void shaped(const void* block, const Shape& shape, DType dtype) override;
  void freed(const void* block) noexcept override;
  void enter(const char* name, ScopeKind kind) override;
  void leave() override;

 private:
  struct Scope {
    const char* name;
    ScopeKind kind;
  };
  struct Block {
    MemoryKind kind = MemoryKind::Other;
    const char* op = "";
    const char* module = "";
    std::string name;  // that it was told
    int64_t names = 0;
    Shape shape;
    DType dtype = DType::UInt8;
    int64_t bytes = 0;
    StepPlace born;
  };
  struct Ended {
    Block block;
    StepPlace died;
  };

  void label(Block& block) const;
  bool in_backward() const;
  void happened();
  void sample();
  static TracedTensor traced(const Block& block);

  std::vector<Scope> scopes_;
  StepPlace now_;
  std::unordered_map<const void*, Block> alive_;
  BytesByKind bytes_ = {};
  BytesByKind peak_ = {};
  StepPlace peak_place_;
  std::vector<Ended> ended_;  // since the peak, of those that were alive then
  std::vector<MemorySample> samples_;
  int64_t stride_ = 1;  // events of a sample
};

}  // namespace plinth
