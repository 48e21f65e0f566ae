#pragma once

// The features of sound that Whisper reads (Radford et al. 2022, arXiv 2212.04356, section 2.2):
// the logarithm of a spectrogram's power in bands that are even in mel, as transformers'
// WhisperFeatureExtractor computes them.

#include <cstdint>
#include <span>
#include <vector>

#include "core/tensor.h"

namespace plinth {

struct LogMelOptions {
  int64_t bins = 80;            // bands; Whisper large-v3 has 128
  int64_t sample_rate = 16000;  // samples a second
  int64_t window = 400;         // samples of a frame, even
  int64_t hop = 160;            // samples from frame to frame
  double seconds = 30;          // of every sound: shorter ones end in silence, longer ones are cut
};

// A band's weights of the frequencies from number `first` of the spectrum on.
struct MelBand {
  int64_t first = 0;
  std::vector<double> weights;
};

// Triangles over the frequencies 0, rate / window, ... rate / 2 whose corners are even in Slaney's
// mel from 0 to rate / 2 Hz: linear below 1000 Hz, logarithmic above (Auditory Toolbox, 1998). Each
// has the area of the others.
std::vector<MelBand> mel_bands(const LogMelOptions& options);

class LogMel {
 public:
  // Throws Error(Argument) unless the numbers are above 0, the window is even and not longer than
  // the sound, and a second is whole hops.
  explicit LogMel(const LogMelOptions& options = {});

  int64_t samples() const { return samples_; }  // of a sound, as long as all are made
  int64_t frames() const { return samples_ / options_.hop; }

  // Samples in [-1, 1] at the rate -> features float32 [bins, frames]: log10 of the power of
  // Hann-windowed frames around every hop, the ends reflected, of at least 1e-10 and at most 8
  // below the largest; plus 4, over 4.
  Tensor operator()(std::span<const float> sound) const;

 private:
  LogMelOptions options_;
  int64_t samples_;
  std::vector<double> window_;
  std::vector<MelBand> bands_;
};

}  // namespace plinth
