#pragma once

// Which op or module runs now, for whoever asks: the out-of-memory message, profilers, NVTX.

#include <atomic>
#include <string_view>

namespace plinth {

// Hears of every scope of every thread while it is installed.
struct ScopeListener {
  virtual ~ScopeListener() = default;
  virtual void enter(const char* name) = 0;
  virtual void leave(const char* name) = 0;
};

namespace detail {
inline thread_local const char* scope_name = "";
inline std::atomic<ScopeListener*> scope_listener = nullptr;
}  // namespace detail

// Null takes the listener away. Not for use while ops run.
inline void set_scope_listener(ScopeListener* listener) {
  detail::scope_listener = listener;
}

// The innermost scope of this thread, "" outside.
inline const char* current_scope() {
  return detail::scope_name;
}

// Names what runs in this thread while it lives. The name must live as long as the program.
class OpScope {
 public:
  explicit OpScope(const char* name) : outer_(detail::scope_name) {
    detail::scope_name = name;
    if (ScopeListener* listener = detail::scope_listener.load(std::memory_order_relaxed))
      listener->enter(name);
  }
  ~OpScope() {
    if (ScopeListener* listener = detail::scope_listener.load(std::memory_order_relaxed))
      listener->leave(detail::scope_name);
    detail::scope_name = outer_;
  }
  OpScope(const OpScope&) = delete;
  OpScope& operator=(const OpScope&) = delete;

 private:
  const char* outer_;
};

}  // namespace plinth
