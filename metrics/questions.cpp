#include "metrics/questions.h"

#include <algorithm>
#include <map>

#include "core/error.h"
#include "metrics/text.h"

namespace plinth::metrics {
namespace {

std::string without_punctuation(std::string_view text) {
  std::string kept;
  for (const char c : text) {
    if (!is_punctuation(static_cast<unsigned char>(c))) kept += c;
  }
  return kept;
}

bool is_article(std::string_view word) {
  return word == "a" || word == "an" || word == "the";
}

// A word is a run of letters and digits, which need not stand between blanks.
std::string without_articles(std::string_view text) {
  std::string kept;
  size_t word = 0;  // where the run at hand begins in `text`
  const auto end_word = [&](size_t end) {
    const std::string_view run = text.substr(word, end - word);
    kept += is_article(run) ? std::string_view(" ") : run;
  };
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    if (is_alphanumeric(next_code_point(text, at))) continue;
    end_word(begin);
    kept += text.substr(begin, at - begin);
    word = at;
  }
  end_word(text.size());
  return kept;
}

double word_f1(const std::string& answer, const std::string& reference) {
  const std::vector<std::string> given = split_words(answer), wanted = split_words(reference);
  if (given.empty() || wanted.empty()) return given == wanted ? 1 : 0;
  std::map<std::string, int64_t> left;
  for (const std::string& word : wanted) ++left[word];
  int64_t shared = 0;
  for (const std::string& word : given) {
    if (left[word]-- > 0) ++shared;
  }
  return 2.0 * static_cast<double>(shared) / static_cast<double>(given.size() + wanted.size());
}

}  // namespace

std::string normalize_answer(std::string_view text) {
  std::string normal;
  for (const std::string& word :
       split_words(without_articles(without_punctuation(lower_case(text))))) {
    if (!normal.empty()) normal += ' ';
    normal += word;
  }
  return normal;
}

AnswerScores score_answers(std::span<const std::string> answers,
                           std::span<const std::vector<std::string>> references) {
  check(!answers.empty() && answers.size() == references.size(), ErrorKind::Argument,
        "score_answers", "got ", answers.size(), " answers to ", references.size(),
        " questions, takes as many, and at least one");
  AnswerScores sum;
  for (size_t i = 0; i < answers.size(); ++i) {
    const std::string answer = normalize_answer(answers[i]);
    double exact = references[i].empty() && answer.empty() ? 1 : 0, f1 = exact;
    for (const std::string& reference : references[i]) {
      const std::string wanted = normalize_answer(reference);
      exact = std::max(exact, answer == wanted ? 1.0 : 0.0);
      f1 = std::max(f1, word_f1(answer, wanted));
    }
    sum.exact_match += exact;
    sum.f1 += f1;
  }
  const double percent = 100 / static_cast<double>(answers.size());
  return {sum.exact_match * percent, sum.f1 * percent};
}

}  // namespace plinth::metrics
