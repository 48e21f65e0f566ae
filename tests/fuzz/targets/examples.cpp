// Files of examples, by the first byte: c, t, j, rows of CSV, TSV, JSONL; n, CSV without a header;
// w, words in CoNLL's columns; s, SQuAD's JSON; o, COCO's; i, a list of images; a, a list of
// sounds.

#include "data/audio/audio_dataset.h"
#include "data/images/csv_rows.h"
#include "data/tasks/coco.h"
#include "data/tasks/conll.h"
#include "data/tasks/squad.h"
#include "data/tasks/table.h"
#include "tests/fuzz/target.h"

namespace {

using namespace plinth;

void read_rows(const std::filesystem::path& file, const TableOptions& options) {
  BadLines bad;
  int64_t last = 0;
  read_table(file, options, bad, [&](int64_t line, const std::vector<std::string>& values) {
    fuzz::require(line > last, "lines are not in order");
    fuzz::require(values.size() == options.columns.size(), "gives another number of columns");
    last = line;
  });
  bad.summary();
}

void read_squad_questions(const std::filesystem::path& file) {
  BadLines bad;
  for (const SquadQuestion& question : read_squad(file, bad)) {
    for (const SquadAnswer& answer : question.answers) {
      const auto begin = static_cast<size_t>(answer.begin);
      fuzz::require(question.context->compare(begin, answer.text.size(), answer.text) == 0,
                    "an answer does not stand in its context");
    }
  }
}

void read_sentences(const std::filesystem::path& file) {
  BadLines bad;
  for (const TaggedSentence& sentence : read_conll(file, {}, bad))
    fuzz::require(sentence.words.size() == sentence.tags.size(), "a word has no tag");
}

void read_boxes(const std::filesystem::path& file) {
  BadLines bad;
  const CocoData data = read_coco(file, bad);
  for (const CocoImage& image : data.images) {
    for (const CocoObject& object : image.objects) {
      fuzz::require(object.category >= 0 && object.category < std::ssize(data.categories),
                    "an object is of no category");
      fuzz::require(object.width > 0 && object.height > 0 && object.area >= 0,
                    "an object has no size");
    }
  }
}

}  // namespace

PLINTH_FUZZ_TARGET(examples) {
  static const fuzz::Folder folder;
  const auto [kind, text] = fuzz::take_kind(input);
  const TableOptions named = {.columns = {"text", "label"}};
  switch (kind) {
    case 'c': return read_rows(folder.write("rows.csv", text), named);
    case 't': return read_rows(folder.write("rows.tsv", text), named);
    case 'j': return read_rows(folder.write("rows.jsonl", text), named);
    case 'n':
      return read_rows(folder.write("rows.csv", text), {.columns = {"2", "1"}, .header = false});
    case 'w': return read_sentences(folder.write("words.txt", text));
    case 's': return read_squad_questions(folder.write("questions.json", text));
    case 'o': return read_boxes(folder.write("boxes.json", text));
    case 'i': read_csv_rows(folder.write("images.csv", text)); return;
    default: read_audio_manifest(folder.write("sounds.jsonl", text));
  }
}
