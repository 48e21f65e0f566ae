#include "data/loader/token_loader.h"

#include <algorithm>

#include "core/error.h"

namespace plinth {
namespace {

void check_options(const LoaderOptions& options) {
  const auto at_least = [](const char* option, int64_t value, int64_t least) {
    check(value >= least && value <= int64_t{1} << 31, ErrorKind::Argument, "loader", option,
          " is ", value, ", expected at least ", least);
  };
  at_least("rows", options.rows, 1);
  at_least("ranks", options.ranks, 1);
  at_least("micro_batches", options.micro_batches, 1);
  at_least("prefetch", options.prefetch, 0);
  check(options.rank >= 0 && options.rank < options.ranks, ErrorKind::Argument, "loader",
        "rank is ", options.rank, ", expected 0 to ", options.ranks - 1);
  check(options.turns >= 1 && options.ranks % options.turns == 0, ErrorKind::Argument, "loader",
        "turns is ", options.turns, ", expected a divisor of ranks (", options.ranks, ")");
}

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
    : source_(std::move(data), options.samples), options_(options) {
  check_options(options);
  start_prefetch();
}

TokenLoader::~TokenLoader() = default;

int64_t TokenLoader::samples_per_step() const {
  return options_.rows * options_.micro_batches * options_.ranks;
}

int64_t TokenLoader::first_sample_of(int64_t batch) const {
  const int64_t step = batch / options_.micro_batches;
  const int64_t turns = options_.turns, first_rank = options_.rank / turns * turns;
  const int64_t in_step = first_rank * options_.micro_batches +
                          batch % options_.micro_batches * turns + options_.rank % turns;
  return origin_ + step * samples_per_step() + in_step * options_.rows;
}

void TokenLoader::start_prefetch() {
  if (options_.prefetch == 0) return;
  prefetcher_ = std::make_unique<Prefetcher<TokenBatch>>(
      taken_, static_cast<size_t>(options_.prefetch),
      [this](int64_t batch) { return read(first_sample_of(batch)); });
}

TokenBatch TokenLoader::next() {
  TokenBatch batch = prefetcher_ ? prefetcher_->next() : read(first_sample_of(taken_));
  ++taken_;
  return batch;
}

TokenBatch TokenLoader::read(int64_t first_sample) const {
  return source_.read(first_sample, options_.rows);
}

LoaderPosition TokenLoader::position() const {
  const int64_t sample = origin_ + taken_ / options_.micro_batches * samples_per_step();
  const SampleOptions& samples = source_.options();
  return {.epoch = sample / samples_per_epoch(),
          .sample = sample,
          .micro_batch = taken_ % options_.micro_batches,
          .samples_per_step = samples_per_step(),
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
  check_same("epoch", position.epoch, position.sample / samples_per_epoch());
  if (position.micro_batch != 0)
    check_same("samples_per_step", position.samples_per_step, samples_per_step());
  check(position.sample >= 0 && position.micro_batch >= 0 &&
            position.micro_batch < options_.micro_batches,
        ErrorKind::Config, "loader", "the position was saved behind ", position.micro_batch,
        " batches of a step, but the loader's steps have ", options_.micro_batches);
  prefetcher_.reset();
  origin_ = position.sample;
  taken_ = position.micro_batch;
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
