#include "distributed/nccl/stream_progress.h"

#include "core/cuda/runtime.h"
#include "core/error.h"

namespace plinth::distributed {

StreamProgress::StreamProgress(Stream stream)
    : stream_(stream),
      words_(static_cast<uint64_t*>(cuda::host_allocate((kMarks + 1) * sizeof(uint64_t)))) {
  if (words_ == nullptr)
    throw Error(ErrorKind::OutOfMemory, "StreamProgress", "the system gives no pinned memory");
  *words_ = 0;
}

StreamProgress::~StreamProgress() {
  try {
    cuda::synchronize(stream_);  // marks may be on their way
  } catch (const Error&) {
    // A device that failed writes no more.
  }
  cuda::host_free(words_);
}

void StreamProgress::mark() {
  uint64_t* const number = words_ + 1 + marks_ % kMarks;
  *number = ++marks_;
  cuda::copy(words_, number, sizeof *number, stream_);
}

}  // namespace plinth::distributed
