// Files of labelled examples, good and bad.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/io/file.h"
#include "data/tasks/conll.h"
#include "data/tasks/labels.h"
#include "data/tasks/squad.h"
#include "data/tasks/table.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"

namespace plinth {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using Values = std::vector<std::string>;

// A file of this content, and what is read from it.
struct File {
  File(const std::string& name, std::string_view text) : path(folder / name) {
    write_file_atomically(path, text);
  }
  std::vector<Values> table(const TableOptions& options) {
    std::vector<Values> rows;
    read_table(path, options, bad, [&](int64_t line, const Values& values) {
      rows.push_back(values);
      lines.push_back(line);
    });
    return rows;
  }

  TemporaryDirectory folder;
  std::filesystem::path path;
  BadLines bad{100};
  std::vector<int64_t> lines;
};

TEST(Table, ReadsCsvWithQuotesOverLines) {
  File file(
      "a.csv",
      "\xEF\xBB\xBFlabel,text,more\r\n1,\"a, \"\"b\"\"\r\nc\",x\r\n\r\n0,plain,\n2,\"\",\"y\"");
  EXPECT_THAT(file.table({{"text", "label"}}),
              ElementsAre(Values{"a, \"b\"\r\nc", "1"}, Values{"plain", "0"}, Values{"", "2"}));
  EXPECT_THAT(file.lines, ElementsAre(2, 5, 6));
  EXPECT_EQ(file.bad.summary(), "");
}

TEST(Table, LeavesOutAndNamesBadRowsOfCsv) {
  File file("a.csv",
            "text,label\ngood,1\nx\"y,1\n\"a\"b,1\none\na,b,c\n\xFF,1\ngood,2\n\"open,3\nlast,4\n");
  EXPECT_THAT(file.table({{"text", "label"}}),
              ElementsAre(Values{"good", "1"}, Values{"good", "2"}, Values{"last", "4"}));
  EXPECT_THAT(file.lines, ElementsAre(2, 8, 10));
  EXPECT_EQ(file.bad.count(), 6);
  EXPECT_THAT(file.bad.summary(),
              EndsWith("a.csv:3: has a quote inside a field that does not begin with one"));
}

TEST(Table, ReadsTabsWithoutQuotesAndColumnsByNumber) {
  File file("a.tsv", "0\t\"said\tx\n1\tb, c\n1\tb\td\n");
  EXPECT_THAT(file.table({.columns = {"2", "1"}, .header = false}),
              ElementsAre(Values{"\"said", "0"}, Values{"b", "1"}));
  EXPECT_EQ(file.bad.count(), 1);
}

// Rows are measured by the first that is whole: one that breaks off may have fewer fields.
TEST(Table, ReadsRowsBehindAFirstThatIsBad) {
  File file("a.csv", "a \"film\",1,x\ngood,1,x\nbad,0,y\none,1\n");
  EXPECT_THAT(file.table({.columns = {"1", "2"}, .header = false}),
              ElementsAre(Values{"good", "1"}, Values{"bad", "0"}));
  EXPECT_THAT(file.lines, ElementsAre(2, 3));
  EXPECT_EQ(file.bad.count(), 2);
}

TEST(Table, ReadsJsonLines) {
  File file("a.jsonl",
            "{\"t\": \"a\\nb\", \"l\": 3}\n\n{\"t\": \"c\", \"l\": true}\r\n{\"t\": \"d\"}\n[1]\n"
            "{\"t\": [], \"l\": 1}\n{\"t\"\n{\"t\": \"\xFF\", \"l\": 1}\n");
  EXPECT_THAT(file.table({{"t", "l"}}), ElementsAre(Values{"a\nb", "3"}, Values{"c", "true"}));
  EXPECT_THAT(file.lines, ElementsAre(1, 3));
  EXPECT_EQ(file.bad.count(), 5);
  EXPECT_THAT(file.bad.summary(), EndsWith("a.jsonl:4: has no key 'l'"));
}

TEST(Table, RefusesFilesThatAreNone) {
  const auto refused = [](const char* name, const char* text, const TableOptions& options,
                          const char* message) {
    expect_error(ErrorKind::Format, message, [&] { File(name, text).table(options); });
  };
  refused("a.csv", "", {{"text"}}, "is empty, takes a header");
  refused("a.csv", "x,y\n", {{"text"}}, "has no column 'text', the header has 'x, y'");
  refused("a.csv", "text,x,text\n", {{"text"}},
          "has the column 'text' more than once, the header has 'text, x, text'");
  refused("a.csv", "\"x\n", {{"text"}}, "the header has a quote that nothing closes");
  refused("a.tsv", "x\n", {.columns = {"text"}, .header = false}, "columns are 1, 2, ...");
  refused("a.xml", "x\n", {{"text"}}, "takes .csv, .tsv or .jsonl");
  File bad("a.csv", "text\na,b\nc,d\ne,f\n");
  bad.bad = BadLines(2);
  expect_error(ErrorKind::Format,
               "has more than 2 bad lines, the first " + bad.path.string() +
                   ":2: has 2 fields, the header has 1",
               [&] { bad.table({{"text"}}); });
}

TEST(Labels, AreNamesOrNumbers) {
  EXPECT_THAT(Labels::of({"1", "0", "1", "2"}).names(),
              ElementsAre("LABEL_0", "LABEL_1", "LABEL_2"));
  EXPECT_THAT(Labels::of({"1", "2"}).names(), ElementsAre("1", "2"));
  EXPECT_THAT(Labels::of({"00", "1"}).names(), ElementsAre("00", "1"));
  const Labels labels({"no", "yes", "0"});
  EXPECT_EQ(labels.find("yes"), 1);
  EXPECT_EQ(labels.find("0"), 2);
  EXPECT_EQ(labels.find("1"), 1);
  for (const char* none : {"3", "-1", "", "1x", "maybe"})
    EXPECT_EQ(labels.find(none), std::nullopt);
  expect_error(ErrorKind::Format, "name 'a' twice", [] { Labels({"a", "b", "a"}); });
  expect_error(ErrorKind::Format, "--labels: name 'caf\\xe9', which is not UTF-8", [] {
    Labels({"a", "caf\xE9"}, "--labels");
  });
}

TEST(Conll, ReadsSentencesOfColumns) {
  File file("a.conll",
            "\xEF\xBB\xBF-DOCSTART- -X- O\n\nEU NNP B-ORG\nrejects  VBZ\tO\r\n\n\nbad\n\nx y "
            "B-\xFF\nz y O\n\n"
            "Peter NNP B-PER");
  const auto sentences = read_conll(file.path, {}, file.bad);
  ASSERT_EQ(sentences.size(), 2u);
  EXPECT_THAT(sentences[0].words, ElementsAre("EU", "rejects"));
  EXPECT_THAT(sentences[0].tags, ElementsAre("B-ORG", "O"));
  EXPECT_EQ(sentences[1].line, 12);
  EXPECT_EQ(file.bad.count(), 2);
  EXPECT_THAT(file.bad.summary(), EndsWith("a.conll:7: has 1 columns, takes a word and its tag"));
  const auto numbered = read_conll(file.path, {.word_column = 2, .tag_column = 3}, file.bad);
  EXPECT_THAT(numbered.back().words, ElementsAre("NNP"));
}

TEST(Squad, ReadsQuestionsWithTheirAnswers) {
  File file("a.json", R"({"version": "2", "data": [{"paragraphs": [{"context": "Élan is a town.",
    "qas": [{"id": "1", "question": "Who?", "answers": [{"text": "is", "answer_start": 5}]},
            {"id": "2", "question": "Why?", "is_impossible": true, "answers": []},
            {"id": "3", "question": "How?", "answers": [{"text": "is", "answer_start": 6}]},
            {"id": "4", "question": "How?",
             "answers": [{"text": "is", "answer_start": 9223372036854775808}]},
            {"question": "No id?"}]}]}]})");
  const auto questions = read_squad(file.path, file.bad);
  ASSERT_EQ(questions.size(), 2u);
  EXPECT_EQ(questions[0].answers[0].begin, 6);
  EXPECT_EQ(questions[0].answers[0].text, "is");
  EXPECT_TRUE(questions[1].answers.empty());
  EXPECT_EQ(file.bad.count(), 3);
  EXPECT_THAT(file.bad.summary(),
              ::testing::HasSubstr(":3: question: answer 'is' does not stand at character 6"));
  expect_error(ErrorKind::Format, "has no field 'data'", [] {
    File none("a.json", "{}");
    read_squad(none.path, none.bad);
  });
}

}  // namespace
}  // namespace plinth
