#include "data/tasks/conll.h"

#include <algorithm>
#include <string_view>

#include "core/error.h"
#include "core/io/file.h"
#include "core/io/text.h"

namespace plinth {
namespace {

std::vector<std::string_view> columns_of(std::string_view line) {
  constexpr std::string_view kBlanks = " \t\r";
  std::vector<std::string_view> columns;
  for (size_t begin = line.find_first_not_of(kBlanks); begin != std::string_view::npos;) {
    const size_t end = std::min(line.find_first_of(kBlanks, begin), line.size());
    columns.push_back(line.substr(begin, end - begin));
    begin = line.find_first_not_of(kBlanks, end);
  }
  return columns;
}

// The column's place among `count`, or -1.
int64_t place_of(int64_t column, int64_t count) {
  const int64_t place = column > 0 ? column - 1 : count + column;
  return place < count ? place : -1;
}

}  // namespace

std::vector<TaggedSentence> read_conll(const std::filesystem::path& file,
                                       const ConllOptions& options, BadLines& bad) {
  check(options.word_column != 0 && options.tag_column != 0, ErrorKind::Argument, "read_conll",
        "got column 0, takes 1 or more, or -1 or less from the last");
  const MappedFile mapped(file);
  std::string_view text = without_byte_order_mark(text_of(mapped.bytes()));
  std::vector<TaggedSentence> sentences;
  TaggedSentence sentence;
  bool is_bad = false;
  const auto finish = [&] {
    if (!is_bad && !sentence.words.empty()) sentences.push_back(std::move(sentence));
    sentence = {};
    is_bad = false;
  };
  for (int64_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::vector<std::string_view> columns = columns_of(line);
    if (columns.empty()) finish();
    if (columns.empty() || line.starts_with("-DOCSTART-") || is_bad) continue;
    const auto count = static_cast<int64_t>(columns.size());
    const int64_t word = place_of(options.word_column, count);
    const int64_t tag = place_of(options.tag_column, count);
    std::string fault;
    if (first_invalid_utf8(line)) fault = "is not UTF-8";
    if (word < 0 || tag < 0 || word == tag)
      fault = detail::concat("has ", count, " columns, takes a word and its tag");
    if (!fault.empty()) {
      bad.skip(file, number, fault);
      is_bad = true;
      continue;
    }
    if (sentence.words.empty()) sentence.line = number;
    sentence.words.emplace_back(columns[static_cast<size_t>(word)]);
    sentence.tags.emplace_back(columns[static_cast<size_t>(tag)]);
  }
  finish();
  return sentences;
}

}  // namespace plinth
