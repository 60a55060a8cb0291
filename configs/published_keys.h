#pragma once

#include <string>
#include <vector>

#include "configs/model_config.h"
#include "configs/node.h"

namespace dsmoe::config {

/// What becomes of a key of a published config.json (design section 8.3).
enum class KeyKind {
  kUsed,           ///< a row of model_rows(), or rope_parameters
  kChecked,        ///< must have one of the values that is implemented
  kInformational,  ///< says nothing about the computation: a notice
};

struct PublishedKey {
  std::string name;
  KeyKind kind = KeyKind::kInformational;
  std::vector<std::string> allowed = {};  ///< kChecked: the values, `null` for null
  std::string note = {};                  ///< kChecked: why; kInformational: what to know
};

/// Every key that may stand in a model section, each once.
const std::vector<PublishedKey>& published_keys();

/// The entry of that name, or null.
const PublishedKey* find_published_key(const std::string& name);

/// Whether the node is one of the allowed values; numbers compare as numbers.
bool is_allowed(const PublishedKey& key, const Node& value);

}  // namespace dsmoe::config
