#pragma once

// Questions that a span of a text answers, in SQuAD's JSON (Rajpurkar et al. 2016, arXiv
// 1606.05250; 2018, arXiv 1806.03822, with questions that have no answer).

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/tasks/bad_lines.h"

namespace plinth {

struct SquadAnswer {
  std::string text;
  int64_t begin = 0;  // byte of the context
};

struct SquadQuestion {
  std::string id, question;
  std::shared_ptr<const std::string> context;
  std::vector<SquadAnswer> answers;  // none: the context does not have it
};

// Versions 1.1 and 2.0. A question without a field, or with an answer that does not stand in the
// context where the file says, goes to `bad`; what counts for a line is its number in the file,
// from 1. Throws Error(Io), Error(Format) for what is not this format, and what `bad` throws.
std::vector<SquadQuestion> read_squad(const std::filesystem::path& file, BadLines& bad);

}  // namespace plinth
