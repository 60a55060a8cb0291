#include "modules/attention.h"

#include "modules/grouped_query_attention.h"
#include "modules/mla.h"

namespace dsmoe::nn {

std::shared_ptr<Attention> make_attention(const config::ModelConfig& config,
                                          const Recompute& recompute) {
  if (config.is_mla()) return std::make_shared<MultiHeadLatentAttentionImpl>(config, recompute);
  return std::make_shared<GroupedQueryAttentionImpl>(config);
}

}  // namespace dsmoe::nn
