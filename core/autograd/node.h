#pragma once

// The nodes of the autograd graph.

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/autograd.h"
#include "core/tensor.h"

namespace plinth {

// What the gradient of an output must look like.
struct OutputInfo {
  Shape shape;
  TensorOptions options;
};

class Node : public std::enable_shared_from_this<Node> {
 public:
  explicit Node(std::string_view name);
  virtual ~Node() = default;

  // One gradient an input edge, from one an output; undefined ones are zero.
  virtual Tensors backward(const Tensors& grads) = 0;
  // Frees what forward saved.
  virtual void release() {}
  // Whether backward() takes a gradient of this dtype as it is, and not of that of its output, if
  // it is the only one.
  virtual bool takes_unconverted(DType) const { return false; }
  // Where backward() passes a gradient on, converted: of a conversion to another dtype.
  virtual const Edge* converts_for() const { return nullptr; }
  // GradientPlace::memory of a leaf, whose gradient does not count as cleared any more.
  virtual Tensor take_cleared_grad(DType) { return {}; }

  const std::string& name() const { return name_; }
  uint64_t sequence() const { return sequence_; }

  std::vector<Edge> inputs;  // where the results of backward() go
  // Whose gradients the pass at hand wants of backward(); empty: all.
  std::vector<bool> wanted;
  BackwardPass* pass = nullptr;  // at hand
  std::vector<OutputInfo> outputs;
  // hooks[i] are called, in order, with the gradient of output i before backward().
  std::vector<std::vector<std::function<Tensor(const Tensor&)>>> hooks;

 protected:
  void set_last() { sequence_ = UINT64_MAX; }

 private:
  std::string name_;
  uint64_t sequence_;  // grows with creation: backward runs later nodes first
};

// Deletes a chain of nodes without recursion, however long it is.
void delete_node(Node* node);

template <class N, class... Args>
std::shared_ptr<N> make_node(Args&&... args) {
  return std::shared_ptr<N>(new N(std::forward<Args>(args)...), delete_node);
}

// The end of the graph at a leaf: adds to its grad().
class AccumulateGrad final : public Node {
 public:
  explicit AccumulateGrad(Tensor leaf);
  Tensors backward(const Tensors& grads) override;
  bool takes_unconverted(DType dtype) const override;
  Tensor take_cleared_grad(DType dtype) override;

 private:
  Tensor leaf_;
};

// A conversion to another dtype.
class Conversion final : public Node {
 public:
  explicit Conversion(const Tensor& input);
  // Whoever takes the gradient has it converted, unless it can do without.
  Tensors backward(const Tensors& grads) override { return grads; }
  const Edge* converts_for() const override;
};

// A tensor that forward saved. It is kept cut off from the graph and joined to it again when it is
// read: an op that saves its own output, or a tensor that is then written in place, would else keep
// itself alive.
class SavedTensor {
 public:
  SavedTensor(const Tensor& tensor, const Node* owner);
  Tensor unpack(const std::shared_ptr<Node>& owner) const;

 private:
  Tensor tensor_;
  uint32_t version_ = 0;
  Edge history_;  // null for a leaf, and for an output of the owner
  bool is_output_ = false;
};

// An op, by its backward function.
class OpNode final : public Node {
 public:
  OpNode(std::string_view name, BackwardMultiFn backward)
      : Node(name), backward_(std::move(backward)) {}
  Tensors backward(const Tensors& grads) override;
  void release() override;
  void save(const Tensors& tensors);

 private:
  BackwardMultiFn backward_;
  std::vector<SavedTensor> saved_;
  bool released_ = false;
};

// Runs backward from roots. With `targets`, returns the gradients that arrive there and accumulates
// into no leaf; without, every leaf accumulates.
Tensors run_backward(const Tensors& roots, const Tensors& root_grads, const Tensors* targets,
                     GradOptions options);

// What a pass left out: nodes whose gradients arrived, and which of their inputs have none yet.
struct Deferred {
  std::shared_ptr<Node> node;
  Tensors grads;
  std::vector<bool> inputs;
};

// The two halves of core/split_backward.h: the gradients that arrive at `targets`, and what that
// left out; and the rest, which accumulates into leaves.
Tensors run_backward_to(const Tensors& roots, const Tensors& root_grads, const Tensors& targets,
                        std::vector<Deferred>& deferred);
void run_deferred(std::vector<Deferred> deferred);

// Whether a gradient, defined, is held by the caller alone, who may then write to it.
bool owns_storage_alone(const Tensor& tensor);
// Makes output the result number `index` of node.
void set_history(Tensor& output, const std::shared_ptr<Node>& node, uint32_t index);
// The output of a conversion of input to another dtype, recorded.
Tensor record_conversion(const Tensor& input, Tensor output);
// Gives self, which has just been written in place, the gradient of `value`; for a view its base
// too.
void rebase_history(Tensor& self, const Tensor& value);

}  // namespace plinth
