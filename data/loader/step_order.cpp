#include "data/loader/step_order.h"

#include "core/error.h"

namespace plinth {
namespace {

const StepShare& checked(const StepShare& share) {
  const auto at_least_one = [](const char* option, int64_t value) {
    check(value >= 1 && value <= int64_t{1} << 31, ErrorKind::Argument, "loader", option, " is ",
          value, ", expected at least 1");
  };
  at_least_one("rows", share.rows);
  at_least_one("ranks", share.ranks);
  at_least_one("micro_batches", share.micro_batches);
  check(share.rank >= 0 && share.rank < share.ranks, ErrorKind::Argument, "loader", "rank is ",
        share.rank, ", expected 0 to ", share.ranks - 1);
  check(share.turns >= 1 && share.ranks % share.turns == 0, ErrorKind::Argument, "loader",
        "turns is ", share.turns, ", expected a divisor of ranks (", share.ranks, ")");
  return share;
}

}  // namespace

StepOrder::StepOrder(const StepShare& share) : share_(checked(share)) {}

int64_t StepOrder::first_sample_of(int64_t batch) const {
  const auto [rows, rank, ranks, micro_batches, turns] = share_;
  const int64_t step = batch / micro_batches, first_rank = rank / turns * turns;
  const int64_t in_step = first_rank * micro_batches + batch % micro_batches * turns + rank % turns;
  return origin_ + step * samples_per_step() + in_step * rows;
}

SavedPlace StepOrder::place() const {
  const bool is_within = micro_batch() > 0;
  return {.sample = sample(),
          .micro_batch = micro_batch(),
          .samples_per_step = samples_per_step(),
          .rows = is_within ? share_.rows : 0,
          .ranks = is_within ? share_.ranks : 0,
          .turns = is_within ? share_.turns : 0};
}

void StepOrder::restore(const SavedPlace& place) {
  check(place.micro_batch == 0 || place.samples_per_step == samples_per_step(), ErrorKind::Config,
        "loader", "the position was saved with samples_per_step ", place.samples_per_step,
        ", but the loader has ", samples_per_step());
  check(place.sample >= 0 && place.micro_batch >= 0 && place.micro_batch < share_.micro_batches,
        ErrorKind::Config, "loader", "the position was saved behind ", place.micro_batch,
        " batches of a step, but the loader's steps have ", share_.micro_batches);
  const auto check_same = [&](const char* option, int64_t saved, int64_t now) {
    check(place.micro_batch == 0 || saved == 0 || saved == now, ErrorKind::Config, "loader",
          "the position was saved within a step with ", option, " ", saved, ", but the loader has ",
          now);
  };
  check_same("rows", place.rows, share_.rows);
  check_same("ranks", place.ranks, share_.ranks);
  check_same("turns", place.turns, share_.turns);
  origin_ = place.sample;
  taken_ = place.micro_batch;
}

}  // namespace plinth
