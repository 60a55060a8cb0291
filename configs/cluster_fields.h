#pragma once

#include "configs/cluster_config.h"
#include "configs/field.h"

namespace dsmoe::config {

/// The rows of a cluster file, in the order of the dump.
const Rows<ClusterConfig>& cluster_rows();

}  // namespace dsmoe::config
