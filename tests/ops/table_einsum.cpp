// Sums of products by the names of dimensions.

#include "core/ops/einsum.h"

#include <map>

#include "core/ops/factories.h"
#include "naive.h"
#include "op_table.h"

namespace plinth::op_table {
namespace {

using Places = std::map<char, int64_t>;

double product_at(const Tensors& in, const std::vector<std::string>& labels, const Places& at) {
  double product = 1;
  for (size_t i = 0; i < in.size(); ++i) {
    naive::Index index;
    for (const char label : labels[i]) index.push_back(at.at(label));
    product *= naive::at(in[i], index);
  }
  return product;
}

// Adds up over the labels from `next` on.
double sum_over(const std::vector<std::pair<char, int64_t>>& sizes, size_t next, Places at,
                const std::function<double(const Places&)>& term) {
  if (next == sizes.size()) return term(at);
  double total = 0;
  for (int64_t i = 0; i < sizes[next].second; ++i) {
    at[sizes[next].first] = i;
    total += sum_over(sizes, next + 1, at, term);
  }
  return total;
}

Tensor reference(const Tensors& in, const std::vector<std::string>& labels,
                 const std::string& result) {
  Places sizes;
  for (size_t i = 0; i < in.size(); ++i)
    for (size_t d = 0; d < labels[i].size(); ++d)
      sizes[labels[i][d]] = in[i].size(static_cast<int64_t>(d));
  Shape shape;
  for (const char label : result) shape.push_back(sizes.at(label));
  std::vector<std::pair<char, int64_t>> summed;
  for (const auto& [label, size] : sizes)
    if (result.find(label) == std::string::npos) summed.emplace_back(label, size);
  return naive::build(shape, [&](const naive::Index& i) {
    Places at;
    for (size_t d = 0; d < result.size(); ++d) at[result[d]] = i[d];
    return sum_over(summed, 0, at, [&](const Places& p) { return product_at(in, labels, p); });
  });
}

Case einsum_case(Sampler& sample, const std::vector<std::string>& labels, const std::string& result,
                 const std::vector<Shape>& shapes, bool gradcheck = true) {
  std::string equation;
  Tensors inputs;
  for (size_t i = 0; i < labels.size(); ++i) {
    equation += (i > 0 ? ", " : "") + labels[i];
    inputs.push_back(sample(shapes[i]));
  }
  equation += " -> " + result;
  return {equation, inputs, [=](const Tensors& in) { return Tensors{einsum(equation, in)}; },
          [=](const Tensors& in) { return Tensors{reference(in, labels, result)}; }, gradcheck};
}

std::vector<Case> cases(Sampler& s) {
  return {einsum_case(s, {"ij", "jk"}, "ik", {{3, 4}, {4, 2}}),
          einsum_case(s, {"bqhd", "bkhd"}, "bhqk", {{2, 3, 2, 4}, {2, 5, 2, 4}}),
          einsum_case(s, {"bnd", "de"}, "ebn", {{2, 3, 4}, {4, 5}}),
          einsum_case(s, {"i", "j"}, "ji", {{3}, {4}}),
          einsum_case(s, {"i", "i"}, "", {{5}, {5}}),
          einsum_case(s, {"ij", "ij"}, "ij", {{3, 4}, {3, 4}}),
          einsum_case(s, {"ija", "jkb"}, "ki", {{2, 3, 2}, {3, 2, 3}}),
          einsum_case(s, {"ab", "bc", "cd", "a"}, "da", {{2, 3}, {3, 2}, {2, 4}, {2}}),
          einsum_case(s, {"ijk"}, "ki", {{2, 3, 4}}),
          einsum_case(s, {"ij"}, "ji", {{2, 3}}),
          einsum_case(s, {"ij", "jk"}, "ik", {{0, 4}, {4, 2}}),
          einsum_case(s, {"ij", "jk"}, "ik", {{3, 0}, {0, 2}}),
          einsum_case(s, {"bid", "bjd"}, "bij", {{2, 33, 20}, {2, 17, 20}}, false)};
}

std::vector<ErrorCase> errors() {
  const Tensor a = zeros({2, 3}), b = zeros({3, 4});
  const auto refused = [=](const std::string& equation, ErrorKind kind,
                           const std::string& message) -> ErrorCase {
    return {[=] { einsum(equation, {a, b}); }, kind, message};
  };
  return {refused("ij,jk", ErrorKind::Argument, "equation \"ij,jk\" has no \"->\""),
          refused("...j,jk->...k", ErrorKind::Argument, "has '.', takes letters"),
          refused("ii,ij->j", ErrorKind::Argument, "has 'i' twice in \"ii\", takes it once"),
          refused("ij,jk->im", ErrorKind::Argument, "has 'm' in its result, but in no operand"),
          refused("ij->i", ErrorKind::Argument, "got 2 operands, the equation has 1"),
          refused("ij,jkl->i", ErrorKind::Shape,
                  "operand 1 has shape [3, 4], expected 3 dimensions (\"jkl\")"),
          refused("ij,kj->ik", ErrorKind::Shape,
                  "operand 1 has shape [3, 4], expected 3 for 'j' (that of an operand before it)"),
          {[=] {
             einsum("ij->i", {zeros({2, 3}, {DType::Int64, {}})});
           },
           ErrorKind::DType, "einsum: operand 0 has dtype int64"},
          {[=] {
             einsum("ij,jk->ik", {a, b.to(DType::Float64)});
           },
           ErrorKind::DType, "einsum: operand 1 has dtype float64"},
          {[=] {
             einsum("ij,jk->ik", {a, {}});
           },
           ErrorKind::Argument, "einsum: operand 1 is undefined"}};
}

}  // namespace

std::vector<Row> einsum_rows() {
  return {{.name = "einsum",
           .cases = cases,
           .errors = errors(),
           .tolerance = {.units = 8, .gradient_units = 12}}};
}

}  // namespace plinth::op_table
