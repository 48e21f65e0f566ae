#include "distributed/launch/launcher.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <optional>
#include <thread>
#include <utility>

#include "core/error.h"
#include "core/io/directory.h"
#include "core/io/file.h"
#include "distributed/launch/child.h"
#include "distributed/launch/line_splitter.h"
#include "distributed/rendezvous.h"
#include "distributed/store/socket.h"
#include "distributed/store/value.h"

namespace plinth::distributed {

namespace {

constexpr Milliseconds kGraceAfterFailure = std::chrono::seconds(5);
// How late the end of a process is noticed at most, if its signal gets lost.
constexpr Milliseconds kTick(100);
constexpr int kUsersMistake = 2;

// While one lives, the signals that concern a launcher wait to be read.
class Signals {
 public:
  Signals() {
    ::sigemptyset(&set_);
    for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGCHLD}) {
      struct sigaction now = {};
      ::sigaction(number, nullptr, &now);
      // As under nohup, which a blocked signal would come through.
      if (now.sa_handler != SIG_IGN) ::sigaddset(&set_, number);
    }
    ::pthread_sigmask(SIG_BLOCK, &set_, &before_);
    fd_ = io::FileDescriptor(::signalfd(-1, &set_, SFD_NONBLOCK | SFD_CLOEXEC));
    check(fd_.get() >= 0, ErrorKind::Io, "launch", "cannot wait for signals");
  }
  ~Signals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  int fd() const { return fd_.get(); }
  // The next one that came, or 0.
  int next() const {
    signalfd_siginfo info{};
    return ::read(fd_.get(), &info, sizeof(info)) == sizeof(info) ? static_cast<int>(info.ssi_signo)
                                                                  : 0;
  }

 private:
  sigset_t set_, before_;
  io::FileDescriptor fd_;
};

struct Rank {
  int number;
  Child child;
  std::array<LineSplitter, 2> lines;
  std::optional<AppendFile> log;
};

class Launcher {
 public:
  Launcher(const LaunchOptions& options, const LaunchEvents& events)
      : options_(options), events_(events) {}

  int run();

 private:
  // Runs all ranks once; nothing if they ended well.
  std::optional<RankFailure> run_once(int restart);
  void start(int restart);
  Variables variables_of(int local_rank, int restart, int port, int socket) const;
  std::optional<AppendFile> open_log(int rank);

  // Waits for something to happen, and deals with it.
  void step(std::optional<RankFailure>& failure);
  void take_signals();
  void read(Rank& rank, int which);
  void write_log(Rank& rank, std::string_view bytes);
  void end(Rank& rank, int status, std::optional<RankFailure>& failure);
  // Asks all to end, and has them killed later.
  void stop(int number, Milliseconds grace);
  // Has ranks killed, later, that are stopped while no other runs.
  void end_forgotten();
  bool any_running() const;

  const LaunchOptions& options_;
  const LaunchEvents& events_;
  const Signals signals_;
  std::string token_, run_id_;
  std::vector<Rank> ranks_;
  bool told_to_stop_ = false;
  std::optional<Deadline> kill_at_, give_up_at_;
};

int Launcher::run() {
  const bool alone = options_.nodes == 1;
  token_ = options_.token.empty() && alone ? random_hex(16) : options_.token;
  run_id_ = options_.run_id.empty() && alone ? random_hex(8) : options_.run_id;
  if (!options_.log_directory.empty()) make_directories(options_.log_directory);
  for (int restart = 0;; ++restart) {
    const std::optional<RankFailure> failure = run_once(restart);
    if (!failure) return 0;
    if (told_to_stop_ || restart == options_.max_restarts || failure->status == kUsersMistake)
      return failure->status;
    events_.restarting(restart + 1);
  }
}

std::optional<RankFailure> Launcher::run_once(int restart) {
  kill_at_.reset();
  give_up_at_.reset();
  start(restart);
  std::optional<RankFailure> failure;
  while (any_running()) step(failure);
  ranks_.clear();
  return failure;
}

void Launcher::start(int restart) {
  io::FileDescriptor socket;
  int port = options_.master_port;
  if (port == 0) {
    socket = listen_on({"127.0.0.1", 0}, deadline_after(Milliseconds(0)));
    port = local_endpoint(socket.get()).port;
  }
  for (int local = 0; local < options_.processes; ++local) {
    const int rank = options_.node_rank * options_.processes + local;
    const int inherited = rank == 0 ? socket.get() : -1;
    ranks_.push_back({.number = rank,
                      .child = Child({.program = options_.program,
                                      .arguments = options_.arguments,
                                      .variables = variables_of(local, restart, port, inherited),
                                      .keep_open = inherited}),
                      .lines = {},
                      .log = open_log(rank)});
  }
}

Variables Launcher::variables_of(int local_rank, int restart, int port, int socket) const {
  Variables variables = environment();
  const auto set = [&](const char* name, const auto& value) {
    variables[name] = detail::concat(value);
  };
  set("RANK", options_.node_rank * options_.processes + local_rank);
  set("WORLD_SIZE", options_.nodes * options_.processes);
  set("LOCAL_RANK", local_rank);
  set("LOCAL_WORLD_SIZE", options_.processes);
  set("MASTER_ADDR", options_.master_address.empty() ? "127.0.0.1" : options_.master_address);
  set("MASTER_PORT", port);
  set("PLINTH_TOKEN", token_);
  set("PLINTH_RUN_ID", detail::concat(run_id_, ".", restart));
  set("PLINTH_RESTART", restart);
  variables.erase("PLINTH_STORE_FD");
  variables.erase("TORCHELASTIC_USE_AGENT_STORE");
  if (socket >= 0) set("PLINTH_STORE_FD", socket);
  const int processors = static_cast<int>(std::thread::hardware_concurrency());
  if (!variables.contains("OMP_NUM_THREADS"))
    set("OMP_NUM_THREADS", std::max(processors / options_.processes, 1));
  return variables;
}

std::optional<AppendFile> Launcher::open_log(int rank) {
  if (options_.log_directory.empty()) return std::nullopt;
  return AppendFile(options_.log_directory / detail::concat("rank-", rank, ".log"));
}

bool Launcher::any_running() const {
  return std::any_of(ranks_.begin(), ranks_.end(), [](const Rank& r) { return r.child.running(); });
}

void Launcher::step(std::optional<RankFailure>& failure) {
  std::vector<pollfd> waiting = {{.fd = signals_.fd(), .events = POLLIN, .revents = 0}};
  for (const Rank& rank : ranks_) {
    for (const io::FileDescriptor& stream : rank.child.streams())
      waiting.push_back({.fd = stream.get(), .events = POLLIN, .revents = 0});  // -1: left out
  }
  ::poll(waiting.data(), waiting.size(), static_cast<int>(kTick.count()));
  take_signals();
  for (size_t i = 1; i < waiting.size(); ++i)
    if (waiting[i].revents != 0) read(ranks_[(i - 1) / 2], static_cast<int>((i - 1) % 2));
  for (Rank& rank : ranks_)
    if (const std::optional<int> status = rank.child.reap()) end(rank, *status, failure);
  if (kill_at_ && std::chrono::steady_clock::now() >= *kill_at_) {
    for (const Rank& rank : ranks_) rank.child.signal(SIGKILL);
  }
  end_forgotten();
}

void Launcher::end_forgotten() {
  const auto ended = [](const Rank& r) { return !r.child.running(); };
  const auto ended_or_stopped = [&](const Rank& r) { return ended(r) || r.child.stopped(); };
  if (kill_at_ || !any_running() || std::none_of(ranks_.begin(), ranks_.end(), ended) ||
      !std::all_of(ranks_.begin(), ranks_.end(), ended_or_stopped)) {
    give_up_at_.reset();
    return;
  }
  if (!give_up_at_) give_up_at_ = deadline_after(options_.grace);
  if (std::chrono::steady_clock::now() < *give_up_at_) return;
  for (const Rank& rank : ranks_) {
    if (!rank.child.running()) continue;
    events_.warning(detail::concat("rank ", rank.number,
                                   " is stopped, and the others have ended: it is killed"));
  }
  kill_at_ = std::chrono::steady_clock::now();
}

void Launcher::take_signals() {
  while (const int number = signals_.next()) {
    if (number == SIGCHLD) continue;
    told_to_stop_ = true;
    stop(number, options_.grace);
  }
}

void Launcher::stop(int number, Milliseconds grace) {
  for (const Rank& rank : ranks_) rank.child.signal(number);
  if (!kill_at_) kill_at_ = deadline_after(grace);
}

// A portion, so that no rank that writes much holds up the others.
void Launcher::read(Rank& rank, int which) {
  std::array<char, size_t{1} << 16> bytes;
  const auto emit = [&](std::string_view line) { events_.line(rank.number, which == 1, line); };
  const ssize_t count = ::read(rank.child.streams()[which].get(), bytes.data(), bytes.size());
  if (count > 0) {
    const std::string_view text(bytes.data(), count);
    write_log(rank, text);
    rank.lines[which].push(text, emit);
  } else if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
    rank.lines[which].finish(emit);
    rank.child.close_stream(which);
  }
}

// A full disk costs the log, not the run.
void Launcher::write_log(Rank& rank, std::string_view bytes) {
  if (!rank.log) return;
  try {
    rank.log->append(bytes);
  } catch (const Error& error) {
    rank.log.reset();
    events_.warning(
        detail::concat("no log of rank ", rank.number, " from here on: ", error.what()));
  }
}

void Launcher::end(Rank& rank, int status, std::optional<RankFailure>& failure) {
  // All that it wrote, before what is said of its end. Nobody else writes into these any more.
  for (const int which : {0, 1}) {
    for (int portions = 0; rank.child.streams()[which].get() >= 0 && portions < 64; ++portions)
      read(rank, which);
    rank.lines[which].finish(
        [&](std::string_view line) { events_.line(rank.number, which == 1, line); });
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
  if (failure) return;
  const int number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  failure = {.rank = rank.number,
             .status = number > 0 ? 128 + number : WEXITSTATUS(status),
             .signal = number};
  if (told_to_stop_) return;
  events_.failed(*failure);
  stop(SIGTERM, std::min(options_.grace, kGraceAfterFailure));
}

}  // namespace

int launch(const LaunchOptions& options, const LaunchEvents& events) {
  const auto in_range = [](const char* name, int value, int least, int most) {
    check(value >= least && value <= most, ErrorKind::Argument, "launch", name, " got ", value,
          ", takes ", least, " to ", most);
  };
  in_range("processes", options.processes, 1, 4096);
  in_range("nodes", options.nodes, 1, 1'000'000);
  in_range("node_rank", options.node_rank, 0, options.nodes - 1);
  in_range("master_port", options.master_port, options.nodes > 1 ? 1 : 0, 65535);
  in_range("max_restarts", options.max_restarts, 0, 1'000'000);
  check(options.nodes == 1 || !options.master_address.empty(), ErrorKind::Argument, "launch",
        "master_address is empty, takes the host of rank 0 where there are several nodes");
  check(options.nodes == 1 || !options.token.empty(), ErrorKind::Argument, "launch",
        "token is empty, takes the secret of all nodes where there are several");
  check(!options.arguments.empty(), ErrorKind::Argument, "launch", "arguments are empty");
  check_timeout("launch", options.grace);
  return Launcher(options, events).run();
}

}  // namespace plinth::distributed
