#include "data/audio/log_mel.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <kissfft/kissfft.hh>
#include <numbers>

#include "core/error.h"
#include "core/ops/factories.h"

namespace plinth {
namespace {

constexpr std::string_view kLogMel = "log_mel";

constexpr double kLinearEnd = 1000;  // Hz
constexpr double kHertzOfMel = 200.0 / 3;

// 27 steps of the logarithmic part make a factor of 6.4.
double log_step() {
  return std::log(6.4) / 27;
}

double mel_of(double hertz) {
  if (hertz < kLinearEnd) return hertz / kHertzOfMel;
  return kLinearEnd / kHertzOfMel + std::log(hertz / kLinearEnd) / log_step();
}

double hertz_of(double mel) {
  const double end = kLinearEnd / kHertzOfMel;
  return mel < end ? mel * kHertzOfMel : kLinearEnd * std::exp((mel - end) * log_step());
}

// The padded sound, in which sample `first` is at 0: what stands outside is reflected at its ends,
// and behind `sound` there is silence.
class Padded {
 public:
  Padded(std::span<const float> sound, int64_t samples) : sound_(sound), samples_(samples) {}

  double operator[](int64_t i) const {
    if (i < 0) i = -i;
    if (i >= samples_) i = 2 * (samples_ - 1) - i;
    return i < std::ssize(sound_) ? static_cast<double>(sound_[static_cast<size_t>(i)]) : 0;
  }

 private:
  std::span<const float> sound_;
  int64_t samples_;
};

}  // namespace

std::vector<MelBand> mel_bands(const LogMelOptions& options) {
  const double top = mel_of(static_cast<double>(options.sample_rate) / 2);
  const auto corner = [&](int64_t i) {
    return hertz_of(top * static_cast<double>(i) / static_cast<double>(options.bins + 1));
  };
  const double spacing =
      static_cast<double>(options.sample_rate) / static_cast<double>(options.window);
  std::vector<MelBand> bands;
  for (int64_t bin = 0; bin < options.bins; ++bin) {
    const double low = corner(bin), middle = corner(bin + 1), high = corner(bin + 2);
    MelBand band{.first = static_cast<int64_t>(low / spacing) + 1, .weights = {}};
    for (int64_t i = band.first; i <= options.window / 2; ++i) {
      const double hertz = static_cast<double>(i) * spacing;
      if (hertz >= high) break;
      const double rise = (hertz - low) / (middle - low), fall = (high - hertz) / (high - middle);
      band.weights.push_back(std::min(rise, fall) * 2 / (high - low));
    }
    bands.push_back(std::move(band));
  }
  return bands;
}

LogMel::LogMel(const LogMelOptions& options) : options_(options) {
  check(options.bins > 0 && options.sample_rate > 0 && options.window > 0 && options.hop > 0 &&
            options.window % 2 == 0,
        ErrorKind::Argument, kLogMel, "got ", options.bins, " bins, sample_rate ",
        options.sample_rate, ", window ", options.window, ", hop ", options.hop,
        ", takes 1 or more of each and an even window");
  check(options.seconds > 0 && options.seconds <= 3600, ErrorKind::Argument, kLogMel, "seconds is ",
        options.seconds, ", takes a number above 0 and at most 3600");
  samples_ = std::llround(options.seconds * static_cast<double>(options.sample_rate));
  check(samples_ > options.window && samples_ >= options.hop, ErrorKind::Argument, kLogMel,
        options.seconds, " s are ", samples_, " samples, takes more than the window of ",
        options.window);
  for (int64_t i = 0; i < options.window; ++i)
    window_.push_back(0.5 - 0.5 * std::cos(2 * std::numbers::pi * static_cast<double>(i) /
                                           static_cast<double>(options.window)));
  bands_ = mel_bands(options);
}

Tensor LogMel::operator()(std::span<const float> sound) const {
  constexpr double kFloor = 1e-10;
  const int64_t half = options_.window / 2, count = frames();
  const auto heard = std::min<int64_t>(std::ssize(sound), samples_);
  const Padded padded(sound.first(static_cast<size_t>(heard)), samples_);
  const kissfft<double> fft(static_cast<size_t>(half), /*inverse=*/false);
  std::vector<double> frame(window_.size()), power(static_cast<size_t>(half + 1));
  std::vector<std::complex<double>> spectrum(static_cast<size_t>(half));
  std::vector<float> features(static_cast<size_t>(options_.bins * count),
                              static_cast<float>(std::log10(kFloor)));
  for (int64_t t = 0; t < count; ++t) {
    const int64_t first = t * options_.hop - half;
    // A frame of silence has the least features already, unless the end reflects some sound.
    if (first >= heard && first + options_.window <= samples_) continue;
    for (int64_t i = 0; i < options_.window; ++i)
      frame[static_cast<size_t>(i)] = padded[first + i] * window_[static_cast<size_t>(i)];
    fft.transform_real(frame.data(), spectrum.data());
    // The first is of frequency 0, and holds that of the highest in its imaginary part.
    power.front() = spectrum[0].real() * spectrum[0].real();
    power.back() = spectrum[0].imag() * spectrum[0].imag();
    for (size_t i = 1; i < spectrum.size(); ++i) power[i] = std::norm(spectrum[i]);
    for (size_t bin = 0; bin < bands_.size(); ++bin) {
      double sum = 0;
      for (size_t i = 0; i < bands_[bin].weights.size(); ++i)
        sum += bands_[bin].weights[i] * power[static_cast<size_t>(bands_[bin].first) + i];
      features[bin * static_cast<size_t>(count) + static_cast<size_t>(t)] =
          static_cast<float>(std::log10(std::max(sum, kFloor)));
    }
  }
  const float least = *std::ranges::max_element(features) - 8;
  for (float& feature : features) feature = (std::max(feature, least) + 4) / 4;
  return from_values(features, {options_.bins, count});
}

}  // namespace plinth
