// Files of other programs: GGUF and llm.c's checkpoints.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "core/autograd.h"
#include "models/formats/gguf_config.h"
#include "models/formats/gguf_model.h"
#include "models/formats/llmc_model.h"
#include "models/formats/model_file.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"
#include "tests/models/fixture.h"

namespace plinth {
namespace {

TEST(GgufModel, ReadsALlamaOfTheReferenceImplementation) {
  const NoGradGuard no_grad;
  const auto model = load_gguf(GgufFile::open(fixture("gguf") / "llama.gguf"));
  const nn::StateDict expected = read_tensors(fixture("llama") / "expected.safetensors");
  const Tensor logits = model->forward(value(expected, "input_ids"));
  EXPECT_LT(relative_distance(logits, value(expected, "logits")), 1e-5);
  expect_same_state(*model, *load_pretrained(fixture("llama")));
}

class GgufRoundTrip : public testing::TestWithParam<const char*> {};

TEST_P(GgufRoundTrip, KeepsEveryBitOfFloat32AndTheSettings) {
  const TemporaryDirectory folder;
  const auto model = load_pretrained(fixture(GetParam()));
  save_gguf(*model, {}, GgmlType::F32, folder / "m.gguf");
  EXPECT_EQ(model_file_of(folder / "m.gguf"), ModelFile::Gguf);
  const auto again = load_gguf(GgufFile::open(folder / "m.gguf"));
  expect_same_state(*again, *model);
  EXPECT_EQ(again->info().context, model->info().context);
  EXPECT_EQ(again->info().tied, model->info().tied);
  EXPECT_EQ(again->info().eos_tokens, model->info().eos_tokens);
  const NoGradGuard no_grad;
  again->eval();  // a GGUF says nothing of dropout
  const Tensor ids = value(read_tensors(fixture(GetParam()) / "expected.safetensors"), "input_ids");
  EXPECT_EQ(to_vector(again->forward(ids)), to_vector(model->forward(ids)));
}

TEST_P(GgufRoundTrip, RoundsMatricesToTheTypeAsked) {
  const TemporaryDirectory folder;
  const auto model = load_pretrained(fixture(GetParam()));
  for (const auto& [type, bound] :
       {std::pair(GgmlType::F16, 5e-4), {GgmlType::BF16, 4e-3}, {GgmlType::Q8_0, 1e-2}}) {
    const auto path = folder / "m.gguf";
    save_gguf(*model, {}, type, path);
    const GgufFile file = GgufFile::open(path);
    EXPECT_EQ(file.find_tensor("token_embd.weight")->type.name, ggml_type_info(type).name);
    EXPECT_EQ(file.find_tensor("output_norm.weight")->type.name, "F32");
    const nn::StateDict a = load_gguf(file)->state_dict(), b = model->state_dict();
    for (size_t i = 0; i < a.size(); ++i)
      EXPECT_LT(relative_distance(a[i].tensor, b[i].tensor), bound) << a[i].name;
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, GgufRoundTrip,
                         testing::Values("gpt2", "llama", "llama_tied", "llama_scaled"),
                         [](const auto& info) { return std::string(info.param); });

TEST(GgufModel, NamesWhatItDoesNotTake) {
  const TemporaryDirectory folder;
  const auto path = folder / "m.gguf";
  for (const auto& [name, text] :
       {std::pair("mixtral", "model_type got mixtral"), {"bert", "model_type got bert"}}) {
    const auto model = load_pretrained(fixture(name));
    expect_error(ErrorKind::Argument, text, [&] { save_gguf(*model, {}, GgmlType::F32, path); });
  }
  const auto model = load_pretrained(fixture("llama"));
  expect_error(ErrorKind::Argument, "type got Q4_0",
               [&] { save_gguf(*model, {}, GgmlType::Q4_0, path); });
}

// The fields and tensors of a small Llama, to be changed.
struct Parts {
  std::vector<GgufField> fields;
  std::vector<GgufTensor> tensors;
  std::vector<std::vector<std::byte>> bytes;

  explicit Parts(const std::filesystem::path& path) {
    const GgufFile file = GgufFile::open(path);
    fields = file.fields();
    tensors = file.tensors();
    for (const GgufTensor& tensor : tensors) {
      const auto data = file.data(tensor);
      bytes.emplace_back(data.begin(), data.end());
    }
  }
  void set(const std::string& key, GgufValue value) {
    std::erase_if(fields, [&](const GgufField& field) { return field.key == key; });
    fields.push_back({key, std::move(value)});
  }
  void expect_refused(const std::string& text) const {
    const TemporaryDirectory folder;
    GgufWriter writer(folder / "m.gguf", fields, tensors);
    for (const auto& each : bytes) writer.write(each);
    writer.commit();
    const GgufFile file = GgufFile::open(folder / "m.gguf");
    expect_error(ErrorKind::Format, text, [&] { load_gguf(file); });
  }
};

TEST(GgufModel, RefusesFilesThatPlinthWouldComputeDifferently) {
  const auto path = fixture("gguf") / "llama.gguf";
  const auto refuses = [&](const std::string& text, const char* key, GgufValue value) {
    Parts parts(path);
    parts.set(key, std::move(value));
    parts.expect_refused(text);
  };
  refuses("field general.architecture is 'qwen2', takes gpt2 or llama", "general.architecture",
          GgufValue::of(std::string("qwen2")));
  refuses("field llama.expert_count is 8, takes 0", "llama.expert_count",
          GgufValue::of(uint32_t{8}));
  refuses("field llama.rope.dimension_count is 4, takes that of a head, 8",
          "llama.rope.dimension_count", GgufValue::of(uint32_t{4}));
  refuses("field llama.rope.scaling.type is 'yarn', takes none or linear",
          "llama.rope.scaling.type", GgufValue::of(std::string("yarn")));
  refuses("blk.0.attn_k.weight has shape [16, 32], expected [32, 32]",
          "llama.attention.head_count_kv", GgufValue::of(uint32_t{4}));
  refuses("'blk.1.attn_norm.weight' belongs to no weight of this model", "llama.block_count",
          GgufValue::of(uint32_t{1}));
  refuses("num_attention_heads is 4, takes a multiple of num_key_value_heads 3",
          "llama.attention.head_count_kv", GgufValue::of(uint32_t{3}));
  refuses("field llama.attention.head_count is 0, takes 1 or more", "llama.attention.head_count",
          GgufValue::of(uint32_t{0}));

  Parts missing(path);
  std::ranges::find(missing.tensors, "blk.1.attn_v.weight", &GgufTensor::name)->name = "other";
  missing.expect_refused("blk.1.attn_v.weight is missing; 'other' belongs to no weight");

  Parts factors(path);
  factors.tensors.push_back({"rope_freqs.weight", ggml_type_info(GgmlType::F32), {4}});
  const std::vector<float> values = {1, 1, 2, 8};
  const auto as_bytes = std::as_bytes(std::span(values));
  factors.bytes.emplace_back(as_bytes.begin(), as_bytes.end());
  factors.expect_refused("tensor rope_freqs.weight has 2 at 2, takes Llama 3's");

  Parts typed(path);
  typed.tensors.push_back({"q", *ggml_type_info(12), {256}});
  typed.bytes.emplace_back(144);
  typed.expect_refused("tensor 'q' has type Q4_K, takes F32, F16, BF16, Q8_0 or Q4_0");
}

// ---- llm.c ----

// A GPT-2 that llm.c computes.
std::unique_ptr<LanguageModel> small_gpt2(bool tied = true) {
  ModelSize size;
  size.type = "gpt2";
  size.vocab_size = 130;
  size.context = 16;
  size.layers = 2;
  size.dim = 8;
  size.heads = 2;
  size.tied = tied;
  return make_model(size, 7);
}

TEST(LlmcModel, KeepsEveryBitOfFloat32) {
  const TemporaryDirectory folder;
  const auto model = small_gpt2();
  save_llmc(*model, DType::Float32, folder / "m.bin");
  EXPECT_EQ(model_file_of(folder / "m.bin"), ModelFile::Llmc);
  const LlmcFile file = LlmcFile::open(folder / "m.bin");
  EXPECT_EQ(file.header().padded_vocab, 256);
  expect_same_state(*load_llmc(file), *model);
  save_llmc(*model, DType::BFloat16, folder / "m.bin");
  const LlmcFile narrow = LlmcFile::open(folder / "m.bin");
  EXPECT_EQ(narrow.header().dtype, DType::BFloat16);
  const nn::StateDict a = load_llmc(narrow)->state_dict(), b = model->state_dict();
  for (size_t i = 0; i < a.size(); ++i)
    EXPECT_EQ(to_vector(a[i].tensor), to_vector(b[i].tensor.to(DType::BFloat16))) << a[i].name;
}

// The place of each tensor by the order that llm.c's train_gpt2.py writes, counted by hand.
TEST(LlmcModel, LaysTensorsInTheOrderOfLlmC) {
  const TemporaryDirectory folder;
  const auto model = small_gpt2();
  save_llmc(*model, DType::Float32, folder / "m.bin");
  const std::vector<std::byte> bytes = read_file(folder / "m.bin");
  const auto number = [&](size_t element) {
    float found;
    std::memcpy(&found, bytes.data() + 1024 + element * 4, 4);
    return static_cast<double>(found);
  };
  const nn::StateDict state = model->state_dict();
  const auto of = [&](const std::string& name, size_t element) {
    return to_vector(value(state, name))[element];
  };
  size_t at = 0;
  EXPECT_EQ(number(at + 129 * 8 + 3), of("token_embedding.weight", 129 * 8 + 3));
  EXPECT_EQ(number(at + 130 * 8), 0) << "the first row that pads";
  at += 256 * 8;
  EXPECT_EQ(number(at + 5), of("position_embedding.weight", 5));
  at += 16 * 8 + 2 * 8 + 2 * 8;  // and both tensors of the first norm, for two layers
  EXPECT_EQ(number(at + 24 * 8 + 9), of("block1.attention.qkv.weight", 9));
  at += 2 * (24 * 8 + 24);
  EXPECT_EQ(number(at + 7), of("block0.attention.out.weight", 7));
  at += 2 * (8 * 8 + 8 + 8 + 8);
  EXPECT_EQ(number(at + 32 * 8 + 11), of("block1.mlp.up.weight", 11));
  at += 2 * (32 * 8 + 32);
  EXPECT_EQ(number(at + 33), of("block0.mlp.down.weight", 33));
  at += 2 * (8 * 32 + 8) + 8 + 8;
  EXPECT_EQ(bytes.size(), 1024 + at * 4);
}

TEST(LlmcModel, NamesWhatIsWrong) {
  const TemporaryDirectory folder;
  const auto path = folder / "m.bin";
  const auto refuses_model = [&](const std::string& text, const LanguageModel& model,
                                 DType dtype = DType::Float32) {
    expect_error(ErrorKind::Argument, text, [&] { save_llmc(model, dtype, path); });
  };
  refuses_model("llm.c: model_type got llama, takes gpt2", *load_pretrained(fixture("llama")));
  refuses_model("llm.c: dtype got float16", *small_gpt2(), DType::Float16);
  refuses_model("llm.c: tie_word_embeddings got false", *small_gpt2(false));
  save_llmc(*small_gpt2(), DType::Float32, path);
  const std::string good = read_text_file(path);
  const auto refuses = [&](const std::string& text, size_t index, int32_t number) {
    std::string bytes = good;
    std::memcpy(bytes.data() + 4 * index, &number, 4);
    expect_error(ErrorKind::Format, text, [&] { LlmcFile::parse(bytes_of(bytes), "m.bin"); });
  };
  refuses("m.bin: begins with 20240520, takes 20240326", 0, 20240520);
  refuses("version is 1, takes 3 (float32) or 5 (bfloat16)", 1, 1);
  refuses("the context is 0, takes 1 to", 2, 0);
  refuses("the number of layers is -1, takes 1 to 10000", 4, -1);
  refuses("the width is 8, takes a multiple of 3 heads", 5, 3);
  refuses("rows of the embedding is 129, takes at least the vocabulary's 130", 7, 129);
  refuses("bytes of tensors, its sizes take", 4, 3);
  expect_error(ErrorKind::Format, "has 100 bytes, the header takes 1024",
               [&] { LlmcFile::parse(bytes_of(good.substr(0, 100)), "m.bin"); });
}

// A small model's config.json that names none takes GPT-2's, which its vocabulary lacks.
TEST(Gguf, HasNoTokenBeyondTheVocabulary) {
  const auto written = [](int64_t token) {
    Gpt2Config config;
    config.vocab_size = 97;
    config.bos_token = token;
    config.eos_tokens = {token};
    return std::ranges::count_if(gguf_fields(config), [](const GgufField& field) {
      return field.key.starts_with("tokenizer.ggml.");
    });
  };
  EXPECT_EQ(written(96), 2);
  EXPECT_EQ(written(97), 0);
}

}  // namespace
}  // namespace plinth
