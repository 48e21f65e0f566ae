// Byte pairs that end words, against CLIP's tokenizer in Hugging Face's libraries, through
// fixtures/make_word_end_fixtures.py.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/io/file.h"
#include "data/tokenizer/tokenizer.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"
#include "tests/data/tokenizer_text.h"

namespace plinth {
namespace {

using nlohmann::json;
using Ids = std::vector<int32_t>;

json word_end_json() {
  return json::parse(testing::read_fixture("tokenizer/word_end.json"));
}

json word_end_cases() {
  return json::parse(testing::read_fixture("tokenizer/word_end_cases.json"));
}

TEST(WordEnds, EncodesEveryBlockAsHuggingFace) {
  const json blocks = word_end_cases()["blocks"];
  const Tokenizer tokenizer = Tokenizer::parse(word_end_json().dump());
  const auto encoded = tokenizer.encode_batch(testing::views_of(testing::tokenizer_text()));
  ASSERT_EQ(encoded.size(), blocks.size());
  for (size_t i = 0; i < encoded.size(); ++i) {
    EXPECT_EQ(encoded[i].size(), blocks[i][0].get<size_t>()) << "block " << i;
    EXPECT_EQ(testing::hash_of(encoded[i]), blocks[i][1].get<uint64_t>()) << "block " << i;
  }
}

TEST(WordEnds, EncodesAndDecodesAsHuggingFace) {
  const Tokenizer tokenizer = Tokenizer::parse(word_end_json().dump());
  const Tokenizer saved_and_read = Tokenizer::parse(tokenizer.to_json());
  const json rows = word_end_cases()["rows"];
  for (const json& row : rows) {
    SCOPED_TRACE(row[0].dump());
    const auto text = row[0].get<std::string>();
    for (const Tokenizer* each : {&tokenizer, &saved_and_read}) {
      const Ids ids = each->encode(text, {.allow_special = true, .add_special = true});
      EXPECT_EQ(ids, row[1].get<Ids>());
      EXPECT_EQ(each->encode(text), row[2].get<Ids>());
      EXPECT_EQ(each->decode(ids, {.skip_special = true}), row[3].get<std::string>());
    }
  }
  EXPECT_FALSE(tokenizer.is_byte_level());
  EXPECT_EQ(tokenizer.eos_id(), 1);
}

TEST(WordEnds, RefusesWhatItWouldDoDifferently) {
  const auto refused = [](const char* pointer, const json& value, const char* message) {
    json file = word_end_json();
    file[json::json_pointer(pointer)] = value;
    expect_error(ErrorKind::Format, message, [&] { Tokenizer::parse(file.dump()); });
  };
  refused("/normalizer", nullptr, "normalizer beside end_of_word_suffix");
  refused("/normalizer/normalizers/0/type", "NFKC", "normalizer beside end_of_word_suffix");
  refused("/pre_tokenizer/pretokenizers/0/behavior", "Isolated", "pre_tokenizer beside");
  refused("/pre_tokenizer/pretokenizers/0/pattern/Regex", "(", "pattern");
  refused("/pre_tokenizer/pretokenizers/1/add_prefix_space", true, "pre_tokenizer beside");
  refused("/model/unk_token", "<unk>", "unk_token <unk> is no token");
  refused("/model/fuse_unk", true, "fuse_unk");
  refused("/model/continuing_subword_prefix", "##", "continuing_subword_prefix");
}

// Their words would not end where CLIP's do.
TEST(WordEnds, ItsOriginalFilesAreNotReadAsGpt2s) {
  const TemporaryDirectory here;
  write_file_atomically(here / "vocab.json", R"({"a": 0, "b</w>": 1, "ab</w>": 2})");
  write_file_atomically(here / "merges.txt", "#version: 0.2\na b</w>\n");
  expect_error(ErrorKind::Format, "has tokens that end words, as 'ab</w>', takes a tokenizer.json",
               [&] { Tokenizer::load(here.path()); });
}

}  // namespace
}  // namespace plinth
