// Metrics of texts, against sacrebleu, rouge-score, jiwer and torchmetrics' SQuAD.

#include "metrics/text.h"

#include <gmock/gmock.h>

#include "core/error.h"
#include "metrics/errors.h"
#include "metrics/questions.h"
#include "metrics/rouge.h"
#include "metrics/translation.h"
#include "tests/metrics/fixture.h"

namespace plinth::metrics {
namespace {

using Texts = std::vector<std::string>;

// torchmetrics counts in float32.
constexpr double kFloat32 = 1e-4;

TEST(Text, SplitsAndLowersAsPythonDoes) {
  EXPECT_THAT(split_words(" a\u00a0b\u2028\x1f c\t"), testing::ElementsAre("a", "b", "c"));
  EXPECT_THAT(split_characters("aü中"), testing::ElementsAre("a", "ü", "中"));
  EXPECT_EQ(lower_case("ΣΊΣΥΦΟΣ İ ẞ"), "σίσυφος i̇ ß");
  EXPECT_EQ(strip("\u3000 a b \n"), "a b");
  EXPECT_EQ(strip(" \n"), "");
  EXPECT_EQ(split_words("\xff\xc3").size(), 1u);
}

TEST(Answers, AgreeWithSquad) {
  for (const auto& one : read_cases("answers")) {
    const auto scores =
        score_answers(one["answers"].get<Texts>(), one["references"].get<std::vector<Texts>>());
    EXPECT_NEAR(scores.exact_match, one["expected"]["exact_match"].get<double>(), kFloat32);
    EXPECT_NEAR(scores.f1, one["expected"]["f1"].get<double>(), kFloat32) << one;
  }
}

TEST(Answers, QuestionsWithoutAnyAreAnsweredByNothing) {
  const auto f1_of = [](const std::string& answer, const Texts& references) {
    return score_answers(Texts{answer}, std::vector<Texts>{references}).f1;
  };
  EXPECT_EQ(f1_of("", {}), 100);
  EXPECT_EQ(f1_of("the", {""}), 100);
  EXPECT_EQ(f1_of("cat", {}), 0);
  EXPECT_EQ(f1_of("", {"cat"}), 0);
  EXPECT_EQ(normalize_answer(" The \"CAT's\"  an_other— a a-b"), "cats another— ab");
  EXPECT_THROW(score_answers(Texts{}, std::vector<Texts>{}), Error);
}

TEST(Translation, AgreesWithSacrebleu) {
  for (const auto& one : read_cases("translation")) {
    SCOPED_TRACE(one["hypotheses"]);
    const auto hypotheses = one["hypotheses"].get<Texts>();
    const auto references = one["references"].get<std::vector<References>>();
    const auto& expected = one["expected"];
    const Bleu bleu = corpus_bleu(hypotheses, references);
    expect_score(bleu.score, expected["bleu"], "BLEU");
    expect_score(bleu.brevity_penalty, expected["brevity_penalty"], "brevity penalty");
    EXPECT_EQ(bleu.length, expected["length"].get<int64_t>());
    EXPECT_EQ(bleu.reference_length, expected["reference_length"].get<int64_t>());
    for (size_t n = 0; n < bleu.precisions.size(); ++n)
      expect_score(bleu.precisions[n], expected["precisions"][n], "precision");
    const BleuOptions characters{.tokens = BleuTokens::Characters, .lower_case = true};
    expect_score(corpus_bleu(hypotheses, references, characters).score,
                 expected["characters_lower"], "BLEU of characters");
    expect_score(corpus_chrf(hypotheses, references), expected["chrf"], "chrF");
    expect_score(corpus_chrf(hypotheses, references, {.words = 2}), expected["chrf++"], "chrF++");
  }
}

TEST(Translation, RefusesWhatDoesNotFit) {
  EXPECT_THROW(corpus_bleu(Texts{}, std::vector<References>{}), Error);
  EXPECT_THROW(corpus_bleu(Texts{"a"}, std::vector<References>{{}}), Error);
  EXPECT_THROW(corpus_chrf(Texts{"a", "b"}, std::vector<References>{{"a"}}), Error);
  EXPECT_THROW(corpus_chrf(Texts{"a"}, std::vector<References>{{"a"}}, {.characters = 0}), Error);
}

TEST(Rouge, AgreesWithRougeScore) {
  Texts summaries, references;
  std::array<double, 2> sum = {};
  for (const auto& one : read_cases("rouge")) {
    summaries.push_back(one["summary"]);
    references.push_back(one["reference"]);
    SCOPED_TRACE(summaries.back() + " | " + references.back());
    const Rouge scores = rouge(summaries.back(), references.back());
    const auto& expected = one["expected"];
    expect_f1(scores.one, expected["rouge1"], "rouge1");
    expect_f1(scores.two, expected["rouge2"], "rouge2");
    expect_f1(scores.l, expected["rougeL"], "rougeL");
    expect_f1(scores.l_sum, expected["rougeLsum"], "rougeLsum");
    sum[0] += scores.two.recall;
    sum[1] += scores.l_sum.f1;
  }
  const Rouge mean = mean_rouge(summaries, references);
  const auto count = static_cast<double>(summaries.size());
  EXPECT_NEAR(mean.two.recall, sum[0] / count, 1e-12);
  EXPECT_NEAR(mean.l_sum.f1, sum[1] / count, 1e-12);
  EXPECT_THROW(mean_rouge(Texts{}, Texts{}), Error);
}

TEST(Errors, AgreeWithJiwer) {
  for (const auto& one : read_cases("errors")) {
    SCOPED_TRACE(one["transcripts"]);
    const auto transcripts = one["transcripts"].get<Texts>();
    const auto references = one["references"].get<Texts>();
    const ErrorCounts words = word_errors(transcripts, references);
    expect_score(words.rate(), one["expected"]["wer"], "WER");
    EXPECT_EQ(words.errors(), one["expected"]["word_errors"].get<int64_t>());
    expect_score(character_errors(transcripts, references).rate(), one["expected"]["cer"], "CER");
  }
}

TEST(Errors, AreOfThreeKinds) {
  const ErrorCounts counts = word_errors(Texts{"b c x d"}, Texts{"a b c d e"});
  EXPECT_EQ(counts.hits, 3);
  EXPECT_EQ(counts.deletions, 2);
  EXPECT_EQ(counts.insertions, 1);
  EXPECT_EQ(counts.substitutions, 0);
  EXPECT_THROW(word_errors(Texts{"a"}, Texts{""}), Error);
  EXPECT_THROW(character_errors(Texts{}, Texts{"a"}), Error);
}

}  // namespace
}  // namespace plinth::metrics
