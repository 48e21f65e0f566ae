#pragma once

// How well questions are answered by a span of text (SQuAD: Rajpurkar et al. 2016, arXiv
// 1606.05250, and 2018, arXiv 1806.03822). Equal to its evaluation script.

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace plinth::metrics {

// In lower case, without ASCII punctuation, the words a, an and the, and white space that is more
// than one blank between words.
std::string normalize_answer(std::string_view text);

struct AnswerScores {  // percent
  double exact_match = 0;
  double f1 = 0;  // of the words that answer and reference share
};

// One reference answer a question, or several, of which the best fitting one counts. No references,
// or an empty one, stand for a question without an answer, which "" is right for. Throws
// Error(Argument) unless there are as many answers as questions, and at least one.
AnswerScores score_answers(std::span<const std::string> answers,
                           std::span<const std::vector<std::string>> references);

}  // namespace plinth::metrics
