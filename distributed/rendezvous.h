#pragma once

// Which rank this process is, of how many, and where it finds the others: read from the variables
// that a launcher sets.
//
// Ranks come from the first of these that is there:
//
//   plinth launch, torchrun, Kubeflow   RANK WORLD_SIZE [LOCAL_RANK LOCAL_WORLD_SIZE]
//   srun                                SLURM_PROCID SLURM_NTASKS SLURM_LOCALID
//                                       SLURM_STEP_TASKS_PER_NODE SLURM_NODEID, in a job step
//   mpirun of Open MPI                  OMPI_COMM_WORLD_RANK _SIZE _LOCAL_RANK _LOCAL_SIZE
//   mpiexec of MPICH, Intel MPI         PMI_RANK PMI_SIZE [MPI_LOCALRANKID MPI_LOCALNRANKS]
//   none of them                        rank 0 of 1
//
// Where they meet:
//
//   PLINTH_STORE=DIRECTORY      files in a directory there, by the name of the run's id
//   MASTER_ADDR, MASTER_PORT    rank 0's process listens there. Under Slurm the default is the
//                               step's first host, and a port of 20000 to 29999 by the job's
//                               number; under torchrun, which listens on MASTER_PORT itself, the
//                               port after it
//
// and besides
//
//   PLINTH_TOKEN, or PLINTH_TOKEN_FILE    the secret that ranks prove; needed on several hosts
//   PLINTH_RUN_ID     tells runs apart; by default the launcher's name of the job. PLINTH_STORE
//                     needs one that no run had before
//   PLINTH_BIND       the address or network interface that rank 0 listens on, where that is not
//                     MASTER_ADDR
//   PLINTH_RESTART    how often the run was started before
//   PLINTH_STORE_FD   rank 0: a socket that listens already

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "distributed/store/store.h"

namespace plinth::distributed {

using Variables = std::map<std::string, std::string>;

struct Rendezvous {
  int rank = 0, world_size = 1;
  int local_rank = 0, local_world_size = 1;  // on this host
  std::string launcher = "none";  // "torchrun" for its variables, "slurm", "openmpi", "pmi"
  int restarts = 0;
  std::string run_id, token;
  std::filesystem::path directory;  // of a file store; empty: a TcpStore at
  std::string address;              // this host and
  int port = 0;                     // this port
  std::string bind;
  int listening = -1;

  // All ranks on this host.
  bool single_host() const { return local_world_size == world_size; }
};

// Those of this process.
Variables environment();

// Error(Config), whose subject is the variable, for one that is missing, malformed or out of range.
Rendezvous from_variables(const Variables& variables);
Rendezvous from_environment();

// The store of a world. Rank 0's process serves it; the others wait for that one to come up. For a
// world of one, a table that nobody else sees. Throws Error(Io) where a rank does not come
// up in time, or the port is in use.
std::shared_ptr<Store> make_store(const Rendezvous& rendezvous,
                                  Milliseconds timeout = std::chrono::minutes(5));

// The first host of Slurm's compressed list: "gpu07" of "gpu[07-09,12],login1". Error(Config) for
// what is no such list.
std::string first_slurm_host(const std::string& list);
// What Slurm's list of tasks by node, such as "4(x2),3", says for a node: 3 for node 2.
// Error(Config) likewise.
int slurm_tasks_on(const std::string& list, int node);

// The secret in a file. Error(Config) if it is empty or too long.
std::string read_token_file(const std::filesystem::path& file);

// Random bytes of the system, as lower-case hexadecimal digits.
std::string random_hex(int bytes);

}  // namespace plinth::distributed
