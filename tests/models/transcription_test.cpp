// Transcripts with marks of time, against transformers' generate() of Whisper: fixture
// whisper_marks, tests/fixtures/README.md.

#include "models/whisper/transcription.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "core/io/file.h"
#include "core/io/json.h"
#include "models/encoder_decoder_registry.h"
#include "tests/core/io/expect_error.h"
#include "tests/core/io/temporary_directory.h"
#include "tests/models/fixture.h"

namespace plinth {
namespace {

using testing::ElementsAre;

const auto kNoTokens = [](std::string_view) -> std::optional<int64_t> { return std::nullopt; };
constexpr int64_t kNoTimestamps = 42, kFirstTime = 43, kEnd = 36;

struct Marked {
  Marked() { model().eval(); }

  Whisper& model() { return static_cast<Whisper&>(*loaded); }

  std::unique_ptr<EncoderDecoder> loaded = load_encoder_decoder(fixture("whisper_marks"));
  WhisperTokens tokens = read_whisper_tokens(fixture("whisper_marks"), model().config(), kNoTokens);
  Tensor features =
      value(read_tensors(fixture("whisper_marks") / "expected.safetensors"), "features")
          .select(0, 0);
  SoundFeatures sound = {features, features.size(1)};
};

nlohmann::json json_of(const std::vector<TranscriptSegment>& segments) {
  nlohmann::json json = nlohmann::json::array();
  for (const TranscriptSegment& segment : segments)
    json.push_back({{"first", segment.first}, {"last", segment.last}, {"ids", segment.ids}});
  return json;
}

TEST(Transcription, SegmentsAreThoseOfTransformers) {
  Marked with;
  const nlohmann::json expected = read_json(fixture("whisper_marks") / "transcripts.json");
  for (const nlohmann::json& each : expected["transcripts"]) {
    const nlohmann::json& given = each["options"];
    SCOPED_TRACE(given.dump());
    const auto found = transcribe(with.model(), with.tokens, std::vector{with.sound},
                                  {.language = given["language"],
                                   .translate = given["task"] == "translate",
                                   .timestamps = true,
                                   .max_tokens = 14,
                                   .beams = given["num_beams"]});
    EXPECT_EQ(json_of(found.front().segments), each["segments"]);
  }
}

TEST(Transcription, TellsTheLanguageAsTransformersDoes) {
  Marked with;
  const auto found = transcribe(with.model(), with.tokens, std::vector{with.sound},
                                {.timestamps = true, .max_tokens = 14});
  const nlohmann::json expected = read_json(fixture("whisper_marks") / "transcripts.json");
  EXPECT_EQ(found.front().language, expected["language"].get<int64_t>());
  // What is written is that of the language told.
  EXPECT_EQ(json_of(found.front().segments), expected["transcripts"][2]["segments"]);
}

// Sounds of several lengths at once, of which the shorter ones are done before.
TEST(Transcription, ASoundDoesNotDependOnThoseBesideIt) {
  Marked with;
  const std::vector<SoundFeatures> sounds = {
      with.sound, {with.features.narrow(1, 5, 30), 30}, {with.features.narrow(1, 9, 22), 13}};
  for (const bool timestamps : {false, true}) {
    const TranscriptionOptions options{.timestamps = timestamps, .max_tokens = 14, .beams = 2};
    const auto together = transcribe(with.model(), with.tokens, sounds, options);
    for (size_t i = 0; i < sounds.size(); ++i) {
      const auto alone = transcribe(with.model(), with.tokens, std::vector{sounds[i]}, options);
      EXPECT_EQ(json_of(together[i].segments), json_of(alone.front().segments));
      EXPECT_EQ(together[i].language, alone.front().language);
    }
  }
}

TEST(Transcription, WithoutTimestampsASoundIsOneSegment) {
  Marked with;
  const auto found = transcribe(with.model(), with.tokens, std::vector{with.sound},
                                {.language = "en", .max_tokens = 6});
  ASSERT_EQ(found.front().segments.size(), 1U);
  const TranscriptSegment& segment = found.front().segments.front();
  EXPECT_EQ(segment.first, 0);
  EXPECT_EQ(segment.last, 22);
  EXPECT_THAT(segment.ids, testing::Each(testing::Not(testing::AnyOf(7, 37, 38, 39, 40, 41))));
  EXPECT_NE(segment.ids.at(0), 3);
}

std::vector<float> ruled(const std::vector<int64_t>& ids, std::vector<float> log_probabilities) {
  WhisperTokens tokens{.ends = {kEnd}};
  tokens.no_timestamps = kNoTimestamps;
  tokens.most_initial = 4;
  TimestampRule(tokens).apply(ids, log_probabilities);
  return log_probabilities;
}

std::vector<int64_t> left_of(const std::vector<float>& log_probabilities) {
  std::vector<int64_t> left;
  for (size_t i = 0; i < log_probabilities.size(); ++i)
    if (log_probabilities[i] > -std::numeric_limits<float>::infinity())
      left.push_back(static_cast<int64_t>(i));
  return left;
}

TEST(TimestampRules, LeaveWhatMayComeNext) {
  // Of 55 tokens all text is likelier than all times together.
  std::vector<float> text(55, -1);
  std::fill(text.begin() + kFirstTime, text.end(), -9);
  EXPECT_THAT(left_of(ruled({}, text)), ElementsAre(43, 44, 45, 46, 47));  // until most_initial
  // Behind the first there is text, and the end.
  const auto after_first = left_of(ruled({45}, text));
  EXPECT_EQ(after_first.size(), 42U);
  EXPECT_EQ(after_first.back(), 41);
  // Behind text also a later time.
  const auto after_text = left_of(ruled({45, 5}, text));
  EXPECT_EQ(after_text.size(), 42U + 9U);
  EXPECT_EQ(after_text[42], 46);
  // Behind an end the text ends, or a segment starts at once or later; what is above the end token
  // is not text.
  EXPECT_THAT(left_of(ruled({45, 5, 50}, text)),
              ElementsAre(36, 37, 38, 39, 40, 41, 50, 51, 52, 53, 54));
  // Times that are together likelier than each text are taken.
  std::vector<float> times(55, -3);
  const auto likely = left_of(ruled({45, 5}, times));
  EXPECT_EQ(likely.front(), 46);
  EXPECT_EQ(likely.size(), 9U);
}

TEST(TimestampRules, SplitAWindowIntoSegments) {
  WhisperTokens tokens{.ends = {kEnd}};
  tokens.no_timestamps = kNoTimestamps;
  const auto split = [&](const std::vector<int64_t>& ids) {
    const WindowSegments found = segments_of(ids, tokens, 22);
    return nlohmann::json{json_of(found.segments), found.frames}.dump();
  };
  const auto expected = [](const std::vector<TranscriptSegment>& segments, int64_t frames) {
    return nlohmann::json{json_of(segments), frames}.dump();
  };
  // Two segments, and the end of the sound behind the second.
  EXPECT_EQ(split({43, 1, 2, 45, 46, 3, 48}), expected({{0, 4, {1, 2}}, {6, 10, {3}}}, 22));
  // The second was cut off: the next window begins where the first ended.
  EXPECT_EQ(split({43, 1, 2, 45, 46, 3}), expected({{0, 4, {1, 2}}}, 4));
  EXPECT_EQ(split({43, 1, 45, 45}), expected({{0, 4, {1}}}, 4));
  // One that never ended lasts as long as the window.
  EXPECT_EQ(split({43, 1, 2}), expected({{0, 22, {1, 2}}}, 22));
  EXPECT_EQ(split({43, 1, 2, 47}), expected({{0, 8, {1, 2}}}, 22));
  EXPECT_EQ(split({}), expected({}, 22));
  // No window ends where it began.
  EXPECT_EQ(split({43, 43, 43}), expected({{0, 0, {}}, {0, 0, {}}}, 22));
}

TEST(WhisperTokensFile, IsReadOrRefused) {
  const TemporaryDirectory directory;
  const WhisperConfig config{.vocab_size = 55, .start_token = 37, .eos_tokens = {36}};
  const auto read = [&](const char* json) {
    write_file_atomically(directory / "generation_config.json", json);
    return read_whisper_tokens(directory.path(), config, kNoTokens);
  };
  const WhisperTokens tokens = read(R"({"lang_to_id": {"<|en|>": 38}, "eos_token_id": 35,
      "task_to_id": {"transcribe": 41}, "no_timestamps_token_id": 42, "suppress_tokens": [1]})");
  EXPECT_EQ(tokens.languages.at("en"), 38);
  EXPECT_EQ(tokens.end(), 35);
  EXPECT_EQ(tokens.transcribe, 41);
  EXPECT_FALSE(tokens.translate);
  EXPECT_THAT(read(R"({"eos_token_id": [35, 1]})").ends, ElementsAre(35, 1));
  EXPECT_THAT(read("{}").ends, ElementsAre(36));
  EXPECT_THAT(transcript_prompt(tokens, 38, false, false), ElementsAre(37, 38, 41, 42));
  EXPECT_THAT(transcript_prompt(tokens, 38, false, true), ElementsAre(37, 38, 41));
  EXPECT_THAT(transcript_prompt(tokens, std::nullopt, false, false), ElementsAre(37, 42));
  const auto refused = [&](const char* json, const char* message) {
    expect_error(ErrorKind::Format, message, [&] { read(json); });
  };
  refused("[]", "is no JSON object");
  refused(R"({"lang_to_id": {"<|en|>": 55}})", "lang_to_id has 55, takes a number from 0 to 54");
  refused(R"({"lang_to_id": 3})", "lang_to_id takes an object");
  refused(R"({"suppress_tokens": 3})", "suppress_tokens takes a list");
  refused(R"({"no_timestamps_token_id": -1})", "no_timestamps_token_id has -1");
}

// Without the file a tokenizer's names tell.
TEST(WhisperTokensFile, MayBeMissing) {
  const TemporaryDirectory directory;
  write_file_atomically(directory / "config.json", R"({"begin_suppress_tokens": [4]})");
  const std::map<std::string, int64_t, std::less<>> names = {
      {"<|es|>", 38}, {"<|translate|>", 40}, {"<|notimestamps|>", 42}};
  const auto find = [&](std::string_view name) -> std::optional<int64_t> {
    const auto found = names.find(name);
    return found == names.end() ? std::nullopt : std::optional(found->second);
  };
  const WhisperConfig config{.vocab_size = 55, .start_token = 37, .eos_tokens = {36}};
  const WhisperTokens tokens = read_whisper_tokens(directory.path(), config, find);
  EXPECT_EQ(tokens.languages, (std::map<std::string, int64_t>{{"es", 38}}));
  EXPECT_EQ(tokens.translate, 40);
  EXPECT_EQ(tokens.no_timestamps, 42);
  EXPECT_EQ(tokens.end(), 36);
  EXPECT_THAT(tokens.not_at_first, ElementsAre(4));
}

TEST(Transcription, RefusesWhatTheModelDoesNotKnow) {
  Marked with;
  const auto refused = [&](const TranscriptionOptions& options, const char* message) {
    expect_error(ErrorKind::Argument, message,
                 [&] { transcribe(with.model(), with.tokens, std::vector{with.sound}, options); });
  };
  refused({.language = "fr"}, "language is fr, takes one of en es");
  with.tokens.languages.clear();
  refused({.language = "en"}, "the model has no tokens for languages");
  with.tokens.translate.reset();
  refused({.translate = true}, "translate: the model has no token");
  with.tokens.no_timestamps.reset();
  refused({.timestamps = true}, "timestamps: the model has no tokens");
  expect_error(ErrorKind::Shape, "takes [mel_bins, at least 22]", [&] {
    transcribe(with.model(), with.tokens,
               std::vector<SoundFeatures>{{with.features.narrow(1, 0, 21), 21}});
  });
}

}  // namespace
}  // namespace plinth
