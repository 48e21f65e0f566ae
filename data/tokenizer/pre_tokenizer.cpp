#include "data/tokenizer/pre_tokenizer.h"

#include <algorithm>

#include "data/tokenizer/parallel_tasks.h"

namespace plinth {
namespace {

constexpr size_t kChunk = size_t{256} << 10;
constexpr size_t kChunksAtOnce = 32;
// After how many searches a chunk's scan is given up as never meeting the true one.
constexpr size_t kMeetingPoints = 1024;

Piece make_piece(size_t begin, size_t end, bool prefixed = false) {
  Piece piece;
  piece.begin = begin;
  piece.prefixed = prefixed;
  piece.end = end;
  return piece;
}

// The next position at or after `at` where a character begins.
size_t character_start(std::string_view text, size_t at) {
  while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) ++at;
  return at;
}

}  // namespace

PreTokenizer::PreTokenizer(const PreTokenizerSpec& spec, std::string_view subject) : spec_(spec) {
  for (const std::string& split : spec.splits) levels_.emplace_back(split, subject);
  if (spec.use_gpt2_pattern) {
    (spec.add_prefix_space ? behind_prefix_ : levels_).emplace_back(kGpt2Pattern, subject);
  }
}

void PreTokenizer::split(std::string_view text, PieceBlock& pieces) const {
  split_from_level(text, 0, text.size(), 0, pieces);
}

// Cuts text[begin, end), a piece of the level above. Each pattern sees its piece as a whole text,
// so that look-around stops at the piece's ends.
void PreTokenizer::split_from_level(std::string_view text, size_t begin, size_t end, size_t level,
                                    PieceBlock& pieces) const {
  if (begin == end) return;
  if (level == levels_.size()) return split_bytes(text, begin, end, pieces);
  const std::string_view piece = text.substr(begin, end - begin);
  for (size_t from = 0; from < piece.size();) {
    const Pattern::Match match = levels_[level].find(piece, from);
    split_from_level(text, begin + from, begin + match.begin, level + 1, pieces);
    split_from_level(text, begin + match.begin, begin + match.end, level + 1, pieces);
    from = match.end;
  }
}

void PreTokenizer::split_bytes(std::string_view text, size_t begin, size_t end,
                               PieceBlock& pieces) const {
  const bool prefixed = spec_.add_prefix_space && text[begin] != ' ';
  if (behind_prefix_.empty()) {
    pieces.push_back(make_piece(begin, end, prefixed));
    return;
  }
  const size_t shift = prefixed ? 1 : 0;
  std::string piece(shift, ' ');
  piece.append(text.substr(begin, end - begin));
  const auto add = [&](size_t from, size_t to) {
    if (from == to) return;
    const bool holds_prefix = prefixed && from == 0;
    pieces.push_back(
        make_piece(begin + (holds_prefix ? 0 : from - shift), begin + to - shift, holds_prefix));
  };
  for (size_t from = 0; from < piece.size();) {
    const Pattern::Match match = behind_prefix_[0].find(piece, from);
    add(from, match.begin);
    add(match.begin, match.end);
    from = match.end;
  }
}

// Long texts. Where a search of the first level starts decides where the next one starts, and
// nothing else does. So threads scan chunks from guessed starts; the true scan, arriving from the
// left, steps until it stands where some search of the chunk's scan started. From there on the two
// are the same, and the chunk's pieces are right. They meet within a few pieces in any real text;
// in one where they never do, the true scan walks through the chunk alone.

struct PreTokenizer::ChunkScan {
  struct Search {
    size_t start;        // where it started
    size_t first_piece;  // what it found begins here in `pieces`
  };
  size_t end = 0;
  PieceBlock pieces;
  std::vector<Search> searches;  // the first few
  size_t stopped = 0;            // where the first search beyond the chunk would start
};

// One search of the first level: appends the pieces of the gap and of the match.
size_t PreTokenizer::step(std::string_view text, size_t from, PieceBlock& pieces) const {
  const Pattern::Match match = levels_[0].find(text, from);
  split_from_level(text, from, match.begin, 1, pieces);
  split_from_level(text, match.begin, match.end, 1, pieces);
  return match.end;
}

PreTokenizer::ChunkScan PreTokenizer::scan_chunk(std::string_view text, size_t begin,
                                                 size_t end) const {
  ChunkScan scan;
  scan.end = end;
  size_t from = character_start(text, begin);
  while (from < end) {
    if (scan.searches.size() < kMeetingPoints) scan.searches.push_back({from, scan.pieces.size()});
    from = step(text, from, scan.pieces);
  }
  scan.stopped = from;
  return scan;
}

// Continues the true scan, which stands at `position`, to the end of the chunk.
size_t PreTokenizer::join(std::string_view text, size_t position, ChunkScan& scan,
                          PieceBlock& pieces) const {
  while (position < scan.end) {
    const auto meeting = std::lower_bound(
        scan.searches.begin(), scan.searches.end(), position,
        [](const ChunkScan::Search& search, size_t at) { return search.start < at; });
    if (meeting != scan.searches.end() && meeting->start == position) {
      const auto right = scan.pieces.begin() + static_cast<std::ptrdiff_t>(meeting->first_piece);
      if (pieces.empty() && meeting->first_piece == 0) {
        pieces = std::move(scan.pieces);
      } else {
        pieces.insert(pieces.end(), right, scan.pieces.end());
      }
      return scan.stopped;
    }
    position = step(text, position, pieces);
  }
  return position;
}

void PreTokenizer::split_long(std::string_view text,
                              const std::function<void(std::span<const PieceBlock>)>& take) const {
  if (levels_.empty() || text.size() <= kChunk) {
    PieceBlock pieces;
    split(text, pieces);
    return take({&pieces, 1});
  }
  for (size_t position = 0; position < text.size();) {
    const size_t window = std::min(text.size() - position, kChunk * kChunksAtOnce);
    const size_t chunks = (window + kChunk - 1) / kChunk;
    std::vector<ChunkScan> scans(chunks);
    parallel_tasks(static_cast<int64_t>(chunks), [&, position](int64_t c) {
      const size_t begin = position + static_cast<size_t>(c) * kChunk;
      scans[static_cast<size_t>(c)] =
          scan_chunk(text, begin, std::min(begin + kChunk, position + window));
    });
    std::vector<PieceBlock> blocks(chunks);
    for (size_t c = 0; c < chunks; ++c) position = join(text, position, scans[c], blocks[c]);
    scans.clear();
    take(blocks);
  }
}

}  // namespace plinth
