// The dry run of every rank against that rank's own steps: processes connected by Gloo, in every
// way of sharing.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "distributed/rendezvous.h"
#include "tests/core/io/temporary_directory.h"
#include "tests/train/real_step.h"

namespace plinth {
namespace {

using Words = std::vector<std::string>;

std::vector<char*> pointers(Words& words) {
  std::vector<char*> result;
  for (std::string& word : words) result.push_back(word.data());
  result.push_back(nullptr);
  return result;
}

pid_t start(const TemporaryDirectory& here, int rank, int ranks, Words words) {
  distributed::Variables variables = distributed::environment();
  variables["RANK"] = std::to_string(rank);
  variables["WORLD_SIZE"] = variables["LOCAL_WORLD_SIZE"] = std::to_string(ranks);
  variables["LOCAL_RANK"] = std::to_string(rank);
  variables["PLINTH_STORE"] = here.path().string();
  variables["PLINTH_RUN_ID"] = "run";
  Words settings;
  for (const auto& [name, value] : variables) settings.push_back(detail::concat(name, "=", value));
  words.insert(words.begin(), PLINTH_MEMORY_RANK);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  const std::string file = here / std::to_string(rank);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, file.c_str(), O_WRONLY | O_CREAT, 0600);
  pid_t process = 0;
  EXPECT_EQ(posix_spawn(&process, PLINTH_MEMORY_RANK, &actions, nullptr, pointers(words).data(),
                        pointers(settings).data()),
            0);
  posix_spawn_file_actions_destroy(&actions);
  return process;
}

std::vector<StepPeaks> real_steps(int ranks, const Words& words) {
  const TemporaryDirectory here;
  std::vector<pid_t> processes;
  for (int rank = 0; rank < ranks; ++rank) processes.push_back(start(here, rank, ranks, words));
  std::vector<StepPeaks> all(ranks);
  for (int rank = 0; rank < ranks; ++rank) {
    int status = -1;
    waitpid(processes[rank], &status, 0);
    EXPECT_EQ(status, 0) << "rank " << rank;
    StepPeaks& own = all[rank];
    std::ifstream(here / std::to_string(rank)) >> own.setup >> own.first >> own.before >>
        own.second;
  }
  return all;
}

struct Layout {
  int ranks;
  Words words;
  // Whether what is on its way matters for the peak: then that lies between two bounds.
  bool depends = false;
};

const Layout kLayouts[] = {
    {2, {}},
    {4, {"parallel.zero=1", "model.type=llama", "train.micro_batch=1"}},
    {3, {"parallel.zero=2", "train.batch=6", "train.micro_batch=1"}, true},
    {3, {"parallel.zero=3", "train.batch=6", "train.micro_batch=1"}},
    {4, {"parallel.zero=3", "parallel.dp_shard=2", "model.activation_checkpointing=true"}, true},
    {3, {"parallel.tp=3", "train.precision=bfloat16"}},
    {4, {"parallel.tp=2", "parallel.sequence=true", "parallel.zero=1"}},
    {2, {"parallel.cp=2", "model.type=llama"}},
    {2, {"parallel.cp=2", "parallel.cp_algorithm=ring"}},
    {3, {"parallel.pp=3", "train.micro_batch=1"}, true},
    {4,
     {"parallel.pp=2", "parallel.schedule=interleaved", "parallel.chunks=2", "model.layers=4",
      "train.batch=8"},
     true},
    {2, {"parallel.pp=2", "parallel.schedule=zb-h1", "model.tied=false"}, true},
    {4, {"parallel.pp=2", "parallel.ep=2", "model.type=mixtral", "model.experts=2"}, true},
};

TEST(DryRunOfRanks, TakesTheMemoryOfEachRank) {
  for (const Layout& layout : kLayouts) {
    Words words = {"train.micro_batch=2", "train.batch=8"};
    words.insert(words.end(), layout.words.begin(), layout.words.end());
    SCOPED_TRACE(testing::PrintToString(words));
    const std::vector<StepPeaks> real = real_steps(layout.ranks, words);
    const StepSetting setting(words);
    for (int rank = 0; rank < layout.ranks; ++rank) {
      const auto dry = [&](distributed::DryTransfers transfers) {
        return peaks_of(dry_run(setting.config, setting.schema, {layout.ranks, rank, transfers}));
      };
      const StepPeaks most = dry(distributed::DryTransfers::WhenWaited);
      const StepPeaks least = dry(distributed::DryTransfers::AtOnce);
      EXPECT_EQ(real[rank].before, most.before) << "rank " << rank;
      for (const auto peak : {&StepPeaks::first, &StepPeaks::second}) {
        EXPECT_LE(real[rank].*peak, most.*peak) << "rank " << rank;
        EXPECT_GE(real[rank].*peak, least.*peak) << "rank " << rank;
        EXPECT_TRUE(layout.depends || least.*peak == most.*peak) << "rank " << rank;
      }
    }
  }
}

}  // namespace
}  // namespace plinth
