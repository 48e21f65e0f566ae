// BERT and its classifiers, against values that transformers and PyTorch computed: see
// tests/fixtures/README.md.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/autograd.h"
#include "core/io/file.h"
#include "core/io/json.h"
#include "core/ops/loss.h"
#include "models/bert/bert.h"
#include "models/bert/classifier.h"
#include "models/bert/sentence_embedding.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"
#include "tests/models/fixture.h"

namespace plinth {
namespace {

namespace fs = std::filesystem;

std::unique_ptr<Bert> load_bert(const fs::path& directory, DType dtype = DType::Float32) {
  std::unique_ptr<LanguageModel> model = load_pretrained(directory, dtype);
  return std::unique_ptr<Bert>(dynamic_cast<Bert*>(model.release()));
}

// A fixture's inputs and values: rows of two segments, some of them padded.
struct BertExpected {
  explicit BertExpected(const std::string& name)
      : values(read_tensors(fixture(name) / "expected.safetensors")),
        ids(value(values, "input_ids")),
        targets(value(values, "targets")),
        inputs{.segments = value(values, "segments"), .lengths = value(values, "lengths")} {}

  nn::StateDict values;
  Tensor ids, targets;
  BertInputs inputs;
};

Tensor loss_of(Bert& model, const BertExpected& expected) {
  const Tensor labels = nn::find(expected.values, "labels");
  if (labels.defined())
    return model.pretraining_loss(expected.ids, expected.inputs, expected.targets, labels);
  const Tensor x = model.finish(model.encode(expected.ids, expected.inputs));
  return model.loss_of_hidden(x, expected.targets);
}

class BertParity : public testing::TestWithParam<const char*> {
 protected:
  std::unique_ptr<Bert> model_ = load_bert(fixture(GetParam()));
  BertExpected expected_{GetParam()};
};

TEST_P(BertParity, LogitsAndLossAreThoseOfTransformers) {
  model_->eval();
  const Tensor x = model_->encode(expected_.ids, expected_.inputs);
  EXPECT_LT(relative_distance(model_->head(model_->finish(x)), value(expected_.values, "logits")),
            1e-5);
  if (model_->config().parts.next_sentence) {
    EXPECT_LT(relative_distance(model_->next_sentence(model_->pool(x)),
                                value(expected_.values, "next_sentence")),
              1e-5);
  }
  EXPECT_NEAR(loss_of(*model_, expected_).item(), value(expected_.values, "loss").item(), 2e-6);
}

TEST_P(BertParity, EveryGradientIsThatOfPyTorch) {
  model_->eval();
  for (const bool checkpointing : {false, true}) {
    SCOPED_TRACE(checkpointing ? "with activation checkpointing" : "plain");
    model_->set_activation_checkpointing(checkpointing);
    model_->zero_grad();
    loss_of(*model_, expected_).backward();
    expect_gradients(exported_gradients(*model_), expected_.values);
  }
}

TEST_P(BertParity, SavedModelLoadsToTheSameBits) {
  for (const uint64_t bytes : {uint64_t{1} << 30, uint64_t{9000}}) {
    const TemporaryDirectory folder;
    save_pretrained(*model_, folder.path(), {.max_shard_bytes = bytes});
    EXPECT_EQ(weight_names(folder.path()), weight_names(fixture(GetParam())));
    const auto loaded = load_pretrained(folder.path());
    expect_same_state(*model_, *loaded);
    EXPECT_EQ(loaded->config_json(DType::Float32), model_->config_json(DType::Float32));
  }
}

TEST_P(BertParity, NarrowFilesAndWeights) {
  model_->eval();
  const auto logits = [&](Bert& model) {
    model.eval();
    return model.head(model.finish(model.encode(expected_.ids, expected_.inputs)));
  };
  const Tensor reference = logits(*model_);
  for (const auto& [dtype, bound] : {std::pair{DType::BFloat16, 0.05}, {DType::Float16, 0.01}}) {
    SCOPED_TRACE(name(dtype));
    const TemporaryDirectory folder;
    save_pretrained(*model_, folder.path(), {.dtype = dtype});
    EXPECT_LE(relative_distance(logits(*load_bert(folder.path())), reference), bound);
    EXPECT_LE(relative_distance(logits(*load_bert(folder.path(), dtype)), reference), bound);
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, BertParity, testing::Values("bert", "bert_untied"),
                         [](const auto& info) { return std::string(info.param); });

// What the rest of the program calls: ids alone.
TEST(Bert, IsALanguageModelOfOneSegment) {
  const auto model = load_bert(fixture("bert"));
  const BertExpected expected("bert");
  model->eval();
  const Tensor x = model->finish(model->encode(expected.ids));
  EXPECT_EQ(to_vector(model->forward(expected.ids)), to_vector(model->head(x)));
  EXPECT_EQ(model->loss(expected.ids, expected.targets).item(),
            model->loss_of_hidden(x, expected.targets).item());
  EXPECT_FALSE(model->info().causal);
}

// transformers' names since 2019, and those before; tied copies; a buffer.
TEST(Bert, ReadsEarlyCheckpoints) {
  const TemporaryDirectory folder;
  nn::StateDict weights = read_tensors(fixture("bert") / "model.safetensors");
  int renamed = 0;
  for (auto& [name, tensor] : weights) {
    for (const auto& [now, then] :
         {std::pair{"LayerNorm.weight", "LayerNorm.gamma"}, {"LayerNorm.bias", "LayerNorm.beta"}}) {
      if (!name.ends_with(now)) continue;
      name = name.substr(0, name.size() - std::string(now).size()) + then;
      ++renamed;
    }
  }
  EXPECT_EQ(renamed, 2 * 6);
  weights.push_back({"bert.embeddings.position_ids", zeros({1, 20}, {DType::Int64, {}})});
  weights.push_back(
      {"cls.predictions.decoder.weight", value(weights, "bert.embeddings.word_embeddings.weight")});
  write_safetensors(folder / "model.safetensors", entries_of(weights));
  nlohmann::json config = read_json(fixture("bert") / "config.json");
  config["architectures"] = {"BertForMaskedLM"};  // as that of bert-base-uncased says
  write_file_atomically(folder / "config.json", config.dump());
  const auto model = load_bert(folder.path()), expected = load_bert(fixture("bert"));
  EXPECT_EQ(nn::find(model->state_dict(), "next_sentence.weight").defined(), true);
  expect_same_state(*model, *expected);
}

// A directory of the encoder alone, in the names that transformers gives it.
void write_encoder(const fs::path& folder) {
  nn::StateDict weights;
  for (auto& [name, tensor] : read_tensors(fixture("bert") / "model.safetensors")) {
    if (name.starts_with("bert.")) weights.push_back({name.substr(5), tensor});
  }
  write_safetensors(folder / "model.safetensors", entries_of(weights));
  nlohmann::json config = read_json(fixture("bert") / "config.json");
  config["architectures"] = {"BertModel"};
  write_file_atomically(folder / "config.json", config.dump());
}

TEST(Bert, TheEncoderAloneLoadsAndSaves) {
  const TemporaryDirectory folder, copy;
  write_encoder(folder.path());
  const auto model = load_bert(folder.path()), whole = load_bert(fixture("bert"));
  const BertExpected expected("bert");
  model->eval(), whole->eval();
  const Tensor x = model->encode(expected.ids, expected.inputs);
  EXPECT_EQ(to_vector(model->pool(x)),
            to_vector(whole->pool(whole->encode(expected.ids, expected.inputs))));
  save_pretrained(*model, copy.path());
  EXPECT_EQ(weight_names(copy.path()), weight_names(folder.path()));
  EXPECT_EQ(read_json(copy / "config.json")["architectures"], nlohmann::json{"BertModel"});
  expect_error(ErrorKind::Argument, "has no masked-LM head", [&] { model->forward(expected.ids); });
  expect_error(ErrorKind::Argument, "has no next-sentence head",
               [&] { model->next_sentence(model->pool(x)); });
}

TEST(Bert, TrainedPartsAreThoseOfTheMaskedLoss) {
  const auto model = load_bert(fixture("bert"));
  const auto trained = model->trained_parts();
  ASSERT_NE(trained, nullptr);
  EXPECT_EQ(trained->trained_parts(), nullptr);
  const BertExpected expected("bert");
  model->eval(), trained->eval();
  const Tensor loss = trained->loss(expected.ids, expected.targets);
  EXPECT_EQ(loss.item(), model->loss(expected.ids, expected.targets).item());
  loss.backward();
  for (const auto& [name, parameter] : trained->named_parameters())
    EXPECT_TRUE(parameter.grad().defined()) << name;
}

TEST(Bert, RefusesWhatItDoesNotCompute) {
  const auto model = load_bert(fixture("bert_untied"));
  const BertExpected expected("bert_untied");
  expect_error(ErrorKind::Argument, "has no caches: it fills in masked tokens",
               [&] { model->make_caches(1, 8); });
  expect_error(ErrorKind::Argument, "takes whole sequences",
               [&] { model->embed(expected.ids, 3); });
  expect_error(ErrorKind::Argument, "has no pooler",
               [&] { model->pool(model->encode(expected.ids)); });
  expect_error(ErrorKind::Shape, "segments have shape [3]", [&] {
    model->encode(expected.ids, {.segments = expected.inputs.lengths, .lengths = {}});
  });
  expect_error(ErrorKind::Shape, "lengths have shape [3, 17], expected [3]",
               [&] { model->encode(expected.ids, {.segments = {}, .lengths = expected.ids}); });
  expect_error(ErrorKind::Argument, "2", [&] {
    const Tensor segments = full(expected.ids.shape(), 2, {DType::Int64, {}});
    model->encode(expected.ids, {.segments = segments, .lengths = {}});
  });
  const auto refused = [](const char* key, nlohmann::json value, const char* message) {
    nlohmann::json config = read_json(fixture("bert") / "config.json");
    config[key] = value;
    expect_error(ErrorKind::Format, message,
                 [&] { make_model(ConfigJson::parse(config.dump(), "config.json")); });
  };
  refused("is_decoder", true, "is_decoder is true, takes false only");
  refused("position_embedding_type", "relative_key", "takes absolute");
  refused("hidden_act", "relu", "hidden_act is \"relu\"");
  refused("num_attention_heads", 5, "hidden_size is 24, takes a multiple of num_attention_heads 5");
  refused("architectures", {"BertForSequenceClassification"}, "architectures is [");
  refused("architectures", "BertModel", "takes a list of strings");
}

class BertClassifiers : public testing::TestWithParam<const char*> {};

TEST_P(BertClassifiers, LogitsLossAndGradientsAreThoseOfTransformers) {
  const auto model = load_classifier(fixture(GetParam()));
  const BertExpected expected(GetParam());
  model->eval();
  EXPECT_LT(
      relative_distance((*model)(expected.ids, expected.inputs), value(expected.values, "logits")),
      1e-5);
  const Tensor loss = model->loss(expected.ids, expected.inputs, expected.targets);
  EXPECT_NEAR(loss.item(), value(expected.values, "loss").item(), 2e-6);
  loss.backward();
  expect_gradients(exported_gradients(*model, model->weight_slices()), expected.values);
}

TEST_P(BertClassifiers, SavedModelLoadsToTheSameBits) {
  const auto model = load_classifier(fixture(GetParam()));
  const TemporaryDirectory folder;
  save_classifier(*model, folder.path(), {.max_shard_bytes = 9000});
  EXPECT_EQ(weight_names(folder.path()), weight_names(fixture(GetParam())));
  const auto loaded = load_classifier(folder.path());
  expect_same_state(*model, *loaded);
  EXPECT_EQ(loaded->config().labels, model->config().labels);
  EXPECT_EQ(read_json(folder / "config.json")["architectures"],
            read_json(fixture(GetParam()) / "config.json")["architectures"]);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, BertClassifiers,
                         testing::Values("bert_sequence", "bert_token", "bert_span"),
                         [](const auto& info) { return std::string(info.param); });

TEST(Bert, SentenceEmbeddingsAreMeansOverTokens) {
  const auto model = load_bert(fixture("bert"));
  model->eval();
  const BertExpected expected("bert");
  const std::vector<double> x = to_vector(model->encode(expected.ids, expected.inputs));
  const std::vector<double> lengths = to_vector(expected.inputs.lengths);
  const Tensor raw = sentence_embeddings(*model, expected.ids, expected.inputs, false);
  const Tensor normed = sentence_embeddings(*model, expected.ids, expected.inputs);
  ASSERT_EQ(raw.shape(), Shape({3, 24}));
  const int64_t time = expected.ids.size(1);
  for (int64_t row = 0; row < 3; ++row) {
    std::vector<double> mean(24);
    double square = 0;
    for (int64_t i = 0; i < 24; ++i) {
      for (int64_t t = 0; t < static_cast<int64_t>(lengths[row]); ++t)
        mean[i] += x[(row * time + t) * 24 + i] / lengths[row];
      square += mean[i] * mean[i];
    }
    for (int64_t i = 0; i < 24; ++i) {
      EXPECT_NEAR(to_vector(raw)[row * 24 + i], mean[i], 1e-5);
      EXPECT_NEAR(to_vector(normed)[row * 24 + i], mean[i] / std::sqrt(square), 1e-5);
    }
  }
  expect_error(ErrorKind::Argument, "got no lengths",
               [&] { sentence_embeddings(*model, expected.ids, {}); });
  // A text of padding alone has no tokens to take a mean of.
  const BertInputs padding{.lengths = from_values<int64_t>({time, 0, 1}, {3})};
  for (const bool normalized : {false, true}) {
    const Tensor none = sentence_embeddings(*model, expected.ids, padding, normalized)[1];
    EXPECT_THAT(to_vector(none), testing::Each(0));
  }
}

TEST(BertClassifier, WeighsTargets) {
  const auto model = load_classifier(fixture("bert_sequence"));
  model->eval();
  const BertExpected expected("bert_sequence");
  const Tensor logits = (*model)(expected.ids, expected.inputs);
  const std::vector<double> losses =
      to_vector(cross_entropy(logits, expected.targets, {.reduction = Reduction::None}));
  const Tensor weights = from_values({0.5F, 0.25F, 0.25F}, {3});
  EXPECT_NEAR(model->loss(expected.ids, expected.inputs, expected.targets, weights).item(),
              losses[0] * 0.5 + losses[1] * 0.25 + losses[2] * 0.25, 1e-6);
  expect_error(ErrorKind::Shape, "weights have shape [2]", [&] {
    model->loss_of(logits, expected.targets, from_values({0.5F, 0.5F}, {2}));
  });
}

TEST(BertClassifier, BeginsWithAPretrainedEncoder) {
  const auto pretrained = load_bert(fixture("bert"));
  const BertExpected expected("bert");
  const auto make = [&](uint64_t seed) {
    auto model = make_classifier(*pretrained, {.bert = {}, .labels = {"no", "yes", "maybe"}}, seed);
    model->eval();
    return model;
  };
  const auto model = make(1), other = make(2);
  pretrained->eval();
  const Tensor x = model->bert().encode(expected.ids, expected.inputs);
  EXPECT_EQ(to_vector(x), to_vector(pretrained->encode(expected.ids, expected.inputs)));
  EXPECT_EQ(to_vector(model->bert().pool(x)), to_vector(pretrained->pool(x)));
  const Tensor logits = (*model)(expected.ids, expected.inputs);
  EXPECT_EQ(logits.shape(), Shape({3, 3}));
  EXPECT_NE(to_vector(logits), to_vector((*other)(expected.ids, expected.inputs)));
}

TEST(BertClassifier, RefusesWhatItDoesNotTake) {
  const auto model = load_classifier(fixture("bert_span"));
  const BertExpected expected("bert_span");
  expect_error(ErrorKind::Shape, "targets have shape [3], expected [3, 2]",
               [&] { model->loss(expected.ids, expected.inputs, expected.inputs.lengths); });
  expect_error(ErrorKind::Argument, "got 1 labels, takes 2 or more",
               [] { BertClassifier({.bert = {}, .labels = {"only"}}); });
  const auto refused = [](const char* key, nlohmann::json value, const char* message) {
    const TemporaryDirectory folder;
    nlohmann::json config = read_json(fixture("bert_sequence") / "config.json");
    config[key] = value;
    write_file_atomically(folder / "config.json", config.dump());
    expect_error(ErrorKind::Format, message, [&] { load_classifier(folder.path()); });
  };
  refused("architectures", {"BertForMaskedLM"}, "architectures is [");
  refused("architectures", nullptr, "architectures is missing");
  refused("problem_type", "regression", "problem_type is \"regression\"");
  refused("id2label", {{"0", "only"}}, "id2label has 1 label");
  expect_error(ErrorKind::Format, "architectures is [",
               [] { load_pretrained(fixture("bert_sequence")); });
}

}  // namespace
}  // namespace plinth
