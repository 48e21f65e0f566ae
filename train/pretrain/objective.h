#pragma once

// What a family is pretrained by: its samples, and a loss of them. What trains knows of no family
// more than this; a new one is a file that implements it, and a line in objectives.cpp. Language
// models, which ranks may also cut and share, have their own way to the same trainer (pretrain.h).

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "data/loader/token_loader.h"
#include "models/weight_map.h"
#include "nn/module.h"
#include "train/batch_source.h"

namespace plinth {

class Objective {
 public:
  virtual ~Objective() = default;

  virtual nn::Module& model() = 0;
  // config.json's model_type.
  virtual std::string type() const = 0;
  // What there is to train on, for one line.
  virtual std::string data_text() const = 0;
  // Of a sample, for tokens/s; 0: samples are counted.
  virtual int64_t tokens_per_sample() const { return 0; }
  // Operations of a sample's training step; 0: not known.
  virtual double flops_per_sample() const { return 0; }

  // Endless micro-batches of options.rows samples, each a function of seed and sample alone; of the
  // data held out, without changes at random that only training takes.
  enum class Split { Training, HeldOut };
  virtual std::unique_ptr<BatchSource> batches(Split split, const LoaderOptions& options) const = 0;
  // Samples of an epoch of the data held out; 0: there is no validation.
  virtual int64_t held_out_samples() const = 0;

  // The mean loss of a micro-batch on the model's device.
  virtual Tensor loss(const Batch& batch) = 0;
  // What validation tells of a batch besides the loss, by name.
  virtual std::map<std::string, double> scores(const Batch& /*batch*/) { return {}; }

  virtual void set_activation_checkpointing(bool on) = 0;
  // The weights in a Hugging Face file, and the texts beside them by file name.
  virtual std::vector<WeightSlice> weight_slices() const = 0;
  virtual std::map<std::string, std::string> texts() const = 0;
};

}  // namespace plinth
