#include "data/byte_regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <cstdint>
#include <new>
#include <utility>

#include "configs/errors.h"

namespace dsmoe::data {
namespace {

// Ten times Oniguruma's limit on retries; PCRE2's own default, ten million, counts other steps.
constexpr uint32_t kMatchLimit = 100'000'000;
constexpr uint32_t kHeapLimitKib = 256 * 1024;
constexpr size_t kJitStack = size_t{1} << 15;
constexpr size_t kJitStackLimit = size_t{1} << 26;

template <typename T>
T* checked(T* pointer) {
  if (pointer == nullptr) throw std::bad_alloc();
  return pointer;
}

std::string pcre2_text(int code) {
  char buffer[256];
  auto* bytes = reinterpret_cast<PCRE2_UCHAR*>(buffer);
  pcre2_get_error_message(code, bytes, sizeof(buffer));
  return buffer;
}

const PCRE2_UCHAR* units(std::string_view text) {
  return reinterpret_cast<const PCRE2_UCHAR*>(text.data());
}

}  // namespace

class ByteRegex::Scratch::Impl {
 public:
  Impl()
      : data_(checked(pcre2_match_data_create(1, nullptr))),
        context_(checked(pcre2_match_context_create(nullptr))),
        stack_(pcre2_jit_stack_create(kJitStack, kJitStackLimit, nullptr)) {
    pcre2_set_match_limit(context_, kMatchLimit);
    pcre2_set_heap_limit(context_, kHeapLimitKib);
    if (stack_ != nullptr) pcre2_jit_stack_assign(context_, nullptr, stack_);
  }
  ~Impl() {
    pcre2_jit_stack_free(stack_);
    pcre2_match_context_free(context_);
    pcre2_match_data_free(data_);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  pcre2_match_data* data_;
  pcre2_match_context* context_;
  pcre2_jit_stack* stack_;
};

ByteRegex::Scratch::Scratch() : impl_(std::make_unique<Impl>()) {}
ByteRegex::Scratch::~Scratch() = default;

class ByteRegex::Code {
 public:
  Code(const std::string& pattern, const std::string& place) {
    int error = 0;
    PCRE2_SIZE offset = 0;
    code_ = pcre2_compile(units(pattern), pattern.size(), /*options=*/0, &error, &offset, nullptr);
    if (code_ == nullptr) {
      throw DataError(place + ": PCRE2 does not compile the pattern: " + pcre2_text(error) +
                      " (error " + std::to_string(error) + ", byte " + std::to_string(offset) +
                      ")\nhint: check groups and repetitions");
    }
    has_jit_ = pcre2_jit_compile(code_, PCRE2_JIT_COMPLETE) == 0;
  }
  ~Code() { pcre2_code_free(code_); }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;

  template <typename T>
  [[nodiscard]] T info(uint32_t what) const {
    T value{};
    pcre2_pattern_info(code_, what, static_cast<void*>(&value));
    return value;
  }

  [[nodiscard]] int match(std::string_view subject, size_t start, Scratch::Impl& scratch) const {
    const auto run = has_jit_ ? pcre2_jit_match : pcre2_match;
    return run(code_, units(subject), subject.size(), start, 0, scratch.data_, scratch.context_);
  }

 private:
  pcre2_code* code_ = nullptr;
  bool has_jit_ = false;
};

ByteRegex::ByteRegex(const std::string& pattern, std::string place)
    : code_(std::make_unique<Code>(pattern, place)), place_(std::move(place)) {
  may_be_empty_ = code_->info<uint32_t>(PCRE2_INFO_MATCHEMPTY) != 0;
  const auto* bitmap = code_->info<const uint8_t*>(PCRE2_INFO_FIRSTBITMAP);
  const bool one_byte = code_->info<uint32_t>(PCRE2_INFO_FIRSTCODETYPE) == 1;
  const auto first = code_->info<uint32_t>(PCRE2_INFO_FIRSTCODEUNIT);
  for (size_t byte = 0; byte < 256; ++byte) {
    starts_[byte] = one_byte            ? byte == first
                    : bitmap != nullptr ? (bitmap[byte / 8] & (1 << (byte % 8))) != 0
                                        : true;
  }
}

ByteRegex::~ByteRegex() = default;
ByteRegex::ByteRegex(ByteRegex&&) noexcept = default;

bool ByteRegex::search(std::string_view subject, size_t start, Scratch& scratch,
                       Match& match) const {
  const int code = code_->match(subject, start, *scratch.impl_);
  if (code == PCRE2_ERROR_NOMATCH) {
    return false;
  }
  if (code < 0) {
    throw DataError(place_ + ": PCRE2 gives up matching " + std::to_string(subject.size()) +
                    " characters: " + pcre2_text(code) + " (error " + std::to_string(code) +
                    ")\nhint: break up very long runs of blanks or of one character in the text");
  }
  const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(scratch.impl_->data_);
  match = {ends[0], ends[1]};
  return true;
}

void ByteRegex::find_all(std::string_view subject, Scratch& scratch,
                         std::vector<Match>& matches) const {
  matches.clear();
  constexpr size_t kNone = static_cast<size_t>(-1);
  size_t last_end = kNone;
  for (size_t start = 0; start <= subject.size();) {
    if (!may_be_empty_) {
      while (start < subject.size() && !starts_[static_cast<uint8_t>(subject[start])]) ++start;
      if (start == subject.size()) return;
    }
    Match match{};
    if (!search(subject, start, scratch, match)) {
      return;
    }
    if (match.begin == match.end && match.end == last_end) {
      ++start;
      continue;
    }
    matches.push_back(match);
    start = last_end = match.end;
  }
}

}  // namespace dsmoe::data
