#pragma once

// Where the rows of a cache of keys and values lie, contiguous or in pages.

#include "kernels/attention/decode/decode.h"
#include "kernels/attention/paged_attention_cuda.h"
#include "kernels/attention/score.cuh"
#include "kernels/device_loop.cuh"

namespace plinth::kernels::cuda::attention::decode {

// A block table, or none.
struct Pages {
  Global<const int32_t> narrow{};
  Global<const int64_t> wide{};
  int64_t stride = 0, count = 0;
  Division size;

  Pages() = default;
  explicit Pages(const PagedAttentionDesc& d)
      : stride(d.table_stride), count(d.pages), size(d.page_size) {
    if (d.wide_table) {
      wide = static_cast<const int64_t*>(d.block_table);
    } else {
      narrow = static_cast<const int32_t*>(d.block_table);
    }
  }

  PLINTH_DEVICE explicit operator bool() const { return narrow || wide; }
  // Entry `number` of a sequence.
  PLINTH_DEVICE int64_t at(int64_t sequence, int64_t number) const {
    const int64_t i = sequence * stride + number;
    if (wide) {
      const int64_t page = wide[i];
      return page;
    }
    const int32_t page = narrow[i];
    return page;
  }
};

// A row of a cache: of a batch element, or of a page.
struct Place {
  int64_t batch, row;
  bool exists;
};

PLINTH_DEVICE Place place_of(const Pages& pages, int64_t sequence, int64_t key) {
  if (!pages) return {sequence, key, true};
  const int64_t number = pages.size.quotient(static_cast<uint32_t>(key));
  const int64_t page = pages.at(sequence, number);
  return {page, key - number * pages.size.divisor, page >= 0 && page < pages.count};
}

template <class T>
PLINTH_DEVICE Global<const T> row_at(Global<const T> base, const AttentionDesc::Strides& strides,
                                     int64_t head, const Place& place) {
  return base + (place.batch * strides.batch + head * strides.head + place.row * strides.seq);
}

// A sequence's length, brought into [0, room].
PLINTH_DEVICE int64_t length_of(Global<const int64_t> lengths, int64_t sequence, int64_t room) {
  if (!lengths) return room;
  const int64_t length = lengths[sequence];
  return least(room, greatest(0, length));
}

}  // namespace plinth::kernels::cuda::attention::decode
