#pragma once

#include <string>
#include <vector>

namespace dsmoe::config {

/// Insertions, deletions, substitutions and swaps of neighbours that turn one word into the other.
int edit_distance(const std::string& left, const std::string& right);

/// The candidate with the smallest edit distance, ties to the first; empty where none is close
/// (more than a third of the word would have to change; one letter of a short one may).
std::string nearest(const std::string& word, const std::vector<std::string>& candidates);

}  // namespace dsmoe::config
