#include "distributed/expert/exchange.h"

#include <numeric>

#include "core/autograd.h"
#include "core/error.h"
#include "core/op_scope.h"

namespace plinth::distributed {

Tensor exchange_rows(const Tensor& rows, const std::shared_ptr<ProcessGroup>& group,
                     const std::vector<int64_t>& sent, const std::vector<int64_t>& received) {
  const OpScope scope(__func__);
  const int64_t count = std::reduce(sent.begin(), sent.end(), int64_t{0});
  check(rows.dim() >= 1 && rows.size(0) == count, ErrorKind::Shape, "exchange_rows",
        "rows have shape ", rows.shape(), ", ", count, " of them are to be sent");
  const Tensor from = rows.detach().contiguous();
  Shape shape = rows.shape();
  shape[0] = std::reduce(received.begin(), received.end(), int64_t{0});
  const Tensor out = Tensor::empty(shape, rows.options());
  group->all_to_all(out, from, sent, received).wait();
  return record("exchange_rows", {rows}, out, {},
                [group, sent, received](const BackwardContext&, const Tensor& dy) -> Tensors {
                  return {exchange_rows(dy, group, received, sent)};
                });
}

}  // namespace plinth::distributed
