#include "core/io/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>
#include <optional>
#include <random>

#include "core/io/file_faults.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"
#include "tests/fixtures.h"

namespace plinth {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// A file of that header, with a length in front that may be a lie, and that many bytes of data.
std::string file_of(const std::string& header, size_t data_bytes,
                    std::optional<uint64_t> length = std::nullopt) {
  const uint64_t n = length.value_or(header.size());
  std::string file(8, '\0');
  std::memcpy(file.data(), &n, 8);
  file += header;
  for (size_t i = 0; i < data_bytes; ++i) file += static_cast<char>(i);
  return file;
}

SafetensorsFile parse(const std::string& file) {
  return SafetensorsFile::parse(bytes_of(file), "m.safetensors");
}

TEST(Safetensors, ReadsTensorsMetadataAndPadding) {
  const std::string file = file_of(
      R"({"b":{"dtype":"F32","shape":[1,2],"data_offsets":[2,10]},)"
      R"("a":{"dtype":"BF16","shape":[],"data_offsets":[0,2]},"__metadata__":{"format":"pt"}}    )",
      10);
  const SafetensorsFile tensors = parse(file);
  ASSERT_EQ(tensors.records().size(), 2u);
  EXPECT_EQ(tensors.records()[0].name, "a") << "records come in the order of their bytes";
  EXPECT_THAT(tensors.records()[0].shape, IsEmpty());
  EXPECT_EQ(tensors.record("b").dtype, DType::Float32);
  EXPECT_THAT(tensors.record("b").shape, ElementsAre(1, 2));
  EXPECT_EQ(text_of(tensors.data("a")), std::string_view("\0\1", 2));
  EXPECT_EQ(text_of(tensors.data("b")), "\2\3\4\5\6\7\10\11");
  EXPECT_EQ(tensors.metadata().at("format"), "pt");
  EXPECT_EQ(tensors.find("c"), nullptr);
}

TEST(Safetensors, ReadsAFileOfTheReferenceImplementation) {
  const SafetensorsFile file = SafetensorsFile::open(PLINTH_FIXTURES "/gpt2/model.safetensors");
  const TensorRecord& record = file.record("transformer.wte.weight");
  EXPECT_EQ(record.dtype, DType::Float32);
  EXPECT_THAT(record.shape, ElementsAre(97, 32));
  EXPECT_EQ(file.data(record.name).size(), 97u * 32 * 4);
  EXPECT_EQ(file.metadata().at("format"), "pt");
}

TEST(Safetensors, NamesTheNearestTensorWhenOneIsMissing) {
  const std::string file =
      file_of(R"({"wte.weight":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1);
  const SafetensorsFile tensors = parse(file);
  expect_error(ErrorKind::Format,
               "m.safetensors: has no tensor 'wte.wieght', the nearest is 'wte.weight'",
               [&] { tensors.data("wte.wieght"); });
  expect_error(ErrorKind::Format, "m.safetensors: has no tensor 'x'",
               [&] { parse(file_of("{}", 0)).data("x"); });
}

TEST(Safetensors, AcceptsEmptyTensorsWhereverTheyStand) {
  const std::string file = file_of(R"({"z":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},)"
                                   R"("a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                                   R"("e":{"dtype":"I64","shape":[3,0,5],"data_offsets":[2,2]},)"
                                   R"("b":{"dtype":"BOOL","shape":[1],"data_offsets":[2,3]},)"
                                   R"("y":{"dtype":"F64","shape":[0],"data_offsets":[3,3]}})",
                                   3);
  const SafetensorsFile tensors = parse(file);
  EXPECT_EQ(tensors.records().size(), 5u);
  EXPECT_TRUE(tensors.data("e").empty());
  EXPECT_THAT(parse(file_of("{}", 0)).records(), IsEmpty());
  EXPECT_EQ(parse(file_of(R"({"__metadata__":{}}  )", 0)).records().size(), 0u);
}

TEST(Safetensors, KnowsEachDTypeByItsName) {
  for (int i = 0; i <= static_cast<int>(DType::Bool); ++i) {
    const auto dtype = static_cast<DType>(i);
    const std::string header =
        detail::concat(R"({"t":{"dtype":")", safetensors_name(dtype),
                       R"(","shape":[3],"data_offsets":[0,)", 3 * size_of(dtype), "]}}");
    EXPECT_EQ(parse(file_of(header, 3 * size_of(dtype))).record("t").dtype, dtype);
  }
}

struct Refusal {
  const char* what;
  std::string file;
  const char* message;
};

std::string one_tensor(const std::string& fields, size_t data_bytes) {
  return file_of(R"({"t":{)" + fields + "}}", data_bytes);
}

std::vector<Refusal> refusals() {
  const std::string deep = std::string(20, '[') + std::string(20, ']');
  return {
      {"an empty file", "", "header too small: the file has 0 bytes"},
      {"seven bytes", "1234567", "header too small: the file has 7 bytes"},
      {"a header of no bytes", file_of("", 0), "header too small: 0 bytes, expected at least 2"},
      {"a header of one byte", file_of("{", 0), "header too small: 1 bytes, expected at least 2"},
      {"a header above the limit", file_of("{}", 0, 100'000'001),
       "header too large: 100000001 bytes, expected at most 100000000"},
      {"the largest length", file_of("{}", 0, UINT64_MAX), "header too large"},
      {"a header longer than the file", file_of("{}", 0, 3),
       "invalid header length: 3 bytes, but only 2 follow"},
      {"a header that starts otherwise", file_of(" {}", 0),
       "invalid header start: ' ', expected '{'"},
      {"an array", file_of("[]", 0), "invalid header start: '[', expected '{'"},
      {"invalid UTF-8", file_of("{\"\xff\":1}", 0), "invalid UTF-8 at byte 2"},
      {"invalid JSON", file_of("{\"a\":1,}", 0), "invalid JSON: "},
      {"a header cut off", file_of("{\"a\":", 0), "invalid JSON: "},
      {"padding that is no space", file_of({"{}\0{}", 5}, 0), "invalid JSON: NUL at byte 2"},
      {"JSON nested deeply", file_of("{\"a\":" + deep + "}", 0),
       "JSON is nested deeper than 8 levels"},
      {"a name twice",
       file_of(R"({"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
               R"("t":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
               2),
       "duplicate key 't'"},
      {"a field twice",
       one_tensor(R"("dtype":"U8","dtype":"I8","shape":[],"data_offsets":[0,1])", 1),
       "duplicate key 'dtype'"},
      {"metadata twice", file_of(R"({"__metadata__":{},"__metadata__":{}})", 0),
       "duplicate key '__metadata__'"},
      {"metadata that is no object", file_of(R"({"__metadata__":"x"})", 0),
       "__metadata__ is not an object"},
      {"metadata that is no string", file_of(R"({"__metadata__":{"step":1}})", 0),
       "__metadata__ has a value that is not a string for key 'step'"},
      {"a tensor that is no object", file_of(R"({"t":[]})", 0), "tensor 't' is not an object"},
      {"no dtype", one_tensor(R"("shape":[],"data_offsets":[0,1])", 1), "tensor 't' has no dtype"},
      {"no shape", one_tensor(R"("dtype":"U8","data_offsets":[0,1])", 1),
       "tensor 't' has no shape"},
      {"no offsets", one_tensor(R"("dtype":"U8","shape":[])", 1), "tensor 't' has no data_offsets"},
      {"a dtype of another kind", one_tensor(R"("dtype":8,"shape":[],"data_offsets":[0,1])", 1),
       "dtype of tensor 't' is not a string"},
      {"a dtype we lack", one_tensor(R"("dtype":"I16","shape":[1],"data_offsets":[0,2])", 2),
       "unsupported dtype 'I16' of tensor 't'"},
      {"a dtype that none knows",
       one_tensor(R"("dtype":"f32","shape":[1],"data_offsets":[0,4])", 4),
       "unsupported dtype 'f32' of tensor 't'"},
      {"a shape that is no array", one_tensor(R"("dtype":"U8","shape":1,"data_offsets":[0,1])", 1),
       "shape of tensor 't' is not an array"},
      {"a negative dimension", one_tensor(R"("dtype":"U8","shape":[-1],"data_offsets":[0,1])", 1),
       "shape of tensor 't' has an element that is not a whole number from 0 to 2^63 - 1"},
      {"a fractional dimension",
       one_tensor(R"("dtype":"U8","shape":[1.0],"data_offsets":[0,1])", 1),
       "shape of tensor 't' has an element that is not a whole number"},
      {"a dimension of 2^63",
       one_tensor(R"("dtype":"U8","shape":[9223372036854775808,0],"data_offsets":[0,0])", 0),
       "shape of tensor 't' has an element that is not a whole number"},
      {"a shape whose product overflows",
       one_tensor(R"("dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0])", 0),
       "overflow: tensor 't' takes more than 2^63 - 1 bytes"},
      {"a size that overflows by its dtype",
       one_tensor(R"("dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,0])", 0),
       "overflow: tensor 't' takes more than 2^63 - 1 bytes"},
      {"one offset", one_tensor(R"("dtype":"U8","shape":[1],"data_offsets":[0])", 1),
       "data_offsets of tensor 't' has 1 elements, expected 2"},
      {"three offsets", one_tensor(R"("dtype":"U8","shape":[1],"data_offsets":[0,1,1])", 1),
       "data_offsets of tensor 't' has 3 elements, expected 2"},
      {"offsets that run backwards",
       one_tensor(R"("dtype":"U8","shape":[1],"data_offsets":[1,0])", 1),
       "invalid offset for tensor 't': begins at 1, ends at 0"},
      {"shape and offsets that disagree",
       one_tensor(R"("dtype":"F32","shape":[2],"data_offsets":[0,4])", 4),
       "shape and bytes of tensor 't' disagree: dtype and shape take 8 bytes, its offsets span 4"},
      {"a tensor beyond the end", one_tensor(R"("dtype":"U8","shape":[2],"data_offsets":[0,2])", 1),
       "invalid offset for tensor 't': ends at 2, but there are 1 bytes of data"},
      {"a hole at the start", one_tensor(R"("dtype":"U8","shape":[1],"data_offsets":[1,2])", 2),
       "invalid offset for tensor 't': begins at 1, expected 0 (there is a hole)"},
      {"an overlap",
       file_of(R"({"s":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
               R"("t":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
               3),
       "invalid offset for tensor 't': begins at 1, expected 2 (it overlaps another)"},
      {"two tensors at one place",
       file_of(R"({"s":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
               R"("t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
               1),
       "invalid offset for tensor 't': begins at 0, expected 1 (it overlaps another)"},
      {"an empty tensor inside another",
       file_of(R"({"s":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
               R"("t":{"dtype":"U8","shape":[0],"data_offsets":[1,1]}})",
               2),
       "invalid offset for tensor 't': begins at 1, expected 2 (it overlaps another)"},
      {"data that no tensor covers",
       one_tensor(R"("dtype":"U8","shape":[1],"data_offsets":[0,1])", 2),
       "buffer not fully covered: tensors end at 1, but there are 2 bytes of data"},
      {"data without tensors", file_of("{}", 1),
       "buffer not fully covered: tensors end at 0, but there are 1 bytes of data"},
  };
}

TEST(Safetensors, RefusesByNameWhateverBreaksARule) {
  for (const Refusal& refusal : refusals()) {
    SCOPED_TRACE(refusal.what);
    expect_error(ErrorKind::Format, std::string("m.safetensors: ") + refusal.message,
                 [&] { parse(refusal.file); });
  }
}

// Whatever the damage, parsing ends with the tensors or an Error(Format).
TEST(Safetensors, SurvivesEveryTruncationAndByteFlip) {
  const std::string whole =
      file_of(R"({"__metadata__":{"a":"b"},"t":{"dtype":"F16","shape":[2,1],"data_offsets":[0,4]},)"
              R"("u":{"dtype":"U8","shape":[],"data_offsets":[4,5]}})",
              5);
  parse(whole);
  for (size_t size = 0; size < whole.size(); ++size) {
    expect_error(ErrorKind::Format, "m.safetensors: ", [&] { parse(whole.substr(0, size)); });
  }
  for (size_t i = 0; i < whole.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = whole;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
      try {
        const SafetensorsFile tensors = parse(damaged);
        for (const TensorRecord& record : tensors.records()) tensors.data(record.name);
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::Format);
      }
    }
  }
}

// A random edit of a header: a piece taken out, doubled, or replaced by what a parser may stumble
// over.
std::string edited(std::string header, std::mt19937& random) {
  const char* const pieces[] = {"{",
                                "}",
                                "[",
                                "]",
                                ":",
                                ",",
                                "\"",
                                "\\",
                                "0",
                                "-1",
                                "1e9",
                                "null",
                                "\"t\"",
                                "\\u0",
                                "\"\"",
                                "[]",
                                "{}",
                                "\xc3",
                                "  ",
                                "9223372036854775807",
                                "18446744073709551616",
                                "\"dtype\"",
                                "\"U8\"",
                                "\"__metadata__\":{},"};
  const auto below = [&](size_t bound) { return random() % bound; };
  for (size_t edits = 1 + below(3); edits > 0; --edits) {
    const size_t at = below(header.size() + 1),
                 length = below(std::min<size_t>(header.size() - at, 12) + 1);
    switch (below(3)) {
      case 0: header.erase(at, length); break;
      case 1: header.insert(at, header.substr(at, length)); break;
      default: header.replace(at, length, pieces[below(std::size(pieces))]);
    }
  }
  return header;
}

TEST(Safetensors, SurvivesRandomEditsOfItsHeader) {
  const std::string header =
      R"({"__metadata__":{"a":"b"},"t":{"dtype":"F16","shape":[2,1],"data_offsets":[0,4]},)"
      R"("u":{"dtype":"U8","shape":[],"data_offsets":[4,5]}})";
  std::mt19937 random(1);
  int accepted = 0;
  for (int i = 0; i < 5000; ++i) {
    const std::string file = file_of(edited(header, random), 5);
    try {
      const SafetensorsFile tensors = parse(file);
      size_t bytes = 0;
      for (const TensorRecord& record : tensors.records())
        bytes += tensors.data(record.name).size();
      EXPECT_EQ(bytes, 5u) << file;
      ++accepted;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::Format) << error.what();
    }
  }
  EXPECT_GT(accepted, 10) << "some edits must leave a file that is read";
  EXPECT_LT(accepted, 4000);
}

std::vector<std::byte> counting_bytes(size_t size) {
  std::vector<std::byte> bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 7);
  return bytes;
}

TEST(SafetensorsWriter, WritesWhatTheReaderReads) {
  const TemporaryDirectory dir;
  const auto bytes = counting_bytes(24);
  const std::span<const std::byte> data(bytes);
  const TensorEntry entries[] = {
      {"half", DType::BFloat16, {3}, data.first(6)}, {"flags", DType::Bool, {1, 1}, data.first(1)},
      {"scalar", DType::Float64, {}, data.first(8)}, {"none", DType::Float32, {0, 4}, {}},
      {"Ж\"\\\n", DType::Float32, {2, 3}, data},
  };
  write_safetensors(dir / "m", entries, {{"step", "7"}, {"clé", "\"x\""}});
  const SafetensorsFile file = SafetensorsFile::open(dir / "m");
  ASSERT_EQ(file.records().size(), 5u);
  for (const TensorEntry& entry : entries) {
    EXPECT_EQ(file.record(entry.name).dtype, entry.dtype);
    EXPECT_EQ(file.record(entry.name).shape, entry.shape);
    EXPECT_EQ(text_of(file.data(entry.name)), text_of(entry.data));
    const auto address = reinterpret_cast<uintptr_t>(file.data(entry.name).data());
    EXPECT_EQ(address % size_of(entry.dtype), 0u) << entry.name << " is not aligned";
  }
  EXPECT_EQ(file.metadata().at("step"), "7");
  EXPECT_EQ(file.metadata().at("clé"), "\"x\"");
}

TEST(SafetensorsWriter, GivesTheSameBytesInWhateverOrderTensorsCome) {
  const TemporaryDirectory dir;
  const auto bytes = counting_bytes(8);
  const std::span<const std::byte> data(bytes);
  const TensorEntry b = {"b", DType::Float16, {4}, data},
                    a = {"a", DType::Float16, {2}, data.first(4)};
  write_safetensors(dir / "1", std::vector{a, b});
  write_safetensors(dir / "2", std::vector{b, a});
  const std::string expected = R"({"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},)"
                               R"("b":{"dtype":"F16","shape":[4],"data_offsets":[4,12]}})";
  const std::string text = read_text_file(dir / "1");
  EXPECT_EQ(text, read_text_file(dir / "2"));
  EXPECT_EQ(text.substr(8, expected.size()), expected);
  EXPECT_EQ((text.size() - 12) % 8, 0u) << "data must begin at a multiple of 8";
}

TEST(SafetensorsWriter, TakesDataInPieces) {
  const TemporaryDirectory dir;
  const auto bytes = counting_bytes(9);
  const std::span<const std::byte> data(bytes);
  const TensorEntry entries[] = {{"narrow", DType::UInt8, {1}, {}},
                                 {"wide", DType::Int64, {1}, {}}};
  SafetensorsWriter writer(dir / "m", entries);
  EXPECT_EQ(writer.records()[0].name, "wide");
  writer.write(data.first(3));
  writer.write(data.subspan(3));
  expect_error(ErrorKind::Argument, "got 10 bytes of data, the tensors take 9",
               [&] { writer.write(data.first(1)); });
  EXPECT_TRUE(!std::filesystem::exists(dir / "m"));
  writer.commit();
  EXPECT_EQ(text_of(SafetensorsFile::open(dir / "m").data("wide")), text_of(data.first(8)));
}

TEST(SafetensorsWriter, RefusesByNameWhatItCannotWrite) {
  const TemporaryDirectory dir;
  const auto bytes = counting_bytes(4);
  const TensorEntry good = {"t", DType::UInt8, {4}, bytes};
  const auto expect_refusal = [&](const char* message, std::vector<TensorEntry> entries) {
    expect_error(ErrorKind::Argument, message, [&] { write_safetensors(dir / "m", entries); });
  };
  expect_refusal("tensor 't' is there twice", {good, good});
  expect_refusal("tensor '' has a name that is reserved", {{"", DType::UInt8, {4}, bytes}});
  expect_refusal("tensor '__metadata__' has a name that is reserved",
                 {{"__metadata__", DType::UInt8, {4}, bytes}});
  expect_refusal("tensor '\\xff' has a name that is not UTF-8",
                 {{"\xff", DType::UInt8, {4}, bytes}});
  expect_refusal("tensor 't' comes with 4 bytes, its dtype and shape take 8",
                 {{"t", DType::BFloat16, {4}, bytes}});
  expect_refusal("tensor 't' comes without its bytes", {{"t", DType::UInt8, {4}, {}}});
  expect_refusal("shape of tensor 't' has a negative dimension, -1",
                 {{"t", DType::UInt8, {-1}, {}}});
  expect_refusal("overflow: tensor 't' takes more than 2^63 - 1 bytes",
                 {{"t", DType::UInt8, {INT64_MAX, 2}, {}}});
  expect_refusal("the tensors take more than 2^63 - 1 bytes",
                 {{"t", DType::UInt8, {INT64_MAX}, {}}, {"u", DType::UInt8, {1}, {}}});
  expect_error(ErrorKind::Argument, "metadata 'k' is not UTF-8", [&] {
    write_safetensors(dir / "m", std::vector{good}, {{"k", "\xff"}});
  });
  expect_error(ErrorKind::Argument, "got 0 bytes of data, the tensors take 4",
               [&] { SafetensorsWriter(dir / "m", std::vector{good}).commit(); });
  EXPECT_THAT(dir.names(), IsEmpty()) << "a refused file must leave nothing behind";
}

TEST(SafetensorsWriter, FileIsOldOrNewWhicheverCallFails) {
  const auto bytes = counting_bytes(64);
  const TensorEntry old_entry[] = {{"old", DType::UInt8, {64}, bytes}};
  const TensorEntry new_entry[] = {{"new", DType::Float32, {16}, bytes}};
  for (const auto effect : {FileFaults::Effect::Fail, FileFaults::Effect::DiskFull,
                            FileFaults::Effect::Crash, FileFaults::Effect::ShortWrite}) {
    for (int64_t call = 0; call < 6; ++call) {
      const TemporaryDirectory dir;
      write_safetensors(dir / "m", old_entry);
      bool failed = false;
      {
        FileFaults faults(effect, call);
        try {
          write_safetensors(dir / "m", new_entry);
        } catch (const Error&) {
          failed = true;
        }
      }
      const SafetensorsFile file = SafetensorsFile::open(dir / "m");
      EXPECT_TRUE(file.find("new") != nullptr || (failed && file.find("old") != nullptr));
    }
  }
}

}  // namespace
}  // namespace plinth
