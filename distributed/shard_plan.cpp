#include "distributed/shard_plan.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"

namespace plinth::distributed {

int64_t ShardRun::size() const {
  return std::reduce(counts.begin(), counts.end());
}

int64_t ShardUnit::own_size() const {
  int64_t own = 0;
  for (const ShardRun& run : runs) own += run.own_size;
  return own;
}

int64_t ShardUnit::largest_size() const {
  std::vector<int64_t> sizes;
  for (const ShardRun& run : runs) {
    sizes.resize(run.counts.size());
    for (size_t rank = 0; rank < sizes.size(); ++rank) sizes[rank] += run.counts[rank];
  }
  return sizes.empty() ? 0 : std::ranges::max(sizes);
}

ShardPlan::ShardPlan(const nn::FlatLayout& layout, const std::vector<size_t>& unit_of, size_t units,
                     int64_t chunk, int rank, int ranks)
    : rank_(rank), ranks_(ranks), units_(units) {
  check(layout.buffer_count() == 1, ErrorKind::Argument, "ShardPlan", "got parameters of ",
        layout.buffer_count(), " dtypes or devices, takes parameters of one");
  const std::vector<Span> spans = spans_of(layout, unit_of);
  share_chunks(spans, chunk, layout.size(0));
  for (const Span& span : spans) {
    ShardUnit& unit = units_[span.unit];
    for (size_t p = 0; p < unit_of.size(); ++p) {
      const int64_t offset = layout.places()[p].offset;
      if (unit_of[p] != span.unit || offset < span.begin || offset >= span.end) continue;
      unit.parameters.push_back(p);
      unit.offsets.push_back(unit.size + offset - span.begin);
    }
    add_runs(span);
    unit.size += span.end - span.begin;
  }
}

std::vector<ShardPlan::Span> ShardPlan::spans_of(const nn::FlatLayout& layout,
                                                 const std::vector<size_t>& unit_of) {
  std::vector<Span> spans;
  const auto& places = layout.places();
  for (size_t p = 0; p < places.size(); ++p) {
    const int64_t end = p + 1 < places.size() ? places[p + 1].offset : layout.size(0);
    if (end == places[p].offset && p + 1 < places.size()) continue;  // no elements
    if (spans.empty() || spans.back().unit != unit_of[p]) {
      spans.push_back({unit_of[p], places[p].offset, end});
    } else {
      spans.back().end = end;
    }
  }
  return spans;
}

// Those that begin in a span are shared by all ranks.
void ShardPlan::share_chunks(const std::vector<Span>& spans, int64_t chunk, int64_t size) {
  for (const Span& span : spans) {
    const int64_t first = (span.begin + chunk - 1) / chunk;
    const int64_t count = (span.end + chunk - 1) / chunk - first;
    for (int rank = 0; rank < ranks_; ++rank) {
      const int64_t begin = (first + count * rank / ranks_) * chunk;
      const int64_t end = std::min((first + count * (rank + 1) / ranks_) * chunk, size);
      if (begin >= end) continue;
      owners_.push_back({begin, end, rank});
      if (rank != rank_) continue;
      owned_.push_back({begin, end - begin, own_size_});
      own_size_ += end - begin;
    }
  }
}

void ShardPlan::add_runs(const Span& span) {
  ShardUnit& unit = units_[span.unit];
  const auto offset_of = [&](int64_t at) {
    const auto own = std::ranges::find_if(
        owned_, [at](const Owned& o) { return o.begin <= at && at < o.begin + o.size; });
    return own->offset + at - own->begin;
  };
  int last = ranks_;
  for (const Owner& owner : owners_) {
    const int64_t begin = std::max(owner.begin, span.begin), end = std::min(owner.end, span.end);
    if (begin >= end) continue;
    const int64_t place = unit.size + begin - span.begin;
    if (owner.rank < last) {
      unit.runs.push_back({});
      unit.runs.back().begin = place;
      unit.runs.back().counts.resize(ranks_);
    }
    last = owner.rank;
    ShardRun& run = unit.runs.back();
    run.counts[owner.rank] += end - begin;
    if (owner.rank != rank_) continue;
    if (run.own_size == 0) {
      run.own_begin = place;
      run.own_offset = offset_of(begin);
    }
    run.own_size += end - begin;
  }
}

}  // namespace plinth::distributed
