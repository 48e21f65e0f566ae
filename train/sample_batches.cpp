#include "train/sample_batches.h"

#include <vector>

#include "core/error.h"
#include "data/loader/permutation.h"

namespace plinth {

SampleBatches::SampleBatches(NumberedSamples data, const LoaderOptions& options)
    : data_(std::move(data)), options_(options), order_(options.share()) {
  check(data_.count > 0, ErrorKind::Argument, "SampleBatches", "got no samples");
  check(options.prefetch >= 0, ErrorKind::Argument, "SampleBatches", "prefetch is ",
        options.prefetch, ", takes 0 or more");
  start_prefetch();
}

void SampleBatches::start_prefetch() {
  if (options_.prefetch == 0) return;
  prefetcher_ = std::make_unique<Prefetcher<Batch>>(
      order_.next(), static_cast<size_t>(options_.prefetch),
      [this, order = order_](int64_t batch) { return make(order.first_sample_of(batch)); });
}

Batch SampleBatches::make(int64_t first_sample) const {
  const SampleOptions& samples = options_.samples;
  std::vector<SampleKey> keys;
  for (int64_t i = first_sample; i < first_sample + options_.rows; ++i) {
    const int64_t epoch = i / data_.count;
    int64_t number = i % data_.count;
    if (samples.shuffle)
      number = Permutation(data_.count, samples.seed, static_cast<uint64_t>(epoch))(number);
    keys.push_back({.seed = samples.seed, .epoch = epoch, .sample = number});
  }
  return data_.make(keys);
}

Batch SampleBatches::next(int64_t count) {
  check(count == options_.rows, ErrorKind::Argument, "SampleBatches", "next got ", count,
        " samples, gives ", options_.rows);
  Batch batch = prefetcher_ ? prefetcher_->next() : make(order_.first_sample_of(order_.next()));
  order_.take();
  return batch;
}

LoaderPosition SampleBatches::position() const {
  const SavedPlace place = order_.place();
  return {.epoch = place.sample / data_.count,
          .place = place,
          .seed = options_.samples.seed,
          .length = data_.count,
          .shuffle = options_.samples.shuffle,
          .pack_documents = false,
          .fingerprint = data_.fingerprint};
}

std::string SampleBatches::state() const {
  return to_json(position());
}

void SampleBatches::restore(std::string_view state) {
  const LoaderPosition saved = parse_loader_position(state), now = position();
  check(saved.fingerprint == now.fingerprint && saved.length == now.length, ErrorKind::Config,
        "SampleBatches", "the run was of ", saved.length,
        " samples of other training data than now, ", now.length);
  check(saved.seed == now.seed && saved.shuffle == now.shuffle, ErrorKind::Config, "SampleBatches",
        "the run had seed ", saved.seed, ", shuffle ", saved.shuffle, "; now ", now.seed, ", ",
        now.shuffle);
  order_.restore(saved.place);
  prefetcher_.reset();
  start_prefetch();
}

}  // namespace plinth
