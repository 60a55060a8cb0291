#include "trainer/base_fingerprint.h"

#include <span>

#include "data/fingerprint.h"
#include "modules/published_tensors.h"
#include "trainer/published_weights.h"
#include "trainer/safetensors.h"

namespace dsmoe::train {
namespace {

constexpr int64_t kPieces = 4;
constexpr int64_t kElements = 64;  ///< of each piece

void add_bytes(data::Fingerprint& hash, const at::Tensor& values) {
  hash.add(std::span(static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes()));
}

void add_tensor(data::Fingerprint& hash, const nn::PublishedTensor& tensor,
                const PublishedWeights& weights) {
  hash.add(tensor.name);
  hash.add(safetensors_dtype(weights.dtype(tensor.name)));
  for (const int64_t size : tensor.shape) hash.add(static_cast<double>(size));
  const int64_t numel = tensor.numel();
  for (int64_t piece = 0; piece < kPieces; ++piece) {
    const int64_t begin = piece * numel / kPieces;
    add_bytes(hash, weights.read_elements(tensor.name, begin, std::min(kElements, numel - begin)));
  }
}

}  // namespace

std::string base_fingerprint(const std::string& model_directory, const config::ModelConfig& model) {
  const auto weights = PublishedWeights::open(model_directory);
  weights.check(model);
  data::Fingerprint hash;
  for (const nn::PublishedTensor& tensor : nn::published_tensors(model)) {
    add_tensor(hash, tensor, weights);
  }
  return hash.hex();
}

}  // namespace dsmoe::train
