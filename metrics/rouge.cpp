#include "metrics/rouge.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "metrics/ngrams.h"
#include "metrics/text.h"

namespace plinth::metrics {
namespace {

using Words = std::vector<std::string>;

Words rouge_words(std::string_view text) {
  Words words;
  bool in_word = false;
  for (const char c : lower_case(text)) {
    const bool belongs = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (belongs && !in_word) words.emplace_back();
    if (belongs) words.back() += c;
    in_word = belongs;
  }
  return words;
}

std::vector<Words> lines_of(std::string_view text) {
  std::vector<Words> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    if (end > 0) lines.push_back(rouge_words(text.substr(0, end)));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

F1 score_ngrams(const Words& summary, const Words& reference, size_t n) {
  const Ngrams own = count_ngrams(summary, n), wanted = count_ngrams(reference, n);
  return Counts{shared(own, wanted), total(own), total(wanted)}.f1();
}

// table[i][j] is the length of the longest common subsequence of the first i and j words.
using Table = std::vector<std::vector<int64_t>>;
Table common_lengths(const Words& a, const Words& b) {
  Table table(a.size() + 1, std::vector<int64_t>(b.size() + 1, 0));
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      table[i][j] = a[i - 1] == b[j - 1] ? table[i - 1][j - 1] + 1
                                         : std::max(table[i - 1][j], table[i][j - 1]);
    }
  }
  return table;
}

// Marks the reference's words that lie in a longest common subsequence with `line`.
void mark_common(const Words& reference, const Words& line, std::vector<bool>& marks) {
  const Table table = common_lengths(reference, line);
  size_t i = reference.size(), j = line.size();
  while (i > 0 && j > 0) {
    if (reference[i - 1] == line[j - 1]) {
      marks[--i] = true;
      --j;
    } else if (table[i][j - 1] > table[i - 1][j]) {
      --j;
    } else {
      --i;
    }
  }
}

// No word counts more often than it occurs in either text.
F1 score_lines(const std::vector<Words>& summary, const std::vector<Words>& reference) {
  std::map<std::string, int64_t> left, wanted;
  int64_t length = 0, wanted_length = 0, hits = 0;
  for (const Words& line : summary) {
    for (const std::string& word : line) ++left[word];
    length += std::ssize(line);
  }
  for (const Words& line : reference) {
    for (const std::string& word : line) ++wanted[word];
    wanted_length += std::ssize(line);
  }
  for (const Words& line : reference) {
    std::vector<bool> marks(line.size(), false);
    for (const Words& theirs : summary) mark_common(line, theirs, marks);
    for (size_t i = 0; i < line.size(); ++i) {
      if (!marks[i] || left[line[i]] <= 0 || wanted[line[i]] <= 0) continue;
      ++hits;
      --left[line[i]];
      --wanted[line[i]];
    }
  }
  return Counts{hits, length, wanted_length}.f1();
}

}  // namespace

Rouge rouge(const std::string& summary, const std::string& reference) {
  const Words own = rouge_words(summary), wanted = rouge_words(reference);
  return {
      score_ngrams(own, wanted, 1), score_ngrams(own, wanted, 2),
      Counts{common_lengths(wanted, own).back().back(), std::ssize(own), std::ssize(wanted)}.f1(),
      score_lines(lines_of(summary), lines_of(reference))};
}

Rouge mean_rouge(std::span<const std::string> summaries, std::span<const std::string> references) {
  check(!summaries.empty() && summaries.size() == references.size(), ErrorKind::Argument,
        "mean_rouge", "got ", summaries.size(), " summaries and ", references.size(),
        " references, takes as many, and at least one");
  std::vector<F1> one, two, l, l_sum;
  for (size_t i = 0; i < summaries.size(); ++i) {
    const Rouge scores = rouge(summaries[i], references[i]);
    one.push_back(scores.one);
    two.push_back(scores.two);
    l.push_back(scores.l);
    l_sum.push_back(scores.l_sum);
  }
  return {macro_average(one), macro_average(two), macro_average(l), macro_average(l_sum)};
}

}  // namespace plinth::metrics
