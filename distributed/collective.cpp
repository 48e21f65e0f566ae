#include "distributed/collective.h"

#include <numeric>

#include "core/error.h"

namespace plinth::distributed {

std::string_view name(CollectiveKind kind) {
  switch (kind) {
    case CollectiveKind::AllReduce: return "all_reduce";
    case CollectiveKind::ReduceScatter: return "reduce_scatter";
    case CollectiveKind::AllGather: return "all_gather";
    case CollectiveKind::AllToAll: return "all_to_all";
    case CollectiveKind::Broadcast: return "broadcast";
    case CollectiveKind::Send: return "send";
    case CollectiveKind::Recv: return "recv";
    case CollectiveKind::Barrier: return "barrier";
  }
  return "unknown";
}

int64_t Collective::bytes() const {
  const int64_t elements =
      kind == CollectiveKind::AllToAll ? std::reduce(sent.begin(), sent.end()) : count;
  return elements * static_cast<int64_t>(size_of(dtype));
}

namespace {

// What is common to describe() and signature(): all before the elements, and all after.
std::string beginning(const Collective& of) {
  std::string text(name(of.kind));
  if (of.number > 0) text += detail::concat(" #", of.number);
  if (of.kind != CollectiveKind::Barrier) text += detail::concat(" of ", name(of.dtype));
  return text;
}

std::string ending(const Collective& of) {
  switch (of.kind) {
    case CollectiveKind::AllReduce:
    case CollectiveKind::ReduceScatter:
      if (of.op == ReduceOp::Sum) return "";
      return of.op == ReduceOp::Max ? " by max" : " by min";
    case CollectiveKind::Broadcast:
    case CollectiveKind::Recv: return detail::concat(" from rank ", of.peer);
    case CollectiveKind::Send: return detail::concat(" to rank ", of.peer);
    default: return "";
  }
}

}  // namespace

std::string Collective::describe() const {
  if (kind == CollectiveKind::Barrier) return beginning(*this);
  const int64_t elements = bytes() / static_cast<int64_t>(size_of(dtype));
  return detail::concat(beginning(*this), " [", elements, "]", ending(*this));
}

std::string Collective::signature() const {
  return kind == CollectiveKind::AllToAll ? beginning(*this) : describe();
}

bool is_message(const Collective& call) {
  return call.kind == CollectiveKind::Send || call.kind == CollectiveKind::Recv;
}

std::string mismatch(const std::vector<const Collective*>& calls) {
  for (size_t r = 1; r < calls.size(); ++r)
    if (calls[r]->signature() != calls[0]->signature())
      return detail::concat("rank 0 called ", calls[0]->describe(), ", rank ", r, " called ",
                            calls[r]->describe());
  if (calls[0]->kind != CollectiveKind::AllToAll) return "";
  for (size_t from = 0; from < calls.size(); ++from)
    for (size_t to = 0; to < calls.size(); ++to)
      if (calls[from]->sent[to] != calls[to]->received[from])
        return detail::concat("rank ", from, " called ", calls[from]->describe(), " with ",
                              calls[from]->sent[to], " elements for rank ", to, ", which takes ",
                              calls[to]->received[from]);
  return "";
}

}  // namespace plinth::distributed
