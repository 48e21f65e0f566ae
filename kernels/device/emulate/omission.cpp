#include "kernels/device/emulate/omission.h"

#include <algorithm>

namespace plinth::emulate {
namespace {

thread_local const void* omitted = nullptr;
thread_local bool recording = false;
thread_local std::vector<CallSite> sites;

}  // namespace

void start_recording() {
  recording = true;
  sites.clear();
}

std::vector<CallSite> recorded() {
  recording = false;
  return std::move(sites);
}

void leave_out(const void* address) {
  omitted = address;
}

bool left_out(const void* address, const char* function) {
  if (recording &&
      std::ranges::none_of(sites, [&](const CallSite& site) { return site.address == address; }))
    sites.push_back({address, function});
  return address == omitted;
}

}  // namespace plinth::emulate
