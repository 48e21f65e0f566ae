// plinth convert and inspect between directories and files of other programs.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "core/io/gguf.h"
#include "tests/apps/plinth_program.h"
#include "tests/models/fixture.h"

namespace plinth {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class Convert : public testing::Test {
 protected:
  Outcome run(const std::vector<std::string>& arguments) const {
    return plinth_program(here_.path(), arguments);
  }
  void expect_done(const std::vector<std::string>& arguments) const {
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.status, 0) << outcome.errors;
  }
  void expect_refused(const std::vector<std::string>& arguments, const char* text) const {
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.status, 2) << outcome.output;
    EXPECT_THAT(outcome.errors, HasSubstr(text));
  }
  // The weights of the fixture of that name, to the bit.
  void expect_gpt2(const std::string& directory) const {
    const SafetensorsFile expected = SafetensorsFile::open(fixture("gpt2") / "model.safetensors");
    const SafetensorsFile found = SafetensorsFile::open(here_ / directory / "model.safetensors");
    for (const TensorRecord& record : expected.records())
      EXPECT_TRUE(std::ranges::equal(found.data(record.name), expected.data(record.name)))
          << record.name;
  }
  static std::string path(const std::string& name) { return fixture(name).string(); }

  TemporaryDirectory here_;
};

TEST_F(Convert, ModelsOfEveryTableKeepTheirWeights) {
  for (const std::string name : {"t5", "t5_gated", "whisper", "whisper_untied", "ctc", "clip",
                                 "bert_sequence", "bert_token", "bert_span"}) {
    expect_done({"convert", path(name), name, "--dtype", "bfloat16"});
    expect_done({"convert", name, name + "_parts", "--max-shard-gib", "0.00001"});
    EXPECT_TRUE(
        std::filesystem::exists(here_ / (name + "_parts") / "model.safetensors.index.json"));
    EXPECT_EQ(weight_names(here_ / name), weight_names(fixture(name))) << name;
    EXPECT_EQ(weight_names(here_ / (name + "_parts")), weight_names(fixture(name))) << name;
    const SafetensorsFile written = SafetensorsFile::open(here_ / name / "model.safetensors");
    EXPECT_EQ(written.records()[0].dtype, DType::BFloat16) << name;
    expect_done({"inspect", name});
  }
  expect_refused({"convert", path("t5"), "t5.gguf"}, "t5.gguf: model_type got t5");
  expect_refused({"convert", path("t5"), "other", "--average"},
                 "--average: got a t5, takes a language model");
  EXPECT_THAT(run({"inspect", path("ctc")}).output, HasSubstr("labels      5, characters\n"));
  EXPECT_THAT(run({"inspect", path("bert_token")}).output,
              AllOf(HasSubstr("model       BertForTokenClassification in"),
                    HasSubstr("layers      1 of width 24, 3 heads\nlabels      5\n")));
}

TEST_F(Convert, GgufGoesThereAndBackWithItsTokenizer) {
  std::filesystem::copy(fixture("gpt2"), here_ / "model");
  std::string vocabulary, text = "abcdefghijklmnopqrstuvwxyz ,.!?ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  for (size_t id = 0; id < text.size(); ++id) {
    const std::string token = text[id] == ' ' ? "Ġ" : std::string(1, text[id]);
    vocabulary += detail::concat(id ? "," : "", '"', token, "\":", id);
  }
  write_file_atomically(here_ / "model" / "tokenizer.json",
                        R"({"model":{"type":"BPE","merges":[],"vocab":{)" + vocabulary +
                            R"(}},"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},)"
                            R"("decoder":{"type":"ByteLevel"}})");
  expect_done({"convert", "model", "m.gguf"});
  expect_done({"convert", "m.gguf", "back"});
  expect_gpt2("back");
  EXPECT_TRUE(std::filesystem::exists(here_ / "back" / "tokenizer.json"));
  const GgufFile file = GgufFile::open(here_ / "m.gguf");
  EXPECT_EQ(file.texts("tokenizer.ggml.tokens").size(), 97u);
  EXPECT_EQ(file.texts("tokenizer.ggml.tokens")[96], "[PAD96]");

  expect_done({"convert", "m.gguf", "q.gguf", "--dtype", "q8_0"});
  const Outcome inspected = run({"inspect", "q.gguf", "--tensors"});
  EXPECT_THAT(inspected.output, HasSubstr("gguf        q.gguf, version 3\n"));
  EXPECT_THAT(inspected.output, HasSubstr("  gpt2.embedding_length: 32\n"));
  EXPECT_THAT(inspected.output, HasSubstr("Q8_0       97 x 32\n"));
}

TEST_F(Convert, LlmcCheckpointsGoThereAndBack) {
  expect_done({"convert", path("gpt2"), "m.bin"});
  expect_done({"convert", "m.bin", "back"});
  expect_gpt2("back");
  EXPECT_THAT(run({"inspect", "m.bin"}).output, HasSubstr("vocabulary  97, padded to 128\n"));
}

TEST_F(Convert, WritesOverNothing) {
  const auto refused = [&](const std::string& out, const std::string& existing) {
    write_file_atomically(here_ / existing, "precious");
    const Outcome outcome = run({"convert", path("gpt2"), out});
    EXPECT_EQ(outcome.status, 1) << outcome.output;
    EXPECT_THAT(outcome.errors, HasSubstr(existing + ": exists already"));
    EXPECT_EQ(read_text_file(here_ / existing), "precious");
  };
  for (const char* out : {"m.gguf", "m.bin", "m.onnx", "m"}) refused(out, out);
  refused("large.onnx", "large.onnx.data");
  EXPECT_FALSE(std::filesystem::exists(here_ / "large.onnx"));
}

TEST_F(Convert, NamesWhatItDoesNotTake) {
  write_file_atomically(here_ / "notes.txt", "no model");
  expect_refused({"convert", "notes.txt", "out"}, "notes.txt: is no file of a model");
  expect_refused({"convert", path("llama"), "m.gguf", "--dtype", "float64"},
                 "--dtype: got float64, a GGUF file takes");
  expect_refused({"convert", path("llama"), "out", "--dtype", "q8_0"},
                 "--dtype: got q8_0, a directory takes");
  expect_refused({"convert", path("llama"), "m.onnx", "--dtype", "float16"},
                 "--dtype: got float16, an ONNX file takes float32");
  expect_refused({"convert", path("gguf/llama.gguf"), "out", "--average"}, "--average: got a file");
  expect_refused({"convert", path("mixtral"), "m.onnx"}, "onnx: model_type got mixtral");
  EXPECT_FALSE(std::filesystem::exists(here_ / "m.gguf"));
  EXPECT_FALSE(std::filesystem::exists(here_ / "out"));
}

}  // namespace
}  // namespace plinth
