#include "data/tokenizer/piece_decoder.h"

#include "core/io/text.h"
#include "data/tokenizer/utf8.h"

namespace plinth {
namespace {

using Leading = PieceDecoderSpec::Leading;

void replace_marks(std::string& text, std::string_view by) {
  for (size_t at = text.find(kSpaceMark); at != std::string::npos;
       at = text.find(kSpaceMark, at + by.size()))
    text.replace(at, kSpaceMark.size(), by);
}

}  // namespace

PieceDecoder::PieceDecoder(PieceDecoderSpec spec) : spec_(std::move(spec)) {}

std::string PieceDecoder::text_of(int32_t id, bool is_first) const {
  const auto index = static_cast<size_t>(id);
  if (byte_of(id) >= 0) {
    const bool is_dropped = is_first && drops_space_byte() && byte_of(id) == ' ';
    return is_dropped ? "" : std::string(1, static_cast<char>(byte_of(id)));
  }
  std::string text = spec_.texts[index];
  if (spec_.is_literal[index]) return text;
  const bool drops_one = spec_.leading == Leading::OneDropped || spec_.leading == Leading::Dropped;
  if (is_first && spec_.leading == Leading::FirstsDropped) replace_marks(text, "");
  if (is_first && drops_one && text.starts_with(kSpaceMark)) text.erase(0, kSpaceMark.size());
  replace_marks(text, " ");
  return text;
}

bool PieceDecoder::stays_first(int32_t id) const {
  const std::string& text = spec_.texts[static_cast<size_t>(id)];
  if (byte_of(id) >= 0) return false;
  return text.empty() || (spec_.leading == Leading::Dropped && text == kSpaceMark);
}

std::string PieceDecoder::repaired(const std::string& run) const {
  if (!first_invalid_utf8(run)) return run;
  std::string text;
  for (size_t at = 0; at < run.size();) {
    const Utf8Step step = next_utf8(std::string_view(run).substr(at));
    const auto length = static_cast<size_t>(step.length);
    if (step.valid && !spec_.is_hugging_face) {
      text += std::string_view(run).substr(at, length);
    } else {
      for (size_t i = 0; i < length; ++i) text += kReplacementCharacter;
    }
    at += length;
  }
  return text;
}

std::string PieceDecoder::decode(std::span<const int32_t> ids) const {
  std::string text, run;
  bool is_first = true, begins = false;  // the next piece; the run of bytes
  const auto finish_run = [&] {
    std::string part = repaired(run);
    if (begins && drops_space_byte() && part.starts_with(' ')) part.erase(0, 1);
    text += part;
    run.clear();
  };
  for (const int32_t id : ids) {
    if (byte_of(id) >= 0) {
      if (run.empty()) begins = is_first;
      run.push_back(static_cast<char>(byte_of(id)));
    } else {
      finish_run();
      text += text_of(id, is_first);
    }
    is_first = is_first && stays_first(id);
  }
  finish_run();
  return text;
}

}  // namespace plinth
