#include "apps/profile.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdio>

#include "apps/cli.h"
#include "core/cuda/nvtx.h"
#include "core/cuda/runtime.h"
#include "core/error.h"

namespace plinth::apps {

namespace {

ProfileWindow parsed(const std::string& steps, const std::string& step) {
  ProfileWindow window{step, 0, 0};
  const char* const end = steps.data() + steps.size();
  const auto first = std::from_chars(steps.data(), end, window.first);
  bool is_right = first.ec == std::errc() && first.ptr != end && *first.ptr == ':';
  if (is_right) {
    const auto last = std::from_chars(first.ptr + 1, end, window.last);
    is_right = last.ec == std::errc() && last.ptr == end;
  }
  check(is_right, ErrorKind::Argument, "--profile-steps", "got '", steps,
        "', takes the first and the last step, as in 2:4");
  return window;
}

}  // namespace

void ProfileOptions::add_to(CLI::App& command, const std::string& step) {
  CLI::Option* trace = command.add_option(
      "--profile", file,
      "write a trace for chrome://tracing or ui.perfetto.dev, and print a table");
  command.add_option("--profile-steps", steps, step + " to profile, first:last from 1")
      ->capture_default_str()
      ->needs(trace);
  command.add_flag("--nvtx", nvtx, "name ops and modules for Nsight Systems")
      ->excludes(trace);  // both would want CUPTI, which serves one
}

ProfiledRun::ProfiledRun(const ProfileOptions& options, const std::string& step)
    : options_(options) {
  if (options.nvtx) {
    ScopeListener* const listener = cuda::nvtx_listener();
    check(listener != nullptr, ErrorKind::Argument, "--nvtx", "this build has no CUDA backend");
    set_scope_listener(listener);
  } else if (!options.file.empty()) {
    const ProfileWindow window = parsed(options.steps, step);
    file_ = std::make_unique<AtomicFile>(options.file);
    profiler_ = std::make_unique<Profiler>(window);
  }
}

ProfiledRun::~ProfiledRun() {
  if (options_.nvtx) set_scope_listener(nullptr);
}

void ProfiledRun::finish() {
  if (!profiler_) return;
  const Trace trace = profiler_->take();
  if (trace.steps == 0)
    return warn("--profile: there was no step within " + options_.steps + ", no trace is written");
  if (!trace.without_activities.empty() && cuda::device_count() > 0)
    warn("--profile: GPU activities are not recorded: " + trace.without_activities);
  file_->write(to_chrome_json(trace));
  file_->commit();
  std::fflush(stdout);
  std::fprintf(stderr, "\nprofile of %lld steps, in %s\n%s", static_cast<long long>(trace.steps),
               options_.file.c_str(), to_table(trace).c_str());
}

}  // namespace plinth::apps
