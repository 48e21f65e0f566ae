#include "distributed/tensor/plan.h"

#include <algorithm>
#include <map>
#include <set>

#include "core/error.h"
#include "core/ops/elementwise.h"
#include "core/ops/matmul.h"
#include "core/ops/views.h"
#include "distributed/tensor/cross_entropy.h"

namespace plinth::distributed {
namespace {

constexpr std::string_view kName = "LayerPlan";

std::string joined(const std::string& path, std::string_view name) {
  return path.empty() ? std::string(name) : detail::concat(path, ".", name);
}

}  // namespace

HeadShare head_share(int64_t heads, int64_t kv_heads, int ranks, int rank) {
  check(kv_heads > 0 && heads % kv_heads == 0, ErrorKind::Argument, "head_share", "got ", heads,
        " heads, takes a multiple of kv_heads (", kv_heads, ")");
  const int64_t group = heads / kv_heads;
  HeadShare share;
  if (kv_heads >= ranks) {
    share.kv_heads = shard_range(kv_heads, ranks, rank);
    share.heads = {share.kv_heads.begin * group, share.kv_heads.count * group};
  } else {
    int64_t head = 0;
    ShardRange sharers = shard_range(ranks, static_cast<int>(kv_heads), 0);
    while (rank >= sharers.begin + sharers.count)
      sharers = shard_range(ranks, static_cast<int>(kv_heads), static_cast<int>(++head));
    const ShardRange own =
        shard_range(group, static_cast<int>(sharers.count), static_cast<int>(rank - sharers.begin));
    share.kv_heads = {head, 1};
    share.heads = {head * group + own.begin, own.count};
  }
  check(share.heads.count > 0, ErrorKind::Argument, "head_share", "got ", ranks, " ranks for ",
        heads, " heads and ", kv_heads, " kv_heads, which leaves rank ", rank, " none");
  return share;
}

// What the model has by name, and which parameters the plan has seen.
struct LayerPlan::Names {
  std::map<std::string, nn::Module*> modules;
  std::map<std::string, Tensor> parameters;
  std::set<std::string> known;
  std::set<const nn::Module*> experts;  // of layers that are cut as a whole

  explicit Names(nn::Module& model) {
    for (const nn::NamedModule& entry : model.named_modules()) {
      modules.emplace(entry.path, entry.module);
      const auto* layer = dynamic_cast<const nn::MixtureOfExperts*>(entry.module);
      for (int64_t e = 0; layer && e < layer->expert_count(); ++e)
        experts.insert(&layer->expert(e));
    }
    for (const auto& [name, tensor] : model.named_parameters()) parameters.emplace(name, tensor);
  }
  nn::Linear& linear(const std::string& path) const {
    const auto found = modules.find(path);
    auto* layer = found == modules.end() ? nullptr : dynamic_cast<nn::Linear*>(found->second);
    if (layer) return *layer;
    throw Error(ErrorKind::Argument, kName,
                detail::concat("found no Linear ", path,
                               ", which the plan cuts; attention takes fused_qkv"));
  }
  void know(const std::string& name) { known.insert(name); }
};

LayerPlan::LayerPlan(nn::Module& model, LayerPlanOptions options) : options_(std::move(options)) {
  check(options_.tp || !options_.sequence, ErrorKind::Argument, kName,
        "sequence is on without tp, whose ranks share the sequence");
  if (options_.cp) part_.ranks = options_.cp->size(), part_.rank = options_.cp->rank();
  if (options_.sequence) part_.parts = options_.tp->size(), part_.part = options_.tp->rank();
  if (options_.tp) shards_ = std::make_unique<ParameterParts>(options_.tp);
  Names names(model);
  for (const nn::NamedModule& entry : model.named_modules()) share(entry, names);
  if (!shards_) return;
  for (const auto& [name, tensor] : names.parameters) {
    if (names.known.contains(name)) continue;
    check(is_vocabulary(name), ErrorKind::Argument, kName, "the plan does not know parameter ",
          name, " of shape ", tensor.shape());
    cut(name, names, even_cut(0, tensor.size(0)));
  }
}

bool LayerPlan::is_vocabulary(const std::string& name) const {
  return std::ranges::find(options_.vocabulary, name) != options_.vocabulary.end();
}

void LayerPlan::cut(const std::string& name, Names& names, ParameterCut cut) {
  const auto found = names.parameters.find(name);
  if (found == names.parameters.end()) return;  // a bias that is not there
  shards_->cut(name, found->second, std::move(cut));
  names.know(name);
}

// Of `size` indices, of which there are `copies` runs one behind the other.
ParameterCut LayerPlan::even_cut(int64_t dim, int64_t size, int64_t copies) const {
  const int ranks = options_.tp->size();
  check(size >= ranks, ErrorKind::Argument, kName, "got ", ranks, " tensor-parallel ranks for ",
        size, " rows, takes at most as many");
  ParameterCut cut{dim, size * copies, {}};
  for (int rank = 0; rank < ranks; ++rank) {
    const ShardRange own = shard_range(size, ranks, rank);
    std::vector<ShardRange>& ranges = cut.ranges.emplace_back();
    for (int64_t copy = 0; copy < copies; ++copy)
      ranges.push_back({copy * size + own.begin, own.count});
  }
  return cut;
}

// ---- the transitions ----

nn::TensorMap LayerPlan::enter() const {
  return [tp = options_.tp, sequence = options_.sequence](const Tensor& x) {
    return redistribute(x, tp, sequence ? Shard(1) : Replicate, Replicate, Partial);
  };
}

nn::TensorMap LayerPlan::leave() const {
  return [tp = options_.tp, sequence = options_.sequence](const Tensor& x) {
    return redistribute(x, tp, Partial, sequence ? Shard(1) : Replicate);
  };
}

nn::TensorMap LayerPlan::terms() const {
  return options_.sequence ? sum_of_terms() : nn::TensorMap();
}

nn::TensorMap LayerPlan::sum_of_terms() const {
  return [tp = options_.tp](const Tensor& parameter) {
    return redistribute(parameter, tp, Replicate, Replicate, Partial);
  };
}

nn::LinearShare LayerPlan::rows() const {
  nn::LinearShare share;
  share.in = enter();
  return share;
}

nn::LinearShare LayerPlan::columns() const {
  nn::LinearShare share;
  share.out = leave();
  share.bias = terms();
  return share;
}

// ---- the modules ----

void LayerPlan::share(const nn::NamedModule& entry, Names& names) {
  const std::string& path = entry.path;
  nn::Module* module = entry.module;
  const auto know = [&](std::string_view name) { names.know(joined(path, name)); };
  if (auto* attention = dynamic_cast<nn::MultiHeadAttention*>(module)) {
    share_attention(*attention, path, names);
  } else if (auto* dropout = dynamic_cast<nn::Dropout*>(module)) {
    dropout->share(part_);
  } else if (!shards_) {
    return;
  } else if (dynamic_cast<nn::MLP*>(module)) {
    share_hidden(path, false, names);
  } else if (dynamic_cast<nn::GatedMLP*>(module)) {
    share_hidden(path, true, names);
  } else if (auto* experts = dynamic_cast<nn::MixtureOfExperts*>(module)) {
    share_experts(*experts, path, names);
  } else if (auto* table = dynamic_cast<nn::Embedding*>(module)) {
    share_embedding(*table, path, names);
  } else if (auto* norm = dynamic_cast<nn::Norm*>(module)) {
    norm->share(terms());
    know("weight"), know("bias");
  } else if (auto* linear = dynamic_cast<nn::Linear*>(module)) {
    // Those of layers above it are cut already.
    if (names.known.contains(joined(path, "weight"))) return;
    if (options_.sequence) linear->share({.in = {}, .out = {}, .weight = terms(), .bias = terms()});
    know("weight"), know("bias");
  }
}

void LayerPlan::share_attention(nn::MultiHeadAttention& layer, const std::string& path,
                                Names& names) {
  const nn::MultiHeadAttentionOptions& all = layer.options();
  nn::AttentionShare share;
  if (options_.cp) {
    share.tokens = {.ranks = part_.ranks, .rank = part_.rank};
    share.attend = [cp = options_.cp, algorithm = options_.algorithm](
                       const Tensor& q, const Tensor& k, const Tensor& v,
                       const AttentionOptions& options) {
      return context_attention(q, k, v, options, cp, algorithm);
    };
  }
  if (!shards_) return layer.share(share);

  const int64_t heads = all.heads, kv_heads = all.kv_heads, head_dim = all.head_dim;
  const int ranks = options_.tp->size();
  ParameterCut qkv{0, (heads + 2 * kv_heads) * head_dim, {}}, out{1, heads * head_dim, {}};
  ParameterCut of_heads{0, heads, {}};
  for (int rank = 0; rank < ranks; ++rank) {
    const HeadShare own = head_share(heads, kv_heads, ranks, rank);
    const auto elements = [&](const ShardRange& range, int64_t before) {
      return ShardRange{(before + range.begin) * head_dim, range.count * head_dim};
    };
    qkv.ranges.push_back({elements(own.heads, 0), elements(own.kv_heads, heads),
                          elements(own.kv_heads, heads + kv_heads)});
    out.ranges.push_back({elements(own.heads, 0)});
    of_heads.ranges.push_back({own.heads});
  }
  const HeadShare own = head_share(heads, kv_heads, ranks, options_.tp->rank());
  share.first_head = own.heads.begin;
  share.heads = own.heads.count;
  share.kv_heads = own.kv_heads.count;
  nn::LinearShare qkv_share = rows();
  qkv_share.weight = qkv_share.bias = kv_rows(heads, kv_heads, head_dim);
  names.linear(joined(path, "qkv")).share(std::move(qkv_share));
  names.linear(joined(path, "out")).share(columns());
  layer.share(std::move(share));
  cut(joined(path, "qkv.weight"), names, qkv);
  cut(joined(path, "qkv.bias"), names, qkv);
  cut(joined(path, "out.weight"), names, out);
  cut(joined(path, "sinks"), names, of_heads);
  names.know(joined(path, "out.bias"));
}

// Where several ranks have a kv_head, its rows get the sum of their gradients.
nn::TensorMap LayerPlan::kv_rows(int64_t heads, int64_t kv_heads, int64_t head_dim) {
  const std::shared_ptr<ProcessGroup>& tp = options_.tp;
  if (kv_heads >= tp->size()) return {};
  const HeadShare own = head_share(heads, kv_heads, tp->size(), tp->rank());
  std::shared_ptr<ProcessGroup>& group = kv_groups_[kv_heads];
  const auto side = [&](int rank) -> ProcessGroup::Side {
    const HeadShare its = head_share(heads, kv_heads, tp->size(), rank);
    return {static_cast<int>(its.kv_heads.begin), rank};
  };
  if (!group) group = tp->split_by(side, "kv_head");
  return [group, rows = own.heads.count * head_dim](const Tensor& parameter) {
    const Tensor shared = parameter.narrow(0, rows, parameter.size(0) - rows);
    return cat(
        {parameter.narrow(0, 0, rows), redistribute(shared, group, Replicate, Replicate, Partial)},
        0);
  };
}

void LayerPlan::share_hidden(const std::string& path, bool gated, Names& names) {
  const bool fused = gated && names.modules.contains(joined(path, "gate_up"));
  std::vector<std::string> into = {"up"};
  if (gated)
    into = fused ? std::vector<std::string>{"gate_up"} : std::vector<std::string>{"gate", "up"};
  nn::Linear& down = names.linear(joined(path, "down"));
  const int64_t hidden = down.weight().size(1);
  const bool is_expert = names.experts.contains(names.modules.at(path));
  for (const std::string& name : into) {
    if (!is_expert) names.linear(joined(path, name)).share(rows());
    for (const char* parameter : {".weight", ".bias"})
      cut(joined(path, name + parameter), names, even_cut(0, hidden, fused ? 2 : 1));
  }
  if (!is_expert) down.share(columns());
  cut(joined(path, "down.weight"), names, even_cut(1, hidden));
  names.know(joined(path, "down.bias"));
}

void LayerPlan::share_experts(nn::MixtureOfExperts& layer, const std::string& path, Names& names) {
  nn::ExpertsShare share;
  share.in = enter();
  share.out = leave();
  layer.share(std::move(share));
  nn::LinearShare router;
  router.weight = sum_of_terms();
  names.linear(joined(path, "router")).share(std::move(router));
  names.know(joined(path, "router.weight"));
}

void LayerPlan::share_embedding(nn::Embedding& layer, const std::string& path, Names& names) {
  const std::string weight = joined(path, "weight");
  nn::EmbeddingShare share;
  if (is_vocabulary(path)) {
    share.count = layer.weight().size(0);
    share.first = shard_range(share.count, options_.tp->size(), options_.tp->rank()).begin;
    share.out = leave();
    cut(weight, names, even_cut(0, share.count));
  } else {
    share.weight = terms();
    names.know(weight);
  }
  layer.share(std::move(share));
}

// ---- the head ----

Tensor LayerPlan::loss(const Tensor& x, const Tensor& weight, const Tensor& targets,
                       int64_t vocabulary) const {
  return vocabulary_cross_entropy(enter()(x), weight, targets, vocabulary, options_.tp);
}

Tensor LayerPlan::logits(const Tensor& x, const Tensor& weight, int64_t vocabulary) const {
  return redistribute(linear(enter()(x), weight), options_.tp, Shard(-1, vocabulary), Replicate);
}

Tensor LayerPlan::total(const Tensor& x) const {
  return redistribute(x, options_.cp, Partial, Replicate);
}

// A mean of the means of context-parallel ranks. Ranks of tp all have it, and each gives its part
// of the gradient.
Tensor LayerPlan::load(const Tensor& x) const {
  Tensor mean = x;
  for (const auto& group : {options_.cp, options_.tp}) {
    if (group) mean = redistribute(mean * (1.0 / group->size()), group, Partial, Replicate);
  }
  return mean;
}

}  // namespace plinth::distributed
