#pragma once

// How a tensor lies on the ranks of a group, and the one op that changes it, with its gradient.
//
//   Replicate   every rank has the whole
//   Shard(dim)  rank r has range r of that dimension
//   Partial     every rank has a term, whose sum is the tensor
//
// Each rank has an ordinary tensor, and the layout is what the code around it says. The classic
// transitions of tensor parallelism (Shoeybi et al. 2019, arXiv 1909.08053; Korthikanti et al.
// 2022, arXiv 2205.05198) are:
//
//   columns = redistribute(x, tp, Replicate, Replicate, Partial)    into layers cut by columns: f
//   y = redistribute(rows, tp, Partial, Replicate)                  out of layers cut by rows: g
//   columns = redistribute(x, tp, Shard(1), Replicate, Partial)     the same with the sequence
//   y = redistribute(rows, tp, Partial, Shard(1))                   cut between the layers
//   heads = redistribute(x, cp, Shard(1), Shard(2))                 sequence to heads (Ulysses)

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "core/tensor.h"
#include "distributed/process_group.h"

namespace plinth::distributed {

enum class LayoutKind : uint8_t { Replicate, Shard, Partial };

struct Layout {
  LayoutKind kind = LayoutKind::Replicate;
  int64_t dim = 0;    // of Shard; may be negative
  int64_t size = -1;  // of Shard: the whole dimension's; -1: all ranks have as much
};
inline constexpr Layout Replicate{};
inline constexpr Layout Partial{LayoutKind::Partial};
constexpr Layout Shard(int64_t dim, int64_t size = -1) {
  return {LayoutKind::Shard, dim, size};
}

// Indices [begin, begin + count) of a dimension of `size`, of which ranks have almost equal parts.
struct ShardRange {
  int64_t begin, count;
};
ShardRange shard_range(int64_t size, int ranks, int rank);

// `local` lies as `from` says; the result as `to` says. Floating point, any strides.
//
// The result's gradient lies as `gradient` says: by default as the result does, but Replicate
// where that is Partial. Give Partial where a replicated result goes into work that differs from
// rank to rank, whose gradients are terms of one sum. The gradient of `local` then lies as `local`
// does, or is Replicate where that is Partial.
//
// All ranks of the group call it, in the forward pass and in the backward pass. Differentiable
// twice. Errors: Argument for a dimension that there is not, or a local size that is not this
// rank's part of `size`; Io.
Tensor redistribute(const Tensor& local, const std::shared_ptr<ProcessGroup>& group,
                    const Layout& from, const Layout& to,
                    const std::optional<Layout>& gradient = {});

}  // namespace plinth::distributed
