#pragma once

// Killing runs and comparing what they end with.

#include <algorithm>
#include <chrono>
#include <random>
#include <thread>

#include "tests/apps/plinth_program.h"

namespace plinth {

// Kills the same run with SIGKILL at `kills` moments, drawn between its start and what a whole run
// takes, resumes it each time, and compares the end with that of a run that was left alone.
inline void expect_same_bits_after_kills(int kills, const std::string& steps, const char* last,
                                         const std::string& dim) {
  const Workplace here;
  const std::vector<std::string> settings = {"train.steps=" + steps, "checkpoint.every=3",
                                             "model.dim=" + dim};
  auto whole = settings;
  whole.push_back("run.directory=whole");
  const auto start = std::chrono::steady_clock::now();
  ASSERT_EQ(here.pretrain(whole).status, 0);
  const std::chrono::duration<double> duration = std::chrono::steady_clock::now() - start;

  auto killed = settings;
  killed.push_back("--resume");
  std::mt19937 moments(7);
  int hits = 0;
  for (int i = 0; i < kills; ++i) {
    PlinthProcess running(here.path(), Workplace::pretrain_arguments(killed));
    // Each run gets on by a part of the whole, so that kills meet every phase of it.
    std::uniform_real_distribution<double> wait(0, 2 * duration.count() / std::min(kills, 8));
    std::this_thread::sleep_for(std::chrono::duration<double>(wait(moments)));
    running.signal(SIGKILL);
    const Outcome outcome = running.wait();
    ASSERT_TRUE(outcome.status == 128 + SIGKILL || outcome.status == 0) << outcome.errors;
    if (outcome.status != 0) ++hits;
    if (outcome.status == 0) std::filesystem::remove_all(here / "run");  // done: begin again
  }
  EXPECT_GT(hits, kills / 2);
  const Outcome last_part = here.pretrain(killed);
  ASSERT_EQ(last_part.status, 0) << last_part.errors;
  for (const char* file : {"model.safetensors", "optimizer.safetensors", "ema.safetensors"}) {
    EXPECT_EQ(read_text_file(here / "run" / last / file),
              read_text_file(here / "whole" / last / file))
        << file;
  }
}

}  // namespace plinth
