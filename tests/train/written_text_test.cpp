#include "train/finetune/written_text.h"

#include <gtest/gtest.h>

#include "core/io/file.h"
#include "data/tokenizer/tokenizer.h"
#include "tests/fixtures.h"

namespace plinth {
namespace {

TEST(WrittenText, LeavesOutWhatIsNoTextAndIsUtf8) {
  const Tokenizer tokenizer = Tokenizer::parse(
      read_text_file(std::string(PLINTH_FIXTURES) + "/tokenizer/gpt2.json", 1 << 24));
  std::vector<double> ids;
  for (const int32_t id : tokenizer.encode("vélo")) ids.push_back(id);
  EXPECT_EQ(written_text(tokenizer, ids), "vélo");
  ids.push_back(1e9);
  ids.push_back(-1);
  ids.push_back(tokenizer.eos_id().value());
  EXPECT_EQ(written_text(tokenizer, ids), "vélo");
  // A character of two bytes is cut off.
  std::vector<double> cut;
  for (const int32_t id : tokenizer.encode("\xC3")) cut.push_back(id);
  EXPECT_EQ(written_text(tokenizer, cut), "\xEF\xBF\xBD");
}

}  // namespace
}  // namespace plinth
