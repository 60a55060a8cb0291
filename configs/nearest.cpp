#include "configs/nearest.h"

#include <algorithm>

namespace dsmoe::config {
namespace {

using Row = std::vector<int>;

bool swapped(const std::string& left, const std::string& right, size_t i, size_t j) {
  return i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1];
}

}  // namespace

int edit_distance(const std::string& left, const std::string& right) {
  std::vector<Row> cost(left.size() + 1, Row(right.size() + 1));
  for (size_t i = 0; i <= left.size(); ++i) {
    for (size_t j = 0; j <= right.size(); ++j) {
      if (i == 0 || j == 0) {
        cost[i][j] = static_cast<int>(i + j);
        continue;
      }
      const int change = left[i - 1] == right[j - 1] ? 0 : 1;
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, cost[i - 1][j - 1] + change});
      if (swapped(left, right, i, j)) {
        cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
      }
    }
  }
  return cost[left.size()][right.size()];
}

std::string nearest(const std::string& word, const std::vector<std::string>& candidates) {
  int best = std::max(1, static_cast<int>(word.size() / 3)) + 1;
  std::string found;
  for (const std::string& candidate : candidates) {
    const int distance = edit_distance(word, candidate);
    if (distance < best) {
      best = distance;
      found = candidate;
    }
  }
  return found;
}

}  // namespace dsmoe::config
