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

std::string Collective::describe() const {
  std::string text(name(kind));
  if (number > 0) text += detail::concat(" #", number);
  if (kind == CollectiveKind::Barrier) return text;
  const int64_t elements = bytes() / static_cast<int64_t>(size_of(dtype));
  return text + detail::concat(" of ", plinth::name(dtype), " [", elements, "]");
}

}  // namespace plinth::distributed
