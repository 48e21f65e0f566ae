// Views: the same elements under another geometry.

#include "core/ops/factories.h"
#include "core/ops/views.h"
#include "naive.h"
#include "op_table.h"

namespace plinth::op_table {
namespace {

using naive::at;
using naive::build;
using naive::Index;

// An op of one tensor whose result at an index is x's element at from(index).
Case view(const std::string& label, const Tensor& x, const Shape& out,
          std::function<Tensor(const Tensor&)> op, std::function<Index(const Index&)> from) {
  return {label,
          {x},
          [op](const Tensors& in) { return Tensors{op(in[0])}; },
          [out, from](const Tensors& in) {
            return Tensors{build(out, [&](const Index& i) { return at(in[0], from(i)); })};
          }};
}

// The same elements in row-major order.
Case reshape_case(const std::string& label, const Tensor& x, const Shape& out,
                  std::function<Tensor(const Tensor&)> op) {
  return {label,
          {x},
          [op](const Tensors& in) { return Tensors{op(in[0])}; },
          [out](const Tensors& in) { return Tensors{from_values(to_vector(in[0]), out)}; }};
}

Row reshape_row() {
  return {.name = "reshape",
          .cases = [](Sampler& s) -> std::vector<Case> {
            return {
                reshape_case("join", s({2, 3, 4}), {6, 4},
                             [](const Tensor& x) {
                               return x.reshape({6, 4});
                             }),
                reshape_case("split, one size left out", s({12}), {3, 2, 2},
                             [](const Tensor& x) {
                               return x.reshape({3, -1, 2});
                             }),
                reshape_case("to a scalar", s({1, 1}), {},
                             [](const Tensor& x) { return x.reshape({}); }),
                reshape_case("of nothing", s({0, 3}), {3, 0, 2},
                             [](const Tensor& x) {
                               return x.reshape({3, 0, 2});
                             }),
                // Joining transposed dimensions takes a copy.
                {"of a transposed matrix",
                 {s({3, 4})},
                 [](const Tensors& in) { return Tensors{in[0].transpose(0, 1).reshape({12})}; },
                 [](const Tensors& in) {
                   return Tensors{build({12}, [&](const Index& i) {
                     return at(in[0], {i[0] % 3, i[0] / 3});
                   })};
                 }},
            };
          },
          .errors = {{[] {
                        zeros({2, 3}).reshape({4, 2});
                      },
                      ErrorKind::Shape, "reshape: shape [4, 2] does not hold 6 elements"},
                     {[] {
                        zeros({2, 3}).reshape({-1, -1});
                      },
                      ErrorKind::Shape, "reshape: shape [-1, -1] has more than one -1"},
                     {[] {
                        zeros({0}).reshape({-1, 0});
                      },
                      ErrorKind::Shape, "reshape: shape [-1, 0] does not hold 0 elements"},
                     {[] { zeros({2}).reshape({-2}); }, ErrorKind::Shape,
                      "reshape: shape [-2] has a negative size"}}};
}

Row flatten_row() {
  return {
      .name = "flatten",
      .cases = [](Sampler& s) -> std::vector<Case> {
        return {
            reshape_case("all", s({2, 3, 4}), {24}, [](const Tensor& x) { return x.flatten(); }),
            reshape_case("the last two", s({2, 3, 4}), {2, 12},
                         [](const Tensor& x) { return x.flatten(1, -1); }),
            reshape_case("a scalar", s({}), {1}, [](const Tensor& x) { return x.flatten(); })};
      },
      .errors = {{[] {
                    zeros({2, 3}).flatten(1, 0);
                  },
                  ErrorKind::Shape, "flatten: first dimension 1 comes after the last, 0"}}};
}

Row permute_row() {
  return {.name = "permute",
          .cases = [](Sampler& s) -> std::vector<Case> {
            return {view(
                        "a cycle", s({2, 3, 4}), {4, 2, 3},
                        [](const Tensor& x) {
                          return x.permute({2, 0, -2});
                        },
                        [](const Index& i) {
                          return Index{i[1], i[2], i[0]};
                        }),
                    view(
                        "nothing", s({0, 3}), {3, 0},
                        [](const Tensor& x) {
                          return x.permute({1, 0});
                        },
                        [](const Index& i) {
                          return Index{i[1], i[0]};
                        }),
                    view(
                        "a scalar", s({}), {}, [](const Tensor& x) { return x.permute({}); },
                        [](const Index& i) { return i; })};
          },
          .errors = {{[] {
                        zeros({2, 3}).permute({0});
                      },
                      ErrorKind::Shape, "permute: order [0] does not name the 2 dimensions"},
                     {[] {
                        zeros({2, 3}).permute({0, 0});
                      },
                      ErrorKind::Shape, "permute: order [0, 0] names dimension 0 twice"}}};
}

Row transpose_row() {
  return {
      .name = "transpose",
      .cases = [](Sampler& s) -> std::vector<Case> {
        return {view(
                    "the last two", s({2, 3, 4}), {2, 4, 3},
                    [](const Tensor& x) { return x.transpose(-1, -2); },
                    [](const Index& i) {
                      return Index{i[0], i[2], i[1]};
                    }),
                view(
                    "one with itself", s({2, 3}), {2, 3},
                    [](const Tensor& x) { return x.transpose(1, 1); },
                    [](const Index& i) { return i; })};
      },
      .errors = {{[] {
                    zeros({2, 3}).transpose(0, 2);
                  },
                  ErrorKind::Shape, "transpose: dimension 2 is out of range for 2 dimensions"}}};
}

Row expand_row() {
  return {.name = "expand",
          .cases = [](Sampler& s) -> std::vector<Case> {
            return {view(
                        "two ways", s({3, 1}), {2, 3, 4},
                        [](const Tensor& x) {
                          return x.expand({2, -1, 4});
                        },
                        [](const Index& i) {
                          return Index{i[1], 0};
                        }),
                    view(
                        "a scalar", s({}), {2, 2},
                        [](const Tensor& x) {
                          return x.expand({2, 2});
                        },
                        [](const Index&) { return Index{}; }),
                    view(
                        "to nothing", s({1, 2}), {0, 2},
                        [](const Tensor& x) {
                          return x.expand({0, 2});
                        },
                        [](const Index& i) { return i; }),
                    view(
                        "not at all", s({2}), {2}, [](const Tensor& x) { return x.expand({2}); },
                        [](const Index& i) { return i; })};
          },
          .errors = {{[] {
                        zeros({2, 3}).expand({3});
                      },
                      ErrorKind::Shape, "expand: shape [3] has fewer dimensions than [2, 3]"},
                     {[] {
                        zeros({2, 3}).expand({4, 3});
                      },
                      ErrorKind::Shape, "expand: shape [2, 3] does not expand to [4, 3]"},
                     {[] {
                        zeros({3}).expand({-1, 3});
                      },
                      ErrorKind::Shape, "expand: shape [3] does not expand to [-1, 3]"}}};
}

Row squeeze_row() {
  return {.name = "squeeze",
          .cases = [](Sampler& s) -> std::vector<Case> {
            return {reshape_case("the middle", s({2, 1, 3}), {2, 3},
                                 [](const Tensor& x) { return x.squeeze(-2); })};
          },
          .errors = {{[] {
                        zeros({2, 3}).squeeze(0);
                      },
                      ErrorKind::Shape,
                      "squeeze: dimension 0 of shape [2, 3] has size 2, expected 1"}}};
}

Row unsqueeze_row() {
  return {
      .name = "unsqueeze",
      .cases = [](Sampler& s) -> std::vector<Case> {
        return {
            reshape_case("first", s({2, 3}), {1, 2, 3},
                         [](const Tensor& x) { return x.unsqueeze(0); }),
            reshape_case("last", s({2, 3}), {2, 3, 1},
                         [](const Tensor& x) { return x.unsqueeze(-1); }),
            reshape_case("a scalar", s({}), {1}, [](const Tensor& x) { return x.unsqueeze(0); })};
      },
      .errors = {{[] {
                    zeros({2, 3}).unsqueeze(3);
                  },
                  ErrorKind::Shape, "unsqueeze: dimension 3 is out of range for 3 dimensions"}}};
}

Row slice_row() {
  return {.name = "slice",
          .cases = [](Sampler& s) -> std::vector<Case> {
            return {
                view(
                    "every other", s({3, 7}), {3, 3},
                    [](const Tensor& x) { return x.slice(1, 1, 7, 2); },
                    [](const Index& i) {
                      return Index{i[0], 1 + 2 * i[1]};
                    }),
                view(
                    "from the end, beyond the end", s({5, 2}), {3, 2},
                    [](const Tensor& x) { return x.slice(0, -3, 99); },
                    [](const Index& i) {
                      return Index{2 + i[0], i[1]};
                    }),
                view(
                    "nothing", s({5, 2}), {0, 2}, [](const Tensor& x) { return x.slice(0, 4, 2); },
                    [](const Index& i) { return i; })};
          },
          .errors = {{[] { zeros({4}).slice(0, 0, 4, 0); }, ErrorKind::Argument,
                      "slice: step is 0, expected at least 1"}}};
}

Row narrow_row() {
  return {.name = "narrow",
          .cases = [](Sampler& s) -> std::vector<Case> {
            return {view(
                "the middle", s({2, 5}), {2, 3}, [](const Tensor& x) { return x.narrow(-1, 1, 3); },
                [](const Index& i) {
                  return Index{i[0], i[1] + 1};
                })};
          },
          .errors = {{[] {
                        zeros({2, 5}).narrow(1, 3, 3);
                      },
                      ErrorKind::Shape,
                      "narrow: start 3 and length 3 leave dimension 1 of shape [2, 5]"}}};
}

Row select_row() {
  return {.name = "select",
          .cases = [](Sampler& s) -> std::vector<Case> {
            return {view(
                        "last of a dimension", s({2, 3, 4}), {2, 4},
                        [](const Tensor& x) { return x.select(1, -1); },
                        [](const Index& i) {
                          return Index{i[0], 2, i[1]};
                        }),
                    view(
                        "down to a scalar", s({3}), {}, [](const Tensor& x) { return x[1]; },
                        [](const Index&) { return Index{1}; })};
          },
          .errors = {{[] {
                        zeros({2, 3}).select(1, 3);
                      },
                      ErrorKind::Shape,
                      "select: index 3 is out of range for dimension 1 of shape [2, 3]"}}};
}

// Parts of {2, 5} along dimension 1, each with its own gradient.
Case parts_case(const std::string& label, Sampler& sample, std::function<Tensors(const Tensor&)> op,
                std::vector<int64_t> sizes) {
  return {label,
          {sample({2, 5})},
          [op](const Tensors& in) { return op(in[0]); },
          [sizes](const Tensors& in) {
            Tensors parts;
            int64_t start = 0;
            for (int64_t size : sizes) {
              parts.push_back(build({2, size}, [&](const Index& i) {
                return at(in[0], {i[0], start + i[1]});
              }));
              start += size;
            }
            return parts;
          }};
}

Row split_row() {
  return {.name = "split",
          .cases = [](Sampler& s) -> std::vector<Case> {
            return {parts_case("unequal parts", s,
                               [](const Tensor& x) {
                                 return x.split({1, 4}, 1);
                               },
                               {1, 4})};
          },
          .errors = {{[] {
                        zeros({2, 5}).split({2, 2}, 1);
                      },
                      ErrorKind::Shape, "split: sizes add up to 4, expected 5"},
                     {[] {
                        zeros({2, 5}).split({2, 4}, 1);
                      },
                      ErrorKind::Shape,
                      "split: part 1 has size 4, expected within [0, 3], what the parts before it "
                      "leave of dimension 1 of shape [2, 5]"}}};
}

Row chunk_row() {
  return {.name = "chunk",
          .cases = [](Sampler& s) -> std::vector<Case> {
            return {parts_case("a shorter last one", s,
                               [](const Tensor& x) { return x.chunk(2, -1); }, {3, 2}),
                    parts_case("more than there are", s,
                               [](const Tensor& x) { return x.chunk(9, 1); }, {1, 1, 1, 1, 1})};
          },
          .errors = {{[] {
                        zeros({2, 5}).chunk(0, 1);
                      },
                      ErrorKind::Argument, "chunk: got 0 chunks, expected at least 1"}}};
}

Row unbind_row() {
  return {.name = "unbind",
          .cases = [](Sampler& s) -> std::vector<Case> {
            return {{"columns",
                     {s({3, 2})},
                     [](const Tensors& in) { return in[0].unbind(1); },
                     [](const Tensors& in) {
                       Tensors columns;
                       for (int64_t j = 0; j < 2; ++j)
                         columns.push_back(build({3}, [&](const Index& i) {
                           return at(in[0], {i[0], j});
                         }));
                       return columns;
                     }}};
          },
          .errors = {{[] { zeros({2}).unbind(1); }, ErrorKind::Shape,
                      "unbind: dimension 1 is out of range for 1 dimensions"}}};
}

Row as_strided_row() {
  const auto strided = [](const std::string& label, const Tensor& x, const Shape& shape,
                          const Shape& strides, int64_t offset) {
    return view(
        label, x, shape, [=](const Tensor& t) { return as_strided(t, shape, strides, offset); },
        [=, cols = x.size(-1)](const Index& i) {
          int64_t element = offset;
          for (int64_t d = 0; d < shape.dim(); ++d) element += i[d] * strides[d];
          return Index{element / cols, element % cols};
        });
  };
  return {.name = "as_strided",
          .cases = [strided](Sampler& s) -> std::vector<Case> {
            return {strided("overlapping windows", s({3, 4}), {5, 3}, {2, 1}, 1),
                    strided("backwards", s({3, 4}), {4}, {-3}, 10),
                    strided("one element, repeated", s({3, 4}), {2, 2}, {0, 0}, 5)};
          },
          .errors = {{[] {
                        as_strided(zeros({2, 2}), {3}, {2}, 0);
                      },
                      ErrorKind::Shape, "reaches beyond the 16 bytes"},
                     {[] {
                        as_strided(zeros({2, 3}).transpose(0, 1), {3}, {1}, 0);
                      },
                      ErrorKind::Shape, "as_strided: x of shape [3, 2] is not contiguous"}},
          .tolerance = {.units = 1, .gradient_units = 2},
          .same_bits_in_any_layout = false};
}

Row repeat_interleave_row() {
  return {
      .name = "repeat_interleave",
      .cases = [](Sampler& s) -> std::vector<Case> {
        return {view(
            "rows", s({2, 3}), {6, 3}, [](const Tensor& x) { return repeat_interleave(x, 3, 0); },
            [](const Index& i) {
              return Index{i[0] / 3, i[1]};
            })};
      },
      .errors = {{[] { repeat_interleave(zeros({2}), 0, 0); }, ErrorKind::Argument,
                  "repeat_interleave: times is 0, expected at least 1"}}};
}

}  // namespace

std::vector<Row> view_rows() {
  return {reshape_row(), flatten_row(),   permute_row(), transpose_row(),  expand_row(),
          squeeze_row(), unsqueeze_row(), slice_row(),   narrow_row(),     select_row(),
          split_row(),   chunk_row(),     unbind_row(),  as_strided_row(), repeat_interleave_row()};
}

}  // namespace plinth::op_table
