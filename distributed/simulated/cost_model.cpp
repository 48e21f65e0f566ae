#include "distributed/simulated/cost_model.h"

#include <algorithm>
#include <bit>

namespace plinth::distributed {

double CostModel::seconds(const Collective& collective, int rank, int ranks) const {
  const auto bytes = static_cast<double>(collective.bytes());
  const double others = ranks - 1;
  const double rounds = std::bit_width(static_cast<unsigned>(ranks - 1));  // log2, rounded up
  const auto messages = [&](double count, double bytes_in_all) {
    return count * latency_seconds + bytes_in_all * seconds_per_byte;
  };
  switch (collective.kind) {
    case CollectiveKind::AllReduce: return messages(2 * others, 2 * bytes * others / ranks);
    // Of these, bytes() are those of one rank's part.
    case CollectiveKind::ReduceScatter:
    case CollectiveKind::AllGather: return messages(others, bytes * others);
    case CollectiveKind::AllToAll: {
      const auto size = static_cast<double>(size_of(collective.dtype));
      double in = 0, out = 0;
      for (int r = 0; r < ranks; ++r) {
        if (r == rank) continue;
        out += static_cast<double>(collective.sent[r]) * size;
        in += static_cast<double>(collective.received[r]) * size;
      }
      return messages(others, std::max(in, out));
    }
    case CollectiveKind::Broadcast:
      return std::min(messages(rounds, rounds * bytes),
                      messages(rounds + others, 2 * bytes * others / ranks));
    case CollectiveKind::Send:
    case CollectiveKind::Recv: return messages(1, bytes);
    case CollectiveKind::Barrier: return messages(rounds, 0);
  }
  return 0;
}

}  // namespace plinth::distributed
