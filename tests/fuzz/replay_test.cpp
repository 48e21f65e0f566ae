// The inputs that fuzzing kept, through the readers of any build.

#include <gtest/gtest.h>

#include "core/io/file.h"
#include "tests/fuzz/target.h"

namespace plinth::fuzz {
namespace {

class Corpus : public testing::TestWithParam<Target> {};

TEST_P(Corpus, IsReadOrRefused) {
  const Target& target = GetParam();
  int inputs = 0;
  for (const auto& entry : std::filesystem::directory_iterator(
           std::filesystem::path(PLINTH_FUZZ_CORPUS) / target.name)) {
    const std::string input = read_text_file(entry.path());
    EXPECT_NO_THROW(run(target, input)) << entry.path();
    ++inputs;
  }
  EXPECT_GT(inputs, 0);
}

INSTANTIATE_TEST_SUITE_P(Fuzz, Corpus, testing::ValuesIn(targets()),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace plinth::fuzz
