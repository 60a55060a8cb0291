#include "data/loader.h"

#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <future>
#include <mutex>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "configs/errors.h"
#include "data/corpus.h"
#include "data/curriculum.h"
#include "data/fingerprint.h"
#include "data/packed_source.h"
#include "data/sample_set.h"
#include "data/tokenizer.h"
#include "data/whole_source.h"

namespace dsmoe::data {
namespace {

int64_t checked_length(const config::DataConfig& config) {
  if (config.sequence_length < 1) {
    throw ConfigError("data.sequence_length (" + std::to_string(config.sequence_length) +
                      ") must be at least 1\nhint: the recipes use 256");
  }
  return config.sequence_length;
}

/// The sources of data.train, and what they leave beside their rows.
struct Sources {
  std::vector<std::variant<PackedSource, WholeSource>> rows;
  std::vector<Loader::Packed> packed;
  std::vector<HeldOut> held_out;
};

void open_whole(const config::DataSource& source, const config::DataConfig& config, int64_t seed,
                const Tokenizer& tokenizer, Sources& out) {
  SplitSamples samples = read_samples(source, config, tokenizer);
  const int64_t padding = std::max<int64_t>(tokenizer.eos(), 0);
  const auto number = static_cast<int64_t>(out.rows.size());
  WholeSource rows(std::move(samples.train), config.sequence_length, padding, seed, number);
  out.packed.push_back({source.name, samples.report, rows.sequences_per_epoch()});
  out.rows.emplace_back(std::move(rows));
  if (samples.report.held_out.targets > 0) {
    out.held_out.push_back({source.name, std::move(samples.held_out)});
  }
}

Sources open_sources(const config::DataConfig& config, int64_t seed) {
  const auto tokenizer = make_tokenizer(config.tokenizer);
  Sources sources;
  for (const config::DataSource& source : config.train) {
    if (config.packing == config::Packing::kWhole) {
      open_whole(source, config, seed, *tokenizer, sources);
    } else {
      sources.rows.emplace_back(PackedSource(source.path, read_corpus(source.path, *tokenizer),
                                             config.sequence_length, seed,
                                             static_cast<int64_t>(sources.rows.size())));
    }
  }
  return sources;
}

void add_to(Fingerprint& hash, const PackedSource& source) { source.corpus().add_to(hash); }

void add_to(Fingerprint& hash, const WholeSource& source) {
  source.samples().corpus.add_to(hash);
  source.samples().weights.add_to(hash);
}

std::string fingerprint_of(const config::DataConfig& config, const Sources& sources) {
  Fingerprint hash;
  hash.add(config.tokenizer);
  for (size_t i = 0; i < sources.rows.size(); ++i) {
    hash.add(config.train[i].name);
    hash.add(config.train[i].weight);
    std::visit([&](const auto& source) { add_to(hash, source); }, sources.rows[i]);
  }
  return hash.hex();
}

/// Whether some target counts neither 0 nor 1.
bool has_graded(const Sources& sources) {
  return std::any_of(sources.rows.begin(), sources.rows.end(), [](const auto& source) {
    const auto* const whole = std::get_if<WholeSource>(&source);
    return whole != nullptr && whole->samples().weights.graded();
  });
}

TokenBatch empty_batch(int64_t rows, int64_t length, bool whole) {
  const auto numbers = [&](at::ScalarType type) { return at::empty({rows, length}, type); };
  TokenBatch batch{numbers(at::kLong), numbers(at::kLong), at::Tensor(), {}};
  if (whole) {
    batch.valid_BT = numbers(at::kBool);
    batch.weights_BT = numbers(at::kFloat);
  }
  return batch;
}

bool operator==(SequenceRange a, SequenceRange b) { return a.begin == b.begin && a.end == b.end; }

}  // namespace

class Loader::Impl {
 public:
  Impl(const config::DataConfig& config, int64_t seed)
      : length_(checked_length(config)),
        document_mask_(config.document_mask),
        whole_(config.packing == config::Packing::kWhole),
        curriculum_(config),
        sources_(open_sources(config, seed)),
        graded_(has_graded(sources_)),
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
    for (const auto& source : sources_.rows) {
      sequences += std::visit([](const auto& rows) { return rows.sequences_per_epoch(); }, source);
    }
    return sequences;
  }

  [[nodiscard]] const std::string& fingerprint() const { return fingerprint_; }
  [[nodiscard]] const std::vector<Packed>& packed() const { return sources_.packed; }
  [[nodiscard]] std::vector<HeldOut> take_held_out() { return std::move(sources_.held_out); }

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
    TokenBatch batch = empty_batch(rows, length_, whole_);
    for (const BlendPick pick : curriculum_.picks(range.begin, range.end)) {
      const auto row = static_cast<int64_t>(batch.sequence_numbers.size());
      std::visit([&](auto& source) { write_row(batch, row, source, pick.index); },
                 sources_.rows[static_cast<size_t>(pick.source)]);
      batch.sequence_numbers.push_back(range.begin + row);
      batch.sources.push_back(pick.source);
    }
    if (!graded_) batch.weights_BT = at::Tensor();
    return batch;
  }

  void write_row(TokenBatch& batch, int64_t row, PackedSource& source, int64_t index) const {
    std::vector<int64_t> tokens(static_cast<size_t>(length_ + 1));
    const auto begins = source.read(index, tokens.data());
    std::copy_n(tokens.begin(), length_, batch.inputs_BT.data_ptr<int64_t>() + row * length_);
    std::copy_n(tokens.begin() + 1, length_, batch.targets_BT.data_ptr<int64_t>() + row * length_);
    if (document_mask_) separate(batch, row * length_, begins);
  }

  void write_row(TokenBatch& batch, int64_t row, WholeSource& source, int64_t index) const {
    const int64_t offset = row * length_;
    const RowOut out{
        batch.inputs_BT.data_ptr<int64_t>() + offset, batch.targets_BT.data_ptr<int64_t>() + offset,
        batch.weights_BT.data_ptr<float>() + offset, batch.valid_BT.data_ptr<bool>() + offset};
    for (const int64_t begin : source.read(index, out)) {
      batch.document_starts.push_back(offset + begin);
    }
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
  bool whole_;
  Curriculum curriculum_;
  Sources sources_;
  bool graded_;
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

const std::vector<Loader::Packed>& Loader::packed() const { return impl_->packed(); }

std::vector<HeldOut> Loader::take_held_out() { return impl_->take_held_out(); }

}  // namespace dsmoe::data
