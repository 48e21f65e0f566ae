#include "distributed/nccl/stream_progress.h"

#include "core/cuda/runtime.h"
#include "core/stream.h"

namespace plinth::distributed {
namespace {

// The device's side of the words is in the order of the stream's work, as all that is copied there.
cuda::Staging words_of(Stream stream) {
  const StreamGuard guard(stream);
  return cuda::Staging(stream.device, (StreamProgress::kMarks + 1) * sizeof(uint64_t));
}

}  // namespace

StreamProgress::StreamProgress(Stream stream) : stream_(stream), words_(words_of(stream)) {
  *words_.host<uint64_t>() = 0;
}

void StreamProgress::mark() {
  const auto place = static_cast<int64_t>(marks_++ % kMarks);
  if (place == 0) send_numbers();
  cuda::copy(words_.host<uint64_t>(), words_.device<uint64_t>() + 1 + place, sizeof(uint64_t),
             stream_);
}

// The copy of the numbers before has been done, since the first mark after it has: no more than
// kMarks are under way.
void StreamProgress::send_numbers() {
  uint64_t* const numbers = words_.host<uint64_t>() + 1;
  for (int64_t i = 0; i < kMarks; ++i) numbers[i] = marks_ + i;
  cuda::copy(words_.device<uint64_t>() + 1, numbers, kMarks * sizeof(uint64_t), stream_);
}

}  // namespace plinth::distributed
