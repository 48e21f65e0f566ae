#pragma once

// Which op or module runs now, for whoever asks: the out-of-memory message, profilers, NVTX.
//
//   Tensor softmax(const Tensor& x, int64_t dim) {
//     const OpScope scope(__func__);

#include <atomic>
#include <string_view>

#include "core/tensor.h"

namespace plinth {

enum class ScopeKind {
  Op,        // "layer_norm"
  Backward,  // of an op: "layer_norm_backward"
  Module,    // "blocks.0.mlp"
  Phase,     // a part of a command's work: "train_step"
};

// Hears of every scope of every thread while it is installed.
struct ScopeListener {
  virtual ~ScopeListener() = default;
  virtual void enter(const char* name, ScopeKind kind) = 0;
  // The innermost scope of this thread ends.
  virtual void leave() = 0;
  // What the innermost scope's op was given; only ops that have a gradient tell.
  virtual void inputs(const Tensors&) {}
};

namespace detail {
inline thread_local const char* scope_name = "";
inline std::atomic<ScopeListener*> scope_listener = nullptr;
}  // namespace detail

// Null takes the listener away. Not for use while ops run.
inline void set_scope_listener(ScopeListener* listener) {
  detail::scope_listener = listener;
}

inline ScopeListener* scope_listener() {
  return detail::scope_listener.load(std::memory_order_relaxed);
}

// The innermost scope of this thread, "" outside.
inline const char* current_scope() {
  return detail::scope_name;
}

// A copy of the name that lives as long as the program, the same for equal names.
const char* permanent_name(std::string_view name);

// Names what runs in this thread while it lives. The name must live as long as the program.
class OpScope {
 public:
  explicit OpScope(const char* name, ScopeKind kind = ScopeKind::Op) : outer_(detail::scope_name) {
    detail::scope_name = name;
    if (ScopeListener* listener = scope_listener()) listener->enter(name, kind);
  }
  ~OpScope() {
    if (ScopeListener* listener = scope_listener()) listener->leave();
    detail::scope_name = outer_;
  }
  OpScope(const OpScope&) = delete;
  OpScope& operator=(const OpScope&) = delete;

 private:
  const char* outer_;
};

}  // namespace plinth
