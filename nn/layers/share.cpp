#include "nn/layers/share.h"

#include <numeric>

#include "core/error.h"
#include "core/ops/views.h"

namespace plinth::nn {

int64_t SequencePart::multiple() const {
  return ranks * (ranks > 1 ? std::lcm(int64_t{2}, parts) : parts);
}

std::vector<TokenRun> SequencePart::runs(int64_t tokens) const {
  const int64_t begin = part * tokens, end = begin + tokens;
  if (ranks == 1) return {{begin, tokens}};
  const int64_t chunk = tokens * parts / 2;
  std::vector<TokenRun> runs;
  if (begin < chunk) runs.push_back({rank * chunk + begin, std::min(end, chunk) - begin});
  if (end > chunk) {
    const int64_t from = std::max(begin, chunk);
    runs.push_back({(2 * ranks - 1 - rank) * chunk + from - chunk, end - from});
  }
  return runs;
}

Tensor SequencePart::take(const Tensor& x) const {
  if (is_whole()) return x;
  const int64_t of = multiple();
  check(of > 0 && x.dim() >= 2 && x.size(1) % of == 0, ErrorKind::Shape, "SequencePart",
        "got shape ", x.shape(), ", expected [batch, tokens, ...] with a multiple of ", of,
        " tokens");
  Tensors pieces;
  for (const TokenRun& run : runs(x.size(1) / (ranks * parts)))
    pieces.push_back(x.narrow(1, run.begin, run.count));
  return cat(pieces, 1);
}

kernels::DropoutPart SequencePart::dropout_part(const Tensor& x) const {
  if (is_whole()) return {};
  check(x.dim() >= 2, ErrorKind::Shape, "SequencePart", "x has shape ", x.shape(),
        ", expected [batch, tokens, ...]");
  const std::vector<TokenRun> own = runs(x.size(1));
  int64_t elements = 1;  // of a token
  for (int64_t d = 2; d < x.dim(); ++d) elements *= x.size(d);
  kernels::DropoutPart words{.first = own[0].begin * elements};
  if (own.size() > 1) {
    words.split = own[0].count * elements;
    words.jump = (own[1].begin - own[0].begin - own[0].count) * elements;
  }
  return words;
}

}  // namespace plinth::nn
