#include "data/tokenizer/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <new>

#include "core/error.h"

namespace plinth {
namespace {

constexpr size_t kJitStackStart = size_t{32} << 10;
constexpr size_t kJitStackMost = size_t{16} << 20;

std::string pcre2_message(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

// Line ends as in Oniguruma, where only "\n" is one, however the library was configured.
pcre2_code* compile(const std::string& pattern, std::string_view subject) {
  pcre2_compile_context* context = pcre2_compile_context_create(nullptr);
  if (context == nullptr) throw std::bad_alloc();
  pcre2_set_newline(context, PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, context);
  pcre2_compile_context_free(context);
  check(code != nullptr, ErrorKind::Format, subject,
        "pattern does not compile: ", code == nullptr ? pcre2_message(error) : "", " at offset ",
        offset, " of ", pattern);
  return code;
}

// The memory that matching needs, one a thread, for all patterns.
struct MatchMemory {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(kJitStackStart, kJitStackMost, nullptr);

  MatchMemory() {
    if (data == nullptr || context == nullptr) throw std::bad_alloc();
    pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~MatchMemory() {
    pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
  }
};

}  // namespace

struct Pattern::State {
  std::string subject;
  pcre2_code* code = nullptr;
  bool jit = false;

  ~State() { pcre2_code_free(code); }
};

Pattern::Pattern(std::string_view oniguruma, std::string_view subject)
    : state_(std::make_unique<State>()) {
  state_->subject = subject;
  state_->code = compile(translate_pattern(oniguruma, subject), subject);
  uint32_t matches_empty = 0;
  pcre2_pattern_info(state_->code, PCRE2_INFO_MATCHEMPTY, &matches_empty);
  check(matches_empty == 0, ErrorKind::Format, subject, "pattern ", oniguruma,
        " can match an empty piece of text, which is not supported");
  // Without JIT support (a hardened system may forbid it) the interpreter gives the same matches.
  state_->jit = pcre2_jit_compile(state_->code, PCRE2_JIT_COMPLETE) == 0;
}

Pattern::~Pattern() = default;
Pattern::Pattern(Pattern&&) noexcept = default;
Pattern& Pattern::operator=(Pattern&&) noexcept = default;

Pattern::Match Pattern::find(std::string_view text, size_t from) const {
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  thread_local const MatchMemory memory;
  int result = PCRE2_ERROR_JIT_STACKLIMIT;
  if (state_->jit) {
    result = pcre2_jit_match(state_->code, subject, text.size(), from, PCRE2_NO_UTF_CHECK,
                             memory.data, memory.context);
  }
  if (result == PCRE2_ERROR_JIT_STACKLIMIT) {
    result = pcre2_match(state_->code, subject, text.size(), from,
                         PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, memory.data, memory.context);
  }
  if (result == PCRE2_ERROR_NOMATCH) return {text.size(), text.size()};
  check(result >= 0, ErrorKind::Format, state_->subject, "pattern gave up at byte ", from, " of ",
        text.size(), ": ", pcre2_message(result));
  const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(memory.data);
  return {offsets[0], offsets[1]};
}

}  // namespace plinth

#undef PCRE2_CODE_UNIT_WIDTH
