#pragma once

// What models of an encoder and a decoder are to the rest: a source and token ids in, logits or a
// loss out.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/tensor.h"
#include "models/weight_map.h"
#include "nn/layers.h"
#include "nn/module.h"

namespace plinth {

struct EncoderDecoderInfo {
  std::string_view type;  // config.json's model_type
  int64_t vocab_size = 0;
  int64_t context = 0;  // the most positions of the decoder; 0: any number
  int64_t encoder_layers = 0, decoder_layers = 0;
  int64_t dim = 0;
  int64_t heads = 0;  // of the decoder
  int64_t head_dim = 0;
  bool tied = false;                // the output projection is the decoder's token embedding
  int64_t start_token = 0;          // the first that the decoder reads
  int64_t pad_token = 0;            // what it reads where a label is ignored
  std::vector<int64_t> eos_tokens;  // any of them ends a text
};

// What the decoder knows of the source.
struct EncoderStates {
  Tensor states;        // [batch, time, dim]
  Tensor lengths = {};  // int64 [batch]: states from there on are padding; left out: none is

  // Row i of the result is the row rows[i], int64 [any number].
  EncoderStates select(const Tensor& rows) const;
};

// The keys and values of each layer of the decoder, for generating a token at a time: of the tokens
// that it has read, and of the encoder's states, computed by the first call alone.
struct DecoderCaches {
  std::vector<nn::KVCache> self, cross;

  int64_t length() const { return self.front().length(); }
  // Row i becomes a copy of the row rows[i]: all of them, and those of read tokens alone.
  void select(const Tensor& rows);
  void select_read(const Tensor& rows);
};

class EncoderDecoder : public nn::Module {
 public:
  virtual const EncoderDecoderInfo& info() const = 0;

  // States of the source: of text, ids int64 [batch, time], of which those from lengths [batch] on
  // are padding; of sound, features [batch, bins, frames], which are all of one length. Throws
  // Error(Shape) or Error(Argument).
  virtual EncoderStates encode(const Tensor& source, const Tensor& lengths = {}) = 0;
  // What head() takes, [batch, time, dim], for ids int64 [batch, time]. With caches, ids stand
  // after what the caches hold, and are added to them. Throws Error(Shape) beyond the context or
  // for another batch than the source's, Error(Argument) for an id outside the vocabulary, or for
  // caches that are not of as many layers.
  Tensor decode(const Tensor& ids, const EncoderStates& source, DecoderCaches* caches = nullptr);
  // Logits [..., vocab_size] of decode(): x [..., dim].
  Tensor head(const Tensor& x) const;
  // Logits [batch, time, vocab_size] of the tokens behind decoder_ids.
  Tensor forward(const Tensor& source, const Tensor& decoder_ids, const Tensor& lengths = {});
  // What the decoder reads to predict labels int64 [batch, time]: the start token, then the labels
  // but the last, those that are -100 as the padding token.
  Tensor shift_right(const Tensor& labels) const;
  // Mean cross-entropy over the labels int64 [batch, time] that are not -100, of a decoder that
  // reads those before: a scalar.
  Tensor loss(const Tensor& source, const Tensor& labels, const Tensor& lengths = {});
  // Empty caches for `batch` rows of up to `length` positions, and `source_length` of the
  // encoder's. Throws Error(Argument) beyond the context.
  DecoderCaches make_caches(int64_t batch, int64_t length, int64_t source_length) const;

  // The output projection, [vocab_size, dim].
  virtual const Tensor& head_weight() const = 0;
  // The text of config.json for weights of this dtype.
  virtual std::string config_json(DType dtype) const = 0;
  // How the parameters lie in a Hugging Face file.
  virtual std::vector<WeightSlice> weight_slices() const = 0;

  // Where its weights are, and its inputs must be.
  Device device() const { return head_weight().device(); }

  // Runs each block's forward pass again in backward rather than keep what it computed.
  void set_activation_checkpointing(bool on) { checkpointing_ = on; }
  bool activation_checkpointing() const { return checkpointing_; }

 protected:
  // decode() of a family, for arguments that are checked.
  virtual Tensor decode_ids(const Tensor& ids, const EncoderStates& source,
                            DecoderCaches* caches) = 0;
  // Throws Error(Shape) unless ids are [batch, time] of at least one token, and Error(Shape) or
  // Error(Argument) unless lengths, if defined, are int64 [batch].
  void check_ids(const Tensor& ids, std::string_view what) const;
  void check_lengths(const Tensor& lengths, int64_t batch) const;

 private:
  bool checkpointing_ = false;
};

}  // namespace plinth
