#include "distributed/self/self_group.h"

#include <cstring>
#include <mutex>
#include <optional>
#include <utility>

#include "core/cuda/runtime.h"
#include "core/error.h"
#include "core/stream.h"

namespace plinth::distributed {
namespace {

// Work that was done, or failed, at once.
class Failed : public Work::State {
 public:
  explicit Failed(const std::exception_ptr& error) { error_ = error; }
  bool is_done() override { return true; }
  void wait() override { std::rethrow_exception(error_); }

 private:
  std::exception_ptr error_;
};

class SelfGroup : public ProcessGroup {
 public:
  explicit SelfGroup(GroupOptions options) : ProcessGroup(0, 1, std::move(options)) {}

  std::string_view backend() const override { return "self"; }
  bool serves(Device) const override { return true; }

  Work in_order(std::function<void()> work) override { return attempt("in_order", work); }

  std::shared_ptr<ProcessGroup> split(int color, int, const std::string& name) override {
    GroupOptions part = options();
    part.name = name;
    return color < 0 ? nullptr : make_self_group(std::move(part));
  }

  void abort(const std::string& reason) override {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = reason;
  }

 protected:
  Work start(Collective collective, Tensors held) override {
    return attempt(collective.describe(), [&] {
      if (held.empty() || collective.in == collective.out || collective.bytes() == 0) return;
      const Device device = held[0].device();
      const auto bytes = static_cast<size_t>(collective.bytes());
      if (device.is_cuda())
        cuda::copy(collective.out, collective.in, bytes, current_stream(device));
      else
        std::memcpy(collective.out, collective.in, bytes);
    });
  }

 private:
  Work attempt(const std::string& what, const std::function<void()>& work) {
    try {
      {
        const std::lock_guard lock(mutex_);
        if (failure_)
          throw Error(ErrorKind::Io, what,
                      detail::concat("group '", name(), "' has given up: ", *failure_));
      }
      work();
      return {};
    } catch (const std::exception& error) {
      abort(error.what());
      return Work(std::make_shared<Failed>(std::current_exception()));
    }
  }

  std::mutex mutex_;
  std::optional<std::string> failure_;
};

}  // namespace

std::shared_ptr<ProcessGroup> make_self_group(GroupOptions options) {
  return std::make_shared<SelfGroup>(std::move(options));
}

}  // namespace plinth::distributed
