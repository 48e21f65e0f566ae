#pragma once

// What a profile has recorded: the host's scopes, and what GPUs did.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/cuda/activity.h"
#include "core/op_scope.h"
#include "core/shape.h"

namespace plinth {

struct TraceScope {
  const char* name = "";
  ScopeKind kind = ScopeKind::Op;
  int thread = 0;        // 0: the one that the profile was begun in
  uint64_t id = 0;       // of cuda::Activity::scope
  int64_t begin_ns = 0;  // of std::chrono::steady_clock
  int64_t end_ns = 0;    //
  int64_t own_ns = 0;    // of which no scope inside it has taken
  bool nested = false;   // in a scope of the same name: counted in that one's time
  std::vector<Shape> inputs = {};
};

struct Trace {
  int64_t begin_ns = 0, end_ns = 0;  // of the recording
  int64_t steps = 0;                 // recorded
  std::vector<TraceScope> scopes;    // of a thread, in the order in which they ended
  std::vector<cuda::Activity> activities;
  std::string without_activities;  // why there are none of a GPU; "" if they were recorded
};

// As Chrome's trace events (Duffy, "Trace Event Format"), for chrome://tracing and
// ui.perfetto.dev: a complete event a scope, by threads; one an activity, by streams; and an arrow
// from a scope to each activity that it asked for. Times are microseconds since the trace began.
std::string to_chrome_json(const Trace& trace);

// Two tables as text, of the `rows` lines that matter most. Scopes by own time: "total" holds the
// scopes inside, "own" does not, so that the own times of one thread add up. GPU activities by
// time, if there are any.
std::string to_table(const Trace& trace, size_t rows = 15);

}  // namespace plinth
