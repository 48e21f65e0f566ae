#include "distributed/plan/collectives.h"

#include <algorithm>
#include <cmath>

namespace plinth::plan {
namespace {

// NCCL's latencies of the ring algorithm with the simple protocol, in seconds.
constexpr double kStart = 8.4e-6, kNvLinkStep = 3.4e-6, kNetworkStep = 9.6e-6;

// The ranks of the group that lie in one node.
int64_t ranks_in_node(const Gpu& gpu, const Group& group) {
  return std::clamp<int64_t>(gpu.gpus_per_node / group.stride, 1, group.size);
}

}  // namespace

double all_gather_seconds(const Gpu& gpu, const Group& group, double bytes) {
  if (group.size <= 1) return 0;
  const auto size = static_cast<double>(group.size);
  const auto in_node = static_cast<double>(ranks_in_node(gpu, group));
  const double nodes = std::ceil(size / in_node);
  // The rings of a group leave a node through the adapters of all of its ranks there.
  const double network = in_node * gpu.network_bandwidth;
  const double bandwidth =
      nodes > 1 ? std::min(gpu.nvlink_bandwidth, network) : gpu.nvlink_bandwidth;
  const double latency = kStart + (nodes - 1) * kNetworkStep + (size - nodes) * kNvLinkStep;
  return latency + bytes * (size - 1) / size / bandwidth;
}

double reduce_scatter_seconds(const Gpu& gpu, const Group& group, double bytes) {
  return all_gather_seconds(gpu, group, bytes);
}

double all_reduce_seconds(const Gpu& gpu, const Group& group, double bytes) {
  return 2 * all_gather_seconds(gpu, group, bytes);
}

double all_to_all_seconds(const Gpu& gpu, const Group& group, double bytes) {
  if (group.size <= 1) return 0;
  const auto size = static_cast<double>(group.size);
  const auto in_node = static_cast<double>(ranks_in_node(gpu, group));
  const double near = bytes * (in_node - 1) / size / gpu.nvlink_bandwidth;
  const double far = bytes * (size - in_node) / size / gpu.network_bandwidth;
  return kStart + (size > in_node ? kNetworkStep : kNvLinkStep) + std::max(near, far);
}

double send_seconds(const Gpu& gpu, int64_t stride, double bytes) {
  const bool is_near = stride < gpu.gpus_per_node;
  return kStart + (is_near ? kNvLinkStep + bytes / gpu.nvlink_bandwidth
                           : kNetworkStep + bytes / gpu.network_bandwidth);
}

}  // namespace plinth::plan
