#include "core/ops/head_part.h"

#include <algorithm>

#include "core/autograd.h"
#include "core/error.h"
#include "core/op_scope.h"
#include "core/ops/checks.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/index.h"
#include "core/ops/product.h"
#include "core/ops/reduce.h"
#include "core/ops/views.h"

namespace plinth {
namespace {

constexpr int64_t kLogits = int64_t{1} << 24;  // of a chunk

// x as rows, and the weight, as products take them that give logits of the wide dtype.
struct HeadOperands {
  Tensor rows, weight, target;
  DType wide;

  HeadOperands(const Tensor& x, const Tensor& w, const Tensor& classes, const VocabularyPart& part,
               std::string_view op)
      : wide(compute_dtype(x.dtype())) {
    check_floating(x, op, "x");
    check_like(w, x, op, "weight", "x");
    const Rows matrix = rows_of(x, op);
    check(w.dim() == 2 && w.size(1) == matrix.cols, ErrorKind::Shape, op, "weight has shape ",
          w.shape(), ", expected [rows, ", matrix.cols, "] (last dimension of x)");
    check(w.size(0) > 0 && part.first >= 0 && part.first + w.size(0) <= part.vocabulary,
          ErrorKind::Shape, op, "weight has ", w.size(0), " rows from ", part.first,
          " on, expected some of ", part.vocabulary);
    check_int64(classes, op, "target");
    Shape expected = x.shape();
    expected.erase(expected.dim() - 1);
    check_shape(classes, expected, op, "target", "x without its last size");
    target = plain(classes).reshape({-1});
    check_indices(target, {.op = std::string(op),
                           .argument = "target",
                           .limit = part.vocabulary,
                           .ignored = part.ignore_index});
    // Only a GPU's products widen their result.
    const auto operand = [&](const Tensor& t) {
      return x.device().is_cpu() ? plain(t).to(wide) : plain(t);
    };
    rows = operand(x).reshape({matrix.rows, matrix.cols});
    weight = operand(w);
  }

  // Calls body(first row, rows, logits) for chunks of rows.
  template <class Body>
  void for_chunks(std::string_view op, Body&& body) const {
    const int64_t all = rows.size(0), chunk = std::max<int64_t>(1, kLogits / weight.size(0));
    for (int64_t first = 0; first < all; first += chunk) {
      const int64_t count = std::min(chunk, all - first);
      const Tensor logits = Tensor::empty({1, count, weight.size(0)}, {wide, rows.device()});
      multiply(rows.narrow(0, first, count).unsqueeze(0), weight.unsqueeze(0).transpose(1, 2), {},
               logits, op);
      body(first, count, logits[0]);
    }
  }
};

// Where the targets are rows of this part, and which; row 0 elsewhere.
struct Place {
  Tensor is_here, row;  // [rows, 1]

  Place(const Tensor& target, const VocabularyPart& part, int64_t rows) {
    const Tensor local = target.unsqueeze(1) - static_cast<double>(part.first);
    is_here = logical_and(ge(local, 0), lt(local, static_cast<double>(rows)));
    row = where(is_here, local, zeros_like(local));
  }
};

}  // namespace

HeadPart head_part(const Tensor& x, const Tensor& weight, const Tensor& target,
                   const VocabularyPart& part) {
  const OpScope scope(__func__);
  const NoGradGuard no_grad;
  const HeadOperands in(x, weight, target, part, "head_part");
  const TensorOptions options{in.wide, x.device()};
  const Tensor lse = Tensor::empty({in.rows.size(0)}, options);
  const Tensor target_logit = Tensor::empty({in.rows.size(0)}, options);
  in.for_chunks("head_part", [&](int64_t first, int64_t count, const Tensor& logits) {
    const Place place(in.target.narrow(0, first, count), part, weight.size(0));
    const Tensor own = gather(logits, 1, place.row);
    lse.narrow(0, first, count).copy_(logsumexp(logits, {1}));
    target_logit.narrow(0, first, count)
        .copy_(where(place.is_here, own, zeros_like(own)).squeeze(1));
  });
  return {lse.reshape(target.shape()), target_logit.reshape(target.shape())};
}

HeadPartGradients head_part_gradients(const Tensor& x, const Tensor& weight, const Tensor& target,
                                      const VocabularyPart& part, const Tensor& lse,
                                      const Tensor& scale) {
  const OpScope scope(__func__);
  constexpr std::string_view kOp = "head_part_gradients";
  const NoGradGuard no_grad;
  const HeadOperands in(x, weight, target, part, kOp);
  check_shape(lse, target.shape(), kOp, "lse", "that of target");
  const Tensor all = lse.reshape({-1, 1});
  const Tensor dx = Tensor::empty(in.rows.shape(), in.rows.options());
  const Tensor dw = zeros(weight.shape(), {in.wide, x.device()});
  in.for_chunks(kOp, [&](int64_t first, int64_t count, const Tensor& logits) {
    const Tensor classes = in.target.narrow(0, first, count);
    const Place place(classes, part, weight.size(0));
    const Tensor probability = exp(logits - all.narrow(0, first, count));
    const Tensor counted = ne(classes, static_cast<double>(part.ignore_index)).to(in.wide) * scale;
    const Tensor dlogits =
        (scatter_add(probability, 1, place.row, -place.is_here.to(in.wide)) * counted.unsqueeze(1))
            .to(in.rows.dtype())
            .unsqueeze(0);
    multiply(dlogits, in.weight.unsqueeze(0), {}, dx.narrow(0, first, count).unsqueeze(0), kOp);
    multiply_add(dlogits.transpose(1, 2), in.rows.narrow(0, first, count).unsqueeze(0),
                 dw.unsqueeze(0), kOp);
  });
  return {dx.reshape(x.shape()), dw};
}

}  // namespace plinth
