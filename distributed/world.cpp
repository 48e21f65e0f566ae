#include "distributed/world.h"

#include <unistd.h>

#include <array>
#include <cstdlib>

#include "core/error.h"
#include "distributed/gloo/gloo_group.h"
#include "distributed/nccl/nccl_group.h"
#include "distributed/self/self_group.h"

namespace plinth::distributed {
namespace {

GlooOptions gloo_options(const Rendezvous& place) {
  GlooOptions options;
  if (const char* interface = std::getenv("GLOO_SOCKET_IFNAME")) {
    options.interface = interface;
  } else if (!place.single_host()) {
    std::array<char, 256> name{};
    check(::gethostname(name.data(), name.size() - 1) == 0, ErrorKind::Io, "join_world",
          "this host has no name; set GLOO_SOCKET_IFNAME");
    options.address = name.data();
  }
  return options;
}

}  // namespace

std::shared_ptr<ProcessGroup> join_world(const Rendezvous& place, Device device,
                                         Milliseconds timeout) {
  const GroupOptions options{.timeout = timeout};
  if (place.world_size == 1) return make_self_group(options);
#ifndef PLINTH_CUDA_BACKEND
  check(device.is_cpu(), ErrorKind::Device, "join_world", "got ", device,
        ", takes cpu: this build has no CUDA backend");
#endif
  const auto store = std::make_shared<PrefixStore>(make_store(place, timeout), "world");
#ifdef PLINTH_CUDA_BACKEND
  if (device.is_cuda())
    return make_nccl_group(store, place.rank, place.world_size, device, options);
#endif
  return make_gloo_group(store, place.rank, place.world_size, options, gloo_options(place));
}

}  // namespace plinth::distributed
