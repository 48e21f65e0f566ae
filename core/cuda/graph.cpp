#include "core/cuda/graph.h"

#include <atomic>

#include "core/cuda/caching_allocator.h"
#include "core/cuda/runtime.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/stream.h"

namespace plinth::cuda {
namespace {

int new_pool() {
  static std::atomic<int> last = 0;
  return ++last;
}

// While it lives, this thread's blocks of the device come from the pool.
class PoolGuard {
 public:
  PoolGuard(CachingAllocator& memory, int pool) : memory_(memory) { memory_.choose_pool(pool); }
  ~PoolGuard() { memory_.choose_pool(0); }
  PoolGuard(const PoolGuard&) = delete;
  PoolGuard& operator=(const PoolGuard&) = delete;

 private:
  CachingAllocator& memory_;
};

}  // namespace

CapturedGraph::CapturedGraph(Device device, const std::function<void()>& work)
    : device_(device), pool_(new_pool()) {
  CachingAllocator& memory = caching_allocator(device);
  memory.release_cached();
  const Stream stream = current_stream(device);
  begin_capture(stream);
  try {
    {
      const PoolGuard pool(memory, pool_);
      work();
    }
    graph_ = end_capture(stream);
  } catch (...) {
    abandon_capture(stream);
    memory.release_pool(pool_);
    throw;
  }
}

CapturedGraph::~CapturedGraph() {
  try {
    cuda::synchronize(device_);
    graph_destroy(graph_);
    caching_allocator(device_).release_pool(pool_);
  } catch (const std::exception&) {
    // A device that fails does so for good: the pool is lost with it.
  }
}

void CapturedGraph::launch() const {
  graph_launch(graph_, current_stream(device_));
}

void refuse_capture(Stream stream, std::string_view act) {
  if (stream.device.is_cpu() || !is_capturing(stream)) return;
  const std::string_view op = current_scope();
  throw Error(ErrorKind::Cuda, op.empty() ? "captured work" : op,
              detail::concat(act, ", which a CUDA graph cannot capture"));
}

}  // namespace plinth::cuda
