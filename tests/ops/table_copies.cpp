// Copies, joins, and writes in place. The latter write to a copy of their first input, so that its
// gradient shows what the write took away.

#include "core/autograd.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/views.h"
#include "naive.h"
#include "op_table.h"

namespace plinth::op_table {
namespace {

using naive::at;
using naive::build;
using naive::Index;

Case same_values(const std::string& label, const Tensor& x,
                 std::function<Tensor(const Tensor&)> op) {
  return {label,
          {x},
          [op](const Tensors& in) { return Tensors{op(in[0])}; },
          [](const Tensors& in) { return Tensors{in[0].clone()}; }};
}

// cat along dimension d of tensors with two dimensions.
Case cat_case(const std::string& label, Tensors inputs, int64_t d) {
  return {label, std::move(inputs), [d](const Tensors& in) { return Tensors{cat(in, d)}; },
          [d](const Tensors& in) {
            Shape shape = in[0].shape();
            shape[d] = 0;
            for (const Tensor& x : in) shape[d] += x.size(d);
            return Tensors{build(shape, [&](Index i) {
              size_t part = 0;
              while (i[d] >= in[part].size(d)) i[d] -= in[part++].size(d);
              return at(in[part], i);
            })};
          }};
}

Row cat_row() {
  return {.name = "cat",
          .cases = [](Sampler& s) -> std::vector<Case> {
            return {cat_case("rows", {s({2, 3}), s({1, 3})}, 0),
                    cat_case("columns, one of nothing", {s({2, 3}), s({2, 0}), s({2, 1})}, 1),
                    cat_case("one tensor", {s({2, 3})}, 0)};
          },
          .errors = {{[] { cat({}, 0); }, ErrorKind::Argument, "cat: got no tensors"},
                     {[] {
                        cat({zeros({2, 3}), zeros({2, 4})}, 0);
                      },
                      ErrorKind::Shape,
                      "cat: tensor 1 has shape [2, 4], expected [2, 3] but for dimension 0"}}};
}

Row stack_row() {
  return {.name = "stack",
          .cases = [](Sampler& s) -> std::vector<Case> {
            return {{"in the middle",
                     {s({2, 3}), s({2, 3})},
                     [](const Tensors& in) { return Tensors{stack(in, 1)}; },
                     [](const Tensors& in) {
                       return Tensors{build({2, 2, 3}, [&](const Index& i) {
                         return at(in[i[1]], {i[0], i[2]});
                       })};
                     }}};
          },
          .errors = {{[] {
                        stack({zeros({2}), zeros({3})});
                      },
                      ErrorKind::Shape, "stack: tensor 1 has shape [3], expected [2]"},
                     {[] { stack({}); }, ErrorKind::Argument, "stack: got no tensors"}}};
}

Row pad_row() {
  return {.name = "pad",
          .cases = [](Sampler& s) -> std::vector<Case> {
            return {{"both ends",
                     {s({2, 3})},
                     [](const Tensors& in) { return Tensors{pad(in[0], -1, 2, 1)}; },
                     [](const Tensors& in) {
                       return Tensors{build({2, 6}, [&](const Index& i) {
                         return i[1] < 2 || i[1] > 4 ? 0.0 : at(in[0], {i[0], i[1] - 2});
                       })};
                     }}};
          },
          .errors = {{[] { pad(zeros({2}), 0, -1, 0); }, ErrorKind::Argument,
                      "pad: got -1 before and 0 after, expected at least 0"}}};
}

// An in-place op on a copy of the first input: formula(y, x broadcast).
Case write_case(const std::string& label, Tensors inputs,
                std::function<void(Tensor&, const Tensors&)> write,
                std::function<double(double, double)> formula) {
  return {label, std::move(inputs),
          [write](const Tensors& in) {
            Tensor y = in[0].clone();
            write(y, in);
            return Tensors{y};
          },
          [formula](const Tensors& in) {
            return Tensors{build(in[0].shape(), [&](const Index& i) {
              return formula(at(in[0], i), in.size() > 1 ? naive::at_broadcast(in[1], i) : 0);
            })};
          }};
}

Row write_row(const std::string& name, void (*write)(Tensor&, const Tensor&),
              double (*formula)(double, double)) {
  return {.name = name,
          .cases = [=](Sampler& s) -> std::vector<Case> {
            const auto from_second = [write](Tensor& y, const Tensors& in) { write(y, in[1]); };
            const auto own_part = [write](Tensor& y, const Tensors& in) {
              write(y, in[0].slice(0, 0, 1));
            };
            return {
                write_case("equal shapes", {s({3, 4}), s({3, 4}, 0.5, 2)}, from_second, formula),
                write_case("broadcast", {s({2, 3, 4}), s({3, 1}, 0.5, 2)}, from_second, formula),
                write_case("a scalar", {s({}), s({}, 0.5, 2)}, from_second, formula),
                write_case("nothing", {s({0, 2}), s({2}, 0.5, 2)}, from_second, formula),
                {"by a part of the tensor copied",
                 {s({3, 4}, 0.5, 2)},
                 [own_part](const Tensors& in) {
                   Tensor y = in[0].clone();
                   own_part(y, in);
                   return Tensors{y};
                 },
                 [formula](const Tensors& in) {
                   return Tensors{build({3, 4}, [&](const Index& i) {
                     return formula(at(in[0], i), at(in[0], {0, i[1]}));
                   })};
                 }},
                {"by a row of itself",
                 {s({3, 4}, 0.5, 2)},
                 [write](const Tensors& in) {
                   Tensor y = in[0].clone();
                   write(y, y.slice(0, 0, 1));
                   return Tensors{y};
                 },
                 [formula](const Tensors& in) {
                   return Tensors{build({3, 4}, [&](const Index& i) {
                     return formula(at(in[0], i), at(in[0], {0, i[1]}));
                   })};
                 }},
                {"into a view",
                 {s({3, 4}), s({4}, 0.5, 2)},
                 [write](const Tensors& in) {
                   Tensor y = in[0].clone(), row = y[1];
                   write(row, in[1]);
                   return Tensors{y};
                 },
                 [formula](const Tensors& in) {
                   return Tensors{build({3, 4}, [&](const Index& i) {
                     const double x = at(in[0], i);
                     return i[0] == 1 ? formula(x, at(in[1], {i[1]})) : x;
                   })};
                 }},
            };
          },
          .errors = {{[write] {
                        Tensor y = zeros({2, 3});
                        write(y, zeros({3, 3}));
                      },
                      ErrorKind::Shape, name},
                     {[write] {
                        Tensor y = zeros({3}).expand({2, 3});
                        write(y, zeros({2, 3}));
                      },
                      ErrorKind::Argument, name + ": the tensor is expanded"},
                     {[write] {
                        Tensor y = zeros({3}).set_requires_grad();
                        write(y, zeros({3}));
                      },
                      ErrorKind::Argument, name + ": a leaf that requires grad"}},
          .tolerance = {.units = 1, .gradient_units = 6}};
}

// Fills one row; what stood there gets no gradient.
Row fill_row(const std::string& name, void (*write)(Tensor&), double value) {
  return {.name = name, .cases = [=](Sampler& s) -> std::vector<Case> {
            return {{"a row",
                     {s({3, 4})},
                     [write](const Tensors& in) {
                       Tensor y = in[0].clone(), row = y[1];
                       write(row);
                       return Tensors{y};
                     },
                     [value](const Tensors& in) {
                       return Tensors{build({3, 4}, [&](const Index& i) {
                         return i[0] == 1 ? value : at(in[0], i);
                       })};
                     }}};
          }};
}

}  // namespace

std::vector<Row> copy_rows() {
  return {
      {.name = "to",
       .cases = [](Sampler& s) -> std::vector<Case> {
         const auto there_and_back = [](DType via) {
           return [via](const Tensor& x) { return x.to(via).to(x.dtype()); };
         };
         Case rounded =
             same_values("to float32 and back", s({3, 5}), there_and_back(DType::Float32));
         rounded.gradcheck = false;
         rounded.reference = [](const Tensors& in) {
           return Tensors{naive::map(in[0], [](double x) { return double(float(x)); })};
         };
         return {rounded,
                 same_values("to float64 and back", s({3, 5}), there_and_back(DType::Float64))};
       },
       .errors = {{[] {
                     zeros({2}).to(Device{DeviceType::CUDA, 1});
                   },
                   ErrorKind::Device, "device: got cuda:1, but"}}},
      {.name = "clone",
       .cases = [](Sampler& s) -> std::vector<Case> {
         return {same_values("a matrix", s({3, 5}), [](const Tensor& x) { return x.clone(); }),
                 same_values("nothing", s({3, 0}), [](const Tensor& x) { return x.clone(); })};
       }},
      {.name = "contiguous",
       .cases = [](Sampler& s) -> std::vector<Case> {
         return {same_values("of a transposed matrix", s({3, 5}), [](const Tensor& x) {
           return x.transpose(0, 1).contiguous().transpose(0, 1);
         })};
       }},
      cat_row(),
      stack_row(),
      pad_row(),
      write_row(
          "copy_", [](Tensor& y, const Tensor& x) { y.copy_(x); },
          [](double, double x) { return x; }),
      write_row(
          "add_", [](Tensor& y, const Tensor& x) { y.add_(x, 3); },
          [](double y, double x) { return y + 3 * x; }),
      write_row(
          "sub_", [](Tensor& y, const Tensor& x) { y.sub_(x); },
          [](double y, double x) { return y - x; }),
      write_row(
          "mul_", [](Tensor& y, const Tensor& x) { y.mul_(x); },
          [](double y, double x) { return y * x; }),
      write_row(
          "div_", [](Tensor& y, const Tensor& x) { y.div_(x); },
          [](double y, double x) { return y / x; }),
      fill_row(
          "fill_", [](Tensor& row) { row.fill_(2); }, 2),
      fill_row(
          "zero_", [](Tensor& row) { row.zero_(); }, 0),
  };
}

}  // namespace plinth::op_table
