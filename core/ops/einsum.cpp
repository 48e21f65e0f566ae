#include "core/ops/einsum.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/op_scope.h"
#include "core/ops/checks.h"
#include "core/ops/matmul.h"
#include "core/ops/reduce.h"

namespace plinth {
namespace {

constexpr std::string_view kEinsum = "einsum";

bool has(std::string_view labels, char label) {
  return labels.find(label) != std::string_view::npos;
}

struct Equation {
  std::vector<std::string> operands;
  std::string result;
};

void check_labels(std::string_view labels, std::string_view equation) {
  for (size_t i = 0; i < labels.size(); ++i) {
    check(std::isalpha(static_cast<unsigned char>(labels[i])) != 0, ErrorKind::Argument, kEinsum,
          "equation \"", equation, "\" has '", labels[i],
          "', takes letters, commas and one \"->\", as in \"ij,jk->ik\"");
    check(!has(labels.substr(0, i), labels[i]), ErrorKind::Argument, kEinsum, "equation \"",
          equation, "\" has '", labels[i], "' twice in \"", labels, "\", takes it once");
  }
}

Equation parsed(std::string_view equation) {
  std::string text(equation);
  std::erase(text, ' ');
  const size_t arrow = text.find("->");
  check(arrow != std::string::npos, ErrorKind::Argument, kEinsum, "equation \"", equation,
        "\" has no \"->\", takes one before the result's labels");
  Equation parts{.operands = {""}, .result = text.substr(arrow + 2)};
  for (const char c : text.substr(0, arrow)) {
    if (c == ',') {
      parts.operands.emplace_back();
    } else {
      parts.operands.back() += c;
    }
  }
  for (const std::string& labels : parts.operands) check_labels(labels, equation);
  check_labels(parts.result, equation);
  for (const char label : parts.result) {
    const auto in = [&](const std::string& labels) { return has(labels, label); };
    check(std::ranges::any_of(parts.operands, in), ErrorKind::Argument, kEinsum, "equation \"",
          equation, "\" has '", label, "' in its result, but in no operand");
  }
  return parts;
}

void check_operands(const Equation& equation, const Tensors& operands) {
  check(operands.size() == equation.operands.size(), ErrorKind::Argument, kEinsum, "got ",
        operands.size(), " operands, the equation has ", equation.operands.size());
  std::map<char, int64_t> sizes;
  for (size_t i = 0; i < operands.size(); ++i) {
    const std::string& labels = equation.operands[i];
    const std::string name = detail::concat("operand ", i);
    check_floating(operands[i], kEinsum, name);
    check_like(operands[i], operands[0], kEinsum, name, "operand 0");
    check(operands[i].dim() == std::ssize(labels), ErrorKind::Shape, kEinsum, name, " has shape ",
          operands[i].shape(), ", expected ", labels.size(), " dimensions (\"", labels, "\")");
    for (size_t d = 0; d < labels.size(); ++d) {
      const int64_t size = operands[i].size(static_cast<int64_t>(d));
      const auto [known, is_new] = sizes.emplace(labels[d], size);
      check(known->second == size, ErrorKind::Shape, kEinsum, name, " has shape ",
            operands[i].shape(), ", expected ", known->second, " for '", labels[d],
            "' (that of an operand before it)");
    }
  }
}

// A tensor and the names of its dimensions.
struct Factor {
  Tensor x;
  std::string labels;

  int64_t size(char label) const { return x.size(static_cast<int64_t>(labels.find(label))); }
};

// Without the dimensions that are not among `kept`.
Factor summed(const Factor& factor, std::string_view kept) {
  Shape dims;
  std::string left;
  for (size_t d = 0; d < factor.labels.size(); ++d) {
    if (has(kept, factor.labels[d])) {
      left += factor.labels[d];
    } else {
      dims.push_back(static_cast<int64_t>(d));
    }
  }
  return dims.empty() ? factor : Factor{sum(factor.x, dims), left};
}

// With its dimensions, all of them, in the order of `labels`.
Tensor ordered(const Factor& factor, std::string_view labels) {
  Shape order;
  for (const char label : labels) order.push_back(static_cast<int64_t>(factor.labels.find(label)));
  return factor.x.permute(order);
}

// The product of all sizes.
int64_t volume(const Factor& factor, std::string_view labels) {
  int64_t product = 1;
  for (const char label : labels) product *= factor.size(label);
  return product;
}

// The product of both, summed over what is not among `kept`.
Factor multiplied(const Factor& left, const Factor& right, std::string_view kept) {
  const Factor a = summed(left, right.labels + std::string(kept));
  const Factor b = summed(right, left.labels + std::string(kept));
  std::string batch, rows, columns, inner;
  for (const char label : a.labels)
    (!has(b.labels, label) ? rows : has(kept, label) ? batch : inner) += label;
  for (const char label : b.labels)
    if (!has(a.labels, label)) columns += label;
  const int64_t count = volume(a, batch), depth = volume(a, inner);
  const Tensor product =
      matmul(ordered(a, batch + rows + inner).reshape({count, volume(a, rows), depth}),
             ordered(b, batch + inner + columns).reshape({count, depth, volume(b, columns)}));
  Shape shape;
  for (const char label : batch + rows) shape.push_back(a.size(label));
  for (const char label : columns) shape.push_back(b.size(label));
  return {product.reshape(shape), batch + rows + columns};
}

}  // namespace

Tensor einsum(std::string_view equation, const Tensors& operands) {
  const OpScope scope(__func__);
  const Equation parts = parsed(equation);
  check_operands(parts, operands);
  Factor all{operands[0], parts.operands[0]};
  for (size_t i = 1; i < operands.size(); ++i) {
    std::string kept = parts.result;
    for (size_t later = i + 1; later < operands.size(); ++later) kept += parts.operands[later];
    all = multiplied(all, {operands[i], parts.operands[i]}, kept);
  }
  return ordered(summed(all, parts.result), parts.result);
}

}  // namespace plinth
