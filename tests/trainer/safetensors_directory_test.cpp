#include "trainer/safetensors_directory.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/zeros.h>

#include <filesystem>

#include "configs/errors.h"
#include "tests/support/catch.h"
#include "tests/support/temp_directory.h"
#include "trainer/atomic_file.h"
#include "trainer/safetensors_writer.h"

namespace {

using dsmoe::test::TempDirectory;
namespace train = dsmoe::train;

using WeightMap = std::map<std::string, std::string>;

const WeightMap kPlaces = {{"a", "1.safetensors"}, {"b", "1.safetensors"}, {"c", "2.safetensors"}};
constexpr int64_t kBytes = 4 * (3 + 4 + 5);

void write_shards(const TempDirectory& directory) {
  train::write_safetensors(directory / "1.safetensors",
                           {{"a", at::arange(3, at::kFloat)}, {"b", at::zeros({4})}});
  train::write_safetensors(directory / "2.safetensors", {{"c", at::arange(5, at::kFloat)}});
}

std::string verdict(const TempDirectory& directory) {
  try {
    (void)train::SafetensorsDirectory::open(directory.path());
  } catch (const dsmoe::CheckpointError& error) {
    return error.what();
  }
  return "";
}

std::string verdict_of_index(const WeightMap& places, int64_t bytes) {
  const TempDirectory directory;
  write_shards(directory);
  train::write_safetensors_index(directory.path(), places, bytes);
  return verdict(directory);
}

TEST_CASE("a model in one file and a model in shards read alike") {
  const TempDirectory single;
  train::write_safetensors(single / train::kModelFile, {{"c", at::arange(5, at::kFloat)}});
  const TempDirectory shards;
  write_shards(shards);
  train::write_safetensors_index(shards.path(), kPlaces, kBytes);
  const auto whole = train::SafetensorsDirectory::open(single.path());
  const auto parts = train::SafetensorsDirectory::open(shards.path());
  CHECK(at::equal(whole.read("c"), parts.read("c")));
  CHECK(whole.names() == std::vector<std::string>{"c"});
  CHECK(parts.names() == std::vector<std::string>{"a", "b", "c"});
  CHECK(parts.file_of("b").info("b").shape == std::vector<int64_t>{4});
  CHECK_FALSE(parts.contains("d"));
  CHECK_THROWS_AS(parts.read("d"), dsmoe::CheckpointError);
}

TEST_CASE("an index that disagrees with its shards is rejected, naming the tensor") {
  CHECK(verdict_of_index(kPlaces, kBytes).empty());
  WeightMap places = kPlaces;
  places["c"] = "3.safetensors";
  CHECK(verdict_of_index(places, kBytes).find("3.safetensors: No such file") != std::string::npos);
  places = kPlaces;
  places["d"] = "2.safetensors";
  CHECK(verdict_of_index(places, kBytes).find("'d' in 2.safetensors, which lacks it") !=
        std::string::npos);
  places = kPlaces;
  places["b"] = "2.safetensors";
  CHECK(verdict_of_index(places, kBytes).find("'b' in 1.safetensors, which has it") !=
        std::string::npos);
  places = kPlaces;
  places.erase("a");
  CHECK(verdict_of_index(places, kBytes).find("'a' in 1.safetensors, which has it") !=
        std::string::npos);
  CHECK(verdict_of_index(kPlaces, kBytes + 4).find("total_size of 52, its tensors have 48 bytes") !=
        std::string::npos);
}

TEST_CASE("an index cannot lead out of its directory") {
  for (const char* name : {"../1.safetensors", "/etc/passwd", "sub/1.safetensors", "..", ".", ""}) {
    WeightMap places = kPlaces;
    places["a"] = name;
    CHECK(verdict_of_index(places, kBytes).find("not a file of this directory") !=
          std::string::npos);
  }
}

TEST_CASE("a malformed index and an empty directory are rejected") {
  const TempDirectory directory;
  CHECK(verdict(directory).find("has neither model.safetensors nor") != std::string::npos);
  for (const char* text : {"", "[]", "{}", R"({"weight_map": 3})", R"({"weight_map": {"a": 3}})",
                           R"({"weight_map": {"a": "1.safetensors", "a": "2.safetensors"}})"}) {
    train::write_file_atomically(directory / train::kIndexFile, text);
    CHECK_FALSE(verdict(directory).empty());
  }
}

}  // namespace
