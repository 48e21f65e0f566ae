// NVTX 3 is headers alone: without a tool that listens, a range costs a test of a pointer.

#include <nvtx3/nvToolsExt.h>

#include "core/cuda/nvtx.h"

namespace plinth::cuda {
namespace {

class Nvtx final : public ScopeListener {
 public:
  void enter(const char* name, ScopeKind) override {
    nvtxEventAttributes_t range{};
    range.version = NVTX_VERSION;
    range.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE;
    range.messageType = NVTX_MESSAGE_TYPE_ASCII;
    range.message.ascii = name;
    nvtxDomainRangePushEx(domain_, &range);
  }
  void leave() override { nvtxDomainRangePop(domain_); }

 private:
  const nvtxDomainHandle_t domain_ = nvtxDomainCreateA("plinth");
};

}  // namespace

ScopeListener* nvtx_listener() {
  static auto* const only = new Nvtx;
  return only;
}

}  // namespace plinth::cuda
