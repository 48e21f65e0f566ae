#include "distributed/context/ring.h"

#include <limits>
#include <utility>
#include <vector>

#include "core/autograd.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/views.h"

namespace plinth::distributed {
namespace {

// A tensor on its way to the next rank, and the one that comes from the rank before.
class Rotation {
 public:
  Rotation() = default;
  Rotation(const Tensor& sent, ProcessGroup& group) {
    const int ranks = group.size(), rank = group.rank();
    arriving_ = Tensor::empty(sent.shape(), sent.options());
    std::vector<int64_t> to(ranks), from(ranks);
    to[(rank + 1) % ranks] = from[(rank + ranks - 1) % ranks] = sent.numel();
    work_ = group.all_to_all(arriving_.reshape({-1}), sent.reshape({-1}), to, from);
  }

  bool is_under_way() const { return arriving_.defined(); }
  Tensor take() {
    work_.wait();
    return std::exchange(arriving_, Tensor());
  }

 private:
  Tensor arriving_;
  Work work_;
};

// A chunk of this rank's queries, and one of the keys at hand, which it sees.
struct Block {
  int64_t query, key;  // first rows here
  int64_t at, key_at;  // the same in the whole
  bool is_diagonal;
};

// What stays the same on the way round.
class Ring {
 public:
  Ring(const Tensor& q, const AttentionOptions& options, ProcessGroup& group)
      : ranks_(group.size()), rank_(group.rank()), chunk_(q.size(2) / 2), options_(options) {
    options_.part.queries = options_.part.keys = 2 * ranks_ * chunk_;
  }

  int64_t chunk() const { return chunk_; }

  // The blocks of a step, at which this rank has the keys of the rank that many before it.
  std::vector<Block> blocks(int64_t step) const {
    const int64_t owner = (rank_ + ranks_ - step) % ranks_;
    std::vector<Block> seen;
    for (const int64_t i : {0, 1}) {
      for (const int64_t j : {0, 1}) {
        const int64_t query = number(rank_, i), key = number(owner, j);
        if (key <= query)
          seen.push_back({i * chunk_, j * chunk_, query * chunk_, key * chunk_, key == query});
      }
    }
    return seen;
  }

  AttentionOptions options(const Block& block) const {
    AttentionOptions own = options_;
    own.causal = block.is_diagonal;
    own.part.query = block.at;
    own.part.key = block.key_at;
    return own;
  }

 private:
  // Of a rank's first or second chunk, among all.
  int64_t number(int64_t rank, int64_t which) const {
    return which == 0 ? rank : 2 * ranks_ - 1 - rank;
  }

  int64_t ranks_, rank_, chunk_;
  AttentionOptions options_;
};

// Joins the softmax over some keys to that over others: out and lse become those of both.
void join(Tensor out, Tensor lse, const AttentionResult& more) {
  const Tensor most = maximum(lse, more.lse);
  const Tensor all = most + log(exp(lse - most) + exp(more.lse - most));
  const auto share = [&](const Tensor& part) { return exp(part - all).unsqueeze(-1); };
  out.copy_(out * share(lse) + more.out.to(out.dtype()) * share(more.lse));
  lse.copy_(all);
}

AttentionResult forward(const Tensor& q, const Tensor& k, const Tensor& v,
                        const AttentionOptions& options, ProcessGroup& group) {
  const Ring ring(q, options, group);
  const int64_t chunk = ring.chunk();
  const TensorOptions wide{q.dtype() == DType::Float64 ? DType::Float64 : DType::Float32,
                           q.device()};
  const Tensor out = zeros(q.shape(), wide);
  const Tensor lse =
      full({q.size(0), q.size(1), q.size(2)}, -std::numeric_limits<double>::infinity(), wide);
  Tensor both = stack({k, v}, 0);
  for (int64_t step = 0; step < group.size(); ++step) {
    Rotation next;
    if (step + 1 < group.size()) next = Rotation(both, group);
    for (const Block& block : ring.blocks(step)) {
      const Tensor keys = both.narrow(3, block.key, chunk);
      join(out.narrow(2, block.query, chunk), lse.narrow(2, block.query, chunk),
           attention_with_lse(q.narrow(2, block.query, chunk), keys[0], keys[1],
                              ring.options(block)));
    }
    if (next.is_under_way()) both = next.take();
  }
  return {out.to(q.dtype()), lse};
}

Tensors backward(const Tensor& dout, const Tensor& q, const Tensor& k, const Tensor& v,
                 const AttentionResult& result, const AttentionOptions& options,
                 ProcessGroup& group) {
  const Ring ring(q, options, group);
  const int64_t chunk = ring.chunk();
  const DType wide = result.lse.dtype();
  const Tensor dq = zeros(q.shape(), {wide, q.device()});
  Tensor both = stack({k, v}, 0);
  Rotation gradients;  // of the keys and values at hand, from the rank before
  for (int64_t step = 0; step < group.size(); ++step) {
    Rotation next;
    if (step + 1 < group.size()) next = Rotation(both, group);
    Tensor dboth = zeros(both.shape(), {wide, q.device()});
    const auto rows = [&](const Tensor& x, const Block& block) {
      return x.narrow(2, block.query, chunk);
    };
    for (const Block& block : ring.blocks(step)) {
      const Tensor keys = both.narrow(3, block.key, chunk);
      const AttentionGradients more = attention_gradients(
          rows(dout, block), rows(q, block), keys[0], keys[1], rows(result.out, block),
          rows(result.lse, block), ring.options(block));
      rows(dq, block).add_(more.dq.to(wide));
      const Tensor dkeys = dboth.narrow(3, block.key, chunk);
      dkeys[0].add_(more.dk.to(wide));
      dkeys[1].add_(more.dv.to(wide));
    }
    if (gradients.is_under_way()) dboth.add_(gradients.take());
    gradients = Rotation(dboth, group);
    if (next.is_under_way()) both = next.take();
  }
  const Tensor own = gradients.take();  // back where they began
  return {dq.to(q.dtype()), own[0].to(k.dtype()), own[1].to(v.dtype())};
}

}  // namespace

Tensor ring_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                      const AttentionOptions& options, const std::shared_ptr<ProcessGroup>& group) {
  const OpScope scope(__func__);
  AttentionResult result;
  {
    const NoGradGuard no_grad;
    result = forward(q.detach(), k.detach(), v.detach(), options, *group);
  }
  return record(
      "ring_attention", {q, k, v}, result.out, {q, k, v, result.out, result.lse},
      [options, group](const BackwardContext& c, const Tensor& dout) -> Tensors {
        check(!grad_enabled(), ErrorKind::Argument, "ring_attention", "has no second derivative");
        const auto saved = [&c](size_t i) { return c.saved(i).detach(); };
        return backward(dout, saved(0), saved(1), saved(2), {saved(3), saved(4)}, options, *group);
      });
}

}  // namespace plinth::distributed
