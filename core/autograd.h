#pragma once

// Reverse-mode automatic differentiation. Ops record a Node for each output; backward() walks the
// nodes in the opposite order of their creation.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace plinth {

// ---- for everyone ----

bool grad_enabled();

// While one lives, the thread records no graph.
class NoGradGuard {
 public:
  NoGradGuard();
  ~NoGradGuard();
  NoGradGuard(const NoGradGuard&) = delete;
  NoGradGuard& operator=(const NoGradGuard&) = delete;

 private:
  bool previous_;
};

// While one lives, the thread records the graph (or not), as said.
class GradModeGuard {
 public:
  explicit GradModeGuard(bool enabled);
  ~GradModeGuard();
  GradModeGuard(const GradModeGuard&) = delete;
  GradModeGuard& operator=(const GradModeGuard&) = delete;

 private:
  bool previous_;
};

// While one lives, every op's result and every gradient is searched for NaN, and the first one
// found throws Error(Argument) naming the op that made it. Slow.
class AnomalyGuard {
 public:
  AnomalyGuard();
  ~AnomalyGuard();
  AnomalyGuard(const AnomalyGuard&) = delete;
  AnomalyGuard& operator=(const AnomalyGuard&) = delete;

 private:
  bool previous_;
};

struct GradOptions {
  bool retain_graph = false;  // keep what the nodes saved, for another backward
  bool create_graph = false;  // record the gradient's own graph (implies retain_graph)
  bool allow_unused = false;  // give an undefined gradient for an input that does not matter
};

// d(sum of outputs . grad_outputs) / d(inputs), without touching any grad(). An undefined or
// missing grad_output stands for 1 and needs a scalar output.
Tensors grad(const Tensors& outputs, const Tensors& inputs, const Tensors& grad_outputs = {},
             GradOptions options = {});

// Accumulates into grad() of every leaf below outputs.
void backward(const Tensors& outputs, const Tensors& grad_outputs = {}, GradOptions options = {});

// Runs f(inputs) without keeping what its ops save, and runs it once more in backward (Chen et al.
// 2016, arXiv 1604.06174). f must not depend on anything that changes in between, except the random
// keys of dropout, which are replayed. Parameters used inside f get their gradients.
Tensor checkpoint(const std::function<Tensor(const Tensors&)>& f, const Tensors& inputs);

// ---- for the authors of ops ----

// Where the gradient of an input goes.
struct GradientPlace {
  // In which it is added up: that of the tensor which the input is a conversion of, or the input's
  // own. An op that has the gradient in that dtype need not round it.
  DType dtype;
  // grad() of a leaf that this gradient will be all of, in that dtype: an op may write it there,
  // every element, and returns it. Undefined where there is none.
  Tensor memory;
};

// What the pass that runs an op's backward function knows.
class BackwardPass {
 public:
  virtual Tensor take_given(size_t input) = 0;
  virtual GradientPlace place(size_t input) = 0;
  virtual bool starts_with_one() = 0;

 protected:
  ~BackwardPass() = default;
};

// What backward is given: the tensors that forward saved, and which inputs want a gradient.
class BackwardContext {
 public:
  // Saved tensor i, as it was. Throws Error(Argument) if it has been written to since, or freed.
  const Tensor& saved(size_t i) const { return saved_[i]; }
  size_t saved_count() const { return saved_.size(); }
  bool needs(size_t input) const { return needs_[input]; }
  // What other ops have given so far as the gradient of `input`. It counts as not given any more:
  // a kernel adds it on the way, or adds to it, and the sum is returned. Undefined if there is
  // nothing, if somebody else holds it, if `input` needs no gradient, or under create_graph.
  Tensor take_given(size_t input) const { return pass_->take_given(input); }
  // For an input that needs a gradient.
  GradientPlace place(size_t input) const { return pass_->place(input); }
  // Whether the gradient is the 1 that backward() starts with where it is given none: on a GPU the
  // host could not read it without waiting.
  bool starts_with_one() const { return pass_->starts_with_one(); }

 private:
  friend class OpNode;
  Tensors saved_;
  std::vector<bool> needs_;
  BackwardPass* pass_ = nullptr;
};

using BackwardFn = std::function<Tensor(const BackwardContext&, const Tensor& grad)>;
using BackwardManyFn = std::function<Tensors(const BackwardContext&, const Tensor& grad)>;
using BackwardMultiFn = std::function<Tensors(const BackwardContext&, const Tensors& grads)>;

// Says that grad() of a leaf is all zeros, and that nobody writes to it before a backward pass
// does: the first gradient may then be written over it. Until then, or until set_grad().
void mark_grad_cleared(const Tensor& leaf);

// True if a graph is being recorded and any of the tensors takes part in it.
bool needs_grad(std::initializer_list<Tensor> tensors);
bool needs_grad(const Tensors& tensors);

// Records that `output` was computed from `inputs`, and returns it. backward gets the gradient of
// output and returns those of the inputs (undefined for one that needs none), written in
// differentiable ops if the op is to have second derivatives:
//
//   Tensor square(const Tensor& x) {
//     return record("square", {x}, mul(x.detach(), x.detach()), {x},
//                   [](const BackwardContext& c, const Tensor& dy) -> Tensors { return {dy *
//                   c.saved(0) * 2}; });
//   }
Tensor record(std::string_view op, const Tensors& inputs, Tensor output, const Tensors& saved,
              BackwardManyFn backward);
// The same for an op with several outputs; gradients that did not arrive are zeros.
Tensors record_multi(std::string_view op, const Tensors& inputs, Tensors outputs,
                     const Tensors& saved, BackwardMultiFn backward);
// Marks output as computed from inputs by an op without a gradient: asking for one raises an error
// that names op. Fused backward kernels use it, so that a second derivative is refused, not wrong.
Tensor record_undifferentiable(std::string_view op, const Tensors& inputs, Tensor output);

// A user's own op in a few lines: forward runs without recording, backward as in record().
//   auto y = custom_op("cube", {x}, [](const Tensors& in) { return mul(mul(in[0], in[0]), in[0]);
//   },
//                      [](const Tensors& in, const Tensor& dy) -> Tensors { return {dy * in[0] *
//                      in[0] * 3}; });
Tensor custom_op(std::string_view op, const Tensors& inputs,
                 const std::function<Tensor(const Tensors& inputs)>& forward,
                 std::function<Tensors(const Tensors& inputs, const Tensor& grad)> backward);

}  // namespace plinth
