#include "core/profile/profiler.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "core/error.h"

namespace plinth {
namespace {

int64_t now_ns() {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

uint64_t next_number() {
  static std::atomic<uint64_t> next = 1;
  return next++;
}

}  // namespace

struct Profiler::Thread {
  struct Open {
    TraceScope scope;
    int64_t inside_ns = 0;  // that scopes in it have taken
    bool recorded = false;  // it began while the window was open
    bool has_activities = false;
    bool ends_window = false;
  };

  int number = 0;
  std::vector<Open> open;
  std::vector<TraceScope> done;

  bool is_in(const char* name) const {
    return std::ranges::any_of(
        open, [name](const Open& outer) { return outer.recorded && outer.scope.name == name; });
  }
};

Profiler::Profiler(ProfileWindow window) : window_(std::move(window)), number_(next_number()) {
  check(1 <= window_.first && window_.first <= window_.last, ErrorKind::Argument, "profile",
        "got the steps ", window_.first, ":", window_.last,
        ", takes two numbers from 1, the second not below the first");
  this_thread();
  set_scope_listener(this);
}

Profiler::~Profiler() {
  set_scope_listener(nullptr);
  if (recording_) close_window();
}

Profiler::Thread& Profiler::this_thread() {
  thread_local uint64_t owner = 0;
  thread_local Thread* mine = nullptr;
  if (!mine || owner != number_) {
    const std::lock_guard lock(mutex_);
    mine = threads_.emplace_back(std::make_unique<Thread>()).get();
    mine->number = static_cast<int>(threads_.size()) - 1;
    owner = number_;
  }
  return *mine;
}

bool Profiler::is_step(const char* name, ScopeKind kind) const {
  return kind == ScopeKind::Phase && window_.step == name;
}

void Profiler::open_window() {
  trace_.without_activities = cuda::start_activities();
  with_activities_ = trace_.without_activities.empty();
  trace_.begin_ns = now_ns();
  recording_ = true;
}

void Profiler::close_window() {
  recording_ = false;
  try {
    if (std::exchange(with_activities_, false)) trace_.activities = cuda::stop_activities();
  } catch (const std::exception&) {
    failure_ = std::current_exception();  // scopes end in destructors, which throw nothing
  }
  trace_.end_ns = now_ns();
}

void Profiler::enter(const char* name, ScopeKind kind) {
  const bool steps = is_step(name, kind);
  if (steps && ++steps_ == window_.first) open_window();
  Thread& thread = this_thread();
  Thread::Open open;
  open.recorded = recording_;
  open.ends_window = steps && steps_ == window_.last;
  if (open.recorded) {
    trace_.steps += steps;
    open.scope.name = name;
    open.scope.kind = kind;
    open.scope.thread = thread.number;
    open.scope.nested = thread.is_in(name);
    open.scope.id = next_id_++;
    open.has_activities = with_activities_;
    if (open.has_activities) cuda::enter_activity_scope(open.scope.id);
    open.scope.begin_ns = now_ns();
  }
  thread.open.push_back(std::move(open));
}

void Profiler::leave() {
  const int64_t now = now_ns();
  Thread& thread = this_thread();
  if (thread.open.empty()) return;  // it began before the profile
  Thread::Open ended = std::move(thread.open.back());
  thread.open.pop_back();
  if (ended.recorded) {
    ended.scope.end_ns = now;
    const int64_t lasted = now - ended.scope.begin_ns;
    ended.scope.own_ns = lasted - ended.inside_ns;
    if (!thread.open.empty()) thread.open.back().inside_ns += lasted;
    if (ended.has_activities) cuda::leave_activity_scope();
    thread.done.push_back(std::move(ended.scope));
  }
  if (ended.ends_window && recording_) close_window();
}

void Profiler::inputs(const Tensors& tensors) {
  if (!recording_) return;
  Thread& thread = this_thread();
  if (thread.open.empty() || !thread.open.back().recorded) return;
  for (const Tensor& tensor : tensors) {
    if (tensor.defined()) thread.open.back().scope.inputs.push_back(tensor.shape());
  }
}

Trace Profiler::take() {
  set_scope_listener(nullptr);
  if (recording_) close_window();
  if (failure_) std::rethrow_exception(failure_);
  const std::lock_guard lock(mutex_);
  for (const auto& thread : threads_) {
    std::ranges::move(thread->done, std::back_inserter(trace_.scopes));
    thread->done.clear();
  }
  return std::exchange(trace_, {});
}

}  // namespace plinth
