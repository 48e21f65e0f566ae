#include "distributed/redistribute.h"

#include <algorithm>

#include "core/autograd.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/views.h"

namespace plinth::distributed {
namespace {

// Ranks' parts of a dimension.
class Parts {
 public:
  Parts(int64_t size, const ProcessGroup& group) : size_(size), group_(group) {}
  int64_t size() const { return size_; }
  ShardRange of(int rank) const { return shard_range(size_, group_.size(), rank); }
  ShardRange own() const { return of(group_.rank()); }
  int64_t most() const { return of(0).count; }

 private:
  int64_t size_;
  const ProcessGroup& group_;
};

// The layout with dim in [0, dims), and the whole size.
Layout completed(Layout layout, const Tensor& x, const ProcessGroup& group, bool is_whole) {
  if (layout.kind != LayoutKind::Shard) return layout;
  const int64_t given = layout.dim;
  if (layout.dim < 0) layout.dim += x.dim();
  check(layout.dim >= 0 && layout.dim < x.dim(), ErrorKind::Argument, "redistribute",
        "Shard's dim got ", given, " for shape ", x.shape());
  const int64_t here = x.size(layout.dim);
  if (layout.size < 0) layout.size = is_whole ? here : here * group.size();
  const int64_t expected = is_whole ? layout.size : Parts(layout.size, group).own().count;
  check(here == expected, ErrorKind::Argument, "redistribute", "dimension ", layout.dim, " of ",
        x.shape(), " has ", here, " elements, expected ", expected, " of ", layout.size,
        " on rank ", group.rank(), " of ", group.size());
  return layout;
}

// Rows of a tensor whose first dimension is `dim`'s, with `rows` of them; those that are missing
// are zeros.
Tensor front_rows(const Tensor& x, int64_t dim, int64_t rows) {
  const Tensor front = x.transpose(0, dim).contiguous();
  if (front.size(0) == rows) return front;
  Shape shape = front.shape();
  shape[0] = rows;
  Tensor padded = zeros(shape, x.options());
  padded.narrow(0, 0, front.size(0)).copy_(front);
  return padded;
}

Tensor gather(const Tensor& local, ProcessGroup& group, const Layout& from) {
  const Parts parts(from.size, group);
  const Tensor in = front_rows(local, from.dim, parts.most());
  Shape shape = in.shape();
  shape[0] *= group.size();
  const Tensor out = Tensor::empty(shape, in.options());
  group.all_gather(out, in).wait();
  Tensors pieces;
  pieces.reserve(group.size());
  for (int rank = 0; rank < group.size(); ++rank)
    pieces.push_back(out.narrow(0, rank * parts.most(), parts.of(rank).count));
  return cat(pieces, 0).transpose(0, from.dim);
}

Tensor slice(const Tensor& whole, const ProcessGroup& group, const Layout& to) {
  const ShardRange own = Parts(to.size, group).own();
  return whole.narrow(to.dim, own.begin, own.count).clone();
}

Tensor sum_of_terms(const Tensor& local, ProcessGroup& group) {
  const Tensor total = local.clone();
  group.all_reduce(total).wait();
  return total;
}

Tensor sum_and_slice(const Tensor& local, ProcessGroup& group, const Layout& to) {
  const Parts parts(to.size, group);
  Tensors pieces;
  pieces.reserve(group.size());
  for (int rank = 0; rank < group.size(); ++rank) {
    const ShardRange range = parts.of(rank);
    pieces.push_back(
        front_rows(local.narrow(to.dim, range.begin, range.count), to.dim, parts.most()));
  }
  const Tensor in = cat(pieces, 0);
  const Tensor out = Tensor::empty(pieces[0].shape(), in.options());
  group.reduce_scatter(out, in).wait();
  return out.narrow(0, 0, parts.own().count).transpose(0, to.dim).contiguous();
}

// From shards of one dimension to shards of another.
Tensor exchange(const Tensor& local, ProcessGroup& group, const Layout& from, const Layout& to) {
  const Parts before(from.size, group), after(to.size, group);
  Tensors sent_pieces;
  std::vector<int64_t> sent, received;
  std::vector<Shape> shapes;
  for (int rank = 0; rank < group.size(); ++rank) {
    const ShardRange range = after.of(rank);
    sent_pieces.push_back(local.narrow(to.dim, range.begin, range.count).reshape({-1}));
    sent.push_back(sent_pieces.back().numel());
    Shape shape = local.shape();
    shape[from.dim] = before.of(rank).count;
    shape[to.dim] = after.own().count;
    received.push_back(shape.numel());
    shapes.push_back(shape);
  }
  const Tensor in = cat(sent_pieces, 0);
  int64_t all = 0;
  for (const int64_t count : received) all += count;
  const Tensor out = Tensor::empty({all}, in.options());
  group.all_to_all(out, in, sent, received).wait();
  Tensors pieces = out.split(received, 0);
  for (size_t i = 0; i < pieces.size(); ++i) pieces[i] = pieces[i].reshape(shapes[i]);
  return cat(pieces, from.dim);
}

// A term of a sum that is the tensor: the whole on rank 0, or this rank's part in its place.
Tensor as_term(const Tensor& local, const ProcessGroup& group, const Layout& from) {
  if (from.kind == LayoutKind::Replicate)
    return group.rank() == 0 ? local.clone() : zeros_like(local);
  Shape shape = local.shape();
  shape[from.dim] = from.size;
  Tensor term = zeros(shape, local.options());
  const ShardRange own = Parts(from.size, group).own();
  term.narrow(from.dim, own.begin, own.count).copy_(local);
  return term;
}

Tensor transfer(const Tensor& local, ProcessGroup& group, const Layout& from, const Layout& to) {
  const bool same = from.kind == to.kind && (from.kind != LayoutKind::Shard || from.dim == to.dim);
  if (same) return local.clone();
  if (to.kind == LayoutKind::Partial) return as_term(local, group, from);
  switch (from.kind) {
    case LayoutKind::Replicate: return slice(local, group, to);
    case LayoutKind::Shard:
      return to.kind == LayoutKind::Shard ? exchange(local, group, from, to)
                                          : gather(local, group, from);
    case LayoutKind::Partial:
      return to.kind == LayoutKind::Shard ? sum_and_slice(local, group, to)
                                          : sum_of_terms(local, group);
  }
  return {};
}

Layout gradient_of(const Layout& layout) {
  return layout.kind == LayoutKind::Partial ? Replicate : layout;
}

}  // namespace

ShardRange shard_range(int64_t size, int ranks, int rank) {
  const int64_t least = size / ranks, more = size % ranks;
  return {rank * least + std::min<int64_t>(rank, more), least + (rank < more ? 1 : 0)};
}

Tensor redistribute(const Tensor& local, const std::shared_ptr<ProcessGroup>& group,
                    const Layout& from, const Layout& to, const std::optional<Layout>& gradient) {
  const OpScope scope(__func__);
  check(local.defined(), ErrorKind::Argument, "redistribute", "got an undefined tensor");
  const Layout source = completed(from, local, *group, false);
  Layout target = to;
  // Where a dimension was cut before and still is, its size is known.
  if (target.kind == LayoutKind::Shard && target.size < 0 && source.kind == LayoutKind::Shard &&
      (target.dim == source.dim || target.dim + local.dim() == source.dim))
    target.size = source.size;
  const bool keeps_shard = source.kind == LayoutKind::Shard && target.kind == LayoutKind::Shard &&
                           (target.dim < 0 ? target.dim + local.dim() : target.dim) == source.dim;
  target = completed(target, local, *group, !keeps_shard);
  Tensor result;
  {
    const NoGradGuard no_grad;
    result = transfer(local.detach(), *group, source, target);
  }
  const Layout of_result = completed(gradient.value_or(gradient_of(target)), result, *group, false);
  return record("redistribute", {local}, result, {},
                [group, of_result, source](const BackwardContext&, const Tensor& dy) -> Tensors {
                  return {redistribute(dy, group, of_result, gradient_of(source))};
                });
}

}  // namespace plinth::distributed
