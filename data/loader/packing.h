#pragma once

// Packing documents into rows of one length, so that little of a row is padding.

#include <cstdint>
#include <span>
#include <vector>

namespace plinth {

// A document, or a part of one that is longer than a row.
struct DocumentPiece {
  int64_t begin;  // in the data set
  int64_t size;
  bool continues;  // the document goes on behind it
};

// Rows of pieces. Row r holds pieces[row_begins[r]] to pieces[row_begins[r + 1] - 1].
struct PackedRows {
  std::vector<DocumentPiece> pieces;
  std::vector<int64_t> row_begins = {0};

  int64_t rows() const { return static_cast<int64_t>(row_begins.size()) - 1; }
  std::span<const DocumentPiece> row(int64_t r) const;
};

// The rule, a function of its arguments only. Documents are taken in order. One longer than a row
// is cut into pieces of a row's length and a rest. A piece goes whole into the first row, in the
// order in which rows were begun, that has room for it; of the rows with room only the last 64
// begun are looked at; if none has room, a new row begins. A piece of a single token is left out:
// it has no token to predict.
//
// document_starts ascends from the first document; the last one ends at total_tokens.
PackedRows pack_documents(std::span<const int64_t> document_starts, int64_t total_tokens,
                          int64_t length);

}  // namespace plinth
