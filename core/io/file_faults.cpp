#include "core/io/file_faults.h"

namespace plinth {
namespace {

std::atomic<FileFaults*> innermost = nullptr;

}  // namespace

FileFaults::FileFaults(Effect effect, int64_t call, int error)
    : effect_(effect), call_(call), error_(error), outer_(innermost) {
  innermost = this;
}

FileFaults::~FileFaults() {
  innermost = outer_;
}

FileFaults* FileFaults::active() {
  return innermost.load(std::memory_order_acquire);
}

FileFaults::Verdict FileFaults::next(Call call, size_t bytes) {
  const int64_t number = calls_++;
  const bool write = call == Call::Write;
  const bool here = number == call_;
  if (number < call_) return {0, bytes};
  switch (effect_) {
    case Effect::None: return {0, bytes};
    case Effect::Fail: return here ? Verdict{error_, 0} : Verdict{0, bytes};
    case Effect::ShortWrite: return {0, here && write && bytes > 1 ? bytes / 2 : bytes};
    case Effect::DiskFull:
      if (!write) return {0, bytes};
      return here && bytes > 1 ? Verdict{0, bytes / 2} : Verdict{ENOSPC, 0};
    case Effect::Crash:
      return here && write && bytes > 1 ? Verdict{0, bytes / 2} : Verdict{error_, 0};
  }
  return {0, bytes};
}

}  // namespace plinth
