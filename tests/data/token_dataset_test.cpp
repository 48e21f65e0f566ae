#include "data/shards/token_dataset.h"

#include <gtest/gtest.h>

#include "core/io/file_faults.h"
#include "data/shards/shard_writer.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"
#include "tests/data/shard_bytes.h"

namespace plinth {
namespace {

using testing::Bytes;
using ::testing::ElementsAre;
using testing::llmc16;
using testing::llmc32;
using testing::MegatronParts;

void write(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  write_file_atomically(path, bytes);
}

void write_megatron(const TemporaryDirectory& dir, const std::string& name) {
  MegatronParts parts;
  parts.lengths = {3, 2, 1};
  parts.pointers = {0, 6, 10};
  parts.documents = {0, 1, 3};
  write(dir / (name + ".idx"), parts.bytes());
  write(dir / (name + ".bin"), Bytes().put_all<uint16_t>({10, 11, 12, 20, 21, 22}));
}

std::vector<int64_t> all_tokens(const TokenDataset& data) {
  std::vector<int64_t> tokens(static_cast<size_t>(data.size()));
  data.copy(0, data.size(), tokens.data());
  return tokens;
}

TEST(TokenShard, ReadsEachFormat) {
  const TemporaryDirectory dir;
  write(dir / "a.bin", llmc16({1, 2, 65535}));
  write(dir / "b.bin", llmc32({70000, 3}));
  write(dir / "c.bin", Bytes().put_all<uint16_t>({5, 6}));
  write_megatron(dir, "d");
  EXPECT_EQ(TokenShard::open(dir / "a.bin").token(2), 65535u);
  EXPECT_EQ(TokenShard::open(dir / "b.bin").token(0), 70000u);
  EXPECT_EQ(TokenShard::open(dir / "c.bin").format(), ShardFormat::NanoGpt);
  for (const char* name : {"d.bin", "d.idx"}) {
    const TokenShard shard = TokenShard::open(dir / name);
    EXPECT_EQ(shard.format(), ShardFormat::Megatron);
    EXPECT_EQ(shard.size(), 6);
    EXPECT_EQ(shard.token(3), 20u);
  }
  EXPECT_EQ(TokenShard::open(dir / "d.bin", ShardFormat::NanoGpt).format(), ShardFormat::NanoGpt);
}

TEST(TokenShard, ErrorsNameTheFile) {
  const TemporaryDirectory dir;
  write(dir / "a.bin", llmc16({1, 2, 3}));
  write(dir / "empty.bin", Bytes());
  const std::string a = (dir / "a.bin").string();
  const TokenShard shard = TokenShard::open(a);
  int64_t out[4];
  expect_error(ErrorKind::Argument, a + ": asked for token 3 of 3", [&] { shard.token(3); });
  expect_error(ErrorKind::Argument, a + ": asked for tokens 1 to 4 of 3",
               [&] { shard.copy(1, 4, out); });
  expect_error(ErrorKind::Argument, "asked for tokens -1 to 2", [&] { shard.copy(-1, 2, out); });
  expect_error(ErrorKind::Io, "missing.bin", [&] { TokenShard::open(dir / "missing.bin"); });
  expect_error(ErrorKind::Format, "empty.bin: the file is empty",
               [&] { TokenShard::open(dir / "empty.bin"); });
  shard.validate(4);
  expect_error(ErrorKind::Format, a + ": token 2 has id 3, but the vocabulary has 3",
               [&] { shard.validate(3); });
}

TEST(ShardWriter, WritesWhatLlmcReads) {
  const TemporaryDirectory dir;
  for (const int64_t vocab_size : {int64_t{65536}, int64_t{65537}}) {
    ShardWriter writer(dir / "s.bin", vocab_size);
    writer.append(std::vector<int32_t>{1, 2});
    writer.append({});
    writer.append(std::vector<int32_t>{65535});
    writer.commit();
    const bool narrow = vocab_size == 65536;
    EXPECT_EQ(read_file(dir / "s.bin"),
              narrow ? llmc16({1, 2, 65535}).bytes() : llmc32({1, 2, 65535}).bytes());
  }
}

TEST(ShardWriter, WritesMoreThanItsBuffer) {
  const TemporaryDirectory dir;
  std::vector<int32_t> tokens(1'500'000);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(i % 50257);
  ShardWriter writer(dir / "s.bin", 50257);
  for (size_t at = 0; at < tokens.size(); at += 333'333) {
    writer.append(std::span(tokens).subspan(at, std::min<size_t>(333'333, tokens.size() - at)));
  }
  writer.commit();
  const TokenShard shard = TokenShard::open(dir / "s.bin");
  std::vector<int32_t> read(tokens.size());
  ASSERT_EQ(shard.size(), static_cast<int64_t>(tokens.size()));
  shard.copy(0, shard.size(), read.data());
  EXPECT_EQ(read, tokens);
}

TEST(ShardWriter, RefusesIdsOutsideTheVocabulary) {
  const TemporaryDirectory dir;
  ShardWriter writer(dir / "s.bin", 100);
  writer.append(std::vector<int32_t>{1, 2});
  expect_error(ErrorKind::Argument, "token 3 has id 100, expected 0 to 99", [&] {
    writer.append(std::vector<int32_t>{3, 100});
  });
  expect_error(ErrorKind::Argument, "token 2 has id -1",
               [&] { writer.append(std::vector<int32_t>{-1}); });
  expect_error(ErrorKind::Argument, "vocab_size is 0", [&] { ShardWriter(dir / "t.bin", 0); });
}

// Each call that changes the disk made to fail in turn: the old shard stays, or the new one is
// whole.
TEST(ShardWriter, LeavesAWholeShardWhicheverCallFails) {
  const TemporaryDirectory dir;
  const auto write_shard = [&](int32_t token) {
    ShardWriter writer(dir / "s.bin", 100);
    writer.append(std::vector<int32_t>(1000, token));
    writer.commit();
  };
  write_shard(1);
  const std::vector<std::byte> before = read_file(dir / "s.bin");
  FileFaults count;
  write_shard(2);
  const std::vector<std::byte> after = read_file(dir / "s.bin");
  const int64_t calls = count.calls();
  ASSERT_GE(calls, 5);
  for (const auto effect :
       {FileFaults::Effect::Fail, FileFaults::Effect::ShortWrite, FileFaults::Effect::Crash}) {
    for (int64_t call = 0; call < calls; ++call) {
      write_file_atomically(dir / "s.bin", before);
      try {
        FileFaults faults(effect, call);
        write_shard(2);
      } catch (const Error&) {
      }
      const std::vector<std::byte> now = read_file(dir / "s.bin");
      EXPECT_TRUE(now == before || now == after) << "call " << call;
    }
  }
}

TEST(DatasetWriter, KeepsDocumentsWholeAndFillsShards) {
  const TemporaryDirectory dir;
  DatasetWriter writer(dir / "d", "train", 1000, 10);
  for (const size_t length : {4, 5, 3, 25, 0, 10})
    writer.append_document(std::vector<int32_t>(length, static_cast<int32_t>(length)));
  writer.finish();
  std::vector<int64_t> sizes;
  const TokenDataset data = TokenDataset::open((dir / "d").string());
  for (const TokenShard& shard : data.shards()) sizes.push_back(shard.size());
  EXPECT_THAT(sizes, ElementsAre(9, 3, 10, 10, 5, 10));
  EXPECT_EQ(writer.paths()[5].filename(), "train_00005.bin");
  EXPECT_EQ(writer.tokens(), 47);
  DatasetWriter again(dir / "d", "train", 1000, 10);
  expect_error(ErrorKind::Argument, "train_00000.bin: exists already",
               [&] { again.append_document(std::vector<int32_t>{1}); });
  DatasetWriter empty(dir / "e", "train", 1000);
  expect_error(ErrorKind::Argument, "there are no tokens to write", [&] { empty.finish(); });
}

TEST(TokenDataset, JoinsShardsOfAnyFormat) {
  const TemporaryDirectory dir;
  write(dir / "a.bin", llmc16({1, 2, 3}));
  write(dir / "b.bin", llmc32({70000, 70001}));
  write(dir / "c.bin", llmc16({}));
  write_megatron(dir, "d");
  const TokenDataset data = TokenDataset::open(dir.path().string());
  EXPECT_EQ(data.size(), 11);
  EXPECT_THAT(all_tokens(data), ElementsAre(1, 2, 3, 70000, 70001, 10, 11, 12, 20, 21, 22));
  const std::vector<int64_t> tokens = all_tokens(data);
  for (int64_t begin = 0; begin <= data.size(); ++begin) {
    for (int64_t end = begin; end <= data.size(); ++end) {
      std::vector<int32_t> part(static_cast<size_t>(end - begin));
      data.copy(begin, end, part.data());
      EXPECT_TRUE(std::equal(part.begin(), part.end(), tokens.begin() + begin));
    }
  }
  int64_t out[12];
  expect_error(ErrorKind::Argument, "asked for tokens 3 to 12 of 11",
               [&] { data.copy(3, 12, out); });
}

TEST(TokenDataset, OpensFilesFoldersAndPatterns) {
  const TemporaryDirectory dir;
  for (const uint16_t i : {2, 0, 1})
    write(dir / ("train_" + std::to_string(i) + ".bin"), llmc16({i}));
  write(dir / "val_0.bin", llmc16({9}));
  write(dir / "notes.txt", Bytes().text("not tokens"));
  const auto open = [&](std::vector<std::string> names) {
    for (std::string& name : names) name = (dir / name).string();
    return all_tokens(TokenDataset::open(names));
  };
  EXPECT_THAT(open({"train_*.bin"}), ElementsAre(0, 1, 2));
  EXPECT_THAT(open({""}), ElementsAre(0, 1, 2, 9));
  EXPECT_THAT(open({"val_0.bin", "train_[01].bin"}), ElementsAre(9, 0, 1));
  expect_error(ErrorKind::Io, "no file matches", [&] { open({"test_*.bin"}); });
  expect_error(ErrorKind::Io, "absent.bin", [&] { open({"absent.bin"}); });
  std::filesystem::create_directory(dir / "empty");
  expect_error(ErrorKind::Io, "no *.bin file in this folder", [&] { open({"empty"}); });
  expect_error(ErrorKind::Argument, "no files were given", [&] { open({}); });
}

TEST(TokenDataset, TellsNoMatchFromAFolderThatCannotBeRead) {
  const TemporaryDirectory dir;
  const auto refusal = [&](const char* pattern) -> std::string {
    try {
      TokenDataset::open((dir / pattern).string());
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(refusal("a/*.bin"), (dir / "a/*.bin").string() + ": no file matches");
  std::filesystem::create_directory_symlink("b", dir / "b");  // to itself: nobody can open it
  EXPECT_EQ(refusal("b/*.bin"),
            (dir / "b/*.bin").string() +
                ": no file matches, and a folder where some may lie cannot be read");
}

TEST(TokenDataset, ReadsMegatronsPairsOnce) {
  const TemporaryDirectory dir;
  write_megatron(dir, "a");
  write_megatron(dir, "b");
  const std::string a = (dir / "a").string(), b = (dir / "b").string();
  const auto size = [](std::vector<std::string> paths) { return TokenDataset::open(paths).size(); };
  EXPECT_EQ(size({(dir / "*").string()}), 12);
  EXPECT_EQ(size({a + ".bin", a + ".idx", b + ".bin", b + ".idx"}), 12);  // as a shell writes it
  EXPECT_EQ(size({(dir / "*.idx").string()}), 12);
  EXPECT_EQ(size({a + ".idx"}), 6);
  EXPECT_EQ(size({a + ".bin", a + ".bin"}), 12);  // twice, as asked for
  std::filesystem::remove(b + ".bin");
  expect_error(ErrorKind::Io, b + ".idx: is an index, and its tokens, b.bin, do not lie beside it",
               [&] { TokenDataset::open((dir / "*").string()); });
}

TEST(TokenDataset, FindsDocumentsByTokenOrByIndex) {
  const TemporaryDirectory dir;
  write(dir / "a.bin", llmc16({1, 0, 2, 3}));
  write(dir / "b.bin", llmc16({4, 0, 0}));
  const std::string path = (dir / "?.bin").string();
  using Place = DocumentRule::Place;
  EXPECT_THAT(TokenDataset::open(path).document_starts({.eos = 0}), ElementsAre(0, 2, 6));
  EXPECT_THAT(TokenDataset::open(path).document_starts({.eos = 0, .place = Place::Start}),
              ElementsAre(0, 1, 5, 6));
  EXPECT_THAT(TokenDataset::open(path).document_starts({.eos = 99}), ElementsAre(0));
  EXPECT_THAT(TokenDataset::open(path).document_starts({}), ElementsAre(0));
  write_megatron(dir, "c");
  write(dir / "d.bin", llmc16({5, 0, 6}));
  EXPECT_THAT(TokenDataset::open(path).document_starts({.eos = 0}),
              ElementsAre(0, 2, 6, 7, 10, 13, 15));
}

TEST(TokenDataset, ValidateNamesTheFileAndPosition) {
  const TemporaryDirectory dir;
  write(dir / "a.bin", llmc16({1, 2}));
  write(dir / "b.bin", llmc16({3, 4, 500}));
  const TokenDataset data = TokenDataset::open(dir.path().string());
  data.validate(501);
  expect_error(ErrorKind::Format, "b.bin: token 2 has id 500, but the vocabulary has 500",
               [&] { data.validate(500); });
}

TEST(TokenDataset, FingerprintDependsOnContentAndOrderNotOnNames) {
  const TemporaryDirectory dir;
  write(dir / "a.bin", llmc16({1, 2}));
  write(dir / "b.bin", llmc16({3, 4}));
  write(dir / "c.bin", llmc16({1, 2}));
  write(dir / "d.bin", llmc16({1, 5}));
  const auto fingerprint = [&](std::vector<std::string> names) {
    for (std::string& name : names) name = (dir / name).string();
    return TokenDataset::open(names).fingerprint();
  };
  EXPECT_EQ(fingerprint({"a.bin", "b.bin"}), fingerprint({"c.bin", "b.bin"}));
  EXPECT_NE(fingerprint({"a.bin", "b.bin"}), fingerprint({"b.bin", "a.bin"}));
  EXPECT_NE(fingerprint({"a.bin"}), fingerprint({"d.bin"}));
  EXPECT_NE(fingerprint({"a.bin", "b.bin"}), fingerprint({"a.bin"}));
}

}  // namespace
}  // namespace plinth
