#include "distributed/rendezvous.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "core/error.h"
#include "core/io/file.h"
#include "tests/core/io/temporary_directory.h"
#include "tests/distributed/store/stores.h"

namespace plinth::distributed {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

// The message of the Error(Config) that the variables are.
std::string wrong(const Variables& variables) {
  try {
    from_variables(variables);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::Config);
    return error.what();
  }
  return "no error";
}

Variables with(Variables variables, const Variables& changes) {
  for (const auto& [name, value] : changes) variables[name] = value;
  return variables;
}

const Variables kTorchrun = {{"RANK", "5"},
                             {"WORLD_SIZE", "8"},
                             {"LOCAL_RANK", "1"},
                             {"LOCAL_WORLD_SIZE", "4"},
                             {"MASTER_ADDR", "node0"},
                             {"MASTER_PORT", "29500"},
                             {"PLINTH_TOKEN", "secret"}};

const Variables kSlurm = {{"SLURM_PROCID", "6"},
                          {"SLURM_NTASKS", "7"},
                          {"SLURM_LOCALID", "2"},
                          {"SLURM_NODEID", "1"},
                          {"SLURM_STEP_TASKS_PER_NODE", "4,3"},
                          {"SLURM_STEP_NODELIST", "gpu[07-08]"},
                          {"SLURM_JOB_ID", "1234567"},
                          {"SLURM_STEP_ID", "3"},
                          {"PLINTH_TOKEN", "secret"}};

TEST(Rendezvous, OfNoLauncherIsAWorldOfOne) {
  const Rendezvous r = from_variables({{"PATH", "/bin"}, {"SLURM_PROCID", "0"}});
  EXPECT_EQ(r.rank, 0);
  EXPECT_EQ(r.world_size, 1);
  EXPECT_EQ(r.local_world_size, 1);
  EXPECT_EQ(r.launcher, "none");
  EXPECT_EQ(r.restarts, 0);
  const auto store = make_store(r);
  EXPECT_EQ(store->add("key", 2), 2);
}

TEST(Rendezvous, OfTorchrun) {
  const Rendezvous r = from_variables(
      with(kTorchrun, {{"TORCHELASTIC_RUN_ID", "job"}, {"TORCHELASTIC_RESTART_COUNT", "2"}}));
  EXPECT_EQ(r.launcher, "torchrun");
  EXPECT_EQ(r.rank, 5);
  EXPECT_EQ(r.world_size, 8);
  EXPECT_EQ(r.local_rank, 1);
  EXPECT_EQ(r.local_world_size, 4);
  EXPECT_EQ(r.address, "node0");
  EXPECT_EQ(r.port, 29500);
  EXPECT_EQ(r.token, "secret");
  EXPECT_EQ(r.run_id, "job-2");
  EXPECT_FALSE(r.single_host());
}

TEST(Rendezvous, LeavesTorchrunItsOwnPort) {
  const Variables agent = {{"TORCHELASTIC_USE_AGENT_STORE", "True"}};
  EXPECT_EQ(from_variables(with(kTorchrun, agent)).port, 29501);
  EXPECT_THAT(wrong(with(with(kTorchrun, agent), {{"MASTER_PORT", "65535"}})),
              StartsWith("MASTER_PORT: "));
}

TEST(Rendezvous, OfALauncherWithoutLocalRanks) {
  const Rendezvous r = from_variables({{"RANK", "1"},
                                       {"WORLD_SIZE", "2"},
                                       {"LOCAL_RANK", ""},
                                       {"MASTER_ADDR", "a"},
                                       {"MASTER_PORT", "1"},
                                       {"PLINTH_TOKEN", "t"}});
  EXPECT_EQ(r.local_rank, 0);
  EXPECT_EQ(r.local_world_size, 1);
}

TEST(Rendezvous, OfSlurm) {
  const Rendezvous r = from_variables(kSlurm);
  EXPECT_EQ(r.launcher, "slurm");
  EXPECT_EQ(r.rank, 6);
  EXPECT_EQ(r.world_size, 7);
  EXPECT_EQ(r.local_rank, 2);
  EXPECT_EQ(r.local_world_size, 3);
  EXPECT_EQ(r.address, "gpu07");
  EXPECT_EQ(r.port, 24567);
  EXPECT_EQ(r.run_id, "slurm-1234567.3.0");
  const Rendezvous other = from_variables(
      with(kSlurm, {{"MASTER_ADDR", "head"}, {"MASTER_PORT", "99"}, {"SLURM_RESTART_COUNT", "1"}}));
  EXPECT_EQ(other.address, "head");
  EXPECT_EQ(other.port, 99);
  EXPECT_EQ(other.run_id, "slurm-1234567.3.1");
}

TEST(Rendezvous, OfMpi) {
  const Variables meeting = {{"MASTER_ADDR", "a"}, {"MASTER_PORT", "1"}};
  const Rendezvous open_mpi = from_variables(with(meeting, {{"OMPI_COMM_WORLD_RANK", "1"},
                                                            {"OMPI_COMM_WORLD_SIZE", "2"},
                                                            {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                                                            {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                                                            {"PMIX_NAMESPACE", "prterun-7"},
                                                            {"PMI_RANK", "9"}}));
  EXPECT_EQ(open_mpi.launcher, "openmpi");
  EXPECT_EQ(open_mpi.rank, 1);
  EXPECT_EQ(open_mpi.local_world_size, 2);
  EXPECT_EQ(open_mpi.run_id, "prterun-7");
  const Rendezvous pmi = from_variables(with(
      meeting,
      {{"PMI_RANK", "0"}, {"PMI_SIZE", "2"}, {"MPI_LOCALRANKID", "0"}, {"MPI_LOCALNRANKS", "2"}}));
  EXPECT_EQ(pmi.launcher, "pmi");
  EXPECT_EQ(pmi.world_size, 2);
  EXPECT_THAT(wrong({{"PMI_RANK", "0"}, {"PMI_SIZE", "2"}}),
              AllOf(StartsWith("MASTER_ADDR: "), HasSubstr("PLINTH_STORE")));
}

TEST(Rendezvous, TheFirstLauncherCounts) {
  EXPECT_EQ(from_variables(with(kSlurm, kTorchrun)).launcher, "torchrun");
  EXPECT_EQ(from_variables(with(kSlurm, {{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}})).launcher, "slurm");
}

TEST(Rendezvous, NamesTheVariableThatIsWrong) {
  const std::vector<std::tuple<Variables, std::string, std::string>> cases = {
      {with(kTorchrun, {{"RANK", "8"}}), "RANK: ", "0 to 7"},
      {with(kTorchrun, {{"RANK", "-1"}}), "RANK: ", "'-1'"},
      {with(kTorchrun, {{"RANK", "1x"}}), "RANK: ", "'1x'"},
      {with(kTorchrun, {{"RANK", "99999999999"}}), "RANK: ", "99999999999"},
      {with(kTorchrun, {{"RANK", ""}}), "RANK: ", "WORLD_SIZE is"},
      {with(kTorchrun, {{"WORLD_SIZE", ""}}), "WORLD_SIZE: ", "RANK is"},
      {with(kTorchrun, {{"WORLD_SIZE", "0"}}), "WORLD_SIZE: ", "from 1"},
      {with(kTorchrun, {{"LOCAL_RANK", "4"}}), "LOCAL_RANK: ", "0 to 3"},
      {with(kTorchrun, {{"LOCAL_RANK", ""}}), "LOCAL_RANK: ", "LOCAL_WORLD_SIZE is"},
      {with(kTorchrun, {{"LOCAL_WORLD_SIZE", "9"}}), "LOCAL_WORLD_SIZE: ", "up to 8"},
      {with(kTorchrun, {{"LOCAL_WORLD_SIZE", ""}}), "LOCAL_WORLD_SIZE: ", "LOCAL_RANK is"},
      {with(kTorchrun, {{"MASTER_ADDR", ""}}), "MASTER_ADDR: ", "8 ranks"},
      {with(kTorchrun, {{"MASTER_PORT", ""}}), "MASTER_PORT: ", "not set"},
      {with(kTorchrun, {{"MASTER_PORT", "65536"}}), "MASTER_PORT: ", "65535"},
      {with(kTorchrun, {{"PLINTH_TOKEN", ""}}), "PLINTH_TOKEN: ", "several hosts"},
      {with(kTorchrun, {{"PLINTH_TOKEN", std::string(257, 'x')}}), "PLINTH_TOKEN: ", "257"},
      {with(kTorchrun, {{"PLINTH_RUN_ID", std::string(129, 'x')}}), "PLINTH_RUN_ID: ", "129"},
      {with(kTorchrun, {{"PLINTH_STORE", "/s"}}), "PLINTH_RUN_ID: ", "not set"},
      {with(kTorchrun, {{"PLINTH_STORE", "/s"}, {"TORCHELASTIC_RUN_ID", "none"}}),
       "PLINTH_RUN_ID: ", "not set"},
      {with(kTorchrun, {{"PLINTH_STORE", "/s"}, {"PLINTH_RUN_ID", "../x"}}),
       "PLINTH_RUN_ID: ", "'../x'"},
      {with(kTorchrun, {{"PLINTH_RESTART", "no"}}), "PLINTH_RESTART: ", "'no'"},
      {with(kTorchrun, {{"PLINTH_STORE_FD", "-1"}}), "PLINTH_STORE_FD: ", "'-1'"},
      {with(kSlurm, {{"SLURM_NTASKS", ""}}), "SLURM_NTASKS: ", "SLURM_PROCID is"},
      {with(kSlurm, {{"SLURM_PROCID", "7"}}), "SLURM_PROCID: ", "0 to 6"},
      {with(kSlurm, {{"SLURM_LOCALID", "3"}}), "SLURM_LOCALID: ", "0 to 2"},
      {with(kSlurm, {{"SLURM_NODEID", "2"}}), "SLURM_NODEID: ", "0 to 1"},
      {with(kSlurm, {{"SLURM_STEP_TASKS_PER_NODE", ""}}), "SLURM_STEP_TASKS_PER_NODE: ", "not set"},
      {with(kSlurm, {{"SLURM_STEP_NODELIST", "gpu[07"}}), "SLURM_STEP_NODELIST: ", "gpu[07"},
      {with(kSlurm, {{"SLURM_JOB_ID", "x"}}), "SLURM_JOB_ID: ", "'x'"},
      {{{"OMPI_COMM_WORLD_RANK", "0"}}, "OMPI_COMM_WORLD_SIZE: ", "OMPI_COMM_WORLD_RANK is"},
      {{{"PMI_SIZE", "2"}}, "PMI_RANK: ", "PMI_SIZE is"}};
  for (const auto& [variables, name, detail] : cases)
    EXPECT_THAT(wrong(variables), AllOf(StartsWith(name), HasSubstr(detail)));
}

TEST(Rendezvous, ReadsTheTokenFromAFile) {
  const TemporaryDirectory here;
  const std::string file = (here / "token").string();
  write_file_atomically(file, "from a file\n");
  const Variables no_token = with(kTorchrun, {{"PLINTH_TOKEN", ""}, {"PLINTH_TOKEN_FILE", file}});
  EXPECT_EQ(from_variables(no_token).token, "from a file");
  EXPECT_EQ(from_variables(with(no_token, {{"PLINTH_TOKEN", "t"}})).token, "t");
  write_file_atomically(file, "\n");
  EXPECT_THAT(wrong(no_token), AllOf(StartsWith(file), HasSubstr("0 bytes")));
}

TEST(Slurm, FirstHostOfAList) {
  const std::vector<std::pair<std::string, std::string>> cases = {{"login", "login"},
                                                                  {"a,b", "a"},
                                                                  {"gpu[07-09,12],c", "gpu07"},
                                                                  {"gpu[5,7-9]", "gpu5"},
                                                                  {"n[3]", "n3"},
                                                                  {"rack[1-2]n[01-04]", "rack1n01"},
                                                                  {"n[001-128].site", "n001.site"}};
  for (const auto& [list, host] : cases) EXPECT_EQ(first_slurm_host(list), host);
  for (const char* list : {"", ",a", "[", "n[", "n[]", "n[1", "n[-2]", "n]", "n[,1]"})
    EXPECT_THROW(first_slurm_host(list), Error) << list;
}

TEST(Slurm, TasksOfANode) {
  EXPECT_EQ(slurm_tasks_on("8", 0), 8);
  EXPECT_EQ(slurm_tasks_on("4(x2),3", 1), 4);
  EXPECT_EQ(slurm_tasks_on("4(x2),3", 2), 3);
  EXPECT_EQ(slurm_tasks_on("2,4(x100000)", 100000), 4);
  for (const char* list : {"", "x", "4(x2", "4(x)", "4(x0)", "4(y2)", "0", "4,", "4(x2)3"})
    EXPECT_THROW(slurm_tasks_on(list, 7), Error) << list;
}

TEST(Rendezvous, RandomTextsDiffer) {
  EXPECT_EQ(random_hex(16).size(), 32);
  EXPECT_NE(random_hex(16), random_hex(16));
  EXPECT_THROW(random_hex(0), Error);
}

// --- The store
// --------------------------------------------------------------------------------------

// Each of the world's ranks adds its number, and waits for the others.
void meet(const std::vector<Rendezvous>& world) {
  std::vector<std::thread> ranks;
  const auto done = std::make_shared<std::atomic<int>>(0);
  for (const Rendezvous& r : world) {
    ranks.emplace_back([&world, &r, done] {
      const auto store = make_store(r, std::chrono::seconds(20));
      store->set("rank " + std::to_string(r.rank), "here");
      for (const Rendezvous& other : world) {
        EXPECT_EQ(store->get("rank " + std::to_string(other.rank), std::chrono::seconds(20)),
                  "here");
      }
      // Rank 0's store ends last.
      ++*done;
      while (r.rank == 0 && *done < std::ssize(world)) std::this_thread::yield();
    });
  }
  for (std::thread& rank : ranks) rank.join();
}

std::vector<Rendezvous> world_of(int size, const Variables& meeting) {
  std::vector<Rendezvous> world;
  for (int rank = 0; rank < size; ++rank) {
    const std::string number = std::to_string(rank), all = std::to_string(size);
    world.push_back(from_variables(with(meeting, {{"RANK", number},
                                                  {"WORLD_SIZE", all},
                                                  {"LOCAL_RANK", number},
                                                  {"LOCAL_WORLD_SIZE", all}})));
  }
  return world;
}

TEST(Rendezvous, RanksMeetAtAPort) {
  const int port = local_endpoint(listen_on({"127.0.0.1", 0}, soon()).get()).port;
  meet(world_of(4, {{"MASTER_ADDR", "localhost"}, {"MASTER_PORT", std::to_string(port)}}));
  meet(world_of(2, {{"MASTER_ADDR", "localhost"},
                    {"MASTER_PORT", std::to_string(port)},
                    {"PLINTH_BIND", "lo"}}));
}

TEST(Rendezvous, RanksMeetAtASocketThatListensAlready) {
  io::FileDescriptor listening = listen_on({"127.0.0.1", 0}, soon());
  const int port = local_endpoint(listening.get()).port;
  std::vector<Rendezvous> world =
      world_of(2, {{"MASTER_ADDR", "127.0.0.1"}, {"MASTER_PORT", std::to_string(port)}});
  world[0].listening = ::dup(listening.get());
  listening.close();
  meet(world);
  world[0].listening = STDERR_FILENO;
  try {
    make_store(world[0]);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), StartsWith("PLINTH_STORE_FD: "));
  }
}

TEST(Rendezvous, RanksMeetInADirectory) {
  const TemporaryDirectory here;
  meet(world_of(3, {{"PLINTH_STORE", here.path().string()}, {"PLINTH_RUN_ID", "run 7"}}));
  EXPECT_EQ(here.names(), std::vector<std::string>{"run 7"});
}

// As where /etc/hosts gives a machine's name the address 127.0.1.1.
TEST(Rendezvous, RefusesAnAddressThatOtherHostsCannotReach) {
  Rendezvous r = from_variables(with(kTorchrun, {{"RANK", "0"}, {"MASTER_ADDR", "localhost"}}));
  r.port = 0;
  try {
    make_store(r);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::Config);
    EXPECT_THAT(error.what(),
                AllOf(StartsWith("MASTER_ADDR: localhost"), HasSubstr("PLINTH_BIND")));
  }
}

}  // namespace
}  // namespace plinth::distributed
