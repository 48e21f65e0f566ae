#include "core/io/directory.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "core/io/file.h"
#include "core/io/file_faults.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"

namespace plinth {
namespace {

namespace fs = std::filesystem;
using Effect = FileFaults::Effect;
using testing::ElementsAre;

TEST(Directory, CreatesWhatIsMissingAbove) {
  const TemporaryDirectory dir;
  make_directories(dir / "a" / "b" / "c");
  make_directories(dir / "a" / "b" / "c");
  EXPECT_TRUE(fs::is_directory(dir / "a" / "b" / "c"));
  write_file_atomically(dir / "file", "x");
  expect_error(ErrorKind::Io, "file: cannot create the directory: File exists",
               [&] { make_directories(dir / "file"); });
  expect_error(ErrorKind::Io, "cannot create the directory",
               [&] { make_directories(dir / "file" / "below"); });
}

TEST(DirectoryLock, SecondHolderLearnsWhoHoldsIt) {
  const TemporaryDirectory dir;
  const std::string expected =
      dir.path().string() + ": is in use by process " + std::to_string(::getpid()) + " on ";
  {
    const DirectoryLock lock(dir.path());
    expect_error(ErrorKind::Io, expected, [&] { DirectoryLock second(dir.path()); });
    expect_error(ErrorKind::Io, expected, [&] { DirectoryLock third(dir.path()); });
  }
  const DirectoryLock again(dir.path());
}

TEST(DirectoryLock, EndsWithTheProcessHoweverItEnds) {
  const TemporaryDirectory dir;
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const DirectoryLock lock(dir.path());
    if (::write(ready[1], "x", 1) != 1) ::_exit(1);
    ::pause();
    ::_exit(0);
  }
  char byte;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  expect_error(ErrorKind::Io, "is in use by process " + std::to_string(child),
               [&] { DirectoryLock lock(dir.path()); });
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  const DirectoryLock lock(dir.path());
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST(AtomicDirectory, AppearsWholeAtCommit) {
  const TemporaryDirectory dir;
  {
    AtomicDirectory abandoned(dir / "step-1");
    write_file_atomically(abandoned.path() / "a", "1");
  }
  EXPECT_TRUE(dir.names().empty());
  AtomicDirectory target((dir / "step-1").string() + "/");
  write_file_atomically(target.path() / "a", "1");
  EXPECT_FALSE(fs::exists(dir / "step-1"));
  target.commit();
  EXPECT_EQ(read_text_file(dir / "step-1" / "a"), "1");
  EXPECT_THAT(dir.names(), ElementsAre("step-1"));
  expect_error(ErrorKind::Io, "was committed already", [&] { target.commit(); });
  expect_error(ErrorKind::Io, "step-1: exists already",
               [&] { AtomicDirectory second(dir / "step-1"); });
}

// Whatever fails, the directory is there with both files whole, or not at all.
TEST(AtomicDirectory, IsWholeOrAbsentWhicheverCallFails) {
  const auto save = [](const fs::path& path) {
    AtomicDirectory target(path);
    write_file_atomically(target.path() / "a", "first");
    write_file_atomically(target.path() / "b", "second");
    target.commit();
  };
  int64_t calls = 0;
  {
    const TemporaryDirectory dir;
    FileFaults count;
    save(dir / "c");
    calls = count.calls();
  }
  EXPECT_EQ(calls, 14);
  for (const Effect effect : {Effect::Fail, Effect::DiskFull, Effect::Crash}) {
    for (int64_t call = 0; call < calls; ++call) {
      SCOPED_TRACE(testing::Message()
                   << "effect " << static_cast<int>(effect) << ", call " << call);
      const TemporaryDirectory dir;
      bool failed = false;
      {
        FileFaults faults(effect, call);
        try {
          save(dir / "c");
        } catch (const Error&) {
          failed = true;
        }
      }
      if (fs::exists(dir / "c")) {
        EXPECT_EQ(read_text_file(dir / "c" / "a"), "first");
        EXPECT_EQ(read_text_file(dir / "c" / "b"), "second");
      } else {
        EXPECT_TRUE(failed);
      }
      remove_partial_files(dir.path());
      EXPECT_THAT(dir.names(), testing::AnyOf(ElementsAre(), ElementsAre("c")));
      if (fs::exists(dir / "c")) continue;
      save(dir / "c");  // the next attempt is not in the way of the failed one
      EXPECT_TRUE(fs::exists(dir / "c"));
    }
  }
}

TEST(Directory, RemovalLeavesItWholeOrGone) {
  const TemporaryDirectory dir;
  for (int64_t call = 0; call < 4; ++call) {
    make_directories(dir / "c");
    write_file_atomically(dir / "c" / "a", "first");
    write_file_atomically(dir / "c" / "b", "second");
    {
      FileFaults faults(Effect::Crash, call);
      try {
        remove_directory_atomically(dir / "c");
      } catch (const Error&) {
      }
    }
    if (fs::exists(dir / "c")) {
      EXPECT_EQ(call, 0);
      EXPECT_EQ(read_text_file(dir / "c" / "b"), "second");
    }
    remove_partial_files(dir.path());
  }
  EXPECT_TRUE(dir.names().empty());
}

}  // namespace
}  // namespace plinth
