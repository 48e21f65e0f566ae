#pragma once

// Sentences whose words are tagged, in columns: CoNLL's files, a word a line, an empty line behind
// each sentence.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/tasks/bad_lines.h"

namespace plinth {

struct TaggedSentence {
  int64_t line = 0;  // of its first word
  std::vector<std::string> words, tags;
};

struct ConllOptions {
  // Columns from 1; from the last, -1, where negative.
  int64_t word_column = 1;
  int64_t tag_column = -1;
};

// Columns are parted by blanks or tabs. Lines that begin with -DOCSTART- are passed over. A
// sentence with a word that lacks a column, or is not UTF-8, goes to `bad` by that line. Throws
// Error(Io), Error(Argument) for a column 0, and what `bad` throws.
std::vector<TaggedSentence> read_conll(const std::filesystem::path& file,
                                       const ConllOptions& options, BadLines& bad);

}  // namespace plinth
