#include "nn/state_dict.h"

#include <algorithm>
#include <unordered_map>

#include "core/autograd.h"
#include "core/error.h"

namespace plinth::nn {
namespace {

constexpr size_t kListed = 8;

// "a, b, c and 5 more".
std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kListed); ++i) {
    text += (i ? ", " : "") + names[i];
  }
  if (names.size() > kListed) text += " and " + std::to_string(names.size() - kListed) + " more";
  return text;
}

void raise(const LoadReport& report, const std::vector<std::string>& mismatched, bool strict,
           std::string_view subject) {
  std::string message;
  const auto append = [&](std::string_view what, const std::vector<std::string>& names) {
    if (names.empty()) return;
    if (!message.empty()) message += "; ";
    message += std::string(what) + ": " + listed(names);
  };
  if (strict) {
    append("missing", report.missing);
    append("unexpected", report.unexpected);
  }
  append("of another shape", mismatched);
  check(message.empty(), ErrorKind::Shape, subject, message);
}

}  // namespace

Tensor find(const StateDict& dict, std::string_view name) {
  const auto at = std::ranges::find(dict, name, &NamedTensor::name);
  return at == dict.end() ? Tensor() : at->tensor;
}

LoadReport load(const StateDict& target, const StateDict& saved, bool strict,
                std::string_view subject) {
  std::unordered_map<std::string_view, const Tensor*> sources;
  for (const NamedTensor& entry : saved) {
    check(entry.tensor.defined(), ErrorKind::Argument, subject, entry.name, " is undefined");
    sources.emplace(entry.name, &entry.tensor);
  }
  LoadReport report;
  std::vector<std::string> mismatched;
  std::vector<std::pair<Tensor, const Tensor*>> copies;
  for (const auto& [name, tensor] : target) {
    const auto at = sources.find(name);
    if (at == sources.end()) {
      report.missing.push_back(name);
      continue;
    }
    const Tensor& source = *at->second;
    if (source.shape() == tensor.shape()) {
      copies.emplace_back(tensor, &source);
    } else {
      mismatched.push_back(
          plinth::detail::concat(name, " has ", source.shape(), ", expected ", tensor.shape()));
    }
    sources.erase(at);
  }
  for (const NamedTensor& entry : saved) {
    if (sources.erase(entry.name)) report.unexpected.push_back(entry.name);
  }
  // Nothing is copied unless everything fits: a failed load leaves the target as it was.
  raise(report, mismatched, strict, subject);
  const NoGradGuard no_grad;
  for (auto& [tensor, source] : copies) tensor.copy_(*source);
  return report;
}

}  // namespace plinth::nn
