// The plinth program with --device cuda, against --device cpu.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "tests/apps/plinth_program.h"
#include "tests/cuda/device.h"

namespace plinth {
namespace {

using testing::HasSubstr;

// Each with choices of algorithms of its own, which decide over bits: other processes may time, and
// keep, theirs meanwhile.
class DeviceProgram : public OnDevice {
 protected:
  void SetUp() override {
    OnDevice::SetUp();
    ASSERT_EQ(setenv("XDG_CACHE_HOME", cache_.path().c_str(), 1), 0);
  }

 private:
  TemporaryDirectory cache_;
};

std::vector<std::string> short_run(const std::string& device, const std::string& steps) {
  return {"train.steps=" + steps,
          "train.batch=2",
          "train.micro_batch=1",
          "sample.every=0",
          "validation.every=0",
          "checkpoint.every=1",
          "model.context=8",
          "run.directory=" + device,
          "--device",
          device};
}

// The value of a column in the last row of a run's metrics.
double last_metric(const Workplace& here, const std::string& run, const std::string& column) {
  const std::string text = read_text_file(here / (run + "/metrics.jsonl"));
  const size_t row = text.rfind('{');
  const size_t at = text.find('"' + column + "\":", row);
  EXPECT_NE(at, std::string::npos) << text;
  return std::stod(text.substr(at + column.size() + 3));
}

TEST_F(DeviceProgram, TrainsResumesEvaluatesAndGeneratesAsOnTheCpu) {
  const Workplace here;
  for (const std::string device : {"cuda", "cpu"}) {
    ASSERT_EQ(here.pretrain(short_run(device, "2")).status, 0);
    EXPECT_NEAR(last_metric(here, "cuda", "loss"), last_metric(here, device, "loss"), 1e-4);
    EXPECT_NEAR(last_metric(here, "cuda", "grad_norm"), last_metric(here, device, "grad_norm"),
                1e-4);
    // From the checkpoint before the last, to the same bits.
    const double loss = last_metric(here, device, "loss");
    const std::string last = read_text_file(here / (device + "/step-000002/model.safetensors"));
    std::filesystem::remove_all(here / (device + "/step-000002"));
    std::vector<std::string> resumed = short_run(device, "2");
    resumed.push_back("--resume");
    const Outcome outcome = here.pretrain(resumed);
    EXPECT_EQ(outcome.status, 0) << outcome.errors;
    EXPECT_EQ(last_metric(here, device, "loss"), loss);
    EXPECT_TRUE(read_text_file(here / (device + "/step-000002/model.safetensors")) == last);
  }
  std::vector<std::string> said, lost;
  for (const std::string device : {"cuda", "cpu"}) {
    said.push_back(here.run({"generate", "cuda", "--prompt", "the", "--tokens", "4",
                             "--temperature", "0", "--device", device})
                       .output);
    const Outcome evaluated = here.run({"eval", "cuda", "--data", "data/validation_00000.bin",
                                        "--windows", "2", "--device", device});
    EXPECT_EQ(evaluated.status, 0) << evaluated.errors;
    lost.push_back(evaluated.output);
  }
  EXPECT_THAT(said[0], HasSubstr("the"));
  EXPECT_EQ(said[0], said[1]);
  EXPECT_EQ(lost[0], lost[1]);
}

TEST_F(DeviceProgram, ProfileShowsKernelsAndWhoLaunchedThem) {
  const Workplace here;
  std::vector<std::string> arguments = short_run("cuda", "2");
  for (const char* more : {"--profile", "trace.json", "--profile-steps", "2:2"})
    arguments.emplace_back(more);
  const Outcome outcome = here.pretrain(arguments);
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  const auto trace = nlohmann::json::parse(read_text_file(here / "trace.json"));
  std::map<int, std::string> ops, kernels;  // by the arrow between them
  std::map<std::pair<int, double>, std::string> begun;
  int copies = 0;
  for (const auto& event : trace["traceEvents"]) {
    if (event["ph"] == "X") begun[{event["pid"], event["ts"]}] = event["name"];
    if (event.value("cat", "") == "kernel") {
      EXPECT_GE(event["args"]["block"][0], 1);
    }
    copies += event.value("cat", "") == "copy" && event["args"]["bytes"] > 0;
  }
  for (const auto& event : trace["traceEvents"]) {
    const std::string name = event.contains("ts") ? begun[{event["pid"], event["ts"]}] : "";
    if (event["ph"] == "s") ops[event["id"]] = name;
    if (event["ph"] == "f") kernels[event["id"]] = name;
  }
  std::multimap<std::string, std::string> launched;
  for (const auto& [arrow, op] : ops) launched.emplace(op, kernels.at(arrow));
#ifdef PLINTH_EMULATE
  const char *const norm = "layer_norm", *const attention = "attention";
#else  // a kernel's function, whose namespace says nothing of its folder
  const char *const norm = "forward_kernel", *const attention = "delta_kernel";
#endif
  EXPECT_THAT(launched, testing::Contains(testing::Pair("layer_norm", HasSubstr(norm))));
  EXPECT_THAT(launched,
              testing::Contains(testing::Pair("attention_backward", HasSubstr(attention))));
  EXPECT_GT(copies, 0);
  EXPECT_THAT(outcome.errors, testing::ContainsRegex("\nGPU +calls"));
}

TEST_F(DeviceProgram, ReplaysTheStepAsAGraphAndSaysSo) {
  const Workplace here;
  std::string models[2];
  for (const bool graph : {false, true}) {
    std::vector<std::string> run = short_run("cuda", "4");
    const std::string directory = graph ? "graph" : "eager";
    run.push_back("run.directory=" + directory);
    run.push_back("model.dropout=0.1");
    run.push_back(std::string("train.cuda_graph=") + (graph ? "true" : "false"));
    const Outcome outcome = here.pretrain(run);
    EXPECT_EQ(outcome.status, 0) << outcome.errors;
    EXPECT_THAT(outcome.output + outcome.errors,
                HasSubstr(graph ? "CUDA graph: captured after 2 steps" : "CUDA graph: not used"));
    models[graph] = read_text_file(here / (directory + "/step-000004/model.safetensors"));
  }
  EXPECT_TRUE(models[0] == models[1]);
}

TEST_F(DeviceProgram, BenchSaysWhereItRan) {
  const TemporaryDirectory here;
  const Outcome outcome =
      plinth_program(here.path(), {"bench", "layer_norm", "--shape", "4,16", "--steps", "1",
                                   "--device", "cuda", "--no-ceiling", "--json"});
  EXPECT_THAT(outcome.output, HasSubstr("\"device\":\"cuda:0\""));
  EXPECT_EQ(outcome.errors, "");
}

TEST_F(DeviceProgram, BenchExplainsWhichKernelOfAttentionRuns) {
  const TemporaryDirectory here;
  for (const char* op : {"attention_decode", "attention"}) {
    const Outcome outcome = plinth_program(
        here.path(), {"bench", op, "--device", "cuda", "--dtype", "bfloat16", "--explain"});
    EXPECT_EQ(outcome.status, 0) << outcome.errors;
    EXPECT_THAT(
        outcome.output,
        testing::MatchesRegex(
            std::string(op) + " [0-9,]+ bfloat16 on cuda:0: forward: " +
            (op == std::string("attention") ? "[a-z_]+.*; backward: .*" : "decode.*") + "\n"));
  }
}

TEST_F(DeviceProgram, ADeviceThatThereIsNotFallsBackToTheCpuInOneLine) {
  const TemporaryDirectory here;
  const Outcome outcome =
      plinth_program(here.path(), {"bench", "layer_norm", "--shape", "4,16", "--steps", "1",
                                   "--no-ceiling", "--device", "cuda:9"});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.errors,
              testing::MatchesRegex("plinth: warning: [^\n]*cuda:9[^\n]*; using the CPU\n"));
}

}  // namespace
}  // namespace plinth
