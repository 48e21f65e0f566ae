// Indexing by int64 tensors.

#include "core/ops/factories.h"
#include "core/ops/index.h"
#include "naive.h"
#include "op_table.h"

namespace plinth::op_table {
namespace {

using naive::at;
using naive::build;
using naive::Index;

int64_t id_at(const Tensor& ids, const Index& i) {
  return static_cast<int64_t>(at(ids, i));
}

// x with g(target index, source element) done for every element of source, in order.
Tensor scattered(const Tensor& x, const Tensor& source, std::function<Index(const Index&)> target,
                 bool add) {
  const Tensor out = from_values(to_vector(x), x.shape());
  naive::for_each(source.shape(), [&](const Index& i) {
    const Index to = target(i);
    int64_t element = 0;
    for (int64_t d = 0; d < out.dim(); ++d) element += to[d] * out.strides()[d];
    double& value = out.data<double>()[element];
    value = (add ? value : 0) + at(source, i);
  });
  return out;
}

Row index_select_row() {
  return {.name = "index_select",
          .cases = [](Sampler& s) -> std::vector<Case> {
            const auto columns = from_values<int64_t>({4, 0, 4}, {3});
            return {{"columns, one of them twice",
                     {s({2, 5}), columns},
                     [](const Tensors& in) { return Tensors{index_select(in[0], -1, in[1])}; },
                     [](const Tensors& in) {
                       return Tensors{build({2, 3}, [&](const Index& i) {
                         return at(in[0], {i[0], id_at(in[1], {i[1]})});
                       })};
                     }},
                    {"no rows",
                     {s({2, 5}), zeros({0}, {DType::Int64, {}})},
                     [](const Tensors& in) { return Tensors{index_select(in[0], 0, in[1])}; },
                     [](const Tensors&) {
                       return Tensors{zeros({0, 5}, {DType::Float64, {}})};
                     }}};
          },
          .errors = {
              {[] {
                 index_select(zeros({2, 3}), 1, from_values<int64_t>({0, 3}, {2}));
               },
               ErrorKind::Argument,
               "index_select: index 3 (element 1) is out of range for a size of 3"},
              {[] {
                 index_select(zeros({2, 3}), 1, zeros({2}));
               },
               ErrorKind::DType, "index_select: index has dtype float32, expected int64"},
              {[] {
                 index_select(zeros({2}), 0, zeros({1, 1}, {DType::Int64, {}}));
               },
               ErrorKind::Shape, "index_select: index has shape [1, 1], expected one dimension"}}};
}

Row index_add_row() {
  return {
      .name = "index_add",
      .cases = [](Sampler& s) -> std::vector<Case> {
        return {{"rows, one of them twice",
                 {s({4, 3}), from_values<int64_t>({2, 0, 2}, {3}), s({3, 3})},
                 [](const Tensors& in) { return Tensors{index_add(in[0], 0, in[1], in[2])}; },
                 [](const Tensors& in) {
                   return Tensors{scattered(
                       in[0], in[2],
                       [&](const Index& i) {
                         return Index{id_at(in[1], {i[0]}), i[1]};
                       },
                       true)};
                 }}};
      },
      .errors = {{[] {
                    index_add(zeros({2, 3}), 0, from_values<int64_t>({1}, {1}), zeros({2, 3}));
                  },
                  ErrorKind::Shape, "index_add: source has shape [2, 3], expected [1, 3]"},
                 {[] {
                    index_add(zeros({2}), 0, from_values<int64_t>({1}, {1}),
                              zeros({1}, {DType::Float64, {}}));
                  },
                  ErrorKind::DType, "index_add: source has dtype float64, expected x's float32"}},
      .tolerance = {.units = 2, .gradient_units = 2}};
}

Row gather_row() {
  return {.name = "gather",
          .cases = [](Sampler& s) -> std::vector<Case> {
            return {{"columns",
                     {s({2, 5}), from_values<int64_t>({4, 0, 4, 1, 1, 2}, {2, 3})},
                     [](const Tensors& in) { return Tensors{gather(in[0], 1, in[1])}; },
                     [](const Tensors& in) {
                       return Tensors{build({2, 3}, [&](const Index& i) {
                         return at(in[0], {i[0], id_at(in[1], i)});
                       })};
                     }},
                    {"rows",
                     {s({3, 2}), from_values<int64_t>({2, 0}, {1, 2})},
                     [](const Tensors& in) { return Tensors{gather(in[0], 0, in[1])}; },
                     [](const Tensors& in) {
                       return Tensors{build({1, 2}, [&](const Index& i) {
                         return at(in[0], {id_at(in[1], i), i[1]});
                       })};
                     }}};
          },
          .errors = {{[] {
                        gather(zeros({2, 3}), 1, from_values<int64_t>({0}, {1}));
                      },
                      ErrorKind::Shape, "gather: index has shape [1], expected x's [2, 3]"},
                     {[] {
                        gather(zeros({1, 3}), 1, from_values<int64_t>({-1}, {1, 1}));
                      },
                      ErrorKind::Argument, "gather: index -1 (element 0) is out of range"}}};
}

Case scatter_case(const std::string& label, Sampler& s, bool add, const Tensor& index) {
  return {
      label,
      {s({2, 4}), index, s({2, 3})},
      [add](const Tensors& in) {
        return Tensors{add ? scatter_add(in[0], 1, in[1], in[2]) : scatter(in[0], 1, in[1], in[2])};
      },
      [add](const Tensors& in) {
        return Tensors{scattered(
            in[0], in[2],
            [&](const Index& i) {
              return Index{i[0], id_at(in[1], i)};
            },
            add)};
      }};
}

Row scatter_row(const std::string& name, bool add) {
  const auto call = [add](const Tensor& x, const Tensor& index, const Tensor& source) {
    add ? scatter_add(x, 1, index, source) : scatter(x, 1, index, source);
  };
  const Tensor distinct = from_values<int64_t>({3, 0, 1, 2, 1, 3}, {2, 3});
  const Tensor repeated = from_values<int64_t>({3, 3, 1, 2, 2, 2}, {2, 3});
  return {.name = name,
          .cases = [=](Sampler& s) -> std::vector<Case> {
            std::vector<Case> cases = {scatter_case("distinct indices", s, add, distinct)};
            if (add) cases.push_back(scatter_case("repeated indices", s, add, repeated));
            return cases;
          },
          .errors = {{[=] {
                        call(zeros({2, 4}), distinct, zeros({2, 2}));
                      },
                      ErrorKind::Shape, name + ": source has shape [2, 2], expected [2, 3]"},
                     {[=] {
                        call(zeros({2, 3}), distinct, zeros({2, 3}));
                      },
                      ErrorKind::Argument,
                      name + ": index 3 (element 0) is out of range for a size of 3"}},
          .tolerance = {.units = 2, .gradient_units = 2}};
}

Row embedding_row() {
  const auto embed = [](const std::string& label, const Tensor& weight, const Tensor& ids,
                        bool gradcheck = true) {
    return Case{label,
                {weight, ids},
                [](const Tensors& in) { return Tensors{embedding(in[0], in[1])}; },
                [](const Tensors& in) {
                  Shape shape = in[1].shape();
                  shape.push_back(in[0].size(1));
                  return Tensors{build(shape, [&](Index i) {
                    const int64_t column = i.back();
                    i.pop_back();
                    return at(in[0], {id_at(in[1], i), column});
                  })};
                },
                gradcheck};
  };
  return {.name = "embedding",
          .cases = [=](Sampler& s) -> std::vector<Case> {
            std::vector<int64_t> many(3000);
            for (size_t i = 0; i < many.size(); ++i)
              many[i] = static_cast<int64_t>(i * i % 97 % 50);
            return {embed("repeated ids", s({5, 3}), from_values<int64_t>({4, 0, 4, 4}, {2, 2})),
                    embed("one id", s({5, 3}), from_values<int64_t>({2}, {})),
                    embed("no ids", s({5, 3}), zeros({0, 2}, {DType::Int64, {}})),
                    embed("large", s({50, 33}), from_values(many, {30, 100}), false)};
          },
          .errors = {{[] {
                        embedding(zeros({2, 3}), from_values<int64_t>({0, 2}, {2}));
                      },
                      ErrorKind::Argument,
                      "embedding: index 2 (element 1) is out of range for a "
                      "size of 2"},
                     {[] { embedding(zeros({2}), from_values<int64_t>({0}, {1})); },
                      ErrorKind::Shape, "embedding: weight has shape [2], expected [vocab, dim]"},
                     {[] {
                        embedding(zeros({2, 3}), zeros({2}));
                      },
                      ErrorKind::DType, "embedding: index has dtype float32, expected int64"}}};
}

// Rows 2, 3 and 4 of a table of 7.
Row embedding_part_row() {
  const auto embed = [](const std::string& label, const Tensor& weight, const Tensor& ids) {
    return Case{label,
                {weight, ids},
                [](const Tensors& in) { return Tensors{embedding_part(in[0], in[1], 2, 7)}; },
                [](const Tensors& in) {
                  Shape shape = in[1].shape();
                  shape.push_back(in[0].size(1));
                  return Tensors{build(shape, [&](Index i) {
                    const int64_t column = i.back();
                    i.pop_back();
                    const int64_t row = id_at(in[1], i) - 2;
                    return row >= 0 && row < 3 ? at(in[0], {row, column}) : 0.0;
                  })};
                }};
  };
  return {.name = "embedding_part",
          .cases = [=](Sampler& s) -> std::vector<Case> {
            return {embed("here and elsewhere", s({3, 3}),
                          from_values<int64_t>({4, 0, 6, 4, 2, 5}, {2, 3})),
                    embed("no ids", s({3, 3}), zeros({0, 2}, {DType::Int64, {}}))};
          },
          .errors = {{[] {
                        embedding_part(zeros({2, 3}), from_values<int64_t>({0, 7}, {2}), 2, 7);
                      },
                      ErrorKind::Argument,
                      "embedding_part: index 7 (element 1) is out of range for a size of 7"},
                     {[] {
                        embedding_part(zeros({2, 3}), from_values<int64_t>({0}, {1}), 6, 7);
                      },
                      ErrorKind::Shape,
                      "embedding_part: weight has shape [2, 3], expected [rows, dim], rows 6 and "
                      "on of a table of 7"}}};
}

}  // namespace

std::vector<Row> index_rows() {
  return {index_select_row(),
          index_add_row(),
          gather_row(),
          scatter_row("scatter", false),
          scatter_row("scatter_add", true),
          embedding_row(),
          embedding_part_row()};
}

}  // namespace plinth::op_table
