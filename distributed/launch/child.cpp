#include "distributed/launch/child.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <system_error>

#include "core/error.h"

namespace plinth::distributed {

namespace {

using io::FileDescriptor;

[[noreturn]] void throw_errno(const std::filesystem::path& program, const char* what) {
  throw Error(ErrorKind::Io, program.string(),
              detail::concat("cannot ", what, ": ", std::generic_category().message(errno)));
}

// As execve takes them; the texts must outlive the pointers.
std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> all;
  all.reserve(texts.size() + 1);
  for (std::string& text : texts) all.push_back(text.data());
  all.push_back(nullptr);
  return all;
}

struct Pipe {
  FileDescriptor from, to;

  explicit Pipe(const std::filesystem::path& program) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw_errno(program, "make a pipe");
    from = FileDescriptor(ends[0]);
    to = FileDescriptor(ends[1]);
    ::fcntl(from.get(), F_SETFL, O_NONBLOCK);
  }
};

// Between fork and execve: only what is async-signal-safe.
[[noreturn]] void become(const char* program, char* const* arguments, char* const* variables,
                         const std::array<int, 3>& streams, int keep_open, pid_t parent) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);  // it died before
  for (int i = 0; i < 3; ++i) ::dup2(streams[i], i);
  if (keep_open >= 0) ::fcntl(keep_open, F_SETFD, 0);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGCHLD}) {
    sigset_t one;
    ::sigemptyset(&one);
    ::sigaddset(&one, number);
    ::sigprocmask(SIG_UNBLOCK, &one, nullptr);
  }
  ::execve(program, arguments, variables);
  const char* reason = ::strerror(errno);
  for (const char* text : {"cannot start ", program, ": ", reason, "\n"})
    if (::write(STDERR_FILENO, text, std::strlen(text)) < 0) break;
  ::_exit(127);
}

}  // namespace

Child::Child(const Command& command) {
  const std::string program = command.program.string();
  std::vector<std::string> argument_texts = command.arguments, variable_texts;
  for (const auto& [name, value] : command.variables) variable_texts.push_back(name + "=" + value);
  const std::vector<char*> arguments = pointers(argument_texts);
  const std::vector<char*> variables = pointers(variable_texts);
  const FileDescriptor nothing(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  Pipe output(program), errors(program);
  const std::array<int, 3> streams = {nothing.get(), output.to.get(), errors.to.get()};
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) throw_errno(program, "start a process");
  if (pid == 0)
    become(program.c_str(), arguments.data(), variables.data(), streams, command.keep_open, parent);
  ::setpgid(pid, pid);  // by both, so that it is one before either goes on
  pid_ = pid;
  streams_ = {std::move(output.from), std::move(errors.from)};
}

Child::~Child() {
  if (!running()) return;
  signal(SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void Child::signal(int number) const {
  if (running()) ::kill(-pid_, number);
}

bool Child::stopped() const {
  siginfo_t info{};
  return running() && ::waitid(P_PID, pid_, &info, WSTOPPED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid != 0;
}

std::optional<int> Child::reap() {
  if (!running()) return std::nullopt;
  siginfo_t info{};
  // First without taking it away: until then no other process can get its number.
  if (::waitid(P_PID, pid_, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0)
    return std::nullopt;
  signal(SIGKILL);
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = -1;
  return status;
}

}  // namespace plinth::distributed
