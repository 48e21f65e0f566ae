#include "metrics/translation.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string_view>

#include "core/error.h"
#include "metrics/ngrams.h"
#include "metrics/text.h"

namespace plinth::metrics {
namespace {

void check_segments(std::string_view op, std::span<const std::string> hypotheses,
                    std::span<const References> references) {
  check(!hypotheses.empty() && hypotheses.size() == references.size(), ErrorKind::Argument, op,
        "got ", hypotheses.size(), " hypotheses and ", references.size(),
        " sets of references, takes as many, and at least one");
  for (size_t i = 0; i < references.size(); ++i)
    check(!references[i].empty(), ErrorKind::Argument, op, "references got none for segment ", i);
}

// ---- tokens of mteval-v13a ----

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_stop(char c) {
  return c == '.' || c == ',';
}
// ASCII symbols but ' , - and the stop, which may belong to words and numbers.
bool is_symbol(char c) {
  return (c >= ' ' && c < '0' && c != '\'' && c != ',' && c != '-' && c != '.') ||
         (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

// Puts blanks around the second (or the first) of each pair of bytes that `matches`.
template <class Matches>
std::string separated(std::string_view text, bool second, Matches matches) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (i + 1 == text.size() || !matches(text[i], text[i + 1])) {
      out += text[i];
      continue;
    }
    for (const bool is_second : {false, true}) {
      const char c = text[i + (is_second ? 1 : 0)];
      if (is_second == second) {
        out += {' ', c, ' '};
      } else {
        out += c;
      }
    }
    ++i;
  }
  return out;
}

std::vector<std::string> tokens_13a(std::string_view line) {
  std::string text(strip(line));
  text = replaced(replaced(replaced(std::move(text), "<skipped>", ""), "-\n", ""), "\n", " ");
  text = replaced(replaced(std::move(text), "&quot;", "\""), "&amp;", "&");
  text = replaced(replaced(std::move(text), "&lt;", "<"), "&gt;", ">");
  std::string spaced = " ";
  for (const char c : text + ' ') {
    if (is_symbol(c))
      spaced += {' ', c, ' '};
    else
      spaced += c;
  }
  spaced = separated(spaced, true, [](char a, char b) { return !is_digit(a) && is_stop(b); });
  spaced = separated(spaced, false, [](char a, char b) { return is_stop(a) && !is_digit(b); });
  spaced = separated(spaced, true, [](char a, char b) { return is_digit(a) && b == '-'; });
  return split_words(spaced);
}

std::vector<std::string> without_blanks(std::string_view text) {
  std::vector<std::string> characters;
  for (const std::string& word : split_words(text))
    for (std::string& character : split_characters(word))
      characters.push_back(std::move(character));
  return characters;
}

std::vector<std::string> tokens_of(const std::string& text, const BleuOptions& options) {
  const std::string cased = options.lower_case ? lower_case(text) : text;
  return options.tokens == BleuTokens::Characters ? without_blanks(cased) : tokens_13a(cased);
}

// ---- BLEU ----

constexpr size_t kOrders = 4;

struct BleuCounts {
  std::array<int64_t, kOrders> right = {}, all = {};
};

// The one whose length is closest; the shorter of two.
int64_t closest(int64_t length, const std::vector<int64_t>& lengths) {
  return *std::ranges::min_element(lengths, {},
                                   [&](int64_t l) { return std::pair(std::abs(l - length), l); });
}

void count_segment(const std::string& hypothesis, const References& references,
                   const BleuOptions& options, BleuCounts& counts, Bleu& bleu) {
  const std::vector<std::string> tokens = tokens_of(hypothesis, options);
  std::array<Ngrams, kOrders> most;  // of all references
  std::vector<int64_t> lengths;
  for (const std::string& reference : references) {
    const std::vector<std::string> theirs = tokens_of(reference, options);
    lengths.push_back(std::ssize(theirs));
    for (size_t n = 0; n < kOrders; ++n)
      for (const auto& [run, count] : count_ngrams(theirs, n + 1))
        most[n][run] = std::max(most[n][run], count);
  }
  for (size_t n = 0; n < kOrders; ++n) {
    const Ngrams own = count_ngrams(tokens, n + 1);
    counts.all[n] += total(own);
    counts.right[n] += shared(own, most[n]);
  }
  bleu.length += std::ssize(tokens);
  bleu.reference_length += closest(std::ssize(tokens), lengths);
}

}  // namespace

Bleu corpus_bleu(std::span<const std::string> hypotheses, std::span<const References> references,
                 const BleuOptions& options) {
  check_segments("corpus_bleu", hypotheses, references);
  Bleu bleu;
  BleuCounts counts;
  for (size_t i = 0; i < hypotheses.size(); ++i)
    count_segment(hypotheses[i], references[i], options, counts, bleu);
  if (bleu.length < bleu.reference_length) {
    const double lengths =
        static_cast<double>(bleu.reference_length) / static_cast<double>(bleu.length);
    bleu.brevity_penalty = bleu.length > 0 ? std::exp(1 - lengths) : 0;
  }
  if (std::ranges::count(counts.right, 0) == kOrders) return bleu;
  double logs = 0, halves = 1;
  for (size_t n = 0; n < kOrders; ++n) {
    if (counts.all[n] == 0) return bleu;  // no segment has so many tokens
    const auto all = static_cast<double>(counts.all[n]);
    if (counts.right[n] == 0) halves *= 2;
    const double right = counts.right[n] > 0 ? static_cast<double>(counts.right[n]) : 1 / halves;
    bleu.precisions[n] = 100 * right / all;
    logs += std::log(bleu.precisions[n]);
  }
  bleu.score = bleu.brevity_penalty * std::exp(logs / static_cast<double>(kOrders));
  return bleu;
}

// ---- chrF ----

namespace {

// Of one length: in the hypothesis, in the reference, in both.
struct Matches {
  int64_t own = 0, wanted = 0, shared = 0;
};

// A punctuation mark at a word's end, or else at its begin, is a word.
std::vector<std::string> chrf_words(std::string_view text) {
  std::vector<std::string> words;
  for (const std::string& word : split_words(text)) {
    const bool is_one = split_characters(word).size() == 1;
    const auto mark = [](char c) { return is_punctuation(static_cast<unsigned char>(c)); };
    if (!is_one && mark(word.back())) {
      words.push_back(word.substr(0, word.size() - 1));
      words.emplace_back(1, word.back());
    } else if (!is_one && mark(word.front())) {
      words.emplace_back(1, word.front());
      words.push_back(word.substr(1));
    } else {
      words.push_back(word);
    }
  }
  return words;
}

std::vector<Ngrams> chrf_ngrams(const std::string& text, const ChrfOptions& options) {
  const std::vector<std::string> characters = without_blanks(text), words = chrf_words(text);
  std::vector<Ngrams> ngrams;
  for (int n = 1; n <= options.characters; ++n) ngrams.push_back(count_ngrams(characters, n));
  for (int n = 1; n <= options.words; ++n) ngrams.push_back(count_ngrams(words, n));
  return ngrams;
}

// Precision and recall are means over the lengths that both texts have.
double f_beta(const std::vector<Matches>& lengths, double beta) {
  double precision = 0, recall = 0, count = 0;
  for (const Matches& length : lengths) {
    if (length.own == 0 || length.wanted == 0) continue;
    precision += static_cast<double>(length.shared) / static_cast<double>(length.own);
    recall += static_cast<double>(length.shared) / static_cast<double>(length.wanted);
    ++count;
  }
  if (precision + recall == 0) return 0;
  precision /= count;
  recall /= count;
  const double weight = beta * beta;
  return 100 * (1 + weight) * precision * recall / (weight * precision + recall);
}

std::vector<Matches> best_matches(const std::string& hypothesis, const References& references,
                                  const ChrfOptions& options) {
  const std::vector<Ngrams> own = chrf_ngrams(hypothesis, options);
  std::vector<Matches> best;
  double best_score = -1;
  for (const std::string& reference : references) {
    const std::vector<Ngrams> wanted = chrf_ngrams(reference, options);
    std::vector<Matches> matches;
    for (size_t n = 0; n < own.size(); ++n) {
      // What the reference is too short for does not count against the hypothesis.
      const int64_t all = total(wanted[n]);
      matches.push_back({all > 0 ? total(own[n]) : 0, all, shared(own[n], wanted[n])});
    }
    const double score = f_beta(matches, options.beta);
    if (score <= best_score) continue;
    best_score = score;
    best = std::move(matches);
  }
  return best;
}

}  // namespace

double corpus_chrf(std::span<const std::string> hypotheses, std::span<const References> references,
                   const ChrfOptions& options) {
  check_segments("corpus_chrf", hypotheses, references);
  check(options.characters >= 0 && options.words >= 0 && options.characters + options.words > 0 &&
            options.beta > 0,
        ErrorKind::Argument, "corpus_chrf", "options got runs of ", options.characters,
        " characters and ", options.words, " words, and beta ", options.beta,
        ", takes lengths of which one is positive, and a positive beta");
  std::vector<Matches> sum(static_cast<size_t>(options.characters + options.words));
  for (size_t i = 0; i < hypotheses.size(); ++i) {
    const std::vector<Matches> matches = best_matches(hypotheses[i], references[i], options);
    for (size_t n = 0; n < sum.size(); ++n) {
      sum[n].own += matches[n].own;
      sum[n].wanted += matches[n].wanted;
      sum[n].shared += matches[n].shared;
    }
  }
  return f_beta(sum, options.beta);
}

}  // namespace plinth::metrics
