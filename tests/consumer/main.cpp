#include <iostream>

#include "data/tokenizer.h"
#include "parallel/topology.h"

int main() {
  const dsmoe::parallel::Topology topology{.world = 4, .rank = 3, .expert_size = 2};
  const auto ids = dsmoe::data::make_tokenizer("byte")->encode("dsmoe");
  std::cout << ids.size() << " tokens, replica " << topology.replica() << "\n";
}
