// plinth bench on ops and models: what it prints, and the rows that scripts read.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/apps/plinth_program.h"
#include "tests/fixtures.h"

namespace plinth {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;
using testing::MatchesRegex;

Outcome bench(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "bench");
  return plinth_program(TemporaryDirectory().path(), arguments);
}

// A small shape with as many sizes as `dimensions` names.
std::string small_shape(const std::string& dimensions) {
  std::string shape = "4";
  for (const char c : dimensions)
    if (c == ',') shape += ",4";
  return shape;
}

struct Listed {
  std::string name, dimensions, shape;
};

std::vector<Listed> listed_ops() {
  std::istringstream lines(bench({"--list"}).output);
  std::vector<Listed> ops;
  for (Listed op; lines >> op.name >> op.dimensions >> op.shape;) ops.push_back(op);
  return ops;
}

TEST(Bench, ListNamesEveryKernel) {
  std::vector<std::string> names;
  for (const Listed& op : listed_ops()) {
    names.push_back(op.name);
    EXPECT_EQ(std::ranges::count(op.dimensions, ','), std::ranges::count(op.shape, ',')) << op.name;
  }
  EXPECT_THAT(names, testing::IsSupersetOf({"attention",
                                            "attention_full",
                                            "attention_decode",
                                            "paged_attention",
                                            "conv2d",
                                            "matmul",
                                            "layer_norm",
                                            "add_layer_norm",
                                            "rms_norm",
                                            "add_rms_norm",
                                            "softmax",
                                            "cross_entropy",
                                            "linear_cross_entropy",
                                            "gelu",
                                            "swiglu",
                                            "bias_gelu",
                                            "dropout",
                                            "rope",
                                            "embedding",
                                            "cast",
                                            "adamw",
                                            "lion",
                                            "sgd",
                                            "global_norm"}));
}

TEST(Bench, ExplainsWhichKernelOfAttentionRuns) {
  EXPECT_EQ(bench({"attention", "--shape", "1,2,9,8", "--device", "cpu", "--explain"}).output,
            "attention 1,2,9,8 float32 on cpu: forward: tiled (more than a few queries: keys are "
            "packed once for the tiles that read them); backward: tiled (the only kernel of the "
            "backward pass)\n");
  EXPECT_THAT(bench({"attention_decode", "--shape", "1,4,2,9,8", "--dtype", "bfloat16", "--device",
                     "cpu", "--explain"})
                  .output,
              HasSubstr("attention_decode 1,4,2,9,8 bfloat16 on cpu: forward: few queries (the "
                        "time is that of reading k and v once"));
  const Outcome outcome = bench({"attention", "--shape", "1,2", "--explain"});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.errors, HasSubstr("attention got a --shape of 2 sizes"));
  EXPECT_EQ(bench({"softmax", "--explain"}).status, 2) << "it has one kernel";
}

TEST(Bench, EveryOpGivesRowsInEveryDtype) {
  for (const Listed& op : listed_ops()) {
    for (const std::string dtype : {"float32", "bfloat16", "float16"}) {
      SCOPED_TRACE(op.name + " " + dtype);
      const Outcome outcome = bench({op.name, "--shape", small_shape(op.dimensions), "--dtype",
                                     dtype, "--steps", "2", "--no-ceiling", "--json"});
      ASSERT_EQ(outcome.status, 0) << outcome.errors;
      const Json rows = Json::parse(outcome.output)["rows"];
      ASSERT_GE(rows.size(), 1);
      for (const Json& row : rows) {
        EXPECT_EQ(row["name"], op.name);
        EXPECT_EQ(row["dtype"], dtype);
        EXPECT_GT(row["ours_ms"], 0);
        EXPECT_GE(row["spread"], 0);
        if (row["pass"] == "forward") {
          EXPECT_GT(row["bytes"], 0);
        }
        EXPECT_TRUE(row["ceiling_fraction"].is_null());
      }
    }
  }
}

TEST(Bench, ReadsRatesAgainstCeilingsOfTheSameRun) {
  const Outcome outcome =
      bench({"layer_norm", "--shape", "64,128", "--pass", "backward", "--json"});
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  const Json json = Json::parse(outcome.output);
  ASSERT_EQ(json["rows"].size(), 1);
  const Json row = json["rows"][0];
  EXPECT_EQ(row["pass"], "backward");
  EXPECT_EQ(row["shape"], "64x128");
  EXPECT_EQ(row["bytes"], 3 * 64 * 128 * 4);  // kernels/layer_norm/layer_norm.h
  EXPECT_EQ(row["flops"], 14 * 64 * 128);
  const double bytes_ms =
      1e3 * row["bytes"].get<double>() / json["ceiling"]["bytes_per_s"].get<double>();
  const double flops_ms =
      1e3 * row["flops"].get<double>() / json["ceiling"]["flops_per_s"].get<double>();
  EXPECT_EQ(row["bound"], bytes_ms >= flops_ms ? "bytes" : "flops");
  EXPECT_DOUBLE_EQ(row["ceiling_fraction"],
                   std::max(bytes_ms, flops_ms) / row["ours_ms"].get<double>());
}

TEST(Bench, TextSaysTimeRatesAndCeiling) {
  const Outcome outcome = bench({"matmul", "--shape", "64,64,64", "--pass", "forward"});
  EXPECT_THAT(outcome.output,
              MatchesRegex("matmul 64,64,64 float32 on cpu, operands as the caches hold them\n"
                           "  forward +median [0-9.]+ ms of 7, spread [0-9.]+ %, [0-9.]+ GB/s, "
                           "[0-9.]+ TFLOP/s, [0-9]+ % of the ceiling \\((bytes|operations)\\)\n"
                           "  ceilings +[0-9.]+ GB/s of a copy, [0-9.]+ TFLOP/s of a float32 "
                           "product\n"));
}

TEST(Bench, RefusesAPassThatAnOpHasNot) {
  Outcome outcome = bench({"adamw", "--shape", "1,8", "--pass", "backward"});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.errors, HasSubstr("adamw got --pass backward, but has no backward pass"));
  outcome = bench({"linear_cross_entropy", "--shape", "4,4,4", "--pass", "backward"});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.errors, HasSubstr("computes its gradients in the forward pass"));
}

TEST(Bench, TrainsAModelOfEachFamily) {
  for (const std::string family : {"gpt2", "llama", "bert", "vit", "clip", "whisper", "t5"}) {
    SCOPED_TRACE(family);
    const Outcome outcome = bench({"model", PLINTH_FIXTURES "/" + family, "--batch", "2", "--seq",
                                   "5", "--steps", "3", "--json"});
    ASSERT_EQ(outcome.status, 0) << outcome.errors;
    EXPECT_EQ(Json::parse(outcome.output)["step_ms"].size(), 1);  // two warmed up
  }
  const Outcome outcome = bench({"model", PLINTH_FIXTURES "/vit_mae"});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.errors, HasSubstr("got a model of type vit_mae, takes vit and clip"));
}

TEST(Bench, CanBeProfiled) {
  const TemporaryDirectory here;
  const Outcome outcome =
      plinth_program(here.path(), {"bench", "softmax", "--shape", "8,16", "--no-ceiling",
                                   "--profile", "trace.json", "--profile-steps", "4:6"});
  EXPECT_EQ(outcome.status, 0) << outcome.errors;
  EXPECT_THAT(outcome.errors, HasSubstr("profile of 3 steps"));
  const Json trace = Json::parse(read_text_file(here / "trace.json"));
  int ops = 0;
  for (const Json& event : trace["traceEvents"]) ops += event["name"] == "softmax_backward";
  EXPECT_EQ(ops, 3);
}

}  // namespace
}  // namespace plinth
