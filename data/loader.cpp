#include "data/loader.h"

#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <future>
#include <mutex>
#include <optional>
#include <vector>

#include "configs/errors.h"
#include "data/corpus.h"
#include "data/curriculum.h"
#include "data/fingerprint.h"
#include "data/packed_source.h"
#include "data/tokenizer.h"

namespace dsmoe::data {
namespace {

int64_t checked_length(const config::DataConfig& config) {
  if (config.sequence_length < 1) {
    throw ConfigError("data.sequence_length (" + std::to_string(config.sequence_length) +
                      ") must be at least 1\nhint: the recipes use 256");
  }
  return config.sequence_length;
}

std::vector<PackedSource> open_sources(const config::DataConfig& config, int64_t seed) {
  const auto tokenizer = make_tokenizer(config.tokenizer);
  std::vector<PackedSource> sources;
  for (const config::DataSource& source : config.train) {
    sources.emplace_back(source.path, read_corpus(source.path, *tokenizer), config.sequence_length,
                         seed, static_cast<int64_t>(sources.size()));
  }
  return sources;
}

std::string fingerprint_of(const config::DataConfig& config,
                           const std::vector<PackedSource>& sources) {
  Fingerprint hash;
  hash.add(config.tokenizer);
  for (size_t i = 0; i < sources.size(); ++i) {
    hash.add(config.train[i].name);
    hash.add(config.train[i].weight);
    sources[i].corpus().add_to(hash);
  }
  return hash.hex();
}

bool operator==(SequenceRange a, SequenceRange b) { return a.begin == b.begin && a.end == b.end; }

}  // namespace

class Loader::Impl {
 public:
  Impl(const config::DataConfig& config, int64_t seed)
      : length_(checked_length(config)),
        document_mask_(config.document_mask),
        curriculum_(config),
        sources_(open_sources(config, seed)),
        fingerprint_(fingerprint_of(config, sources_)) {}

  TokenBatch load(SequenceRange range) {
    if (!ahead_) {
      return build(range);
    }
    const bool wanted = ahead_->range == range;
    std::future<TokenBatch> batch = std::move(ahead_->batch);
    ahead_.reset();
    return wanted ? batch.get() : build(range);
  }

  void prefetch(SequenceRange range) {
    if (!ahead_ || !(ahead_->range == range)) {
      ahead_.reset();
      ahead_ = Ahead{range, std::async(std::launch::async, [this, range] { return build(range); })};
    }
  }

  [[nodiscard]] int64_t sequences_per_epoch() const {
    int64_t sequences = 0;
    for (const PackedSource& source : sources_) {
      sequences += source.sequences_per_epoch();
    }
    return sequences;
  }

  [[nodiscard]] const std::string& fingerprint() const { return fingerprint_; }

 private:
  struct Ahead {
    SequenceRange range;
    std::future<TokenBatch> batch;  ///< waits in its destructor
  };

  TokenBatch build(SequenceRange range) {
    TORCH_CHECK(range.begin >= 0 && range.begin <= range.end, "sequence range [", range.begin, ", ",
                range.end, ") is no range");
    const std::lock_guard lock(reading_);
    const int64_t rows = range.end - range.begin;
    TokenBatch batch{at::empty({rows, length_}, at::kLong),
                     at::empty({rows, length_}, at::kLong),
                     at::Tensor(),
                     {}};
    std::vector<int64_t> tokens(static_cast<size_t>(length_ + 1));
    for (const BlendPick pick : curriculum_.picks(range.begin, range.end)) {
      const auto row = static_cast<int64_t>(batch.sequence_numbers.size());
      const auto begins =
          sources_[static_cast<size_t>(pick.source)].read(pick.index, tokens.data());
      std::copy_n(tokens.begin(), length_, batch.inputs_BT.data_ptr<int64_t>() + row * length_);
      std::copy_n(tokens.begin() + 1, length_,
                  batch.targets_BT.data_ptr<int64_t>() + row * length_);
      if (document_mask_) separate(batch, row * length_, begins);
      batch.sequence_numbers.push_back(range.begin + row);
      batch.sources.push_back(pick.source);
    }
    return batch;
  }

  /// Makes each document of the row at `offset` a piece that does not predict the next one's start.
  void separate(TokenBatch& batch, int64_t offset, const std::vector<int64_t>& begins) const {
    batch.document_starts.push_back(offset);
    for (const int64_t begin : begins) {
      batch.targets_BT.data_ptr<int64_t>()[offset + begin - 1] = kNoTarget;
      if (begin < length_) batch.document_starts.push_back(offset + begin);
    }
  }

  int64_t length_;
  bool document_mask_;
  Curriculum curriculum_;
  std::vector<PackedSource> sources_;
  std::string fingerprint_;
  std::mutex reading_;  ///< over curriculum_ and sources_, whose caches move
  std::optional<Ahead> ahead_;
};

Loader::Loader(const config::DataConfig& config, int64_t seed)
    : impl_(std::make_unique<Impl>(config, seed)) {}

Loader::~Loader() = default;

TokenBatch Loader::load(SequenceRange range) { return impl_->load(range); }

void Loader::prefetch(SequenceRange range) { impl_->prefetch(range); }

int64_t Loader::sequences_per_epoch() const { return impl_->sequences_per_epoch(); }

std::string Loader::fingerprint() const { return impl_->fingerprint(); }

}  // namespace dsmoe::data
