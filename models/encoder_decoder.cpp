#include "models/encoder_decoder.h"

#include "core/autograd.h"
#include "core/error.h"
#include "core/ops/elementwise.h"
#include "core/ops/factories.h"
#include "core/ops/index.h"
#include "core/ops/loss.h"
#include "core/ops/matmul.h"
#include "core/ops/views.h"

namespace plinth {

EncoderStates EncoderStates::select(const Tensor& rows) const {
  return {index_select(states, 0, rows),
          lengths.defined() ? index_select(lengths, 0, rows) : lengths};
}

void DecoderCaches::select(const Tensor& rows) {
  select_read(rows);
  for (nn::KVCache& cache : cross) cache.select(rows);
}

void DecoderCaches::select_read(const Tensor& rows) {
  for (nn::KVCache& cache : self) cache.select(rows);
}

Tensor EncoderDecoder::decode(const Tensor& ids, const EncoderStates& source,
                              DecoderCaches* caches) {
  check_ids(ids, "decoder ids");
  const Tensor& states = source.states;
  check(states.dim() == 3 && states.size(0) == ids.size(0), ErrorKind::Shape, info().type,
        "decoder ids have shape ", ids.shape(), " beside encoder states of shape ", states.shape(),
        ", expected one batch");
  const auto fits = [&](const std::vector<nn::KVCache>& each) {
    return std::ssize(each) == info().decoder_layers;
  };
  check(!caches || (fits(caches->self) && fits(caches->cross)), ErrorKind::Argument, info().type,
        "caches are for ", caches ? caches->self.size() : 0, " and ",
        caches ? caches->cross.size() : 0, " layers, takes one of each kind for each of its ",
        info().decoder_layers, ", as make_caches() gives them");
  const int64_t before = caches ? caches->length() : 0;
  check(info().context == 0 || before + ids.size(1) <= info().context, ErrorKind::Shape,
        info().type, "decoder ids have shape ", ids.shape(),
        before ? detail::concat(" after ", before, " cached positions") : "", ", the context is ",
        info().context);
  return decode_ids(ids, source, caches);
}

Tensor EncoderDecoder::head(const Tensor& x) const {
  return linear(x, head_weight());
}

Tensor EncoderDecoder::forward(const Tensor& source, const Tensor& decoder_ids,
                               const Tensor& lengths) {
  return head(decode(decoder_ids, encode(source, lengths)));
}

Tensor EncoderDecoder::shift_right(const Tensor& labels) const {
  check_ids(labels, "labels");
  constexpr double kIgnored = -100;
  const Tensor start =
      full({labels.size(0), 1}, static_cast<double>(info().start_token), labels.options());
  const Tensor ids = cat({start, labels.narrow(1, 0, labels.size(1) - 1)}, 1);
  return masked_fill(ids, eq(ids, kIgnored), static_cast<double>(info().pad_token));
}

Tensor EncoderDecoder::loss(const Tensor& source, const Tensor& labels, const Tensor& lengths) {
  const Tensor x = decode(shift_right(labels), encode(source, lengths));
  return linear_cross_entropy(x, head_weight(), labels);
}

DecoderCaches EncoderDecoder::make_caches(int64_t batch, int64_t length,
                                          int64_t source_length) const {
  check(info().context == 0 || length <= info().context, ErrorKind::Argument, info().type,
        "a cache of ", length, " positions exceeds the context of ", info().context);
  const TensorOptions options = head_weight().options();
  const auto caches = [&](int64_t capacity) {
    std::vector<nn::KVCache> layers;
    for (int64_t layer = 0; layer < info().decoder_layers; ++layer)
      layers.emplace_back(batch, info().heads, capacity, info().head_dim, options);
    return layers;
  };
  return {caches(length), caches(source_length)};
}

void EncoderDecoder::check_ids(const Tensor& ids, std::string_view what) const {
  check(ids.dtype() == DType::Int64, ErrorKind::DType, info().type, what, " are ",
        name(ids.dtype()), ", takes int64");
  check(ids.dim() == 2 && ids.size(1) > 0, ErrorKind::Shape, info().type, what, " have shape ",
        ids.shape(), ", expected [batch, time] of at least 1 token");
}

void EncoderDecoder::check_lengths(const Tensor& lengths, int64_t batch) const {
  check(!lengths.defined() || lengths.shape() == Shape{batch}, ErrorKind::Shape, info().type,
        "lengths have shape ", lengths.defined() ? lengths.shape() : Shape{}, ", expected [", batch,
        "]");
}

}  // namespace plinth
