#include "models/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/autograd.h"
#include "core/io/file.h"
#include "core/io/json.h"
#include "core/ops/elementwise.h"
#include "models/gpt2/gpt2.h"
#include "models/llama/llama.h"
#include "models/t5/config.h"
#include "models/whisper/config.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"
#include "tests/models/fixture.h"

namespace plinth {
namespace {

namespace fs = std::filesystem;

ModelSize small(const std::string& type) {
  ModelSize size;
  size.type = type;
  size.vocab_size = 50;
  size.context = 12;
  size.layers = 2;
  size.dim = 16;
  size.heads = 4;
  return size;
}

Tensor ids_of(std::initializer_list<int64_t> values) {
  return from_values<int64_t>(values, {1, static_cast<int64_t>(values.size())});
}

// A copy of a fixture's directory, to be damaged.
void copy_fixture(const std::string& name, const fs::path& to) {
  for (const char* file : {"config.json", "model.safetensors"})
    fs::copy_file(fixture(name) / file, to / file);
}

void edit_config(const fs::path& directory, const std::function<void(nlohmann::json&)>& edit) {
  nlohmann::json config = read_json(directory / "config.json");
  edit(config);
  write_file_atomically(directory / "config.json", config.dump());
}

TEST(Registry, UnknownTypeIsToldTheNearest) {
  expect_error(ErrorKind::Config,
               "model.type got 'gtp2', takes one of gpt2, llama, mixtral, bert (nearest: gpt2)",
               [] { make_model(small("gtp2"), 0); });
}

TEST(Registry, SizesThatDoNotFitAreRefusedByKey) {
  const auto refused = [](const std::string& type, void (*edit)(ModelSize&), const char* message) {
    ModelSize size = small(type);
    edit(size);
    expect_error(ErrorKind::Config, message, [&] { make_model(size, 0); });
  };
  refused(
      "gpt2", [](ModelSize& size) { size.vocab_size = 0; }, "model.vocab_size: got 0");
  refused(
      "gpt2", [](ModelSize& size) { size.heads = 3; },
      "model.dim: got 16, takes a multiple of heads");
  refused(
      "gpt2", [](ModelSize& size) { size.kv_heads = 2; }, "model.kv_heads");
  refused(
      "bert", [](ModelSize& size) { size.heads = 3; },
      "model.dim: got 16, takes a multiple of heads");
  refused(
      "bert", [](ModelSize& size) { size.kv_heads = 2; }, "model.kv_heads");
  refused(
      "llama", [](ModelSize& size) { size.kv_heads = 3; }, "takes a multiple of kv_heads (3)");
  refused(
      "llama", [](ModelSize& size) { size.heads = 16; }, "rotary positions take an even number");
  refused(
      "mixtral", [](ModelSize& size) { size.experts_per_token = 9; },
      "model.experts_per_token: got 9, takes at most the 8 of model.experts");
  refused(
      "mixtral", [](ModelSize& size) { size.experts = 0; }, "takes at least 1 of each");
}

TEST(Registry, WeightsAreAFunctionOfTheSeed) {
  for (const ModelFamily& family : model_families()) {
    const ModelSize size = small(std::string(family.type));
    const auto a = make_model(size, 3), b = make_model(size, 3), c = make_model(size, 4);
    const Tensor ids = ids_of({1, 2, 3});
    EXPECT_EQ(to_vector(a->forward(ids)), to_vector(b->forward(ids)));
    EXPECT_NE(to_vector(a->forward(ids)), to_vector(c->forward(ids)));
  }
}

TEST(Registry, GroupedHeadsAndUntiedHeadsSurviveSavingInEveryDtype) {
  ModelSize size = small("llama");
  size.kv_heads = 2;
  size.tied = false;
  const auto model = make_model(size, 1);
  const Tensor ids = ids_of({4, 8, 15, 16, 23});
  const Tensor logits = model->forward(ids);
  for (const auto& [dtype, bound] : {std::pair{DType::Float32, 0.0},
                                     {DType::BFloat16, 0.05},
                                     {DType::Float16, 0.01},
                                     {DType::Float64, 0.0}}) {
    SCOPED_TRACE(name(dtype));
    const TemporaryDirectory folder;
    save_pretrained(*model, folder.path(), {.dtype = dtype});
    EXPECT_LE(relative_distance(load_pretrained(folder.path())->forward(ids), logits), bound);
    const auto narrow = load_pretrained(folder.path(), dtype);
    EXPECT_EQ(narrow->head_weight().dtype(), dtype);
    EXPECT_LE(relative_distance(narrow->forward(ids), logits), std::max(bound, 1e-5));
  }
}

TEST(LanguageModel, RefusesIdsThatDoNotFit) {
  const auto model = make_model(small("gpt2"), 0);
  expect_error(ErrorKind::Shape, "the context is 12", [&] {
    model->forward(from_values<int64_t>(std::vector<int64_t>(13, 1), {1, 13}));
  });
  expect_error(ErrorKind::Shape, "expected [batch, time]", [&] {
    model->forward(from_values<int64_t>({1, 2}, {2}));
  });
  expect_error(ErrorKind::Argument, "50", [&] { model->forward(ids_of({1, 50})); });
  expect_error(ErrorKind::Argument, "exceeds the context", [&] { model->make_caches(1, 13); });
  KVCaches none;
  expect_error(ErrorKind::Argument, "gpt2: caches are for 0 layers, takes one for each of its 2",
               [&] { model->hidden(ids_of({1}), &none); });
  expect_error(ErrorKind::Argument, "there is no block 2, it has 2", [&] {
    model->run_block(2, zeros({1, 1, 16}));
  });
}

TEST(LanguageModel, TakesAnEmptyBatch) {
  for (const char* type : {"gpt2", "llama", "mixtral", "bert"}) {
    SCOPED_TRACE(type);
    const auto model = make_model(small(type), 0);
    const Tensor none = zeros({0, 3}, {DType::Int64, {}});
    EXPECT_EQ(model->forward(none).shape(), Shape({0, 3, 50}));
    const Tensor loss = model->loss(none, none);
    EXPECT_EQ(loss.item(), 0);
    loss.backward();
    EXPECT_EQ(model->head_weight().grad().shape(), Shape({50, 16}));
  }
}

TEST(LanguageModel, DropoutActsInTrainingOnly) {
  ModelSize size = small("gpt2");
  size.dropout = 0.5;
  const auto model = make_model(size, 0);
  const Tensor ids = ids_of({1, 2, 3});
  EXPECT_NE(to_vector(model->forward(ids)), to_vector(model->forward(ids)));
  model->eval();
  EXPECT_EQ(to_vector(model->forward(ids)), to_vector(model->forward(ids)));
}

TEST(LanguageModel, TiedHeadIsTheEmbedding) {
  for (const char* type : {"gpt2", "llama", "mixtral", "bert"}) {
    ModelSize size = small(type);
    const int64_t tied = make_model(size, 0)->parameter_count();
    size.tied = false;
    EXPECT_EQ(make_model(size, 0)->parameter_count(), tied + 50 * 16) << type;
  }
}

struct Damage {
  const char* what;
  std::function<void(const fs::path&)> inflict;
  const char* message;
};

TEST(LoadPretrained, NamesFileTensorAndShapeOfWhatIsWrong) {
  const auto set = [](const char* key, nlohmann::json value) {
    return [=](const fs::path& path) {
      edit_config(path, [&](nlohmann::json& config) { config[key] = value; });
    };
  };
  const std::vector<Damage> table = {
      {"no config", [](const fs::path& path) { fs::remove(path / "config.json"); }, "config.json"},
      {"no weights", [](const fs::path& path) { fs::remove(path / "model.safetensors"); },
       "model.safetensors"},
      {"weights cut off",
       [](const fs::path& path) { fs::resize_file(path / "model.safetensors", 5000); },
       "model.safetensors"},
      {"config is no JSON",
       [](const fs::path& path) { write_file_atomically(path / "config.json", "{"); },
       "config.json"},
      {"config is a list",
       [](const fs::path& path) { write_file_atomically(path / "config.json", "[]"); },
       "holds array, expected an object"},
      {"other vocabulary", set("vocab_size", 96),
       "transformer.wte.weight has shape [97, 32], expected [96, 32]"},
      {"more layers", set("n_layer", 3), "transformer.h.2.ln_1.weight is missing"},
      {"fewer layers", set("n_layer", 1), "belongs to no weight of this model"},
      {"a size of another type", set("n_embd", "32"), "n_embd is \"32\", takes an integer from 1"},
      {"a negative size", set("n_head", -4), "n_head is -4"},
      {"layers that would take all memory", set("n_layer", 2000000000),
       "n_layer is 2000000000, takes an integer from 1 to 10000"},
      {"heads that do not divide", set("n_head", 5), "n_embd is 32, takes a multiple of n_head 5"},
      {"an unknown activation", set("activation_function", "gelu_nwe"), "nearest: gelu_new"},
      {"cross-attention", set("add_cross_attention", true),
       "add_cross_attention is true, takes false only"},
      {"an unknown family", set("model_type", "gpt3"), "model_type got 'gpt3'"},
  };
  for (const Damage& damage : table) {
    SCOPED_TRACE(damage.what);
    const TemporaryDirectory folder;
    copy_fixture("gpt2", folder.path());
    damage.inflict(folder.path());
    try {
      load_pretrained(folder.path());
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr(damage.message));
      EXPECT_THAT(error.what(), testing::HasSubstr(folder.path().string()));
    }
  }
}

TEST(LoadPretrained, RefusesALlamaThatItWouldComputeDifferently) {
  const auto refused = [](const char* key, nlohmann::json value, const char* message) {
    const TemporaryDirectory folder;
    copy_fixture("llama", folder.path());
    edit_config(folder.path(), [&](nlohmann::json& config) { config[key] = value; });
    expect_error(ErrorKind::Format, message, [&] { load_pretrained(folder.path()); });
  };
  refused("attention_bias", true, "attention_bias is true, takes false only");
  refused("hidden_act", "gelu", "hidden_act is \"gelu\", takes silu");
  refused("rope_parameters", {{"rope_type", "yarn"}}, "rope_parameters.rope_type is \"yarn\"");
  for (const char* type : {"linear", "llama3"})
    refused("rope_parameters", {{"rope_type", type}},
            "rope_parameters.factor is missing, takes a number of at least 1");
  refused("num_key_value_heads", 3, "takes a multiple of num_key_value_heads 3");
}

// What config.json's eos_token_id becomes in the model, and in what is written of it.
void expect_end_tokens(const char* name, const std::function<void(nlohmann::json&)>& edit,
                       const std::vector<int64_t>& expected, const nlohmann::json& written) {
  const TemporaryDirectory folder, again;
  copy_fixture(name, folder.path());
  edit_config(folder.path(), edit);
  const auto model = load_pretrained(folder.path());
  EXPECT_EQ(model->info().eos_tokens, expected) << name;
  save_pretrained(*model, again.path());
  EXPECT_EQ(read_json(again.path() / "config.json")["eos_token_id"], written) << name;
}

TEST(LoadPretrained, KeepsEveryTokenThatEndsAText) {
  for (const char* name : {"gpt2", "llama", "mixtral", "bert"}) {
    const auto expect = [&](const nlohmann::json& given, const std::vector<int64_t>& expected,
                            const nlohmann::json& written) {
      expect_end_tokens(
          name, [&](nlohmann::json& config) { config["eos_token_id"] = given; }, expected, written);
    };
    expect({3, 4}, {3, 4}, {3, 4});
    expect({3}, {3}, 3);
    expect(3, {3}, 3);
    expect(nullptr, {}, nullptr);
    expect(-1, {}, nullptr);
  }
  const TemporaryDirectory folder;
  copy_fixture("llama", folder.path());
  edit_config(folder.path(), [](nlohmann::json& config) { config["eos_token_id"] = {3, "4"}; });
  expect_error(ErrorKind::Format,
               "eos_token_id is [3,\"4\"], takes the id of a token, or a list of them",
               [&] { load_pretrained(folder.path()); });
}

// As the classes of transformers have it.
TEST(LoadPretrained, TakesTheFamilysEndTokenWhereNoneIsNamed) {
  const auto erase = [](nlohmann::json& config) { config.erase("eos_token_id"); };
  expect_end_tokens("gpt2", erase, {50256}, 50256);
  expect_end_tokens("llama", erase, {2}, 2);
  expect_end_tokens("mixtral", erase, {2}, 2);
  expect_end_tokens("bert", erase, {}, nullptr);
  const auto without = [&](const char* name, auto read) {
    nlohmann::json config = read_json(fixture(name) / "config.json");
    config.erase("eos_token_id");
    config.erase("bos_token_id");
    return read(ConfigJson::parse(config.dump(), "config.json"));
  };
  EXPECT_EQ(
      without("t5", [](const auto& json) { return T5Config::from_json(json, nullptr).eos_tokens; }),
      std::vector<int64_t>{1});
  const WhisperConfig whisper = without("whisper", WhisperConfig::from_json);
  EXPECT_EQ(whisper.eos_tokens, std::vector<int64_t>{50256});
  EXPECT_EQ(whisper.bos_token, 50256);
  EXPECT_EQ(without("gpt2", Gpt2Config::from_json).bos_token, 50256);
  EXPECT_EQ(
      without("llama", [](const auto& json) { return LlamaConfig::from_json(json).bos_token; }), 1);
}

TEST(LoadPretrained, ReadsRopeAsTransformersBeforeFiveWroteIt) {
  const TemporaryDirectory folder;
  copy_fixture("llama_scaled", folder.path());
  edit_config(folder.path(), [](nlohmann::json& config) {
    nlohmann::json scaling = config["rope_parameters"];
    config.erase("rope_parameters");
    config["rope_theta"] = scaling["rope_theta"];
    config["rope_scaling"] = scaling;
  });
  const nn::StateDict expected = read_tensors(fixture("llama_scaled") / "expected.safetensors");
  const auto model = load_pretrained(folder.path());
  EXPECT_LT(
      relative_distance(model->forward(value(expected, "input_ids")), value(expected, "logits")),
      1e-5);
}

// What LlamaConfig of transformers 5.24 reads.
TEST(LoadPretrained, FindsTheBaseOfRopeWhereTransformersDoes) {
  const auto read = [](const nlohmann::json& rope) {
    nlohmann::json config = read_json(fixture("llama") / "config.json");
    config.erase("rope_parameters");
    config.update(rope);
    return LlamaConfig::from_json(ConfigJson::parse(config.dump(), "config.json"));
  };
  const nlohmann::json plain = {{"rope_type", "default"}};
  const nlohmann::json linear = {{"rope_type", "linear"}, {"factor", 2.0}};
  nlohmann::json with_base = linear;
  with_base["rope_theta"] = 77.0;
  const nlohmann::json outer = {{"rope_theta", 500000.0}};
  const auto beside = [&](nlohmann::json config) {
    config.update(outer);
    return read(config);
  };
  EXPECT_EQ(read(nlohmann::json::object()).rope_theta, 10000);
  EXPECT_EQ(read(outer).rope_theta, 500000);
  EXPECT_EQ(beside({{"rope_parameters", plain}}).rope_theta, 500000);
  EXPECT_EQ(beside({{"rope_parameters", with_base}}).rope_theta, 77);
  EXPECT_EQ(beside({{"rope_scaling", with_base}}).rope_theta, 77);
  const LlamaConfig both = beside({{"rope_scaling", linear}, {"rope_parameters", plain}});
  EXPECT_EQ(both.rope_scaling.kind, RopeScaling::Kind::Linear);
  EXPECT_EQ(both.rope_theta, 500000);
  const LlamaConfig empty =
      beside({{"rope_scaling", nlohmann::json::object()}, {"rope_parameters", linear}});
  EXPECT_EQ(empty.rope_scaling.kind, RopeScaling::Kind::Linear);
}

TEST(LoadPretrained, TakesATrunkWithoutPrefixWithTheBuffersOfOldFiles) {
  const TemporaryDirectory folder;
  copy_fixture("gpt2", folder.path());
  nn::StateDict weights = read_tensors(folder / "model.safetensors");
  for (auto& weight : weights) weight.name = weight.name.substr(std::string("transformer.").size());
  weights.push_back({"h.0.attn.bias", ones({1, 1, 4, 4})});
  weights.push_back({"h.0.attn.masked_bias", scalar(-1e4)});
  write_safetensors(folder / "model.safetensors", entries_of(weights));
  const Tensor ids = ids_of({1, 2, 3});
  EXPECT_EQ(to_vector(load_pretrained(folder.path())->forward(ids)),
            to_vector(load_pretrained(fixture("gpt2"))->forward(ids)));
}

TEST(LanguageModel, TrainsInFloat64) {
  const auto model = make_model(small("llama"), 0);
  model->to(DType::Float64);
  model->loss(ids_of({1, 2, 3}), ids_of({2, 3, 4})).backward();
  EXPECT_EQ(model->parameters().front().grad().dtype(), DType::Float64);
}

}  // namespace
}  // namespace plinth
