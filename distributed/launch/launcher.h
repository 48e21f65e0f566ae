#pragma once

// Starts the ranks of this host, and looks after them: merges what they write, passes signals on,
// stops all when one fails, starts all again.

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "distributed/store/store.h"

namespace plinth::distributed {

struct LaunchOptions {
  std::filesystem::path program;
  std::vector<std::string> arguments;  // the first names the program
  int processes = 1;                   // on this host, and on each other one
  int nodes = 1, node_rank = 0;
  std::string master_address;  // of rank 0's host; needed for several hosts
  int master_port = 0;         // 0, on one host: any that is free
  int max_restarts = 0;
  Milliseconds grace = std::chrono::seconds(30);  // from a signal to the ranks until SIGKILL
  std::filesystem::path log_directory;            // empty: none
  // What the ranks of all hosts have in common. On one host, empty: random ones.
  std::string token, run_id;
};

// A rank that did not end with status 0.
struct RankFailure {
  int rank = 0;
  int status = 0;  // of its exit, or 128 + signal
  int signal = 0;
};

// What there is to tell while ranks run.
struct LaunchEvents {
  std::function<void(int rank, bool is_error, std::string_view line)> line;
  std::function<void(const RankFailure& first)> failed;  // the others are being stopped
  std::function<void(int restart)> restarting;
  std::function<void(const std::string& text)> warning;
};

// Runs `processes` ranks until all have ended, and gives the status of the first that failed, or 0.
//
// Ranks get RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT, PLINTH_TOKEN,
// PLINTH_RUN_ID, PLINTH_RESTART, and OMP_NUM_THREADS, where it is not set, for a fair part of the
// processors. On one host rank 0 inherits a socket that listens already (PLINTH_STORE_FD), so that
// no other run can take the port.
//
// SIGINT, SIGTERM and SIGHUP, where they are not ignored, go to the ranks, and nothing is started
// again. After `grace` those
// that have not ended are killed. When a rank fails, the others get SIGTERM, and at most five
// seconds; then all start again, as long as there are restarts left: as another run (its id ends in
// the number of restarts) with PLINTH_RESTART one more. A status of 2, which Plinth gives for a
// mistake of the user's, would only come again: it ends the run. Ranks die with the process that
// called.
//
// Ranks that are stopped (SIGSTOP) when all others have ended are killed, unless they go on within
// `grace`: there is no rank left that would miss them.
//
// With a log directory, rank r's output is appended to rank-r.log there, too.
//
// One at a time, from a thread that lives as long as the ranks. Error(Argument) for options out of
// range, Error(Io) for no free port and for what the system refuses.
int launch(const LaunchOptions& options, const LaunchEvents& events);

}  // namespace plinth::distributed
