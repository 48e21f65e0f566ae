#include "nn/summary.h"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <unordered_set>

#include "core/allocator.h"
#include "core/error.h"
#include "core/flop_counter.h"
#include "core/storage.h"

namespace plinth::nn {
namespace {

struct Calls {
  std::optional<Shape> output;
  int64_t count = 0;
  int64_t flops = 0;
};

class Recorder final : public ForwardObserver {
 public:
  void enter(const Module&) override { starts_.push_back(counter_.count()); }
  void leave(const Module& module, const Tensor& output) override {
    Calls& calls = calls_[&module];
    ++calls.count;
    calls.flops += counter_.count() - starts_.back();
    starts_.pop_back();
    if (output.defined()) calls.output = output.shape();
  }

  const Calls& of(const Module* module) { return calls_[module]; }
  int64_t flops() const { return counter_.count(); }

 private:
  FlopCounter counter_;
  std::vector<int64_t> starts_;
  std::unordered_map<const Module*, Calls> calls_;
};

int64_t bytes_of(const Tensor& tensor) {
  return tensor.numel() * static_cast<int64_t>(size_of(tensor.dtype()));
}

bool is_below(std::string_view name, std::string_view path) {
  return path.empty() ||
         (name.size() > path.size() && name.starts_with(path) && name[path.size()] == '.');
}

void add_memory(Summary& summary, const Module& module) {
  for (const auto& [name, parameter] : module.named_parameters()) {
    summary.parameters += parameter.numel();
    summary.parameter_bytes += bytes_of(parameter);
    if (!parameter.requires_grad()) continue;
    summary.trainable += parameter.numel();
    summary.gradient_bytes += bytes_of(parameter);
  }
  for (const auto& [name, buffer] : module.named_buffers()) {
    summary.parameter_bytes += bytes_of(buffer);
  }
}

// ---- the table ----

// "1,234,567".
std::string grouped(int64_t value) {
  std::string digits = std::to_string(value);
  for (auto at = static_cast<int64_t>(digits.size()) - 3; at > 0; at -= 3) {
    digits.insert(static_cast<size_t>(at), 1, ',');
  }
  return digits;
}

// Three digits and a unit: "1.23 G".
std::string scaled(double value, double base, const std::array<std::string_view, 6>& units) {
  size_t unit = 0;
  while (value >= 999.5 && unit + 1 < units.size()) {
    value /= base;
    ++unit;
  }
  std::array<char, 32> text;
  const int decimals = unit == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  std::snprintf(text.data(), text.size(), "%.*f ", decimals, value);
  return std::string(text.data()).append(units[unit]);
}

std::string operations(int64_t flops) {
  return scaled(static_cast<double>(flops), 1000,
                {"FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP"});
}
std::string memory(int64_t bytes) {
  return scaled(static_cast<double>(bytes), 1024, {"B", "KiB", "MiB", "GiB", "TiB", "PiB"});
}

constexpr size_t kColumns = 5;
using Line = std::array<std::string, kColumns>;

Line line_of(const SummaryRow& row) {
  const int64_t depth = row.path.empty() ? 0 : 1 + std::ranges::count(row.path, '.');
  std::string path = row.path.empty() ? "(model)" : row.path.substr(row.path.rfind('.') + 1);
  path.insert(0, static_cast<size_t>(2 * depth), ' ');
  return {std::move(path), row.type, row.output ? plinth::detail::concat(*row.output) : "-",
          grouped(row.parameters), row.calls > 0 ? operations(row.flops) : "-"};
}

// The first columns to the left, numbers to the right.
std::string table(const std::vector<Line>& lines) {
  std::array<size_t, kColumns> widths{};
  for (const Line& line : lines) {
    for (size_t c = 0; c < kColumns; ++c) widths[c] = std::max(widths[c], line[c].size());
  }
  std::string text;
  for (const Line& line : lines) {
    for (size_t c = 0; c < kColumns; ++c) {
      const size_t space = widths[c] - line[c].size();
      if (c > 0) text.append(2, ' ');
      if (c >= 3) text.append(space, ' ');
      text.append(line[c]);
      if (c < 3) text.append(space, ' ');
    }
    text.push_back('\n');
  }
  return text;
}

}  // namespace

Summary summarize(Module& module, std::string_view sample, const std::function<void()>& run) {
  Summary summary;
  summary.sample = sample;
  add_memory(summary, module);
  const std::vector<NamedTensor> parameters = module.named_parameters();
  const Device device = parameters.empty() ? Device{} : parameters[0].tensor.device();

  Recorder recorder;
  Allocator& memory_of = allocator(device);
  const int64_t before = memory_of.stats().allocated;
  memory_of.reset_peak();
  run();
  summary.activation_bytes = memory_of.stats().peak_allocated - before;
  summary.flops = recorder.flops();

  for (const auto& [path, child] : module.named_modules()) {
    const Calls& calls = recorder.of(child);
    SummaryRow row{path, child->type_name(), calls.output, calls.count, 0, calls.flops};
    for (const auto& [name, parameter] : parameters) {
      if (is_below(name, path)) row.parameters += parameter.numel();
    }
    summary.rows.push_back(std::move(row));
  }
  // The run is the module's own, though it may have been called by forward().
  SummaryRow& whole = summary.rows.front();
  if (whole.calls == 0) whole.calls = 1, whole.flops = summary.flops;
  return summary;
}

std::string to_string(const Summary& summary, int64_t depth) {
  std::vector<Line> lines = {{"module", "type", "output", "parameters", "forward"}};
  for (const SummaryRow& row : summary.rows) {
    const int64_t level = row.path.empty() ? 0 : 1 + std::ranges::count(row.path, '.');
    if (depth < 0 || level <= depth) lines.push_back(line_of(row));
  }
  std::string text = table(lines);
  text += plinth::detail::concat(
      "\nsample       ", summary.sample, "\nparameters   ", grouped(summary.parameters), " (",
      grouped(summary.trainable), " trainable), ", memory(summary.parameter_bytes),
      "\ngradients    ", memory(summary.gradient_bytes), "\nactivations  ",
      memory(summary.activation_bytes), "\nforward      ", operations(summary.flops), "\n");
  return text;
}

}  // namespace plinth::nn
