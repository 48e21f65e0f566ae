#include "data/loader/packing.h"

#include <algorithm>

namespace plinth {
namespace {

constexpr size_t kOpenRows = 64;
constexpr int64_t kSmallestPiece = 2;

class Packer {
 public:
  explicit Packer(int64_t length) : length_(length) {}

  void add_document(int64_t begin, int64_t end) {
    for (; begin < end; begin += length_) {
      const int64_t size = std::min(length_, end - begin);
      if (size >= kSmallestPiece) add_piece({begin, size, begin + size < end});
    }
  }

  PackedRows finish() {
    PackedRows packed;
    packed.row_begins.assign(static_cast<size_t>(rows_) + 1, 0);
    for (const int64_t row : row_of_) ++packed.row_begins[static_cast<size_t>(row) + 1];
    for (size_t r = 1; r < packed.row_begins.size(); ++r)
      packed.row_begins[r] += packed.row_begins[r - 1];
    std::vector<int64_t> next(packed.row_begins.begin(), packed.row_begins.end() - 1);
    packed.pieces.resize(pieces_.size());
    for (size_t i = 0; i < pieces_.size(); ++i) {
      packed.pieces[static_cast<size_t>(next[static_cast<size_t>(row_of_[i])]++)] = pieces_[i];
    }
    return packed;
  }

 private:
  struct OpenRow {
    int64_t row;
    int64_t room;
  };

  void add_piece(const DocumentPiece& piece) {
    auto open = std::find_if(open_.begin(), open_.end(),
                             [&](const OpenRow& row) { return row.room >= piece.size; });
    if (open == open_.end()) {
      if (open_.size() == kOpenRows) open_.erase(open_.begin());
      open_.push_back({rows_++, length_});
      open = std::prev(open_.end());
    }
    pieces_.push_back(piece);
    row_of_.push_back(open->row);
    open->room -= piece.size;
    if (open->room < kSmallestPiece) open_.erase(open);
  }

  int64_t length_;
  int64_t rows_ = 0;
  std::vector<OpenRow> open_;  // in the order in which they were begun
  std::vector<DocumentPiece> pieces_;
  std::vector<int64_t> row_of_;
};

}  // namespace

std::span<const DocumentPiece> PackedRows::row(int64_t r) const {
  const auto begin = static_cast<size_t>(row_begins[static_cast<size_t>(r)]);
  const auto end = static_cast<size_t>(row_begins[static_cast<size_t>(r) + 1]);
  return std::span(pieces).subspan(begin, end - begin);
}

PackedRows pack_documents(std::span<const int64_t> document_starts, int64_t total_tokens,
                          int64_t length) {
  Packer packer(length);
  for (size_t d = 0; d < document_starts.size(); ++d) {
    packer.add_document(document_starts[d],
                        d + 1 < document_starts.size() ? document_starts[d + 1] : total_tokens);
  }
  return packer.finish();
}

}  // namespace plinth
