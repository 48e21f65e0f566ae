#include <algorithm>
#include <queue>
#include <unordered_map>
#include <utility>

#include "core/autocast.h"
#include "core/autograd/anomaly.h"
#include "core/autograd/node.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/tensor_impl.h"

namespace plinth {
namespace {

// One backward pass. It lives on the caller's stack and runs in the caller's thread, so that a node
// may start another (activation checkpointing does).
class Pass final : BackwardPass {
 public:
  // With `deferred`, what is not on the way to a target is put there rather than left out.
  Pass(const Tensors& roots, const Tensors& root_grads, const Tensors* targets, GradOptions options,
       std::vector<Deferred>* deferred = nullptr)
      : options_(options), capture_(targets != nullptr), deferred_(deferred) {
    options_.retain_graph |= options_.create_graph;
    if (targets) add_targets(*targets);
    for (size_t i = 0; i < roots.size(); ++i) {
      add_root(roots[i], i < root_grads.size() ? root_grads[i] : Tensor());
    }
    count_dependencies();
    if (capture_) mark_needed();
  }

  // Goes on with what another pass put off.
  explicit Pass(std::vector<Deferred> deferred) : capture_(false) {
    for (Deferred& entry : deferred) {
      State& state = states_[entry.node.get()];
      state.keep = entry.node;
      state.grads = std::move(entry.grads);
      state.inputs = std::move(entry.inputs);
      roots_.push_back({entry.node, 0});
    }
    count_dependencies();
  }

  Tensors run() {
    const GradModeGuard mode(options_.create_graph);
    const AutocastGuard as_in_forward(DType::Float32);
    for (const auto& [node, state] : states_) {
      if (state.dependencies == 0) ready_.push(node);
    }
    while (!ready_.empty()) {
      Node* node = ready_.top();
      ready_.pop();
      execute(node);
    }
    return std::move(captured_);
  }

 private:
  struct State {
    std::shared_ptr<Node> keep;
    int64_t dependencies = 0;
    bool needed = true;
    Tensors grads;
    int received = 0;     // gradients
    bool is_one = false;  // the first of them is that of a root without one
    std::vector<std::pair<uint32_t, size_t>> targets;  // (output of the node, number of the target)
    std::vector<bool> inputs;                          // that this pass goes on to; empty: all
    bool goes_on(size_t input) const { return inputs.empty() || inputs[input]; }
  };

  struct LaterFirst {
    bool operator()(const Node* a, const Node* b) const { return a->sequence() < b->sequence(); }
  };

  void add_targets(const Tensors& targets) {
    captured_.resize(targets.size());
    for (size_t i = 0; i < targets.size(); ++i) {
      check(targets[i].defined() && targets[i].requires_grad(), ErrorKind::Argument, "grad",
            "input ", i, " does not require grad");
      const Edge edge = targets[i].gradient_edge();
      State& state = states_[edge.node.get()];
      state.keep = edge.node;
      state.targets.emplace_back(edge.index, i);
    }
  }

  void add_root(const Tensor& root, Tensor gradient) {
    check(root.defined() && root.requires_grad(), ErrorKind::Argument, "backward",
          "the output does not require grad: no tensor that it was computed from does");
    const bool is_one = !gradient.defined();
    if (is_one) {
      check(root.numel() == 1, ErrorKind::Shape, "backward", "output has shape ", root.shape(),
            ", but without a gradient only a scalar can be differentiated");
      gradient = ones(root.shape(), root.options());
    }
    check(gradient.shape() == root.shape(), ErrorKind::Shape, "backward", "gradient has shape ",
          gradient.shape(), ", expected ", root.shape(), " (the output's)");
    roots_.push_back(root.gradient_edge());
    receive(roots_.back(), gradient.dtype() == root.dtype() ? gradient : gradient.to(root.dtype()));
    State& state = states_[roots_.back().node.get()];
    state.is_one = is_one && state.received == 1;
  }

  void receive(const Edge& edge, Tensor gradient) {
    State& state = states_[edge.node.get()];
    if (!state.keep) state.keep = edge.node;
    state.grads.resize(edge.node->outputs.size());
    ++state.received;
    Tensor& slot = state.grads[edge.index];
    if (!slot.defined()) {
      slot = std::move(gradient);
    } else if (!options_.create_graph && slot.dtype() == gradient.dtype() &&
               owns_storage_alone(slot)) {
      const NoGradGuard no_grad;
      slot.add_(gradient);
    } else {
      slot = add(slot, gradient);
    }
  }

  void count_dependencies() {
    std::vector<Node*> stack;
    std::unordered_map<Node*, bool> seen;
    const auto visit = [&](const std::shared_ptr<Node>& node) {
      if (!seen.emplace(node.get(), true).second) return;
      states_[node.get()].keep = node;
      order_.push_back(node.get());
      stack.push_back(node.get());
    };
    for (const Edge& root : roots_) visit(root.node);
    while (!stack.empty()) {
      Node* node = stack.back();
      stack.pop_back();
      for (size_t i = 0; i < node->inputs.size(); ++i) {
        const Edge& edge = node->inputs[i];
        if (!edge.node || !states_[node].goes_on(i)) continue;
        ++states_[edge.node.get()].dependencies;
        visit(edge.node);
      }
    }
    // A target that no root reaches stays out of the run.
    std::erase_if(states_, [&](const auto& entry) { return !seen.contains(entry.first); });
  }

  // A node is needed if one of its inputs leads to a target. Inputs come earlier than the node that
  // uses them, and leaves need nothing, so one walk in order of creation settles it.
  void mark_needed() {
    std::ranges::sort(order_, {}, [](const Node* node) { return node->sequence(); });
    for (auto& [node, state] : states_) state.needed = false;
    for (Node* node : order_) {
      State& state = states_[node];
      state.needed = std::ranges::any_of(node->inputs, [&](const Edge& edge) {
        if (!edge.node) return false;
        const State& input = states_[edge.node.get()];
        return input.needed || !input.targets.empty();
      });
    }
  }

  void execute(Node* node) {
    State state = std::move(states_[node]);
    states_.erase(node);
    const bool arrived =
        std::ranges::any_of(state.grads, [](const Tensor& g) { return g.defined(); });
    Tensors results(node->inputs.size());
    const bool runs = arrived && (!capture_ || state.needed);
    bool has_rest = false;
    if (arrived) {
      // A node that was put off has run them.
      if (state.inputs.empty()) run_hooks(node, state.grads);
      for (const auto& [output, target] : state.targets) captured_[target] = state.grads[output];
      if (deferred_) has_rest = defer(state, *node);
    }
    if (runs) {
      const AnomalyPause pause;
      const OpScope scope(scope_name(*node), ScopeKind::Backward);
      running_ = {node, &state};
      node->wanted = state.inputs;
      node->pass = this;
      results = node->backward(state.grads);
      node->wanted.clear();
      node->pass = nullptr;
      if (node->inputs.empty()) results.clear();
    }
    state.grads.clear();
    if (!options_.retain_graph && runs && !has_rest) node->release();
    pass_on(node, state, std::move(results));
  }

  // ---- what the running node may ask ----

  Tensor take_given(size_t input) override {
    const Edge& edge = running_.node->inputs[input];
    if (!edge.node || !running_.state->goes_on(input) || options_.create_graph) return {};
    Tensors& grads = states_[edge.node.get()].grads;
    if (grads.empty() || !grads[edge.index].defined()) return {};
    Tensor& given = grads[edge.index];
    const bool fits = given.dtype() == edge.node->outputs[edge.index].options.dtype;
    return fits && owns_storage_alone(given) ? std::exchange(given, {}) : Tensor();
  }

  GradientPlace place(size_t input) override {
    const Edge& first = running_.node->inputs[input];
    const Edge* way = unconverted_way(first);
    const Edge& last = way ? *way : first;
    const DType dtype = last.node->outputs[last.index].options.dtype;
    const bool is_whole = comes_alone(first) && (!way || comes_alone(last));
    return {dtype, is_whole ? last.node->take_cleared_grad(dtype) : Tensor()};
  }

  bool starts_with_one() override {
    const State& state = *running_.state;
    return state.is_one && state.received == 1 && running_.node->hooks.empty();
  }

  // Whether the gradient that is about to go there is all that does.
  bool comes_alone(const Edge& edge) const {
    if (capture_ || deferred_ || options_.create_graph) return false;
    const State& state = states_.at(edge.node.get());
    return state.dependencies == 1 && state.received == 0;
  }

  // Where a gradient goes on from there as it is; null where that is a conversion's business.
  const Edge* unconverted_way(const Edge& edge) const {
    const auto state = states_.find(edge.node.get());
    const bool is_target = state != states_.end() && !state->second.targets.empty();
    return is_target ? nullptr : edge.node->converts_for();
  }

  // ---- where gradients go ----

  // Puts off the inputs that lead to no target, of a root that leads to none all, and gives whether
  // there are any.
  bool defer(State& state, Node& node) {
    std::vector<bool> now(node.inputs.size()), later(node.inputs.size());
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (!node.inputs[i].node) continue;
      const State& input = states_[node.inputs[i].node.get()];
      now[i] = state.needed && (input.needed || !input.targets.empty());
      later[i] = !now[i];
    }
    const bool has_rest = std::ranges::find(later, true) != later.end();
    if (has_rest) deferred_->push_back({state.keep, state.grads, later});
    state.inputs = std::move(now);
    return has_rest;
  }

  // "layer_norm_backward"; a leaf's "accumulate_grad" says what it does.
  static const char* scope_name(const Node& node) {
    return permanent_name(node.inputs.empty() ? node.name() : node.name() + "_backward");
  }

  static void run_hooks(Node* node, Tensors& grads) {
    for (size_t i = 0; i < node->hooks.size(); ++i) {
      for (const auto& hook : node->hooks[i]) {
        if (!grads[i].defined()) continue;
        Tensor replaced = hook(grads[i]);
        if (replaced.defined()) grads[i] = std::move(replaced);
      }
    }
  }

  void pass_on(Node* node, const State& state, Tensors results) {
    check(results.size() <= node->inputs.size(), ErrorKind::Argument, node->name(),
          "backward returned ", results.size(), " gradients for ", node->inputs.size(), " inputs");
    for (size_t i = 0; i < node->inputs.size(); ++i) {
      const Edge& edge = node->inputs[i];
      if (!edge.node || (!deferred_ && !state.goes_on(i))) continue;
      if (i < results.size() && results[i].defined() && state.goes_on(i)) {
        receive(edge, fitted(node, i, edge, std::exchange(results[i], {})));
      }
      if (--states_[edge.node.get()].dependencies == 0) ready_.push(edge.node.get());
    }
  }

  // Whether what is there takes a gradient of another dtype than its output's: a conversion one of
  // what it converted from, unless it would be added to others in a narrower dtype.
  bool takes_unconverted(const Edge& edge, DType dtype) const {
    const Edge* way = unconverted_way(edge);
    if (!way) return comes_alone(edge) && edge.node->takes_unconverted(dtype);
    const bool is_wider = size_of(dtype) > size_of(edge.node->outputs[edge.index].options.dtype);
    return dtype == way->node->outputs[way->index].options.dtype && (is_wider || comes_alone(edge));
  }

  Tensor fitted(Node* node, size_t i, const Edge& edge, const Tensor& gradient) {
    const OutputInfo& expected = edge.node->outputs[edge.index];
    check(gradient.shape() == expected.shape, ErrorKind::Shape, node->name(), "gradient of input ",
          i, " has shape ", gradient.shape(), ", expected ", expected.shape);
    if (anomaly_enabled()) check_no_nan(gradient, node->name() + " (backward)");
    const bool fits =
        gradient.dtype() == expected.options.dtype || takes_unconverted(edge, gradient.dtype());
    return fits ? gradient : gradient.to(expected.options.dtype);
  }

  struct Running {
    Node* node = nullptr;
    State* state = nullptr;
  };

  GradOptions options_;
  bool capture_;
  std::vector<Deferred>* deferred_ = nullptr;
  std::vector<Edge> roots_;
  std::vector<Node*> order_;
  std::unordered_map<Node*, State> states_;
  std::priority_queue<Node*, std::vector<Node*>, LaterFirst> ready_;
  Tensors captured_;
  Running running_;
};

}  // namespace

Tensors run_backward(const Tensors& roots, const Tensors& root_grads, const Tensors* targets,
                     GradOptions options) {
  const OpScope scope("backward", ScopeKind::Phase);
  return Pass(roots, root_grads, targets, options).run();
}

Tensors run_backward_to(const Tensors& roots, const Tensors& root_grads, const Tensors& targets,
                        std::vector<Deferred>& deferred) {
  const OpScope scope("backward", ScopeKind::Phase);
  return Pass(roots, root_grads, &targets, {}, &deferred).run();
}

void run_deferred(std::vector<Deferred> deferred) {
  const OpScope scope("backward", ScopeKind::Phase);
  Pass(std::move(deferred)).run();
}

void backward(const Tensors& outputs, const Tensors& grad_outputs, GradOptions options) {
  run_backward(outputs, grad_outputs, nullptr, options);
}

Tensors grad(const Tensors& outputs, const Tensors& inputs, const Tensors& grad_outputs,
             GradOptions options) {
  Tensors result = run_backward(outputs, grad_outputs, &inputs, options);
  for (size_t i = 0; i < result.size(); ++i) {
    check(result[i].defined() || options.allow_unused, ErrorKind::Argument, "grad", "input ", i,
          " does not matter to the outputs; pass allow_unused to get an undefined gradient for it");
  }
  return result;
}

}  // namespace plinth
