#include "core/cuda/algorithm_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "core/io/file.h"
#include "tests/core/io/temporary_directory.h"

namespace plinth::cuda {
namespace {

using testing::HasSubstr;

AlgorithmFile::Algorithm algorithm(uint64_t first) {
  return {{first, 0, UINT64_MAX, 1, 2, 3, 4, 5}};
}

class AlgorithmFileTest : public testing::Test {
 protected:
  AlgorithmFile open(const char* device = "GPU", size_t version = 130000) {
    return AlgorithmFile(path, device, version);
  }
  // What is told on stderr when the file is read.
  std::string told() {
    testing::internal::CaptureStderr();
    open();
    return testing::internal::GetCapturedStderr();
  }

  TemporaryDirectory directory;
  std::filesystem::path path = directory.path() / "cache" / "algorithms.txt";
};

TEST_F(AlgorithmFileTest, KeepsAlgorithmsForTheNextProcess) {
  EXPECT_EQ(told(), "");  // there is none yet
  AlgorithmFile first = open();
  EXPECT_FALSE(first.find("a"));
  first.keep("a", algorithm(1));
  first.keep("b", algorithm(2));
  EXPECT_EQ(first.find("a"), algorithm(1));
  const AlgorithmFile second = open();
  EXPECT_EQ(second.find("a"), algorithm(1));
  EXPECT_EQ(second.find("b"), algorithm(2));
  EXPECT_FALSE(second.find("c"));
}

TEST_F(AlgorithmFileTest, KeepsWhatAnotherProcessWroteMeanwhile) {
  AlgorithmFile one = open(), other = open();
  one.keep("a", algorithm(1));
  other.keep("a", algorithm(2));
  other.keep("b", algorithm(3));
  one.keep("c", algorithm(4));
  EXPECT_EQ(other.find("a"), algorithm(2));  // a process stays with its choice
  const AlgorithmFile next = open();
  EXPECT_EQ(next.find("a"), algorithm(1));
  EXPECT_EQ(next.find("b"), algorithm(3));
  EXPECT_EQ(next.find("c"), algorithm(4));
}

TEST_F(AlgorithmFileTest, StartsAnewForAnotherVersionOrDevice) {
  open().keep("a", algorithm(1));
  EXPECT_FALSE(open("GPU", 130001).find("a"));
  EXPECT_FALSE(open("other").find("a"));
  open("GPU", 130001).keep("b", algorithm(2));
  EXPECT_EQ(open("GPU", 130001).find("b"), algorithm(2));
  EXPECT_FALSE(open().find("a"));
}

TEST_F(AlgorithmFileTest, IgnoresGarbageWithOneLine) {
  open().keep("a", algorithm(1));
  const std::string whole = read_text_file(path);
  for (const std::string& text :
       {std::string("garbage"), std::string("\0\xff\n\n", 4), whole.substr(0, whole.size() - 4),
        whole + "b 1 2 3\n", whole + "b 1 2 3 4 5 6 7 x\n", whole + "b 1 2 3 4 5 6 7 8 9\n",
        whole + "b 1 2 3 4 5 6 7 11111111111111111\n", whole + " 1 2 3 4 5 6 7 8\n"}) {
    write_file_atomically(path, text);
    const std::string line = told();
    EXPECT_THAT(line, HasSubstr("ignored, since it is no cache of algorithms"));
    EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1) << line;
    EXPECT_FALSE(open().find("a"));
  }
  open().keep("c", algorithm(3));
  EXPECT_EQ(told(), "");
  EXPECT_EQ(open().find("c"), algorithm(3));
}

TEST_F(AlgorithmFileTest, WorksWithoutAPlaceToWrite) {
  write_file_atomically(directory.path() / "cache", "a file where the directory would be");
  AlgorithmFile file = open();
  testing::internal::CaptureStderr();
  file.keep("a", algorithm(1));
  file.keep("b", algorithm(2));
  const std::string line = testing::internal::GetCapturedStderr();
  EXPECT_THAT(line, HasSubstr("is not kept"));
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1) << line;
  EXPECT_EQ(file.find("b"), algorithm(2));

  AlgorithmFile none("", "GPU", 1);
  none.keep("a", algorithm(1));
  EXPECT_EQ(none.find("a"), algorithm(1));
}

TEST(AlgorithmPath, LiesInTheUsersCache) {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const std::string before = cache ? cache : "";
  setenv("XDG_CACHE_HOME", "/somewhere", 1);
  EXPECT_EQ(algorithm_path("NVIDIA H100/80GB"), "/somewhere/plinth/cublaslt-nvidia-h100-80gb.txt");
  unsetenv("XDG_CACHE_HOME");
  EXPECT_THAT(algorithm_path("x").string(), HasSubstr(".cache/plinth/cublaslt-x.txt"));
  if (cache) setenv("XDG_CACHE_HOME", before.c_str(), 1);
}

}  // namespace
}  // namespace plinth::cuda
