#include "data/audio/audio_file.h"

#include <samplerate.h>
#include <sndfile.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <span>

#include "core/error.h"

namespace plinth {
namespace {

struct Closer {
  void operator()(SNDFILE* file) const { sf_close(file); }
};

// Appends the mean of the channels of each frame.
void append_mixed(std::span<const float> interleaved, int64_t channels, std::vector<float>& mono) {
  for (size_t i = 0; i < interleaved.size(); i += static_cast<size_t>(channels)) {
    double sum = 0;
    for (size_t c = 0; c < static_cast<size_t>(channels); ++c)
      sum += static_cast<double>(interleaved[i + c]);
    mono.push_back(static_cast<float>(sum / static_cast<double>(channels)));
  }
}

std::vector<float> resampled(const std::vector<float>& sound, double ratio,
                             const std::string& subject) {
  std::vector<float> out(static_cast<size_t>(std::ceil(static_cast<double>(sound.size()) * ratio)) +
                         1);
  SRC_DATA data{};
  data.data_in = sound.data();
  data.data_out = out.data();
  data.input_frames = std::ssize(sound);
  data.output_frames = std::ssize(out);
  data.src_ratio = ratio;
  const int status = src_simple(&data, SRC_SINC_BEST_QUALITY, /*channels=*/1);
  check(status == 0, ErrorKind::Format, subject, "cannot be resampled: ", src_strerror(status));
  check(data.output_frames_gen > 0, ErrorKind::Format, subject, "holds ", sound.size(),
        " samples, too few to resample");
  out.resize(static_cast<size_t>(data.output_frames_gen));
  return out;
}

}  // namespace

std::vector<float> read_audio(const std::filesystem::path& path, int64_t sample_rate) {
  constexpr int64_t kLongest = 3600;  // seconds
  constexpr int64_t kMostFrames = int64_t{1} << 28;
  constexpr int kMostChannels = 64;
  const std::string subject = path.string();
  check(sample_rate > 0 && sample_rate <= 1'000'000, ErrorKind::Argument, "read_audio",
        "sample_rate is ", sample_rate, ", takes 1 to 1000000");
  std::error_code none;
  check(std::filesystem::is_regular_file(path, none), ErrorKind::Io, subject, "no such file");
  SF_INFO info{};
  const std::unique_ptr<SNDFILE, Closer> file(sf_open(path.c_str(), SFM_READ, &info));
  check(file != nullptr, ErrorKind::Format, subject, "is no sound: ", sf_strerror(nullptr));
  check(info.samplerate > 0 && info.channels > 0 && info.channels <= kMostChannels,
        ErrorKind::Format, subject, "has ", info.channels, " channels at ", info.samplerate,
        " Hz, takes 1 to ", kMostChannels, " channels");
  // Silence can be packed a thousandfold, and a file can claim any rate.
  const int64_t most = std::min(kLongest * info.samplerate, kMostFrames);
  std::vector<float> sound;
  // What the header says of the length may be wrong: as much is read as is there.
  std::vector<float> block(static_cast<size_t>(65536 * info.channels));
  for (;;) {
    const sf_count_t frames = sf_readf_float(file.get(), block.data(), 65536);
    check(sf_error(file.get()) == SF_ERR_NO_ERROR, ErrorKind::Format, subject, "breaks off after ",
          sound.size(), " frames: ", sf_strerror(file.get()));
    if (frames <= 0) break;
    append_mixed({block.data(), static_cast<size_t>(frames * info.channels)}, info.channels, sound);
    check(std::ssize(sound) <= most, ErrorKind::Format, subject, "lasts longer than ",
          most / info.samplerate, " seconds at ", info.samplerate, " Hz");
  }
  check(!sound.empty(), ErrorKind::Format, subject, "holds no samples");
  check(std::ranges::all_of(sound, [](float x) { return std::isfinite(x); }), ErrorKind::Format,
        subject, "holds a sample that is not finite");
  if (info.samplerate == sample_rate) return sound;
  const double ratio = static_cast<double>(sample_rate) / info.samplerate;
  check(src_is_valid_ratio(ratio) != 0, ErrorKind::Format, subject, "is sampled at ",
        info.samplerate, " Hz, which is too far from ", sample_rate);
  return resampled(sound, ratio, subject);
}

}  // namespace plinth
