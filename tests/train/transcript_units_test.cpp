#include "train/finetune/transcript_units.h"

#include <gtest/gtest.h>

#include "tests/core/io/expect_error.h"

namespace plinth {
namespace {

using Numbers = std::vector<int64_t>;

TEST(TranscriptUnits, NumberThePiecesOfTexts) {
  const std::vector<std::string> texts = {"két alma", " ab"};
  EXPECT_EQ(transcript_labels(texts, false),
            (std::vector<std::string>{"<blank>", " ", "a", "b", "k", "l", "m", "t", "é"}));
  EXPECT_EQ(transcript_labels(texts, true),
            (std::vector<std::string>{"<blank>", "ab", "alma", "két"}));
}

TEST(TranscriptUnits, PathsBecomeTexts) {
  const TranscriptUnits characters({"<blank>", " ", "a", "b"}, false);
  EXPECT_EQ(characters.encode("ab  a", "here"), (Numbers{2, 3, 1, 1, 2}));
  EXPECT_EQ(characters.decode(Numbers{0, 1, 2, 2, 0, 2, 3, 1, 3, 3, 1, 0}), "aab b");
  EXPECT_EQ(characters.decode(Numbers{}), "");
  const TranscriptUnits words({"<blank>", "one", "two"}, true);
  EXPECT_EQ(words.encode("  two one ", "here"), (Numbers{2, 1}));
  EXPECT_EQ(words.decode(Numbers{2, 0, 2, 2, 1}), "two two one");
}

TEST(TranscriptUnits, ABlankPartsPiecesThatRepeat) {
  EXPECT_EQ(TranscriptUnits::steps_for(Numbers{1, 1, 2, 2, 2, 1}), 9);
  EXPECT_EQ(TranscriptUnits::steps_for(Numbers{}), 0);
}

TEST(TranscriptUnits, RefuseWhatTheyHaveNot) {
  const TranscriptUnits words({"<blank>", "one"}, true);
  expect_error(ErrorKind::Format, "here: has the word 'three', which the model has not",
               [&] { words.encode("one three", "here"); });
  // The blank is no piece.
  expect_error(ErrorKind::Format, "has the word '<blank>'",
               [&] { words.encode("<blank>", "here"); });
  expect_error(ErrorKind::Config, "task.labels: begins with one, takes <blank> as the first",
               [] { TranscriptUnits({"one"}, true); });
}

}  // namespace
}  // namespace plinth
