#include "data/loader/token_loader.h"

#include <algorithm>

#include "core/error.h"

namespace plinth {
namespace {

SampleOptions in_order(SampleOptions options) {
  options.shuffle = false;
  return options;
}

template <class Value>
void check_same(const char* what, const Value& saved, const Value& now) {
  check(saved == now, ErrorKind::Config, "loader", "the position was saved with ", what, ' ', saved,
        ", but the loader has ", now);
}

}  // namespace

TokenLoader::TokenLoader(std::shared_ptr<const TokenDataset> data, const LoaderOptions& options)
    : source_(std::move(data), options.samples), options_(options), order_(options.share()) {
  check(options.prefetch >= 0, ErrorKind::Argument, "loader", "prefetch is ", options.prefetch,
        ", expected at least 0");
  start_prefetch();
}

TokenLoader::~TokenLoader() = default;

void TokenLoader::start_prefetch() {
  if (options_.prefetch == 0) return;
  prefetcher_ = std::make_unique<Prefetcher<TokenBatch>>(
      order_.next(), static_cast<size_t>(options_.prefetch),
      [this, order = order_](int64_t batch) { return read(order.first_sample_of(batch)); });
}

TokenBatch TokenLoader::next() {
  TokenBatch batch =
      prefetcher_ ? prefetcher_->next() : read(order_.first_sample_of(order_.next()));
  order_.take();
  return batch;
}

TokenBatch TokenLoader::read(int64_t first_sample) const {
  return source_.read(first_sample, options_.rows);
}

LoaderPosition TokenLoader::position() const {
  const SampleOptions& samples = source_.options();
  const SavedPlace place = order_.place();
  return {.epoch = place.sample / samples_per_epoch(),
          .place = place,
          .seed = samples.seed,
          .length = samples.length,
          .shuffle = samples.shuffle,
          .pack_documents = samples.pack_documents,
          .fingerprint = source_.fingerprint()};
}

void TokenLoader::restore(const LoaderPosition& position) {
  const SampleOptions& samples = source_.options();
  check(position.fingerprint == source_.fingerprint(), ErrorKind::Config, "loader",
        "the position was saved on another data set (or other documents in it) than the one that "
        "was opened");
  check_same("seed", position.seed, samples.seed);
  check_same("length", position.length, samples.length);
  check_same("shuffle", position.shuffle, samples.shuffle);
  check_same("pack_documents", position.pack_documents, samples.pack_documents);
  check_same("epoch", position.epoch, position.place.sample / samples_per_epoch());
  order_.restore(position.place);
  prefetcher_.reset();
  start_prefetch();
}

ValidationLoader::ValidationLoader(std::shared_ptr<const TokenDataset> data, SampleOptions options,
                                   int64_t rows)
    : source_(std::move(data), in_order(options)), rows_(rows) {
  check(rows >= 1, ErrorKind::Argument, "validation loader", "rows is ", rows,
        ", expected at least 1");
}

int64_t ValidationLoader::batches() const {
  return (source_.samples_per_epoch() - 1) / rows_ + 1;
}

TokenBatch ValidationLoader::batch(int64_t index) const {
  check(index >= 0 && index < batches(), ErrorKind::Argument, "validation loader",
        "asked for batch ", index, " of ", batches());
  const int64_t first = index * rows_;
  return source_.read(first, std::min(rows_, source_.samples_per_epoch() - first));
}

}  // namespace plinth
