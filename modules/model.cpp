#include "modules/model.h"

#include <algorithm>

#include "modules/add_adapters.h"
#include "modules/cross_entropy.h"
#include "modules/embedding.h"

namespace dsmoe::nn {

ModelImpl::ModelImpl(const config::ModelConfig& config, const config::DropConfig& drop,
                     const config::BatchConfig& batch, const parallel::ExpertGroup& ep,
                     std::vector<LayerSlice> slices, const Recompute& recompute)
    : config_(config),
      context_{ep, TokenDropper(config, drop, batch, *ep.all), recompute},
      slices_(slices.empty() ? one_slice(config) : std::move(slices)) {
  const bool last = slices_.back().last(config);
  if (slices_.front().first()) {
    embed_tokens_ =
        register_parameter("embed_tokens", at::empty({config.vocab_size, config.hidden_size}));
  }
  if (last)
    lm_head_ = register_module("lm_head", LinearLayer(config.vocab_size, config.hidden_size));
  const auto layers = register_module("layers", std::make_shared<torch::nn::Module>());
  for (const LayerSlice& slice : slices_) {
    for (int64_t i = slice.begin; i < slice.end; ++i) {
      layers_.emplace(i, layers->register_module(std::to_string(i), Block(config, i, context_)));
    }
  }
  if (last) norm_ = register_module("norm", RmsNorm(config.hidden_size, config.rms_norm_eps));
  any_ = parameters().front();
}

void ModelImpl::add_adapters(const AdapterPlan& plan) {
  nn::add_adapters(*this, plan, config_.n_routed_experts);
}

void ModelImpl::set_trained_experts(const std::string& path, const std::vector<int64_t>& slots) {
  const size_t cut = path.rfind('.');
  const auto modules = named_modules("", /*include_self=*/false);
  modules[path.substr(0, cut)]->as<ExpertsImpl>()->set_trained(path.substr(cut + 1), slots);
}

const RopeTable& ModelImpl::rope(int64_t positions) {
  const int64_t known = rope_.cos_TR.defined() ? rope_.cos_TR.size(0) : 0;
  if (known < positions) {
    rope_ = make_rope_table(config_, std::max(positions, 2 * known), dtype(), device());
  }
  return rope_;
}

ModelOutput ModelImpl::forward(const at::Tensor& tokens_BT, const SequenceInfo& sequences,
                               bool dropping) {
  TORCH_CHECK(slices_ == one_slice(config_), "a stage has only a part of the model");
  return run_slice(0, tokens_BT, sequences, dropping);
}

ModelOutput ModelImpl::run_slice(size_t number, const at::Tensor& input,
                                 const SequenceInfo& sequences, bool dropping) {
  const LayerSlice& slice = slices_[number];
  SequenceInfo info = sequences;
  if (info.segments.count() == 0 && slice.first()) {
    info.segments = Segments::uniform(input.size(0), input.size(1));
  }
  const RopeTable& angles = rope(std::max<int64_t>(1, info.segments.longest()));
  at::Tensor h_NM = slice.first() ? embed(input.reshape({-1}).to(device()), embed_tokens_) : input;
  ModelOutput output;
  for (int64_t i = slice.begin; i < slice.end; ++i) {
    if (layer_left_ && h_NM.requires_grad()) {
      h_NM.register_hook([this, i](const at::Tensor&) {
        if (layer_left_) layer_left_(i);
      });
    }
    BlockOutput out = layers_.at(i)(h_NM, angles, info, dropping);
    h_NM = out.h_NM;
    if (out.record) output.routing.push_back(std::move(*out.record));
  }
  output.hidden_NM = slice.last(config_) ? norm_(h_NM) : h_NM;
  output.row_keys = std::move(info.row_keys);
  return output;
}

at::Tensor ModelImpl::extend(const at::Tensor& tokens_N, std::span<const Continuation> parts) {
  TORCH_CHECK(slices_ == one_slice(config_), "a stage has only a part of the model");
  const at::NoGradGuard no_grad;
  int64_t positions = 1;
  for (const Continuation& part : parts) {
    positions = std::max(positions, part.cache->length() + part.rows);
  }
  const RopeTable& angles = rope(positions);
  at::Tensor h_NM = embed(tokens_N.to(device()), embed_tokens_);
  for (auto& [number, layer] : layers_) h_NM = layer->extend(h_NM, parts, angles);
  for (const Continuation& part : parts) part.cache->advance(part.rows);
  return norm_(h_NM);
}

at::Tensor ModelImpl::loss_sum(const ModelOutput& output, const at::Tensor& targets_BT,
                               const at::Tensor& counts_BT) {
  const at::Tensor counts_N =
      counts_BT.defined() ? counts_BT.reshape({-1}).to(device()) : at::Tensor();
  return cross_entropy_sum(output.hidden_NM, lm_head_->weight(),
                           targets_BT.reshape({-1}).to(device()), counts_N,
                           lm_head_->low_rank(output.hidden_NM, output.row_keys));
}

at::Tensor ModelImpl::losses(const ModelOutput& output, const at::Tensor& targets_BT) {
  const at::NoGradGuard no_grad;
  return cross_entropy_rows(output.hidden_NM, lm_head_->weight(),
                            targets_BT.reshape({-1}).contiguous().to(device()),
                            lm_head_->low_rank(output.hidden_NM));
}

at::Tensor ModelImpl::logits(const at::Tensor& hidden_NM) { return lm_head_(hidden_NM); }

}  // namespace dsmoe::nn
