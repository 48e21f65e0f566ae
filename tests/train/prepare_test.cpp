#include "train/pretrain/prepare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/io/file.h"
#include "data/shards/token_dataset.h"
#include "data/tokenizer/tokenizer.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"

namespace plinth {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(SplitDocuments, ByFileLineAndParagraph) {
  const std::string_view text = "one\ntwo\n\n\nthree\n \nfour";
  EXPECT_THAT(split_documents(text, "file"), ElementsAre(text));
  EXPECT_THAT(split_documents(text, "line"), ElementsAre("one", "two", "three", "four"));
  EXPECT_THAT(split_documents(text, "paragraph"), ElementsAre("one\ntwo", "\nthree\n \nfour"));
  EXPECT_THAT(split_documents(" \n\n", "file"), IsEmpty());
  EXPECT_THAT(split_documents("", "line"), IsEmpty());
}

TEST(SplitDocuments, AtLineEndsOfWindowsAlike) {
  const std::string_view text = "one\r\ntwo\r\n\r\nthree\r\n";
  EXPECT_THAT(split_documents(text, "file"), ElementsAre(text));
  EXPECT_THAT(split_documents(text, "line"), ElementsAre("one", "two", "three"));
  EXPECT_THAT(split_documents(text, "paragraph"), ElementsAre("one\r\ntwo", "three\r\n"));
}

std::string decoded(const TemporaryDirectory& folder, const std::string& shards) {
  const Tokenizer tokenizer = Tokenizer::load(folder.path());
  const TokenDataset data = TokenDataset::open((folder / shards).string());
  std::vector<int32_t> ids(static_cast<size_t>(data.size()));
  data.copy(0, data.size(), ids.data());
  return tokenizer.decode(ids);
}

PrepareOptions options_for(const TemporaryDirectory& folder, const std::string& text) {
  write_file_atomically(folder / "text.txt", text);
  PrepareOptions options;
  options.texts = {(folder / "text.txt").string()};
  options.out = folder.path();
  options.train_vocab = 260;
  options.validation_share = 0.2;
  return options;
}

TEST(PrepareCorpus, HoldsOutTheEndOfASingleDocumentAtALineEnd) {
  const TemporaryDirectory folder;
  std::string text;
  for (int i = 0; i < 50; ++i) text += "line " + std::to_string(i) + "\n";
  const PreparedCorpus corpus = prepare_corpus(options_for(folder, text));
  EXPECT_EQ(corpus.documents, 1);
  const std::string train = decoded(folder, "train_*.bin");
  const std::string validation = decoded(folder, "validation_*.bin");
  const std::string end = "<|endoftext|>";
  ASSERT_TRUE(train.ends_with("\n" + end) && validation.ends_with("\n" + end));
  EXPECT_EQ(train.substr(0, train.size() - end.size()) +
                validation.substr(0, validation.size() - end.size()),
            text);
  EXPECT_NEAR(static_cast<double>(validation.size()) / static_cast<double>(text.size()), 0.2, 0.06);
}

TEST(PrepareCorpus, HoldsOutNoMoreThanTwiceTheShareOfASingleDocument) {
  const std::string end = "<|endoftext|>";
  const auto held = [&](const std::string& text) {
    const TemporaryDirectory folder;
    prepare_corpus(options_for(folder, text));
    const std::string train = decoded(folder, "train_*.bin");
    const std::string validation = decoded(folder, "validation_*.bin");
    EXPECT_EQ(train.substr(0, train.size() - end.size()) +
                  validation.substr(0, validation.size() - end.size()),
              text);
    return validation.substr(0, validation.size() - end.size());
  };
  EXPECT_EQ(held("head\n" + std::string(95, 'x')), std::string(20, 'x'));
  EXPECT_EQ(held(std::string(61, 'x') + "\n" + std::string(38, 'y')), std::string(38, 'y'));
  EXPECT_EQ(held("\n" + std::string(99, 'x')), std::string(20, 'x'));
  // No line ends: between characters, of 3 bytes each here.
  std::string characters;
  for (int i = 0; i < 31; ++i) characters += "\u4E2D";
  EXPECT_EQ(held(characters), characters.substr(72));
}

TEST(PrepareCorpus, RefusesAShareThatLeavesASideEmpty) {
  const auto refused = [](const std::string& text, const char* documents, double share,
                          const char* message) {
    const TemporaryDirectory folder;
    PrepareOptions options = options_for(folder, text);
    options.documents = documents;
    options.validation_share = share;
    expect_error(ErrorKind::Argument, message, [&] { prepare_corpus(options); });
  };
  refused("words" + std::string(95, '\n'), "file", 0.2,
          "tokenize: --validation 0.2 of 1 documents leaves no text to hold out");
  refused("x", "file", 0.2, "leaves no text to train on");
  refused("one\ntwo\nthree\n", "line", 0.9999, "of 3 documents leaves no text to train on");
}

TEST(PrepareCorpus, HoldsOutWholeDocumentsDrawnByTheSeed) {
  std::string text;
  for (int i = 0; i < 400; ++i) text += "line " + std::to_string(i) + "\n";
  std::vector<std::string> held;
  for (const uint64_t seed : {1, 1, 2}) {
    const TemporaryDirectory folder;
    PrepareOptions options = options_for(folder, text);
    options.documents = "line";
    options.seed = seed;
    const PreparedCorpus corpus = prepare_corpus(options);
    EXPECT_EQ(corpus.documents, 400);
    held.push_back(decoded(folder, "validation_*.bin"));
    const double share = static_cast<double>(corpus.validation_tokens) /
                         static_cast<double>(corpus.validation_tokens + corpus.train_tokens);
    EXPECT_NEAR(share, 0.2, 0.06);
    EXPECT_EQ(decoded(folder, "train_*.bin").size() + held.back().size(),
              text.size() - 400 + 400 * std::string("<|endoftext|>").size());
  }
  EXPECT_EQ(held[0], held[1]);
  EXPECT_NE(held[0], held[2]);
}

TEST(PrepareCorpus, HoldsOutOneDocumentWhereTheShareFallsOnNone) {
  const TemporaryDirectory folder;
  PrepareOptions options = options_for(folder, "first document\nsecond document\n");
  options.documents = "line";
  options.validation_share = 0.001;
  prepare_corpus(options);
  EXPECT_EQ(decoded(folder, "validation_*.bin"), "second document<|endoftext|>");
}

TEST(PrepareCorpus, TakesATokenizerThatIsThere) {
  const TemporaryDirectory first, second;
  prepare_corpus(options_for(first, "some text to learn from\nand a line\n"));
  PrepareOptions options = options_for(second, "another text\nof two lines\n");
  options.train_vocab = 0;
  expect_error(ErrorKind::Argument, "takes either --tokenizer or --train-vocab",
               [&] { prepare_corpus(options); });
  options.tokenizer = first.path();
  options.validation_share = 0;
  const PreparedCorpus corpus = prepare_corpus(options);
  EXPECT_EQ(corpus.validation_tokens, 0);
  EXPECT_EQ(decoded(second, "train_*.bin"), "another text\nof two lines\n<|endoftext|>");
}

TEST(PrepareCorpus, LeavesATokenizersOwnFolderAsItIs) {
  const TemporaryDirectory folder;
  prepare_corpus(options_for(folder, "some text to learn from\nand a line\n"));
  const std::string roles = R"({"eos_token": "<|endoftext|>", "chat_template": "{{ messages }}"})";
  write_file_atomically(folder / "tokenizer_config.json", roles);
  for (const char* shard : {"train_00000.bin", "validation_00000.bin"})
    std::filesystem::remove(folder / shard);
  PrepareOptions options = options_for(folder, "another text\nof two lines\n");
  options.train_vocab = 0;
  options.tokenizer = folder.path() / ".";
  EXPECT_GT(prepare_corpus(options).train_tokens, 0);
  EXPECT_EQ(read_text_file(folder / "tokenizer_config.json"), roles);
}

TEST(PrepareCorpus, RefusesToWriteOverAnotherTokenizer) {
  const TemporaryDirectory first, second;
  prepare_corpus(options_for(first, "some text to learn from\nand a line\n"));
  PrepareOptions options = options_for(second, "another text\nof two lines\n");
  write_file_atomically(second / "tokenizer_config.json", "{}");
  expect_error(ErrorKind::Argument, "tokenizer_config.json: exists already, with another content",
               [&] { prepare_corpus(options); });
  EXPECT_EQ(read_text_file(second / "tokenizer_config.json"), "{}");
  EXPECT_FALSE(std::filesystem::exists(second / "train_00000.bin"));

  options.train_vocab = 0;
  options.tokenizer = first.path();
  for (const char* file : {"tokenizer.json", "tokenizer_config.json"})
    write_file_atomically(second / file, read_text_file(first / file));
  EXPECT_GT(prepare_corpus(options).train_tokens, 0);  // the same tokenizer
}

}  // namespace
}  // namespace plinth
