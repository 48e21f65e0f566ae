// A TcpStore among other ranks, other runs and strangers.

#include "distributed/store/tcp_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <random>
#include <thread>
#include <vector>

#include "core/error.h"
#include "distributed/store/frame.h"
#include "tests/distributed/store/stores.h"

namespace plinth::distributed {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using wire::Answer;
using wire::FrameReader;
using wire::FrameWriter;
using wire::Request;

std::string message_of_connecting(const TcpStore::Options& options) {
  try {
    const TcpStore store(options);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::Io);
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

// A connection of somebody who says what they like.
class Stranger {
 public:
  explicit Stranger(const Endpoint& server) {
    std::string reason;
    fd_ = connect_once(server, soon(), reason);
    EXPECT_GE(fd_.get(), 0) << reason;
  }
  Stranger& say(std::string_view bytes) {
    send_all(fd_.get(), bytes, soon());
    return *this;
  }
  Stranger& hello() {
    say(FrameWriter(Request::Hello).text(wire::kMagic).text("r").text("t").finish());
    const std::string body = hear();
    EXPECT_EQ(FrameReader(body).answer(), Answer::Ok);
    return *this;
  }
  // The next frame's body; empty if the connection is closed instead.
  std::string hear() {
    std::string bytes(wire::kPrefix, '\0');
    if (receive_all(fd_.get(), bytes, soon()) != Transfer::Done) return "";
    std::string body(*wire::announced_length(bytes), '\0');
    EXPECT_EQ(receive_all(fd_.get(), body, soon()), Transfer::Done);
    return body;
  }
  bool is_closed() {
    std::string byte(1, '\0');
    return receive_all(fd_.get(), byte, soon()) == Transfer::Closed;
  }
  int fd() const { return fd_.get(); }

 private:
  io::FileDescriptor fd_;
};

TEST(TcpStore, WaitsForTheServerToComeUp) {
  // A port that is free for now.
  const Endpoint endpoint = local_endpoint(listen_on({"127.0.0.1", 0}, soon()).get());
  std::shared_ptr<TcpStoreServer> server;
  std::thread late([&] {
    std::this_thread::sleep_for(Milliseconds(100));
    server = std::make_shared<TcpStoreServer>(listen_on(endpoint, soon()),
                                              TcpStoreServer::Options{.run_id = "r", .token = "t"});
  });
  TcpStore store(tcp_options(endpoint));
  late.join();
  store.set("key", "value");
  EXPECT_EQ(store.try_get("key"), "value");
}

TEST(TcpStore, GivesUpOnAServerThatDoesNotComeUp) {
  const Endpoint endpoint = local_endpoint(listen_on({"127.0.0.1", 0}, soon()).get());
  TcpStore::Options options = tcp_options(endpoint);
  options.connect_timeout = Milliseconds(100);
  EXPECT_THAT(message_of_connecting(options),
              AllOf(HasSubstr(endpoint.text()), HasSubstr("tried for 0.1"), HasSubstr("refused")));
  options.server.host = "no-such-host.invalid";
  EXPECT_THAT(message_of_connecting(options), HasSubstr("no-such-host.invalid"));
}

TEST(TcpStore, GivesUpOnAServerThatSaysNothing) {
  const auto silent = listen_on({"127.0.0.1", 0}, soon());
  TcpStore::Options options = tcp_options(local_endpoint(silent.get()));
  options.connect_timeout = Milliseconds(100);
  EXPECT_THAT(message_of_connecting(options), HasSubstr("it gave no answer"));
}

// As that of a process which is stopped: it takes connections, and answers one of them at first.
TEST(TcpStore, LosesPatienceWithAServerThatFallsSilent) {
  const auto listening = listen_on({"127.0.0.1", 0}, soon());
  TcpStore::Options options = tcp_options(local_endpoint(listening.get()));
  options.answer_timeout = std::chrono::seconds(1);
  io::FileDescriptor accepted;
  std::thread welcome([&] {
    pollfd waiting{.fd = listening.get(), .events = POLLIN, .revents = 0};
    ::poll(&waiting, 1, 10000);
    accepted = io::FileDescriptor(::accept(listening.get(), nullptr, nullptr));
    send_all(accepted.get(), FrameWriter(Answer::Ok).text(wire::kMagic).finish(), soon());
  });
  TcpStore store(options);
  welcome.join();
  const auto message = [&]() -> std::string {
    try {
      store.set("key", "");
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_THAT(message(), AllOf(HasSubstr("set of key 'key': no answer within 1 s"),
                               HasSubstr("rank 0 may be stopped")));
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 20; ++i)
    EXPECT_THAT(message(), AllOf(HasSubstr("no answer"), HasSubstr("rank 0 may be stopped")));
  // A tenth of a second each, not a second.
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
}

TEST(TcpStore, KnowsAnotherService) {
  const auto listening = listen_on({"127.0.0.1", 0}, soon());
  std::thread service([&] {
    pollfd waiting{.fd = listening.get(), .events = POLLIN, .revents = 0};
    ::poll(&waiting, 1, 10000);
    const io::FileDescriptor fd(::accept(listening.get(), nullptr, nullptr));
    send_all(fd.get(), "SSH-2.0-OpenSSH\r\n", soon());
    std::string hello(10, '\0');
    receive_all(fd.get(), hello, soon());
  });
  EXPECT_THAT(message_of_connecting(tcp_options(local_endpoint(listening.get()))),
              HasSubstr("another service"));
  service.join();
}

TEST(TcpStore, RefusesAWrongToken) {
  const auto server = tcp_server();
  TcpStore::Options options = tcp_options(server->endpoint());
  for (const char* token : {"", "T", "tt"}) {
    options.token = token;
    EXPECT_THAT(message_of_connecting(options),
                AllOf(HasSubstr(server->endpoint().text()), HasSubstr("PLINTH_TOKEN")));
  }
  Stranger stranger(server->endpoint());
  stranger.say(FrameWriter(Request::Hello).text(wire::kMagic).text("r").text("x").finish());
  EXPECT_EQ(FrameReader(stranger.hear()).answer(), Answer::WrongToken);
  EXPECT_TRUE(stranger.is_closed());
}

TEST(TcpStore, ComparesSecretsWhole) {
  EXPECT_TRUE(wire::same_secret("", ""));
  EXPECT_TRUE(wire::same_secret("abc", "abc"));
  EXPECT_FALSE(wire::same_secret("abc", "abd"));
  EXPECT_FALSE(wire::same_secret("abc", "xbc"));
  EXPECT_FALSE(wire::same_secret("abc", "ab"));
}

TEST(TcpStore, TellsTwoRunsOnOnePortApart) {
  const auto server = tcp_server();
  TcpStore::Options options = tcp_options(server->endpoint());
  options.run_id = "other";
  EXPECT_THAT(message_of_connecting(options),
              AllOf(HasSubstr(server->endpoint().text()), HasSubstr("'other'"),
                    HasSubstr("two runs on one port")));
  try {
    listen_on(server->endpoint(), soon());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::Io);
    EXPECT_THAT(error.what(),
                HasSubstr("port " + std::to_string(server->endpoint().port) + " is in use"));
  }
}

// The ranks of a restarted run may come before the server of the run before is gone.
TEST(TcpStore, WaitsForTheRunBeforeToEnd) {
  auto before = tcp_server({.run_id = "r.0", .token = "t"});
  const Endpoint endpoint = before->endpoint();
  TcpStore::Options options = tcp_options(endpoint);
  options.run_id = "r.1";
  options.other_run_timeout = std::chrono::seconds(10);
  std::shared_ptr<TcpStoreServer> next;
  std::thread restart([&] {
    std::this_thread::sleep_for(Milliseconds(50));
    before.reset();
    next = std::make_shared<TcpStoreServer>(listen_on(endpoint, soon()),
                                            TcpStoreServer::Options{.run_id = "r.1", .token = "t"});
  });
  TcpStore(options).set("key", "value");
  restart.join();
}

TEST(TcpStore, SaysThatTheServerIsGone) {
  auto server = tcp_server();
  TcpStore store(tcp_options(server->endpoint()));
  const std::string name = server->endpoint().text();
  std::thread waiting([&] {
    try {
      store.get("key", std::chrono::seconds(20));
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::Io);
      EXPECT_THAT(error.what(),
                  AllOf(HasSubstr(name), HasSubstr("get of key 'key'"), HasSubstr("broke")));
    }
  });
  std::this_thread::sleep_for(Milliseconds(50));
  server.reset();
  waiting.join();
  const auto start = std::chrono::steady_clock::now();
  EXPECT_THROW(store.set("key", ""), Error);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
}

TEST(TcpStore, ListensOnTheGivenAddressOnly) {
  const auto by_name = listen_on({"lo", 0}, soon());
  EXPECT_EQ(local_endpoint(by_name.get()).host, "127.0.0.1");
  const int port = tcp_server()->endpoint().port;
  std::string reason;
  EXPECT_LT(connect_once({"127.0.0.2", port}, soon(), reason).get(), 0);
  try {
    listen_on({"192.0.2.1", 0}, soon());  // of documentation, RFC 5737
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("192.0.2.1"), HasSubstr("PLINTH_BIND")));
  }
}

// --- Strangers
// --------------------------------------------------------------------------------------

TEST(TcpServer, ClosesWhateverBreaksTheRules) {
  const auto server = tcp_server();
  TcpStore store(tcp_options(server->endpoint()));
  const std::string hello =
      FrameWriter(Request::Hello).text(wire::kMagic).text("r").text("t").finish();
  const std::vector<std::string> before_token = {
      "GET / HTTP/1.1\r\n\r\n",
      std::string("\xff\xff\xff\xff", 4),                             // a huge frame
      std::string("\0\0\0\0", 4),                                     // an empty one
      std::string("\x05\0\0\0\x01\xff\xff\xff\xff", 9),               // a huge text in it
      FrameWriter(Request::Set).text("key").text("stolen").finish(),  // no hello
      FrameWriter(Request::Hello).text("plinth store 0").text("r").text("t").finish(),
      FrameWriter(Request::Hello).text(wire::kMagic).text("r").finish(),
      FrameWriter(Request::Hello).text(wire::kMagic).text("r").text("t").number(1).finish()};
  for (const std::string& bytes : before_token)
    EXPECT_TRUE(Stranger(server->endpoint()).say(bytes).is_closed()) << bytes;
  const std::vector<std::string> after_token = {
      hello, std::string("\xff\xff\xff\x7f", 4), FrameWriter(Request::Set).text("key").finish(),
      FrameWriter(Request::Set).text(std::string(kMaxKey + 1, 'k')).text("x").finish(),
      FrameWriter(Request::Get).text("key").finish(),
      FrameWriter(Request::TryGet).text("key").number(0).finish(),
      FrameWriter(Request::Add).text("key").finish(), FrameWriter(Request::Remove).finish(),
      FrameWriter(static_cast<Request>(99)).text("key").finish(),
      // A second request while the first one waits.
      FrameWriter(Request::Get).text("key").number(60000).finish() + "x"};
  for (const std::string& bytes : after_token) {
    Stranger stranger(server->endpoint());
    EXPECT_TRUE(stranger.hello().say(bytes).is_closed()) << bytes;
  }
  EXPECT_EQ(store.try_get("key"), std::nullopt);
}

TEST(TcpServer, SurvivesGarbage) {
  const auto server = tcp_server();
  TcpStore store(tcp_options(server->endpoint()));
  std::mt19937 random(1);
  for (int i = 0; i < 300; ++i) {
    Stranger stranger(server->endpoint());
    if (i % 2 == 0) stranger.hello();
    std::string bytes(random() % 200, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    // Lengths that are possible lead further into the parser.
    if (bytes.size() >= 5 && i % 3 != 0) {
      bytes.replace(0, 4, std::string{static_cast<char>(bytes.size() - 4), 0, 0, 0});
      bytes[4] = static_cast<char>(random() % 8);
    }
    stranger.say(bytes);
  }
  EXPECT_EQ(store.add("still there", 1), 1);
}

TEST(TcpServer, TakesAFrameInPiecesAndGivesALargeAnswerToASlowReader) {
  const auto server = tcp_server();
  TcpStore store(tcp_options(server->endpoint()));
  const std::string large(8 << 20, 'v');
  store.set("large", large);
  Stranger slow(server->endpoint());
  slow.hello();
  for (const char byte : FrameWriter(Request::TryGet).text("large").finish()) {
    slow.say({&byte, 1});
    std::this_thread::sleep_for(Milliseconds(1));
  }
  EXPECT_EQ(store.add("others go on", 1), 1);
  const std::string body = slow.hear();
  FrameReader frame(body);
  EXPECT_TRUE(frame.text() == large);
}

TEST(TcpServer, DropsStrangersThatStaySilentOrSlow) {
  const auto server = tcp_server({.run_id = "r", .token = "t", .hello_timeout = Milliseconds(200)});
  Stranger silent(server->endpoint()), slow(server->endpoint());
  TcpStore store(tcp_options(server->endpoint()));
  for (int i = 0; i < 5; ++i) {
    slow.say("\x01");
    std::this_thread::sleep_for(Milliseconds(10));
  }
  EXPECT_TRUE(silent.is_closed());
  EXPECT_TRUE(slow.is_closed());
  // A rank may be as silent as it likes.
  std::this_thread::sleep_for(Milliseconds(250));
  EXPECT_EQ(store.add("key", 1), 1);
}

TEST(TcpServer, SurvivesAFloodOfConnections) {
  const auto server = tcp_server({.run_id = "r", .token = "t", .max_strangers = 16});
  TcpStore store(tcp_options(server->endpoint()));
  std::vector<Stranger> flood;
  for (int i = 0; i < 300; ++i) flood.emplace_back(server->endpoint());
  EXPECT_EQ(store.add("key", 1), 1);
  EXPECT_EQ(TcpStore(tcp_options(server->endpoint())).add("key", 1), 2);
  int open = 0;
  for (const Stranger& stranger : flood) {
    pollfd waiting{.fd = stranger.fd(), .events = POLLIN, .revents = 0};
    open += ::poll(&waiting, 1, 0) == 0;
  }
  EXPECT_LE(open, 16);
}

TEST(TcpServer, ForgetsAClientThatIsKilledWhileItWaits) {
  const auto server = tcp_server();
  TcpStore store(tcp_options(server->endpoint()));
  {
    Stranger killed(server->endpoint());
    killed.hello().say(FrameWriter(Request::Get).text("key").number(60000).finish());
    // With a reset, as the kernel does for a process that dies with bytes unread.
    const linger reset{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(killed.fd(), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
  }
  std::thread other([&] { EXPECT_EQ(store.get("key", std::chrono::seconds(20)), "value"); });
  std::this_thread::sleep_for(Milliseconds(20));
  TcpStore(tcp_options(server->endpoint())).set("key", "value");
  other.join();
}

TEST(TcpServer, WakesManyThatWaitForOneKey) {
  const auto server = tcp_server();
  std::vector<Stranger> waiting;
  for (int i = 0; i < 500; ++i) {
    waiting.emplace_back(server->endpoint());
    waiting.back().hello().say(FrameWriter(Request::Get).text("key").number(60000).finish());
  }
  TcpStore(tcp_options(server->endpoint())).set("key", "value");
  for (Stranger& stranger : waiting) {
    const std::string body = stranger.hear();
    FrameReader frame(body);
    EXPECT_EQ(frame.text(), "value");
  }
}

}  // namespace
}  // namespace plinth::distributed
