// Choice by masks.

#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/views.h"
#include "naive.h"
#include "op_table.h"

namespace plinth::op_table {
namespace {

using naive::at_broadcast;
using naive::Index;

Tensor mask_of(Sampler& sample, const Shape& shape) {
  return gt(sample(shape), 0.3);
}

Case where_case(Sampler& sample, const Shape& mask, const Shape& a, const Shape& b,
                const Shape& out, bool gradcheck = true) {
  return {detail::concat(mask, " ? ", a, " : ", b),
          {mask_of(sample, mask), sample(a), sample(b)},
          [](const Tensors& in) { return Tensors{where(in[0], in[1], in[2])}; },
          [out](const Tensors& in) {
            return Tensors{naive::build(out, [&](const Index& i) {
              return at_broadcast(in[0], i) != 0 ? at_broadcast(in[1], i) : at_broadcast(in[2], i);
            })};
          },
          gradcheck};
}

Case masked_fill_case(Sampler& sample, const Shape& x, const Shape& mask) {
  return {detail::concat(x, " by ", mask),
          {sample(x), mask_of(sample, mask)},
          [](const Tensors& in) { return Tensors{masked_fill(in[0], in[1], -3)}; },
          [](const Tensors& in) {
            return Tensors{naive::build(in[0].shape(), [&](const Index& i) {
              return at_broadcast(in[1], i) != 0 ? -3 : at_broadcast(in[0], i);
            })};
          }};
}

Case tril_case(Sampler& sample, const Shape& shape, int64_t diagonal) {
  return {detail::concat(shape, ", diagonal ", diagonal),
          {sample(shape)},
          [=](const Tensors& in) { return Tensors{tril(in[0], diagonal)}; },
          [=](const Tensors& in) {
            return Tensors{naive::build(shape, [&](const Index& i) {
              const size_t n = i.size();
              return i[n - 1] <= i[n - 2] + diagonal ? naive::at(in[0], i) : 0;
            })};
          }};
}

}  // namespace

std::vector<Row> choice_rows() {
  const Tensor number = zeros({2}), bools = zeros({2}, {DType::Bool, {}});
  return {
      {.name = "where",
       .cases = [](Sampler& s) -> std::vector<Case> {
         return {where_case(s, {3, 5}, {3, 5}, {3, 5}, {3, 5}),
                 where_case(s, {3, 1}, {5}, {}, {3, 5}), where_case(s, {}, {2, 3}, {3}, {2, 3}),
                 where_case(s, {0, 3}, {3}, {1}, {0, 3}),
                 where_case(s, {130, 257}, {130, 257}, {257}, {130, 257}, false)};
       },
       .errors = {{[=] { where(number, number, number); }, ErrorKind::DType,
                   "where: condition has dtype float32, expected bool"},
                  {[=] { where(bools, zeros({3}), number); }, ErrorKind::Shape,
                   "where: shapes [3] and [2] do not broadcast"}}},
      {.name = "masked_fill",
       .cases = [](Sampler& s) -> std::vector<Case> {
         return {masked_fill_case(s, {3, 5}, {3, 5}), masked_fill_case(s, {2, 3, 4}, {3, 1}),
                 masked_fill_case(s, {}, {}), masked_fill_case(s, {0, 2}, {2})};
       },
       .errors = {{[=] {
                     masked_fill(number, zeros({3, 2}, {DType::Bool, {}}), 1);
                   },
                   ErrorKind::Shape, "masked_fill: mask has shape [3, 2]"}}},
      {.name = "tril",
       .cases = [](Sampler& s) -> std::vector<Case> {
         return {tril_case(s, {4, 4}, 0), tril_case(s, {2, 3, 5}, 1), tril_case(s, {5, 3}, -2),
                 tril_case(s, {0, 3}, 0)};
       },
       .errors = {{[=] { tril(number); }, ErrorKind::Shape,
                   "tril: x has shape [2], expected at least two dimensions"}}},
  };
}

}  // namespace plinth::op_table
