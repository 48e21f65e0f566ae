// Every differentiable op has a row in the table: found by reading the sources of core, not by a
// list that someone must remember to extend.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "core/autograd.h"
#include "core/autograd/node.h"
#include "core/op_scope.h"
#include "core/ops/factories.h"
#include "op_table.h"

namespace plinth::op_table {
namespace {

using Names = std::set<std::string>;
const std::filesystem::path kCore = std::filesystem::path(PLINTH_SOURCES) / "core";

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<std::filesystem::path> files(const std::string& extension) {
  std::vector<std::filesystem::path> found;
  for (const auto& entry : std::filesystem::directory_iterator(kCore / "ops")) {
    if (entry.path().extension() == extension) found.push_back(entry.path());
  }
  return found;
}

Names matches(const std::string& text, const std::string& pattern) {
  Names names;
  const std::regex regex(pattern);
  for (std::sregex_iterator i(text.begin(), text.end(), regex), end; i != end; ++i)
    names.insert((*i)[1]);
  return names;
}

Names difference(const Names& all, const Names& without) {
  Names rest;
  std::ranges::set_difference(all, without, std::inserter(rest, rest.end()));
  return rest;
}

// The names with which the sources record nodes: a literal in a call of record(), or of a helper
// that hands its argument on to record(), or a constant.
Names recorded_names() {
  const std::string call =
      "\\b(?:record|record_multi|record_undifferentiable|without_second_derivative|step_function|"
      "extremum|activation|record_norm)\\([^;{\"]*\"([a-z0-9_]+)\"";
  Names names;
  for (const auto& path : files(".cpp")) {
    const std::string text = read(path);
    names.merge(matches(text, call));
    const Names arguments =
        matches(text, "\\brecord(?:_multi|_undifferentiable)?\\(\\s*([a-zA-Z]\\w*)");
    for (const std::string& argument : arguments) {
      if (argument == "name" || argument == "op") continue;
      const Names constant = matches(text, argument + " = \"([a-z0-9_]+)\"");
      EXPECT_FALSE(constant.empty())
          << path << " records a name that this test cannot follow: " << argument;
      names.insert(constant.begin(), constant.end());
    }
  }
  return names;
}

// The names of all nodes below a tensor.
void collect_nodes(const Tensor& tensor, Names& names, std::set<const Node*>& seen) {
  std::vector<std::shared_ptr<Node>> stack = {tensor.gradient_edge().node};
  while (!stack.empty()) {
    const std::shared_ptr<Node> node = stack.back();
    stack.pop_back();
    if (!node || !seen.insert(node.get()).second) continue;
    names.insert(node->name());
    for (const Edge& edge : node->inputs) stack.push_back(edge.node);
  }
}

// The names of the nodes that a case records, forward and in a backward pass that is recorded.
void collect_names(const Case& c, Names& names) {
  Tensors inputs, wanted;
  for (const Tensor& x : c.inputs) {
    const bool differentiable = x.defined() && is_floating_point(x.dtype());
    inputs.push_back(differentiable ? x.clone().set_requires_grad() : x);
    if (differentiable) wanted.push_back(inputs.back());
  }
  std::set<const Node*> seen;
  Tensors outputs, output_gradients;
  for (const Tensor& y : c.op(inputs)) {
    if (!y.requires_grad()) continue;
    collect_nodes(y, names, seen);
    outputs.push_back(y);
    output_gradients.push_back(ones_like(y).set_requires_grad());
  }
  if (outputs.empty()) return;
  try {
    const GradOptions options{.create_graph = true, .allow_unused = true};
    for (const Tensor& gradient : grad(outputs, wanted, output_gradients, options)) {
      if (gradient.defined()) collect_nodes(gradient, names, seen);
    }
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("has no second derivative"));
  }
}

TEST(OpTable, ReachesEveryRecordedName) {
  // Has no gradient; an error case of its row asks for one.
  Names reached = {"attention_weights"};
  for (const Family& family : families()) {
    for (const Row& row : family.rows) {
      Sampler sampler;
      for (const Case& c : row.cases(sampler)) collect_names(c, reached);
    }
  }
  const Names recorded = recorded_names();
  EXPECT_GT(recorded.size(), 60u);
  EXPECT_THAT(difference(recorded, reached), testing::IsEmpty())
      << "recorded in core/ops, but reached by no row of the table";
}

class ScopeNames : public ScopeListener {
 public:
  ScopeNames() { set_scope_listener(this); }
  ~ScopeNames() override { set_scope_listener(nullptr); }
  void enter(const char* name, ScopeKind) override { names.insert(name); }
  void leave() override {}
  Names names;
};

TEST(OpTable, EveryOpOpensAScopeOfItsName) {
  for (const Family& family : families()) {
    for (const Row& row : family.rows) {
      if (row.name == "zero_") continue;  // fill_(0), in the header
      Sampler sampler;
      const std::vector<Case> cases = row.cases(sampler);
      ScopeNames scopes;
      for (const Case& c : cases) c.op(c.inputs);
      EXPECT_TRUE(scopes.names.contains(row.name)) << row.name;
    }
  }
}

TEST(OpTable, HasARowForEveryPublicOp) {
  // Ops without a gradient, and helpers for the authors of ops.
  const Names exempt = {"eq", "ne", "lt", "le", "gt", "ge", "any", "all", "argmax",
                        "paged_attention", "logical_and", "logical_or", "logical_not", "one_hot",
                        "sum_to", "map_beside", "softplus_excess",
                        // factories
                        "zeros", "ones", "full", "zeros_like", "ones_like", "scalar", "arange",
                        "eye", "tril_mask", "from_values", "uniform", "normal", "rand", "randn",
                        // of Tensor, other than ops
                        "empty", "from_storage", "set_requires_grad", "grad", "detach"};
  const std::string function =
      "\\b(?:Tensor|Tensors|Tensor&|AddNorm|AttentionResult|TopK) ([a-z][a-z0-9_]*)\\(";
  Names declared = matches(read(kCore / "tensor.h"), function);
  for (const auto& path : files(".h")) {
    const std::string name = path.filename();
    if (!Names{"attention_plan.h", "checks.h", "loops.h", "on_device.h", "product.h"}.contains(
            name))
      declared.merge(matches(read(path), function));
  }
  Names rows;
  for (const Family& family : families()) {
    for (const Row& row : family.rows) rows.insert(row.name);
  }
  EXPECT_GT(declared.size(), 80u);
  EXPECT_THAT(difference(difference(declared, exempt), rows), testing::IsEmpty())
      << "declared in core, but without a row";
  EXPECT_THAT(difference(rows, declared), testing::IsEmpty()) << "a row of what core has not";
}

}  // namespace
}  // namespace plinth::op_table
