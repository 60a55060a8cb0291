#include "data/sample_set.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "configs/errors.h"
#include "data/chat_template.h"
#include "data/row_reader.h"
#include "data/sample_row.h"

namespace dsmoe::data {
namespace {

int64_t targets_of(const TokenSample& sample) {
  return std::count_if(sample.weights.begin(), sample.weights.end(),
                       [](float weight) { return weight > 0; });
}

void count(SampleCounts& counts, const TokenSample& sample) {
  counts.samples += 1;
  counts.tokens += static_cast<int64_t>(sample.tokens.size());
  counts.targets += targets_of(sample);
}

/// Whether a sample is among the share that is held out: by its tokens alone, so that equal ones
/// are on one side.
bool is_held_out(const TokenSample& sample, double share) {
  if (share <= 0) return false;
  Fingerprint hash;
  hash.add(std::as_bytes(std::span(sample.tokens)));
  const uint64_t draw = std::stoull(hash.hex().substr(0, 16), nullptr, 16);
  return static_cast<double>(draw) < std::ldexp(share, 64);
}

class SampleReader {
 public:
  SampleReader(const config::DataSource& source, const config::DataConfig& config,
               const Tokenizer& tokenizer)
      : source_(source),
        config_(config),
        tokenizer_(tokenizer),
        out_{SampleSet(tokenizer.vocab_size()), SampleSet(tokenizer.vocab_size()), {}} {}

  SplitSamples read() {
    read_rows(
        source_.path,
        [&](const nlohmann::json& row, const std::string& place) {
          take(row, place);
          return true;
        },
        [&](const std::string& message) { refuse(message); });
    check();
    return std::move(out_);
  }

 private:
  void take(const nlohmann::json& row, const std::string& place) {
    SampleRow sample;
    try {
      sample = parse_sample(row, source_, place);
    } catch (const DataError& error) {
      return refuse(error.what());
    }
    check_template(sample);
    fit(encode_sample(sample, tokenizer_), place);
  }

  void refuse(const std::string& message) {
    if (config_.bad_rows == config::BadRows::kStop) throw DataError(message);
    ++out_.report.dropped["no conversation (data.bad_rows)"].samples;
  }

  /// What the tokenizer's own template would write instead is not guessed.
  void check_template(const SampleRow& sample) const {
    if (config_.chat_template == config::ChatTemplate::kDeepseekV2 ||
        !std::holds_alternative<std::vector<Message>>(sample.content) ||
        !names_other_template(tokenizer_)) {
      return;
    }
    throw ConfigError(
        "data.tokenizer: the chat_template of its tokenizer_config.json is not DeepSeek-V2's, the "
        "only one known here\nhint: scripts/render-chat applies it to " +
        source_.path + " beforehand; data.chat_template=deepseek_v2 ignores it");
  }

  void fit(TokenSample sample, const std::string& place) {
    const auto limit = static_cast<size_t>(config_.sequence_length) + 1;
    if (sample.tokens.size() > limit) {
      switch (config_.overlong) {
        case config::Overlong::kStop:
          return remember_overlong(sample, place);
        case config::Overlong::kDrop:
          return count(out_.report.dropped["longer than a row (data.overlong)"], sample);
        case config::Overlong::kCut:
          cut(sample, limit);
      }
    }
    if (targets_of(sample) == 0) return count(out_.report.dropped["no target left"], sample);
    keep(sample);
  }

  void remember_overlong(const TokenSample& sample, const std::string& place) {
    if (overlong_++ == 0) first_overlong_ = place;
    longest_ = std::max(longest_, static_cast<int64_t>(sample.tokens.size()) - 1);
  }

  void cut(TokenSample& sample, size_t limit) {
    TokenSample rest{{sample.tokens.begin() + static_cast<int64_t>(limit), sample.tokens.end()},
                     {sample.weights.begin() + static_cast<int64_t>(limit), sample.weights.end()}};
    count(out_.report.cut, rest);
    sample.tokens.resize(limit);
    sample.weights.resize(limit);
  }

  void keep(const TokenSample& sample) {
    const bool held = is_held_out(sample, config_.held_out);
    (held ? out_.held_out : out_.train).append(sample);
    count(held ? out_.report.held_out : out_.report.trained, sample);
  }

  void check() const {
    if (overlong_ > 0) {
      throw DataError(first_overlong_ + ": longer than a row: " + std::to_string(overlong_) +
                      " samples of " + source_.path + " have up to " + std::to_string(longest_) +
                      " positions, data.sequence_length is " +
                      std::to_string(config_.sequence_length) +
                      "\nhint: data.overlong=cut keeps their beginnings, data.overlong=drop leaves "
                      "them out; or raise data.sequence_length");
    }
    if (out_.report.trained.targets > 0) return;
    std::string reasons;
    for (const auto& [reason, counts] : out_.report.dropped) {
      reasons += "; " + std::to_string(counts.samples) + " left out: " + reason;
    }
    throw DataError(source_.path + ": 0 target tokens to train on, " +
                    std::to_string(out_.report.held_out.samples) + " samples held out" + reasons +
                    "\nhint: give conversations with answers that fit into data.sequence_length");
  }

  const config::DataSource& source_;
  const config::DataConfig& config_;
  const Tokenizer& tokenizer_;
  SplitSamples out_;
  int64_t overlong_ = 0;
  int64_t longest_ = 0;
  std::string first_overlong_;
};

}  // namespace

void SampleSet::append(const TokenSample& sample) {
  corpus.append(sample.tokens);
  weights.append(sample.weights);
  domains.push_back(sample.domain);
}

SplitSamples read_samples(const config::DataSource& source, const config::DataConfig& config,
                          const Tokenizer& tokenizer) {
  if (token_file_prefix(source.path)) {
    throw DataError(source.path +
                    ": a .bin/.idx pair tells no conversations apart from what is to be learned"
                    "\nhint: name the JSONL, or take data.packing=stream");
  }
  return SampleReader(source, config, tokenizer).read();
}

bool holds_conversations(const std::string& path) {
  bool found = false;
  read_rows(
      path,
      [&](const nlohmann::json& row, const std::string&) {
        for (const char* name : {"messages", "conversations", "instruction", "segments"}) {
          found = found || (row.is_object() && row.contains(name));
        }
        return false;
      },
      [](const std::string&) {});
  return found;
}

}  // namespace dsmoe::data
