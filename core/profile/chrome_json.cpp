#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <unordered_map>

#include "core/profile/trace.h"

namespace plinth {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kHost = 1;
constexpr int kFirstGpu = 2;  // process numbers

const char* category(ScopeKind kind) {
  switch (kind) {
    case ScopeKind::Op: return "op";
    case ScopeKind::Backward: return "backward";
    case ScopeKind::Module: return "module";
    case ScopeKind::Phase: return "phase";
  }
  return "";
}

const char* category(cuda::ActivityKind kind) {
  switch (kind) {
    case cuda::ActivityKind::Kernel: return "kernel";
    case cuda::ActivityKind::Copy: return "copy";
    case cuda::ActivityKind::Fill: return "fill";
  }
  return "";
}

class Writer {
 public:
  explicit Writer(const Trace& trace) : trace_(trace) {}

  std::string write() {
    text_ = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[";
    name_processes();
    for (const TraceScope& scope : trace_.scopes) add_scope(scope);
    for (const cuda::Activity& activity : trace_.activities) add_activity(activity);
    add_arrows();
    return text_ + "\n]}\n";
  }

 private:
  double microseconds(int64_t ns) const { return static_cast<double>(ns - trace_.begin_ns) * 1e-3; }

  void add(const Json& event) {
    text_ += text_.back() == '[' ? "\n" : ",\n";
    text_ += event.dump();
  }

  void add_name(const char* what, int process, uint64_t thread, const std::string& name) {
    add({{"name", what},
         {"ph", "M"},
         {"pid", process},
         {"tid", thread},
         {"args", {{"name", name}}}});
  }

  void name_processes() {
    std::set<int> threads;
    std::set<std::pair<int, uint64_t>> streams;
    for (const TraceScope& scope : trace_.scopes) threads.insert(scope.thread);
    for (const auto& activity : trace_.activities)
      streams.emplace(activity.device, activity.stream);
    add_name("process_name", kHost, 0, "plinth");
    for (const int thread : threads)
      add_name("thread_name", kHost, thread,
               thread == 0 ? "main thread" : "thread " + std::to_string(thread));
    for (const auto& [device, stream] : streams) {
      add_name("process_name", kFirstGpu + device, stream, "cuda:" + std::to_string(device));
      add_name("thread_name", kFirstGpu + device, stream, "stream " + std::to_string(stream));
    }
  }

  Json slice(const std::string& name, const char* kind, int process, uint64_t thread,
             int64_t begin_ns, int64_t end_ns) const {
    return {{"name", name},
            {"cat", kind},
            {"ph", "X"},
            {"pid", process},
            {"tid", thread},
            {"ts", microseconds(begin_ns)},
            {"dur", static_cast<double>(end_ns - begin_ns) * 1e-3}};
  }

  void add_scope(const TraceScope& scope) {
    Json event =
        slice(scope.name, category(scope.kind), kHost, scope.thread, scope.begin_ns, scope.end_ns);
    std::ostringstream shapes;
    for (const Shape& shape : scope.inputs) shapes << (shapes.tellp() > 0 ? " " : "") << shape;
    if (!scope.inputs.empty()) event["args"]["inputs"] = shapes.str();
    add(event);
  }

  void add_activity(const cuda::Activity& activity) {
    Json event = slice(activity.name, category(activity.kind), kFirstGpu + activity.device,
                       activity.stream, activity.begin_ns, activity.end_ns);
    if (activity.kind == cuda::ActivityKind::Kernel) {
      event["args"] = {{"grid", activity.grid},
                       {"block", activity.block},
                       {"shared bytes", activity.shared_bytes}};
      if (activity.registers > 0) event["args"]["registers"] = activity.registers;
    } else {
      event["args"]["bytes"] = activity.bytes;
    }
    add(event);
  }

  void add_arrows() {
    std::unordered_map<uint64_t, const TraceScope*> scopes;
    for (const TraceScope& scope : trace_.scopes) scopes[scope.id] = &scope;
    int arrow = 0;
    for (const cuda::Activity& activity : trace_.activities) {
      const auto from = scopes.find(activity.scope);
      if (from == scopes.end()) continue;
      add_arrow_end("s", ++arrow, kHost, from->second->thread, from->second->begin_ns);
      add_arrow_end("f", arrow, kFirstGpu + activity.device, activity.stream, activity.begin_ns);
    }
  }

  void add_arrow_end(const char* phase, int arrow, int process, uint64_t thread, int64_t ns) {
    Json event = {{"name", "launch"}, {"cat", "launch"}, {"ph", phase},           {"id", arrow},
                  {"pid", process},   {"tid", thread},   {"ts", microseconds(ns)}};
    if (phase[0] == 'f') event["bp"] = "e";  // it ends at the slice that begins there
    add(event);
  }

  const Trace& trace_;
  std::string text_;
};

}  // namespace

std::string to_chrome_json(const Trace& trace) {
  return Writer(trace).write();
}

}  // namespace plinth
