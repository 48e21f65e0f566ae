#include "distributed/rendezvous.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <vector>

#include "core/error.h"
#include "core/io/file.h"
#include "core/io/text.h"
#include "distributed/store/file_store.h"
#include "distributed/store/frame.h"
#include "distributed/store/hash_store.h"
#include "distributed/store/tcp_server.h"
#include "distributed/store/tcp_store.h"

namespace plinth::distributed {

namespace {

constexpr int kMaxInt = std::numeric_limits<int>::max();

std::optional<std::string> find(const Variables& variables, const std::string& name) {
  const auto found = variables.find(name);
  // A variable that is set to nothing is one that a script had nothing for.
  if (found == variables.end() || found->second.empty()) return std::nullopt;
  return found->second;
}

int64_t parse(const std::string& name, const std::string& text, int64_t least, int64_t most) {
  int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  check(error == std::errc() && stop == end && value >= least && value <= most, ErrorKind::Config,
        name, "got ", printable(text), ", takes a whole number from ", least, " to ", most);
  return value;
}

std::optional<int> find_int(const Variables& variables, const std::string& name, int least,
                            int most = kMaxInt) {
  const std::optional<std::string> text = find(variables, name);
  if (!text) return std::nullopt;
  return static_cast<int>(parse(name, *text, least, most));
}

// `because` names the variable that asks for this one.
int need_int(const Variables& variables, const std::string& name, const std::string& because,
             int least, int most = kMaxInt) {
  const std::optional<int> value = find_int(variables, name, least, most);
  check(value.has_value(), ErrorKind::Config, name, "is not set, but ", because, " is");
  return *value;
}

struct RankNames {
  const char *launcher, *rank, *size, *local_rank, *local_size;
};

void check_ranks(const Rendezvous& r, const RankNames& names) {
  check(r.rank < r.world_size, ErrorKind::Config, names.rank, "got ", r.rank, ", takes 0 to ",
        r.world_size - 1, " (", names.size, " - 1)");
  check(r.local_world_size <= r.world_size, ErrorKind::Config, names.local_size, "got ",
        r.local_world_size, ", takes up to ", r.world_size, " (", names.size, ")");
  check(r.local_rank < r.local_world_size, ErrorKind::Config, names.local_rank, "got ",
        r.local_rank, ", takes 0 to ", r.local_world_size - 1, " (", names.local_size, " - 1)");
}

// False if the launcher of these names did not start this process.
bool read_ranks(const Variables& variables, const RankNames& names, Rendezvous& r) {
  if (!find(variables, names.rank) && !find(variables, names.size)) return false;
  r.launcher = names.launcher;
  r.rank = need_int(variables, names.rank, names.size, 0);
  r.world_size = need_int(variables, names.size, names.rank, 1);
  // A launcher that knows of no local ranks starts one process a host.
  if (find(variables, names.local_rank) || find(variables, names.local_size)) {
    r.local_rank = need_int(variables, names.local_rank, names.local_size, 0);
    r.local_world_size = need_int(variables, names.local_size, names.local_rank, 1);
  }
  check_ranks(r, names);
  return true;
}

// Only in a step: a batch script has SLURM_PROCID=0 as well, but is no rank.
bool read_slurm(const Variables& variables, Rendezvous& r) {
  const std::optional<std::string> hosts = find(variables, "SLURM_STEP_NODELIST");
  if (!find(variables, "SLURM_PROCID") || !hosts) return false;
  const char* tasks = "SLURM_STEP_TASKS_PER_NODE";
  r.launcher = "slurm";
  r.rank = need_int(variables, "SLURM_PROCID", "SLURM_STEP_NODELIST", 0);
  r.world_size = need_int(variables, "SLURM_NTASKS", "SLURM_PROCID", 1);
  r.local_rank = need_int(variables, "SLURM_LOCALID", "SLURM_PROCID", 0);
  const int node = need_int(variables, "SLURM_NODEID", "SLURM_PROCID", 0);
  const std::optional<std::string> by_node = find(variables, tasks);
  check(by_node.has_value(), ErrorKind::Config, tasks, "is not set, but SLURM_PROCID is");
  r.local_world_size = slurm_tasks_on(*by_node, node);
  check_ranks(r, {"slurm", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", tasks});
  r.address = first_slurm_host(*hosts);
  const int job = need_int(variables, "SLURM_JOB_ID", "SLURM_PROCID", 0);
  const std::string step = find(variables, "SLURM_STEP_ID").value_or("0");
  r.port = 20000 + job % 10000;
  r.run_id = detail::concat("slurm-", job, ".", step, ".",
                            find(variables, "SLURM_RESTART_COUNT").value_or("0"));
  return true;
}

void read_ranks_of_any_launcher(const Variables& variables, Rendezvous& r) {
  constexpr RankNames torchrun = {"torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK",
                                  "LOCAL_WORLD_SIZE"};
  constexpr RankNames open_mpi = {"openmpi", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
                                  "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"};
  constexpr RankNames pmi = {"pmi", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"};
  if (read_ranks(variables, torchrun, r) || read_slurm(variables, r)) return;
  if (!read_ranks(variables, open_mpi, r)) read_ranks(variables, pmi, r);
}

std::string read_token(const Variables& variables) {
  const std::string token = find(variables, "PLINTH_TOKEN").value_or("");
  check(token.size() <= wire::kMaxToken, ErrorKind::Config, "PLINTH_TOKEN", "has ", token.size(),
        " bytes, takes up to ", wire::kMaxToken);
  const std::optional<std::string> file = find(variables, "PLINTH_TOKEN_FILE");
  return token.empty() && file ? read_token_file(*file) : token;
}

void read_endpoint(const Variables& variables, Rendezvous& r) {
  // torchrun's agent has a store of its own on MASTER_PORT.
  const bool taken = find(variables, "TORCHELASTIC_USE_AGENT_STORE") == "True";
  if (const auto address = find(variables, "MASTER_ADDR")) r.address = *address;
  if (const auto port = find_int(variables, "MASTER_PORT", 1, taken ? 65534 : 65535))
    r.port = *port + (taken ? 1 : 0);
  r.bind = find(variables, "PLINTH_BIND").value_or("");
  r.listening = find_int(variables, "PLINTH_STORE_FD", 0).value_or(-1);
  if (r.world_size == 1) return;
  check(!r.address.empty(), ErrorKind::Config, "MASTER_ADDR", "is not set; ", r.world_size,
        " ranks meet at MASTER_ADDR and MASTER_PORT, or in PLINTH_STORE");
  check(r.port > 0, ErrorKind::Config, "MASTER_PORT", "is not set, but MASTER_ADDR is");
  check(!r.token.empty() || r.single_host(), ErrorKind::Config, "PLINTH_TOKEN",
        "is not set; ranks on several hosts share a secret, such as that of "
        "`export PLINTH_TOKEN=$(openssl rand -hex 16)`");
}

// What the launcher calls its job; empty if it has no name for it.
std::string job_name(const Variables& variables) {
  if (const auto job = find(variables, "TORCHELASTIC_RUN_ID"))
    return *job + "-" + find(variables, "TORCHELASTIC_RESTART_COUNT").value_or("0");
  return find(variables, "PMIX_NAMESPACE").value_or(find(variables, "PMI_JOBID").value_or(""));
}

// Keys of an earlier run stay in a directory, so that each run needs a name there.
void check_run_in_directory(const Rendezvous& r) {
  // torchrun calls a job that has no name "none".
  check(r.world_size == 1 || (!r.run_id.empty() && !r.run_id.starts_with("none-")),
        ErrorKind::Config, "PLINTH_RUN_ID",
        "is not set, but PLINTH_STORE is; it names a run, and no two by the same name");
  check(r.run_id.find('/') == std::string::npos && r.run_id != "." && r.run_id != "..",
        ErrorKind::Config, "PLINTH_RUN_ID", "got ", printable(r.run_id),
        ", takes a name for a directory in PLINTH_STORE");
}

bool is_loopback(const Endpoint& endpoint) {
  return endpoint.host.starts_with("127.") || endpoint.host == "::1";
}

// Rank 0's part.
std::shared_ptr<TcpStoreServer> serve(const Rendezvous& r, Deadline deadline) {
  io::FileDescriptor listening =
      r.listening >= 0 ? adopt_listening(r.listening)
                       : listen_on({r.bind.empty() ? r.address : r.bind, r.port}, deadline);
  auto server = std::make_shared<TcpStoreServer>(
      std::move(listening), TcpStoreServer::Options{.run_id = r.run_id, .token = r.token});
  // Debian's /etc/hosts gives a machine's own name the address 127.0.1.1.
  check(r.single_host() || !is_loopback(server->endpoint()), ErrorKind::Config, "MASTER_ADDR",
        r.address, " is ", server->endpoint().host,
        " on this host, where other hosts cannot reach it; PLINTH_BIND takes an address or "
        "interface that they can");
  return server;
}

}  // namespace

std::string first_slurm_host(const std::string& list) {
  std::string host;
  for (size_t i = 0; i < list.size() && list[i] != ','; ++i) {
    if (list[i] != '[') {
      host += list[i];
      continue;
    }
    const size_t end = list.find(']', i);
    const size_t first = list.find_first_of(",-]", i);
    check(end != list.npos && first > i + 1, ErrorKind::Config, "SLURM_STEP_NODELIST", "got ",
          printable(list), ", takes a list of hosts");
    host += list.substr(i + 1, first - i - 1);
    i = end;
  }
  check(!host.empty() && host.find(']') == host.npos, ErrorKind::Config, "SLURM_STEP_NODELIST",
        "got ", printable(list), ", takes a list of hosts");
  return host;
}

int slurm_tasks_on(const std::string& list, int node) {
  const char* name = "SLURM_STEP_TASKS_PER_NODE";
  int64_t nodes = 0;
  for (size_t begin = 0; begin <= list.size();) {
    const size_t end = std::min(list.find(',', begin), list.size());
    const std::string part = list.substr(begin, end - begin);
    const size_t times = std::min(part.find("(x"), part.size());
    const int64_t tasks = parse(name, part.substr(0, times), 1, kMaxInt);
    check(times == part.size() || part.back() == ')', ErrorKind::Config, name, "got ",
          printable(list), ", takes a list such as 4(x2),3");
    nodes += times == part.size()
                 ? 1
                 : parse(name, part.substr(times + 2, part.size() - times - 3), 1, kMaxInt);
    if (node < nodes) return static_cast<int>(tasks);
    begin = end + 1;
  }
  throw Error(ErrorKind::Config, "SLURM_NODEID",
              detail::concat("got ", node, ", takes 0 to ", nodes - 1, " (", name, " is ",
                             printable(list), ")"));
}

std::string read_token_file(const std::filesystem::path& file) {
  std::string token = read_text_file(file, wire::kMaxToken + 1);
  while (!token.empty() && token.back() == '\n') token.pop_back();
  check(!token.empty() && token.size() <= wire::kMaxToken, ErrorKind::Config, file.string(), "has ",
        token.size(), " bytes, takes a secret of 1 to ", wire::kMaxToken);
  return token;
}

std::string random_hex(int bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::vector<unsigned char> random(bytes);
  // At most 256 bytes come whole, whatever signals there are.
  check(bytes > 0 && bytes <= 256, ErrorKind::Argument, "random_hex", "bytes got ", bytes,
        ", takes 1 to 256");
  check(::getrandom(random.data(), random.size(), 0) == std::ssize(random), ErrorKind::Io,
        "getrandom", "the system gives no random bytes");
  std::string text;
  for (const unsigned char byte : random) text += {digits[byte >> 4], digits[byte & 15]};
  return text;
}

Rendezvous from_variables(const Variables& variables) {
  Rendezvous r;
  read_ranks_of_any_launcher(variables, r);
  r.restarts = find_int(variables, "PLINTH_RESTART", 0).value_or(0);
  r.token = read_token(variables);
  if (r.run_id.empty()) r.run_id = job_name(variables);
  r.run_id = find(variables, "PLINTH_RUN_ID").value_or(r.run_id);
  check(r.run_id.size() <= wire::kMaxRun, ErrorKind::Config, "PLINTH_RUN_ID", "has ",
        r.run_id.size(), " bytes, takes up to ", wire::kMaxRun);
  r.directory = find(variables, "PLINTH_STORE").value_or("");
  if (r.directory.empty()) {
    read_endpoint(variables, r);
  } else {
    check_run_in_directory(r);
  }
  return r;
}

Variables environment() {
  Variables variables;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const size_t equals = text.find('=');
    if (equals != text.npos) variables.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return variables;
}

Rendezvous from_environment() {
  return from_variables(environment());
}

std::shared_ptr<Store> make_store(const Rendezvous& rendezvous, Milliseconds timeout) {
  check_timeout("make_store", timeout);
  if (rendezvous.world_size == 1) return std::make_shared<HashStore>();
  if (!rendezvous.directory.empty())
    return std::make_shared<FileStore>(rendezvous.directory / rendezvous.run_id);
  TcpStore::Options options;
  options.server = {rendezvous.address, rendezvous.port};
  options.run_id = rendezvous.run_id;
  options.token = rendezvous.token;
  options.connect_timeout = timeout;
  options.answer_timeout = std::min(options.answer_timeout, timeout);
  std::shared_ptr<TcpStoreServer> server;
  if (rendezvous.rank == 0) {
    server = serve(rendezvous, deadline_after(timeout));
    options.server = server->endpoint();
  }
  return std::make_shared<TcpStore>(std::move(options), std::move(server));
}

}  // namespace plinth::distributed
