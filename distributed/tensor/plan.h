#pragma once

// A model that several ranks compute together: a plan that is applied to its modules, which are
// written for one.
//
//   DeviceMesh mesh(world, {{"dp", 2}, {"cp", 2}, {"tp", 4}});
//   LayerPlan plan(model, {.tp = mesh.group("tp"), .cp = mesh.group("cp"), ...});
//
// Tensor parallel (Shoeybi et al. 2019, arXiv 1909.08053): attention is cut by heads and MLPs by
// their hidden units, so that q, k, v, up and gate have rows of their weights, out and down
// columns; an embedding of tokens and the head are cut by the vocabulary. Parts may be uneven.
// Where there are fewer kv_heads than ranks, several ranks have the same one. A layer of experts is
// cut by the hidden units of each, and enters and leaves the cut once: all ranks choose the same
// experts, and what the router gets as gradients are terms of a sum.
//
// Sequence parallel (Korthikanti et al. 2022, arXiv 2205.05198): between the cut layers, norms,
// dropout and residuals too are cut, by tokens. What whole parameters there get as gradients are
// terms of a sum, which is taken as they are used. So do Linear layers that are in no attention and
// no MLP.
//
// Context parallel: all layers have the tokens of nn::SequencePart, and attention brings them
// together (distributed/context/attention.h). Gradients are summed with those of data parallel.
//
// A mask of dropout is the part of one rank's mask.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "distributed/context/attention.h"
#include "distributed/tensor/shards.h"
#include "nn/layers.h"
#include "nn/module.h"

namespace plinth::distributed {

struct LayerPlanOptions {
  std::shared_ptr<ProcessGroup> tp = nullptr, cp = nullptr;  // null: one rank
  bool sequence = false;                                     // needs tp
  ContextAlgorithm algorithm = ContextAlgorithm::Gather;
  // Embeddings and parameters [vocabulary, ...] that tp cuts by rows: their names.
  std::vector<std::string> vocabulary = {"token_embedding", "head", "head_bias"};
};

// A rank's heads, and the kv_heads that they read.
struct HeadShare {
  ShardRange heads, kv_heads;
};
// Whole groups of heads that read one of kv_heads, or, where there are more ranks than those, parts
// of one group. Throws Error(Argument) where a rank would have none.
HeadShare head_share(int64_t heads, int64_t kv_heads, int ranks, int rank);

class LayerPlan {
 public:
  // `model` is whole, with its values, and outlives this; optimizers are made afterwards. All ranks
  // call it. Throws Error(Argument) for a model with parameters that the plan does not know, or
  // with less to cut than ranks.
  LayerPlan(nn::Module& model, LayerPlanOptions options);

  // Of the stream between the layers.
  const nn::SequencePart& part() const { return part_; }
  // For a loss: x [batch, tokens, dim] behind the last norm, the head's weight as it lies here, and
  // targets of the context-parallel rank's tokens, to the sum of their losses; and the logits.
  Tensor loss(const Tensor& x, const Tensor& weight, const Tensor& targets,
              int64_t vocabulary) const;
  Tensor logits(const Tensor& x, const Tensor& weight, int64_t vocabulary) const;
  // The sum of a number of each context-parallel rank, for all of them.
  Tensor total(const Tensor& x) const;
  // The load of experts (nn/layers/mixture_of_experts.h) of this rank's tokens, to that of all.
  Tensor load(const Tensor& x) const;

  const LayerPlanOptions& options() const { return options_; }
  // Null without tp.
  const ParameterParts* shards() const { return shards_.get(); }

 private:
  struct Names;

  void share(const nn::NamedModule& entry, Names& names);
  void share_attention(nn::MultiHeadAttention& layer, const std::string& path, Names& names);
  void share_hidden(const std::string& path, bool gated, Names& names);
  void share_experts(nn::MixtureOfExperts& layer, const std::string& path, Names& names);
  void share_embedding(nn::Embedding& layer, const std::string& path, Names& names);
  nn::TensorMap kv_rows(int64_t heads, int64_t kv_heads, int64_t head_dim);
  bool is_vocabulary(const std::string& name) const;
  void cut(const std::string& name, Names& names, ParameterCut cut);
  // The ranges of all ranks.
  ParameterCut even_cut(int64_t dim, int64_t size, int64_t copies = 1) const;

  nn::LinearShare rows() const;  // of a Linear whose weight is cut by rows
  nn::LinearShare columns() const;
  nn::TensorMap enter() const;  // into layers that are cut
  nn::TensorMap leave() const;  // out of them
  nn::TensorMap terms() const;  // of whole parameters of the stream
  nn::TensorMap sum_of_terms() const;

  LayerPlanOptions options_;
  nn::SequencePart part_;
  std::unique_ptr<ParameterParts> shards_;
  // Ranks that have the same one of so many kv_heads.
  std::map<int64_t, std::shared_ptr<ProcessGroup>> kv_groups_;
};

}  // namespace plinth::distributed
