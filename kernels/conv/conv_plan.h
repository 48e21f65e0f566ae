#pragma once

// How cuDNN makes one convolution: a graph of that single operation, and the first engine that its
// heuristics propose and that keeps Plinth's promises. Only kernels/conv includes this.

#include <optional>
#include <tuple>
#include <vector>

#include "kernels/conv/conv_cuda.h"
#include "kernels/conv/cudnn_descriptor.h"
#include "kernels/dtype.h"

namespace plinth::kernels::cuda {

struct ConvProblem {
  ConvDesc desc;
  DType dtype;
  ConvPass pass;

  auto key() const {
    return std::tuple(desc.batch, desc.in_channels, desc.out_channels, desc.groups, desc.input,
                      desc.kernel, desc.stride, desc.padding, desc.dilation, desc.allow_tf32, dtype,
                      pass);
  }
  bool operator<(const ConvProblem& other) const { return key() < other.key(); }
};

// The operands as the graph names them, whichever of them is the result.
enum ConvOperand : int64_t { kOperandX = 1, kOperandWeight = 2, kOperandY = 3 };

// What the graph takes for granted of every operand's address.
inline constexpr int64_t kConvAlignment = 16;

// cuDNN does not say that a descriptor outlives those which it was made of: they are all kept.
struct ConvPlan {
  std::vector<Descriptor> parts;  // the last is the execution plan
  int64_t workspace = 0;          // bytes

  const Descriptor& execution() const { return parts.back(); }
};

// Nothing where no engine is left; throws DnnError where the library refuses the problem itself.
std::optional<ConvPlan> make_conv_plan(void* handle, const ConvProblem& problem);

// Gives the plan's work to the handle's stream.
void execute(void* handle, const ConvPlan& plan, const void* x, const void* weight, const void* y,
             void* workspace);

}  // namespace plinth::kernels::cuda
