#include "data/fingerprint.h"

#include <xxhash.h>

#include <cstdint>
#include <new>

namespace dsmoe::data {

class Fingerprint::State {
 public:
  State() : state_(XXH3_createState()) {
    if (state_ == nullptr || XXH3_128bits_reset(state_) != XXH_OK) {
      throw std::bad_alloc();
    }
  }
  ~State() { XXH3_freeState(state_); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  void update(const void* bytes, size_t size) { XXH3_128bits_update(state_, bytes, size); }
  [[nodiscard]] XXH128_hash_t digest() const { return XXH3_128bits_digest(state_); }

 private:
  XXH3_state_t* state_;
};

Fingerprint::Fingerprint() : state_(std::make_unique<State>()) {}

Fingerprint::~Fingerprint() = default;

void Fingerprint::add(std::span<const std::byte> bytes) {
  const uint64_t size = bytes.size();
  state_->update(&size, sizeof(size));
  state_->update(bytes.data(), bytes.size());
}

void Fingerprint::add(std::string_view text) { add(std::as_bytes(std::span(text))); }

void Fingerprint::add(double number) { add(std::as_bytes(std::span(&number, 1))); }

std::string Fingerprint::hex() const {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, state_->digest());
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : canonical.digest) {
    text.push_back(kDigits[byte >> 4]);
    text.push_back(kDigits[byte & 15]);
  }
  return text;
}

}  // namespace dsmoe::data
