#include "data/shards/formats.h"

#include <gtest/gtest.h>

#include <functional>

#include "tests/core/io/expect_error.h"
#include "tests/data/shard_bytes.h"
#include "tests/data/tokenizer_text.h"

namespace plinth {
namespace {

using testing::Bytes;
using ::testing::ElementsAre;
using testing::llmc16;
using testing::llmc32;
using testing::llmc_header;
using testing::MegatronParts;

TEST(ShardFormats, ReadsLlmcOfBothWidths) {
  const ShardLayout narrow = parse_shard(llmc16({1, 2, 65535}), "f");
  EXPECT_EQ(narrow.format, ShardFormat::LlmC);
  EXPECT_EQ(narrow.token_bytes, 2);
  EXPECT_EQ(narrow.offset, 1024u);
  EXPECT_EQ(narrow.tokens, 3);
  const ShardLayout wide = parse_shard(llmc32({1, 128255}), "f");
  EXPECT_EQ(wide.token_bytes, 4);
  EXPECT_EQ(wide.tokens, 2);
  EXPECT_EQ(parse_shard(llmc16({}), "f").tokens, 0);
}

TEST(ShardFormats, ReadsAnythingElseAsNanoGpt) {
  const ShardLayout layout = parse_shard(Bytes().put_all<uint16_t>({7, 8, 9}), "f");
  EXPECT_EQ(layout.format, ShardFormat::NanoGpt);
  EXPECT_EQ(layout.offset, 0u);
  EXPECT_EQ(layout.tokens, 3);
}

TEST(ShardFormats, RefusesTextInPlaceOfTokens) {
  std::string words = "In the beginning God created the heaven and the earth.\r\n";
  for (const bool is_long : {false, true}) {
    if (is_long) {
      while (words.size() < 4095) words += "a";
      words += "\xC3\xA9 is cut in two where reading ends";
    }
    expect_error(ErrorKind::Format, "f.txt: is text, expected token ids; plinth tokenize",
                 [&] { parse_shard(Bytes().text(words), "f.txt"); });
  }
  // The most of what tokens may have in common with text: pairs of letters, but for one.
  Bytes tokens = Bytes().put_all(std::vector<uint16_t>(100, 0x6161)).put(uint16_t{13});
  EXPECT_EQ(parse_shard(tokens, "f").tokens, 101);
}

MegatronParts megatron() {
  MegatronParts parts;
  parts.lengths = {3, 0, 2, 4};
  parts.pointers = {0, 6, 6, 10};
  parts.documents = {0, 2, 3, 4};
  return parts;
}

TEST(ShardFormats, ReadsMegatronsIndex) {
  const ShardLayout layout = parse_megatron(megatron().bytes(), 18, "f.idx");
  EXPECT_EQ(layout.token_bytes, 2);
  EXPECT_EQ(layout.tokens, 9);
  EXPECT_THAT(layout.document_starts, ElementsAre(0, 3, 5));
  MegatronParts wide = megatron();
  wide.type = 4;
  wide.pointers = {0, 12, 12, 20};
  EXPECT_EQ(parse_megatron(wide.bytes(), 36, "f.idx").token_bytes, 4);
}

TEST(ShardFormats, RefusesWhatIsCutOrDamagedByName) {
  const Bytes short_header = Bytes().put(kLlmcMagic16).put(int32_t{1}, 100);
  const struct {
    Bytes bytes;
    std::string message;
  } cases[] = {
      {Bytes(), "f: the file is empty, expected tokens"},
      {short_header, "f: the file has 404 bytes, expected an llm.c header of 1024"},
      {llmc_header(kLlmcMagic16, 2, 0), "f: llm.c header has version 2, expected 1"},
      {llmc_header(kLlmcMagic32, 1, 0), "f: llm.c header has version 1, expected 7"},
      {llmc_header(kLlmcMagic16, 1, -5), "f: llm.c header says -5 tokens"},
      {llmc_header(kLlmcMagic16, 1, 3).put(uint16_t{1}, 2),
       "f: the file has 1028 bytes, expected 1030 (llm.c header and 3 tokens of 2 bytes)"},
      {llmc_header(kLlmcMagic16, 1, 1).put(uint16_t{1}, 2),
       "f: the file has 1028 bytes, expected 1026"},
      {llmc_header(kLlmcMagic32, 7, INT32_MAX), "f: the file has 1024 bytes, expected 8589935612"},
      {llmc_header(20240522, 1, 0),
       "f: has magic number 20240522, expected llm.c's 20240520 or 20240801 (this is an llm.c "
       "evaluation file)"},
      {Bytes().put(uint16_t{9}, 3).put(uint8_t{1}),
       "f: the file has 7 bytes, expected an even number"},
  };
  for (const auto& c : cases)
    expect_error(ErrorKind::Format, c.message, [&] { parse_shard(c.bytes, "f"); });
}

TEST(ShardFormats, RefusesAMegatronIndexThatBreaksARule) {
  const struct {
    std::function<void(MegatronParts&)> damage;
    std::string message;
  } cases[] = {
      {[](MegatronParts& p) { p.magic[0] = 'X'; }, "does not begin with MMIDIDX"},
      {[](MegatronParts& p) { p.version = 2; }, "has version 2, expected 1"},
      {[](MegatronParts& p) { p.type = 6; }, "has type code 6, expected 8 (uint16) or 4 (int32)"},
      {[](MegatronParts& p) { p.extra_sequences = 1000; },
       "says 1004 sequences and 4 documents, too many"},
      {[](MegatronParts& p) { p.extra_sequences = UINT64_MAX / 12; }, "too many for its"},
      {[](MegatronParts& p) { p.extra_documents = UINT64_MAX / 8; }, "too many for its"},
      {[](MegatronParts& p) { p.lengths[1] = -1; }, "sequence 1 has length -1"},
      {[](MegatronParts& p) { p.pointers[2] = 8; }, "sequence 2 starts at byte 8, expected 6"},
      {[](MegatronParts& p) { p.pointers[0] = -2; }, "sequence 0 starts at byte -2, expected 0"},
      {[](MegatronParts& p) { p.lengths[3] = 5; },
       "sequence 3 ends at byte 20, but the .bin file has 18"},
      {[](MegatronParts& p) { p.lengths[3] = 3; },
       "the sequences take 16 bytes, but the .bin file has 18"},
      {[](MegatronParts& p) { p.documents[2] = 1; },
       "document 2 starts at sequence 1, expected 2 to 4"},
      {[](MegatronParts& p) { p.documents[3] = 5; },
       "document 3 starts at sequence 5, expected 3 to 4"},
      {[](MegatronParts& p) { p.documents[0] = -1; }, "document 0 starts at sequence -1"},
  };
  for (const auto& c : cases) {
    MegatronParts parts = megatron();
    c.damage(parts);
    expect_error(ErrorKind::Format, c.message, [&] { parse_megatron(parts.bytes(), 18, "f.idx"); });
  }
  expect_error(ErrorKind::Format,
               "f.idx: the file has 5 bytes, expected a Megatron index of at least 34",
               [] { parse_megatron(Bytes().text("MMIDI"), 0, "f.idx"); });
}

// Whatever the bytes, a layout lies inside the file or the parser throws Error.
TEST(ShardFormats, AnyChangeOfAFileIsReadInsideItOrRefused) {
  testing::SplitMix64 random(7);
  const std::vector<std::byte> originals[] = {llmc16({1, 2, 3}).bytes(), llmc32({4, 5}).bytes(),
                                              megatron().bytes().bytes()};
  int refused = 0;
  for (int round = 0; round < 6000; ++round) {
    const size_t which = random.below(3);
    std::vector<std::byte> bytes = originals[which];
    for (uint64_t i = 0; i <= random.below(3); ++i) {
      bytes[random.below(std::min<size_t>(bytes.size(), 100))] =
          static_cast<std::byte>(random.next());
    }
    if (random.below(2) == 0) bytes.resize(random.below(bytes.size() + 1));
    try {
      const bool index = which == 2;
      const uint64_t data_bytes = index ? 18 : bytes.size();
      const ShardLayout layout =
          index ? parse_megatron(bytes, data_bytes, "f") : parse_shard(bytes, "f");
      ASSERT_GE(layout.tokens, 0);
      ASSERT_LE(layout.offset + static_cast<uint64_t>(layout.tokens * layout.token_bytes),
                data_bytes);
      for (const int64_t start : layout.document_starts) ASSERT_LE(start, layout.tokens);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::Format);
      ++refused;
    }
  }
  EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace plinth
