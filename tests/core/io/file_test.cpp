#include "core/io/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <functional>

#include "core/io/file_faults.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"

namespace plinth {
namespace {

namespace fs = std::filesystem;
using Effect = FileFaults::Effect;
using testing::ElementsAre;

TEST(File, WritesReadsAndMapsWhatWasWritten) {
  const TemporaryDirectory dir;
  for (const size_t size : {size_t{0}, size_t{1}, size_t{4095}, size_t{4096}, size_t{100'001}}) {
    std::string text(size, 'x');
    for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 31);
    write_file_atomically(dir / "f", text);
    EXPECT_EQ(read_text_file(dir / "f"), text);
    EXPECT_EQ(text_of(read_file(dir / "f")), text);
    MappedFile map(dir / "f");
    EXPECT_EQ(text_of(map.bytes()), text);
    MappedFile moved = std::move(map);
    EXPECT_EQ(text_of(moved.bytes()), text);
  }
  EXPECT_THAT(dir.names(), ElementsAre("f"));
}

TEST(File, ReadsFilesWhoseSizeIsNotKnown) {
  EXPECT_THAT(read_text_file("/proc/self/status"), testing::HasSubstr("Pid:"));
}

TEST(File, ErrorsNameFileActionAndReason) {
  const TemporaryDirectory dir;
  const std::string missing = (dir / "missing").string();
  const std::string d = dir.path().string();
  expect_error(ErrorKind::Io, missing + ": cannot open: No such file or directory",
               [&] { read_file(missing); });
  expect_error(ErrorKind::Io, missing + ": cannot open: No such file or directory",
               [&] { MappedFile map(missing); });
  expect_error(ErrorKind::Io, d + ": is a directory, expected a file", [&] { read_file(d); });
  expect_error(ErrorKind::Io, d + ": is a directory, expected a file", [&] { MappedFile map(d); });
  expect_error(ErrorKind::Io, missing + "/f: cannot create: No such file or directory",
               [&] { write_file_atomically(missing + "/f", "text"); });
  expect_error(ErrorKind::Io, missing + "/f: cannot open for writing: No such file or directory",
               [&] { AppendFile file(missing + "/f"); });
}

TEST(File, RefusesToReadMoreThanTheLimit) {
  const TemporaryDirectory dir;
  write_file_atomically(dir / "f", "12345");
  EXPECT_EQ(read_text_file(dir / "f", 5), "12345");
  expect_error(ErrorKind::Format, "has 5 bytes, expected at most 4",
               [&] { read_text_file(dir / "f", 4); });
  expect_error(ErrorKind::Format, "expected at most 4", [&] { read_file("/proc/self/status", 4); });
}

TEST(File, RefusesToReplaceWhatIsNoRegularFile) {
  const TemporaryDirectory dir;
  ASSERT_EQ(::mkfifo((dir / "fifo").c_str(), 0600), 0);
  fs::create_directory(dir / "directory");
  fs::create_symlink("/dev/null", dir / "null");
  for (const char* name : {"fifo", "directory", "null"}) {
    expect_error(ErrorKind::Io, "exists and is not a regular file",
                 [&] { write_file_atomically(dir / name, "text"); });
  }
  EXPECT_TRUE(fs::is_symlink(dir / "null"));
}

TEST(File, WritesThroughASymbolicLink) {
  const TemporaryDirectory dir;
  fs::create_directory(dir / "big-disk");
  write_file_atomically(dir / "big-disk" / "f", "old");
  fs::create_symlink(fs::path("big-disk") / "f", dir / "link");
  write_file_atomically(dir / "link", "new");
  EXPECT_TRUE(fs::is_symlink(dir / "link"));
  EXPECT_EQ(read_text_file(dir / "big-disk" / "f"), "new");
}

TEST(AtomicFile, LeavesTheTargetAsItWasUnlessCommitted) {
  const TemporaryDirectory dir;
  write_file_atomically(dir / "f", "old");
  {
    AtomicFile file(dir / "f");
    file.write("new, but not all of");
    EXPECT_EQ(read_text_file(dir / "f"), "old");
  }
  EXPECT_EQ(read_text_file(dir / "f"), "old");
  EXPECT_THAT(dir.names(), ElementsAre("f"));
}

TEST(AtomicFile, OverwritesOnlyWhatWasWritten) {
  const TemporaryDirectory dir;
  AtomicFile file(dir / "f");
  file.write("0 tokens:");
  file.overwrite(0, bytes_of("2"));
  file.write(" a b");
  expect_error(ErrorKind::Argument, "overwrites bytes 12 to 14 of 13",
               [&] { file.overwrite(12, bytes_of("xy")); });
  file.commit();
  EXPECT_EQ(read_text_file(dir / "f"), "2 tokens: a b");
}

TEST(AtomicFile, IsCommittedOnce) {
  const TemporaryDirectory dir;
  AtomicFile file(dir / "f");
  file.write("a");
  file.write("b");
  file.commit();
  expect_error(ErrorKind::Io, "was committed already", [&] { file.commit(); });
  EXPECT_EQ(read_text_file(dir / "f"), "ab");
}

TEST(AtomicFile, TwoWritersOfOneTargetDoNotMix) {
  const TemporaryDirectory dir;
  AtomicFile first(dir / "f"), second(dir / "f");
  first.write("11");
  second.write("2");
  first.write("1");
  second.commit();
  EXPECT_EQ(read_text_file(dir / "f"), "2");
  first.commit();
  EXPECT_EQ(read_text_file(dir / "f"), "111");
  EXPECT_THAT(dir.names(), ElementsAre("f"));
}

// Each call of a replacement made to fail in turn: the file holds the old content or the new one,
// and nothing else is left behind unless the process was killed.
TEST(AtomicFile, IsOldOrNewWhicheverCallFails) {
  const auto replace = [](const fs::path& path) {
    AtomicFile file(path);
    file.write("new ");
    file.write("content");
    file.commit();
  };
  int64_t calls = 0;
  {
    const TemporaryDirectory dir;
    FileFaults count;
    replace(dir / "f");
    calls = count.calls();
  }
  EXPECT_EQ(calls, 6) << "create, write, write, sync, rename, sync of the directory";

  for (const Effect effect : {Effect::Fail, Effect::DiskFull, Effect::Crash, Effect::ShortWrite}) {
    for (int64_t call = 0; call < calls; ++call) {
      SCOPED_TRACE(testing::Message()
                   << "effect " << static_cast<int>(effect) << ", call " << call);
      const TemporaryDirectory dir;
      write_file_atomically(dir / "f", "old");
      bool failed = false;
      {
        FileFaults faults(effect, call);
        try {
          replace(dir / "f");
        } catch (const Error& error) {
          failed = true;
          EXPECT_EQ(error.kind(), ErrorKind::Io);
        }
      }
      const std::string content = read_text_file(dir / "f");
      EXPECT_TRUE(content == "new content" || (failed && content == "old")) << content;
      EXPECT_TRUE(failed || effect != Effect::Fail);
      EXPECT_FALSE(failed && effect == Effect::ShortWrite);
      if (effect != Effect::Crash) {
        EXPECT_THAT(dir.names(), ElementsAre("f"));
      }
      remove_partial_files(dir.path());
      EXPECT_THAT(dir.names(), ElementsAre("f"));
    }
  }
}

// A writer killed at any moment leaves one of the contents that it wrote, whole.
TEST(AtomicFile, IsWholeWhenTheWriterIsKilled) {
  const TemporaryDirectory dir;
  const std::string a(300'000, 'a'), b(200'000, 'b');
  write_file_atomically(dir / "f", a);
  for (int round = 0; round < 5; ++round) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      while (true) {
        write_file_atomically(dir / "f", b);
        write_file_atomically(dir / "f", a);
      }
    }
    ::usleep(2000 + 500 * round);
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    const std::string content = read_text_file(dir / "f");
    EXPECT_TRUE(content == a || content == b) << content.size() << " bytes";
    remove_partial_files(dir.path());
    EXPECT_THAT(dir.names(), ElementsAre("f"));
  }
}

TEST(AtomicFile, ErrorsOfFailedCallsSayWhichAndWhy) {
  const struct {
    int64_t call;
    int error;
    const char* message;
  } cases[] = {
      {0, EACCES, "/f: cannot create: Permission denied"},
      {1, ENOSPC, "/f: cannot write: No space left on device"},
      {2, EIO, "/f: cannot sync: Input/output error"},
      {3, EROFS, "/f: cannot replace: Read-only file system"},
      {4, EIO, ": cannot sync: Input/output error"},
  };
  const TemporaryDirectory dir;
  for (const auto& c : cases) {
    FileFaults faults(Effect::Fail, c.call, c.error);
    expect_error(ErrorKind::Io, c.message, [&] { write_file_atomically(dir / "f", "text"); });
  }
}

TEST(AppendFile, GrowsAndIsReopenedAtItsEnd) {
  const TemporaryDirectory dir;
  {
    AppendFile file(dir / "log");
    file.append("one\n");
    EXPECT_EQ(read_text_file(dir / "log"), "one\n") << "must reach the system without a flush";
  }
  AppendFile file(dir / "log");
  EXPECT_EQ(file.size(), 4u);
  file.append("two\n");
  file.sync();
  file.truncate(100);
  EXPECT_EQ(read_text_file(dir / "log"), "one\ntwo\n");
  file.truncate(4);
  file.append("three\n");
  EXPECT_EQ(read_text_file(dir / "log"), "one\nthree\n");
}

TEST(AppendFile, TakesBackARecordOfWhichOnlyAPartWasWritten) {
  const TemporaryDirectory dir;
  AppendFile file(dir / "log");
  file.append("one\n");
  {
    FileFaults faults(Effect::DiskFull, 0);
    expect_error(ErrorKind::Io, "log: cannot write: No space left on device",
                 [&] { file.append("two\n"); });
  }
  file.append("three\n");
  EXPECT_EQ(read_text_file(dir / "log"), "one\nthree\n");
}

TEST(File, RemovesOnlyPartialFiles) {
  const TemporaryDirectory dir;
  write_file_atomically(dir / "kept.partial", "x");
  write_file_atomically(dir / ".kept", "x");
  std::ofstream(dir / ".f.12-0.partial") << "x";
  fs::create_directories(dir / ".g.12-1.partial" / "inner");
  remove_partial_files(dir.path());
  EXPECT_THAT(dir.names(), ElementsAre(".kept", "kept.partial"));
}

}  // namespace
}  // namespace plinth
