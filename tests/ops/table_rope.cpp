// Rotary embedding.

#include "core/ops/rope.h"

#include <cmath>
#include <limits>

#include "core/ops/factories.h"
#include "naive.h"
#include "op_table.h"

namespace plinth::op_table {
namespace {

using naive::at;
using naive::Index;

constexpr double kTheta = 100;
constexpr int64_t kRotary = 4;

RopeTable table_for(const Tensor& x) {
  const DType dtype = x.dtype() == DType::Float64 ? DType::Float64 : DType::Float32;
  return rope_table(12, kRotary, kTheta, {}, dtype).to(x.device());
}

// Each pair turned by position theta^(-2 pair / rotary), as complex numbers are.
Tensor rope_reference(const Tensor& x, bool interleaved,
                      std::function<double(int64_t, int64_t)> position) {
  return naive::build(x.shape(), [&](const Index& i) {
    const int64_t d = i[3], half = kRotary / 2;
    if (d >= kRotary) return at(x, i);
    const int64_t pair = interleaved ? d / 2 : d % half;
    const bool first = interleaved ? d % 2 == 0 : d < half;
    Index other = i;
    other[3] = interleaved ? d ^ 1 : (d + half) % kRotary;
    const double angle = position(i[0], i[1]) * std::pow(kTheta, -2.0 * double(pair) / kRotary);
    return at(x, i) * std::cos(angle) + (first ? -1 : 1) * at(x, other) * std::sin(angle);
  });
}

std::vector<Case> rope_cases(Sampler& s) {
  const auto shifted = [](const std::string& label, const Tensor& x, bool interleaved,
                          bool gradcheck = true) {
    return Case{
        label,
        {x},
        [=](const Tensors& in) { return Tensors{rope(in[0], table_for(in[0]), 2, interleaved)}; },
        [=](const Tensors& in) {
          return Tensors{
              rope_reference(in[0], interleaved, [](int64_t, int64_t t) { return double(t + 2); })};
        },
        gradcheck};
  };
  const Tensor positions = from_values<int64_t>({3, 0, 11, 7, 7, 1}, {2, 3});
  return {shifted("halves", s({2, 3, 2, 6}), false),
          shifted("interleaved", s({2, 3, 2, 6}), true),
          shifted("all of the head", s({1, 2, 1, 4}), false),
          shifted("no tokens", s({2, 0, 2, 4}), false),
          shifted("large", s({10, 10, 8, 64}), false, false),
          {"own positions",
           {s({2, 3, 2, 6}), positions},
           [](const Tensors& in) { return Tensors{rope(in[0], table_for(in[0]), in[1])}; },
           [](const Tensors& in) {
             return Tensors{rope_reference(in[0], false, [&](int64_t b, int64_t t) {
               return at(in[1], {b, t});
             })};
           }}};
}

std::vector<ErrorCase> rope_errors() {
  const RopeTable table = rope_table(4, 4);
  const Tensor x = zeros({2, 3, 2, 4});
  return {
      {[=] {
         rope(zeros({3, 4}), table);
       },
       ErrorKind::Shape, "rope: x has shape [3, 4], expected [batch, time, heads, head_dim]"},
      {[=] { rope(x, table, 2); }, ErrorKind::Argument,
       "rope: positions 2 and on, 3 of them, are needed, expected within the table's 4"},
      {[=] { rope(x, table, -1); }, ErrorKind::Argument, "rope: positions -1 and on, 3 of them"},
      {[=] { rope(x, table, std::numeric_limits<int64_t>::max()); }, ErrorKind::Argument,
       "rope: positions 9223372036854775807 and on, 3 of them, are needed"},
      {[=] {
         rope(zeros({1, 1, 1, 2}), table);
       },
       ErrorKind::Shape, "rope: x has head_dim 2, expected at least the table's rotary_dim, 4"},
      {[=] { rope(x.to(DType::Float64), table); }, ErrorKind::DType,
       "rope: table is float32, expected float64 for an x of float64"},
      {[=] {
         rope(x, table, from_values<int64_t>({0, 1, 4, 0, 0, 0}, {2, 3}));
       },
       ErrorKind::Argument, "rope: positions 4 (element 2) is out of range for a size of 4"},
      {[=] { rope(x, table, from_values<int64_t>({0}, {1})); }, ErrorKind::Shape,
       "rope: positions has shape [1], expected [2, 3] (batch and time of x)"},
      {[=] { rope(x, RopeTable{}, 0); }, ErrorKind::Shape, "rope: table.cos is not a matrix"},
      {[] { rope_table(4, 3); }, ErrorKind::Argument,
       "rope_table: rotary_dim is 3, expected a positive even number"},
      {[] { rope_table(-1, 4); }, ErrorKind::Argument, "rope_table: positions is -1"},
      {[] { rope_table(4, 4, 0); }, ErrorKind::Argument, "rope_table: theta is 0"},
      {[] { rope_table(4, 4, 1e4, {.factor = 0}); }, ErrorKind::Argument,
       "rope_table: scaling has factor 0"},
      {[] { rope_table(4, 4, 1e4, {}, DType::BFloat16); }, ErrorKind::DType,
       "rope_table: got dtype bfloat16, takes float32, float64"},
  };
}

}  // namespace

std::vector<Row> rope_rows() {
  return {
      {.name = "rope",
       .cases = rope_cases,
       .errors = rope_errors(),
       .tolerance = {.units = 3, .gradient_units = 3}},
  };
}

}  // namespace plinth::op_table
