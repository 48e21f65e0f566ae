#include "apps/memory/report.h"

#include <algorithm>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <tuple>

#include "apps/print.h"
#include "core/error.h"
#include "core/io/json.h"
#include "train/logging/format.h"

namespace plinth::apps {
namespace {

using nlohmann::ordered_json;

// "block11.mlp" becomes "block*.mlp": a number that ends a part of a path.
std::string without_numbers(const std::string& name) {
  std::string result;
  for (size_t i = 0; i < name.size();) {
    const size_t end = std::min(name.find_first_not_of("0123456789", i), name.size());
    const bool ends_a_part = end == name.size() || name[end] == '.' || name[end] == ' ';
    const bool is_of_a_name = !result.empty() && result.back() != ' ';
    if (end > i && ends_a_part && is_of_a_name) {
      result += '*';
    } else {
      result.append(name, i, std::max<size_t>(1, end - i));
    }
    i = std::max(end, i + 1);
  }
  return result;
}

std::string in_bytes(int64_t bytes) {
  return format_bytes(static_cast<uint64_t>(bytes));
}

std::string text_of(const Shape& shape) {
  std::ostringstream text;
  text << shape;
  return text.str();
}

std::string end_of(const TracedTensor& tensor) {
  return tensor.stays ? "stays" : to_string(tensor.died);
}

std::string what(const TracedTensor& tensor) {
  const std::string in = tensor.module.empty() ? "" : tensor.module + " ";
  return detail::concat(in, tensor.name, " ", name(tensor.dtype), " ", text_of(tensor.shape));
}

std::string rank_lines(const MemoryAnswer& answer) {
  std::string text = print("%5s %16s %10s  %-14s %16s %16s\n", "rank", "peak, bytes", "", "in",
                           "first step", "setup");
  for (const auto& [rank, report] : answer.ranks)
    text +=
        print("%5d %16lld %10s  %-14s %16lld %16lld\n", rank, static_cast<long long>(report.peak),
              in_bytes(report.peak).c_str(), to_string(report.peak_place).c_str(),
              static_cast<long long>(report.first_peak), static_cast<long long>(report.setup_peak));
  return text;
}

std::string kind_lines(const DryRunReport& report) {
  std::string text = print("  %-14s %16s %10s %6s\n", "kind", "bytes", "", "%");
  for (size_t i = 0; i < kMemoryKinds; ++i) {
    const int64_t bytes = report.by_kind[i];
    text +=
        print("  %-14s %16lld %10s %6.1f\n", std::string(name(static_cast<MemoryKind>(i))).c_str(),
              static_cast<long long>(bytes), in_bytes(bytes).c_str(),
              100 * static_cast<double>(bytes) / static_cast<double>(report.peak));
  }
  return text;
}

std::string tensor_lines(const DryRunReport& report, size_t top) {
  std::string text = print("  %-14s %6s %16s %10s  %-12s %-12s %s\n", "kind", "count", "bytes", "",
                           "born", "died", "tensor");
  const std::vector<TensorGroup> groups = groups_of(report.tensors);
  const size_t shown = std::min(top, groups.size());
  for (size_t i = 0; i < shown; ++i) {
    const auto& [like, count, bytes] = groups[i];
    text +=
        print("  %-14s %6lld %16lld %10s  %-12s %-12s %s\n", std::string(name(like.kind)).c_str(),
              static_cast<long long>(count), static_cast<long long>(bytes), in_bytes(bytes).c_str(),
              to_string(like.born).c_str(), end_of(like).c_str(), what(like).c_str());
  }
  int64_t rest = 0;
  for (size_t i = shown; i < groups.size(); ++i) rest += groups[i].bytes;
  if (shown < groups.size())
    text += print("  %zu more groups of tensors have %lld bytes\n", groups.size() - shown,
                  static_cast<long long>(rest));
  return text;
}

ordered_json json_of(const BytesByKind& bytes) {
  ordered_json json;
  for (size_t i = 0; i < kMemoryKinds; ++i)
    json[std::string(name(static_cast<MemoryKind>(i)))] = bytes[i];
  return json;
}

ordered_json json_of(const TracedTensor& tensor) {
  return {{"kind", name(tensor.kind)},
          {"name", tensor.name},
          {"module", tensor.module},
          {"shape", std::vector<int64_t>(tensor.shape.begin(), tensor.shape.end())},
          {"dtype", name(tensor.dtype)},
          {"bytes", tensor.bytes},
          {"born", to_string(tensor.born)},
          {"died", end_of(tensor)}};
}

}  // namespace

std::vector<TensorGroup> groups_of(const std::vector<TracedTensor>& tensors) {
  using Key = std::tuple<MemoryKind, std::string, std::string, std::string, std::string>;
  std::map<Key, TensorGroup> found;
  for (const TracedTensor& tensor : tensors) {
    TracedTensor like = tensor;
    like.module = without_numbers(tensor.module);
    like.name = without_numbers(tensor.name);
    const Key key{like.kind, what(like), in_bytes(like.bytes), to_string(like.born), end_of(like)};
    TensorGroup& group = found.try_emplace(key, TensorGroup{std::move(like), 0, 0}).first->second;
    ++group.count;
    group.bytes += tensor.bytes;
  }
  std::vector<TensorGroup> groups;
  groups.reserve(found.size());
  for (auto& [key, group] : found) groups.push_back(std::move(group));
  std::ranges::stable_sort(groups, std::greater(), &TensorGroup::bytes);
  return groups;
}

std::string memory_table(const MemoryAnswer& answer, size_t top) {
  const auto& [rank, report] = answer.ranks[answer.shown];
  return detail::concat(
      answer.title, "\na dry run: bytes that the CPU's allocator gives to tensors\n\n",
      rank_lines(answer), "\nrank ", rank, " at its peak, in ", to_string(report.peak_place), ":\n",
      kind_lines(report), "\n", tensor_lines(report, top),
      "\nbackward: gradients of activations, and of parameters on their way to the sums.\n"
      "first step: its peak, where it is not that of all later ones. setup: until then.\n");
}

std::string memory_json(const MemoryAnswer& answer) {
  ordered_json json;
  json["run"] = answer.title;
  json["ranks"] = ordered_json::array();
  for (const auto& [rank, report] : answer.ranks)
    json["ranks"].push_back({{"rank", rank},
                             {"peak_bytes", report.peak},
                             {"in", to_string(report.peak_place)},
                             {"first_step_bytes", report.first_peak},
                             {"setup_bytes", report.setup_peak},
                             {"before_step_bytes", report.before},
                             {"kinds", json_of(report.by_kind)}});
  const auto& [rank, report] = answer.ranks[answer.shown];
  json["shown"] = rank;
  json["tensors"] = ordered_json::array();
  for (const TracedTensor& tensor : report.tensors) json["tensors"].push_back(json_of(tensor));
  json["timeline"] = ordered_json::array();
  for (const MemorySample& sample : report.samples)
    json["timeline"].push_back({{"event", sample.place.event},
                                {"in", to_string(sample.place)},
                                {"kinds", json_of(sample.bytes)}});
  return json_text(json, 2) + "\n";
}

}  // namespace plinth::apps
