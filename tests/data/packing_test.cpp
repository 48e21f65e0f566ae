#include "data/loader/packing.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/data/tokenizer_text.h"

namespace plinth {
namespace {

using Row = std::vector<std::pair<int64_t, int64_t>>;  // begin and size of each piece

std::vector<Row> rows_of(const PackedRows& packed) {
  std::vector<Row> rows;
  for (int64_t r = 0; r < packed.rows(); ++r) {
    rows.emplace_back();
    for (const DocumentPiece& piece : packed.row(r))
      rows.back().emplace_back(piece.begin, piece.size);
  }
  return rows;
}

PackedRows pack(const std::vector<int64_t>& sizes, int64_t length) {
  std::vector<int64_t> starts;
  int64_t total = 0;
  for (const int64_t size : sizes) {
    starts.push_back(total);
    total += size;
  }
  return pack_documents(starts, total, length);
}

TEST(PackDocuments, PutsADocumentIntoTheFirstRowWithRoom) {
  EXPECT_EQ(rows_of(pack({6, 7, 3, 2, 5, 2}, 10)),
            (std::vector<Row>{{{0, 6}, {13, 3}}, {{6, 7}, {16, 2}}, {{18, 5}, {23, 2}}}));
}

TEST(PackDocuments, CutsDocumentsLongerThanARow) {
  const PackedRows packed = pack({23, 2}, 10);
  EXPECT_EQ(rows_of(packed), (std::vector<Row>{{{0, 10}}, {{10, 10}}, {{20, 3}, {23, 2}}}));
  EXPECT_TRUE(packed.row(0)[0].continues);
  EXPECT_TRUE(packed.row(1)[0].continues);
  EXPECT_FALSE(packed.row(2)[0].continues);
}

TEST(PackDocuments, LeavesOutPiecesThatTeachNothing) {
  EXPECT_EQ(rows_of(pack({1, 3, 1, 11, 1}, 10)), (std::vector<Row>{{{1, 3}}, {{5, 10}}}));
  EXPECT_EQ(pack({1, 1}, 10).rows(), 0);
  EXPECT_EQ(pack({}, 10).rows(), 0);
}

TEST(PackDocuments, LooksAtTheLast64RowsOnly) {
  std::vector<int64_t> sizes(65, 8);
  sizes.push_back(2);
  const std::vector<Row> rows = rows_of(pack(sizes, 10));
  EXPECT_EQ(rows[0].size(), 1u);
  EXPECT_EQ(rows[1].size(), 2u);
}

TEST(PackDocuments, HoldsEachTokenOnceInRowsThatFit) {
  testing::SplitMix64 random(3);
  for (int round = 0; round < 200; ++round) {
    const auto length = static_cast<int64_t>(2 + random.below(40));
    std::vector<int64_t> sizes;
    for (uint64_t d = random.below(100); d > 0; --d)
      sizes.push_back(static_cast<int64_t>(1 + random.below(60)));
    const PackedRows packed = pack(sizes, length);
    int64_t expected = 0;
    for (const int64_t size : sizes) expected += size - (size % length == 1 ? 1 : 0);
    int64_t held = 0;
    std::vector<std::pair<int64_t, int64_t>> pieces;
    for (const Row& row : rows_of(packed)) {
      int64_t used = 0;
      for (const auto& piece : row) {
        used += piece.second;
        pieces.push_back(piece);
      }
      EXPECT_GE(used, 2);
      EXPECT_LE(used, length);
      held += used;
    }
    EXPECT_EQ(held, expected);
    std::sort(pieces.begin(), pieces.end());
    for (size_t i = 1; i < pieces.size(); ++i)
      EXPECT_GE(pieces[i].first, pieces[i - 1].first + pieces[i - 1].second);
  }
}

}  // namespace
}  // namespace plinth
