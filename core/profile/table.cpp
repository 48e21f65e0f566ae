#include <algorithm>
#include <cstdio>
#include <map>
#include <unordered_map>

#include "core/profile/trace.h"

namespace plinth {
namespace {

struct Line {
  std::string name;
  int64_t calls = 0;
  int64_t total_ns = 0;
  int64_t own_ns = 0;
  int64_t gpu_ns = 0;  // of the activities that the scope itself asked for
};

double milliseconds(int64_t ns) {
  return static_cast<double>(ns) * 1e-6;
}

double percent(int64_t part, int64_t whole) {
  return whole > 0 ? 100.0 * static_cast<double>(part) / static_cast<double>(whole) : 0;
}

template <class... Values>
void print(std::string& text, const char* format, Values... values) {
  char line[256];
  std::snprintf(line, sizeof line, format, values...);
  text += line;
}

// A name in at most 44 columns, its end cut off.
std::string shortened(const std::string& name) {
  constexpr size_t kColumns = 44;
  return name.size() <= kColumns ? name : name.substr(0, kColumns - 3) + "...";
}

template <class Less>
std::vector<Line> largest(const std::map<std::string, Line>& by_name, Less less) {
  std::vector<Line> lines;
  for (const auto& [name, line] : by_name) {
    lines.push_back(line);
    lines.back().name = name;
  }
  std::ranges::stable_sort(lines, less);
  return lines;
}

std::map<std::string, Line> scope_lines(const Trace& trace) {
  std::map<std::string, Line> lines;
  std::unordered_map<uint64_t, const char*> names;
  for (const TraceScope& scope : trace.scopes) {
    Line& line = lines[scope.name];
    ++line.calls;
    line.own_ns += scope.own_ns;
    if (!scope.nested) line.total_ns += scope.end_ns - scope.begin_ns;
    names[scope.id] = scope.name;
  }
  for (const cuda::Activity& activity : trace.activities) {
    const auto name = names.find(activity.scope);
    if (name != names.end()) lines[name->second].gpu_ns += activity.end_ns - activity.begin_ns;
  }
  return lines;
}

void add_scopes(const Trace& trace, size_t rows, std::string& text) {
  const bool on_gpu = !trace.activities.empty();
  const auto lines = largest(scope_lines(trace), [on_gpu](const Line& a, const Line& b) {
    return on_gpu && a.gpu_ns != b.gpu_ns ? a.gpu_ns > b.gpu_ns : a.own_ns > b.own_ns;
  });
  int64_t own = 0;
  for (const Line& line : lines) own += line.own_ns;
  print(text, "%-44s %8s %11s %11s %7s %10s%s\n", "host: total with what is inside, own without",
        "calls", "total ms", "own ms", "own %", "mean ms", on_gpu ? "     GPU ms" : "");
  for (size_t i = 0; i < std::min(rows, lines.size()); ++i) {
    const Line& line = lines[i];
    print(text, "%-44s %8lld %11.3f %11.3f %6.1f%% %10.4f", shortened(line.name).c_str(),
          static_cast<long long>(line.calls), milliseconds(line.total_ns),
          milliseconds(line.own_ns), percent(line.own_ns, own),
          milliseconds(line.total_ns) / static_cast<double>(line.calls));
    if (on_gpu) print(text, " %10.3f", milliseconds(line.gpu_ns));
    text += '\n';
  }
}

void add_activities(const Trace& trace, size_t rows, std::string& text) {
  std::map<std::string, Line> by_name;
  int64_t all = 0;
  for (const cuda::Activity& activity : trace.activities) {
    Line& line = by_name[activity.name];
    ++line.calls;
    line.total_ns += activity.end_ns - activity.begin_ns;
    all += activity.end_ns - activity.begin_ns;
  }
  const auto lines =
      largest(by_name, [](const Line& a, const Line& b) { return a.total_ns > b.total_ns; });
  print(text, "%-44s %8s %11s %19s %10s\n", "GPU", "calls", "total ms", "%", "mean ms");
  for (size_t i = 0; i < std::min(rows, lines.size()); ++i) {
    const Line& line = lines[i];
    print(text, "%-44s %8lld %11.3f %18.1f%% %10.4f\n", shortened(line.name).c_str(),
          static_cast<long long>(line.calls), milliseconds(line.total_ns),
          percent(line.total_ns, all),
          milliseconds(line.total_ns) / static_cast<double>(line.calls));
  }
}

}  // namespace

std::string to_table(const Trace& trace, size_t rows) {
  std::string text;
  add_scopes(trace, rows, text);
  if (!trace.activities.empty()) add_activities(trace, rows, text);
  return text;
}

}  // namespace plinth
