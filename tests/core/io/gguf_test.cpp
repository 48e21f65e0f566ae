// Against files that the package gguf wrote (fixtures/make_gguf_fixtures.py), and against files
// that break a rule.

#include "core/io/gguf.h"

#include <gtest/gtest.h>

#include <cstring>

#include "core/io/safetensors.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"
#include "tests/fixtures.h"

namespace plinth {
namespace {

using testing::ElementsAre;

constexpr std::array kTypes = {GgmlType::F32, GgmlType::F16, GgmlType::BF16, GgmlType::Q8_0,
                               GgmlType::Q4_0};

GgufFile fixture(const std::string& name) {
  return GgufFile::open(std::string(PLINTH_FIXTURES "/gguf/") + name);
}

std::vector<float> floats_of(const SafetensorsFile& file, const std::string& name) {
  const auto bytes = file.data(name);
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

TEST(Gguf, DecodesTheTypesOfTheReferenceImplementation) {
  const GgufFile file = fixture("blocks.gguf");
  const SafetensorsFile expected =
      SafetensorsFile::open(PLINTH_FIXTURES "/gguf/blocks.safetensors");
  for (const GgmlType type : kTypes) {
    const std::string name(ggml_type_info(type).name);
    const GgufTensor* tensor = file.find_tensor(name);
    ASSERT_NE(tensor, nullptr) << name;
    EXPECT_THAT(tensor->shape, ElementsAre(3, 64));
    std::vector<float> values(3 * 64);
    decode_ggml(type, file.data(*tensor), values);
    EXPECT_EQ(values, floats_of(expected, name + ".decoded")) << name;
  }
}

TEST(Gguf, EncodesQ8AsTheReferenceImplementation) {
  const GgufFile file = fixture("blocks.gguf");
  const SafetensorsFile sources = SafetensorsFile::open(PLINTH_FIXTURES "/gguf/blocks.safetensors");
  const auto expected = file.data(*file.find_tensor("Q8_0"));
  std::vector<std::byte> encoded(expected.size());
  encode_q8_0(floats_of(sources, "Q8_0.source"), encoded);
  EXPECT_TRUE(std::ranges::equal(encoded, expected));
}

TEST(Gguf, ReadsFieldsByTheirTypes) {
  const GgufFile file = fixture("llama.gguf");
  EXPECT_EQ(file.version(), 3u);
  EXPECT_EQ(file.text("general.architecture"), "llama");
  EXPECT_EQ(file.integer("llama.block_count"), 2);
  EXPECT_EQ(file.integer("llama.expert_count", 0), 0);
  EXPECT_FLOAT_EQ(file.number("llama.rope.freq_base"), 10000);
  const auto refuses = [](const std::string& text, auto&& read) {
    expect_error(ErrorKind::Format, text, read);
  };
  refuses("llama.gguf: field llama.head is missing, takes an integer from 0 to 2^31 - 1",
          [&] { file.integer("llama.head"); });
  refuses("field general.architecture is text, takes an integer",
          [&] { file.integer("general.architecture"); });
  refuses("field llama.block_count is uint32 2, takes a text",
          [&] { file.text("llama.block_count"); });
  refuses("field llama.block_count is uint32 2, takes true or false",
          [&] { file.boolean("llama.block_count", true); });
  const GgufFile words = fixture("pieces.gguf");
  EXPECT_EQ(words.texts("tokenizer.ggml.tokens").size(),
            words.numbers("tokenizer.ggml.scores").size());
  refuses("field tokenizer.ggml.tokens is a list of text, takes a list of numbers",
          [&] { words.numbers("tokenizer.ggml.tokens"); });
}

// A file of two tensors, and every kind of field.
std::string written(const TemporaryDirectory& folder) {
  const std::vector<GgufField> fields = {
      {"text", GgufValue::of(std::string("é"))},
      {"flag", GgufValue::of(true)},
      {"size", GgufValue::of(uint32_t{7})},
      {"ratio", GgufValue::of(0.5f)},
      {"words", GgufValue::list(std::vector<std::string>{"a", ""})},
      {"bytes", GgufValue::list(GgufType::Int8, {-1, 2})},
  };
  GgufWriter writer(
      folder / "m.gguf", fields,
      {{"a", ggml_type_info(GgmlType::F16), {3}}, {"b", ggml_type_info(GgmlType::Q8_0), {2, 32}}});
  writer.write(bytes_of("abcdef"));
  writer.write(bytes_of(std::string(68, 'q')));
  writer.commit();
  return read_text_file(folder / "m.gguf");
}

GgufFile parse_gguf(const std::string& bytes) {
  return GgufFile::parse(bytes_of(bytes), "m.gguf");
}

TEST(Gguf, ReadsWhatItWrote) {
  const TemporaryDirectory folder;
  const std::string bytes = written(folder);
  const GgufFile file = parse_gguf(bytes);
  EXPECT_EQ(file.text("text"), "é");
  EXPECT_TRUE(file.boolean("flag", false));
  EXPECT_EQ(file.integer("size"), 7);
  EXPECT_EQ(file.number("ratio"), 0.5);
  EXPECT_THAT(file.texts("words"), ElementsAre("a", ""));
  EXPECT_THAT(file.numbers("bytes"), ElementsAre(-1, 2));
  ASSERT_EQ(file.tensors().size(), 2u);
  EXPECT_EQ(text_of(file.data(file.tensors()[0])), "abcdef");
  EXPECT_THAT(file.tensors()[1].shape, ElementsAre(2, 32));
  EXPECT_EQ(file.tensors()[1].begin, kGgufAlignment);
}

TEST(Gguf, RefusesEveryFileThatIsCutShort) {
  const TemporaryDirectory folder;
  const std::string bytes = written(folder);
  const size_t data_end = 68 + kGgufAlignment;  // of the last tensor, whose padding may be missing
  const size_t header =
      parse_gguf(bytes).tensors().empty() ? 0 : bytes.size() - 96 - kGgufAlignment;
  for (size_t size = 0; size < header + data_end; ++size)
    EXPECT_THROW(parse_gguf(bytes.substr(0, size)), Error) << size << " bytes";
  EXPECT_NO_THROW(parse_gguf(bytes.substr(0, header + data_end)));
}

std::string with_number(std::string bytes, size_t at, uint64_t value, size_t size) {
  std::memcpy(bytes.data() + at, &value, size);
  return bytes;
}

TEST(Gguf, NamesWhatIsWrong) {
  const TemporaryDirectory folder;
  const std::string bytes = written(folder);
  const auto refuses = [](const std::string& text, const std::string& file) {
    expect_error(ErrorKind::Format, text, [&] { parse_gguf(file); });
  };
  refuses("m.gguf: begins with 'GGML', expected 'GGUF'", "GGML" + bytes.substr(4));
  refuses("has version 1, takes 2 or 3", with_number(bytes, 4, 1, 4));
  refuses("the number of tensors is 72057594037927936", with_number(bytes, 8, 1ull << 56, 8));
  refuses("the number of fields is 72057594037927936", with_number(bytes, 16, 1ull << 56, 8));
  refuses("key of a field takes 1099511627776 bytes", with_number(bytes, 24, 1ull << 40, 8));
  const size_t type = bytes.find("flag") + 4;
  refuses("type of field 'flag' is 13, takes 0 to 12", with_number(bytes, type, 13, 4));
  refuses("field 'flag' is a truth value of 2, takes 0 or 1", with_number(bytes, type + 4, 2, 1));
  const size_t count = bytes.find("words") + 5 + 4 + 4;
  refuses("count of field 'words' is 1000000", with_number(bytes, count, 1000000, 8));
  refuses("is a list of lists", with_number(bytes, count - 4, 9, 4));
  std::string twice = bytes;
  twice.replace(twice.find("size"), 4, "text");
  refuses("field 'text' is there twice", twice);
  // Behind the last name: dimensions, two sizes, type, offset.
  const size_t tensor = bytes.rfind(std::string("\1\0\0\0\0\0\0\0b", 9)) + 9;
  refuses("tensor 'b' has 5 dimensions, takes at most 4", with_number(bytes, tensor, 5, 4));
  refuses("tensor 'b' has rows of 33, Q8_0 takes a multiple of 32",
          with_number(bytes, tensor + 4, 33, 8));
  refuses("tensor 'b' has a dimension of 4611686018427387904",
          with_number(bytes, tensor + 12, 1ull << 62, 8));
  refuses("tensor 'b' has a dimension of 0", with_number(bytes, tensor + 12, 0, 8));
  refuses("tensor 'b' has type 5, which is no type of ggml's",
          with_number(bytes, tensor + 20, 5, 4));
  refuses("begins at 33, takes a multiple of 32", with_number(bytes, tensor + 24, 33, 8));
  refuses("begins at 1024 and takes 68 bytes, but there are",
          with_number(bytes, tensor + 24, 1024, 8));
  refuses("tensor 'b' begins at 0, but 'a' ends at 6", with_number(bytes, tensor + 24, 0, 8));
}

TEST(Gguf, WriterRefusesWhatTheFormatDoesNotTake) {
  const TemporaryDirectory folder;
  const GgmlTypeInfo& type = ggml_type_info(GgmlType::Q8_0);
  const auto refuses = [&](const std::string& text, const std::vector<GgufField>& fields,
                           std::vector<GgufTensor> tensors) {
    expect_error(ErrorKind::Argument, text,
                 [&] { GgufWriter(folder / "x.gguf", fields, std::move(tensors)); });
  };
  refuses("field 'k' is there twice", {{"k", GgufValue::of(true)}, {"k", GgufValue::of(true)}}, {});
  refuses("tensor 'a' is there twice", {}, {{"a", type, {32}}, {"a", type, {32}}});
  refuses("tensor 'a' has rows of 31, Q8_0 takes a multiple of 32", {}, {{"a", type, {31}}});
  refuses("tensor 'a' has 5 dimensions", {}, {{"a", type, {1, 1, 1, 1, 32}}});
  refuses("tensor '' is empty or not UTF-8", {}, {{"", type, {32}}});
  GgufWriter writer(folder / "x.gguf", {}, {{"a", type, {32}}});
  expect_error(ErrorKind::Argument, "got 0 of 1 tensors", [&] { writer.commit(); });
  expect_error(ErrorKind::Argument, "tensor 'a' comes with 3 bytes, takes 34",
               [&] { writer.write(bytes_of("abc")); });
  EXPECT_THAT(folder.names(), testing::Not(testing::Contains("x.gguf")));
}

}  // namespace
}  // namespace plinth
