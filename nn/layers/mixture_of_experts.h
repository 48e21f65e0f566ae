#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "nn/layers/linear.h"
#include "nn/layers/mlp.h"
#include "nn/layers/share.h"
#include "nn/module.h"

namespace plinth::nn {

struct MixtureOfExpertsOptions {
  int64_t experts = 8;
  int64_t experts_per_token = 2;
  Initializer router_init = {};  // left out: Linear's
  Initializer up_init = {};      // of gate and up
  Initializer down_init = {};
  TensorOptions options = {};
};

// The outputs of rows [rows, dim], which stand in the order of their experts, counts[e] of them for
// expert e.
using RunExperts = std::function<Tensor(const Tensor& rows, const std::vector<int64_t>& counts)>;

// What happens to tensors on their way through a layer of whose experts ranks have parts each. Each
// may be empty.
struct ExpertsShare {
  TensorMap in = {};   // x
  TensorMap out = {};  // what the layer gives, of the parts of the experts that are here
};

// A feed-forward layer of which each token uses a few: Mixtral's (Jiang et al. 2024,
// arXiv 2401.04088), after Shazeer et al. 2017, arXiv 1701.06538. The router, a linear layer, gives
// a softmax over all experts; the experts_per_token most likely ones, which are GatedMLPs, see the
// token, and their outputs are added, weighted by their probabilities, made to sum to 1. Tokens are
// gathered by expert; none is dropped. The numbers of tokens are read by the host.
class MixtureOfExperts final : public ModuleOf<MixtureOfExperts> {
 public:
  // Throws Error(Argument) unless 1 <= experts_per_token <= experts.
  MixtureOfExperts(int64_t dim, int64_t hidden, const MixtureOfExpertsOptions& options = {});

  // x [..., dim] to the same. `load`, if given, becomes what load_balancing_loss() takes: [2,
  // experts], of the tokens that the router sees the mean probability of each expert, and the mean
  // number of times that it was chosen, which has no gradient.
  Tensor forward(const Tensor& x, Tensor* load = nullptr);

  int64_t expert_count() const { return static_cast<int64_t>(experts_.size()); }
  GatedMLP& expert(int64_t i) const { return *experts_.at(static_cast<size_t>(i)); }
  // What RunExperts does, for experts [first, first + counts.size()). Errors: Argument for experts
  // that there are not, Shape where the counts do not add up to the rows.
  Tensor run_experts(const Tensor& rows, const std::vector<int64_t>& counts,
                     int64_t first = 0) const;
  // Has the experts run by `run`, on other ranks for example; a function that is empty undoes it.
  void set_run_experts(RunExperts run) { run_ = std::move(run); }
  // The router and the experts, which have parts of their weights, are told by the caller.
  void share(ExpertsShare share) { share_ = std::move(share); }

 private:
  int64_t chosen_;  // experts of a token
  Handle<Linear> router_;
  std::vector<Handle<GatedMLP>> experts_;
  RunExperts run_;
  ExpertsShare share_;
};

// experts * sum over e of P_e f_e, where P_e is the mean probability of expert e and f_e the mean
// number of times that it was chosen, over the tokens of all layers (Fedus et al. 2021, arXiv
// 2101.03961, section 2.2, for several experts a token as transformers computes it). Where all are
// used alike it is the number of experts of a token. `loads` are those of layers that saw the same
// tokens.
Tensor load_balancing_loss(const Tensors& loads);

}  // namespace plinth::nn
