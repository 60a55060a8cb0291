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

using Catch::Matchers::Contains;
using dsmoe::test::TempDirectory;
namespace train = dsmoe::train;

using WeightMap = std::map<std::string, std::string>;

const WeightMap kPlaces = {{"a", "1.safetensors"}, {"b", "1.safetensors"}, {"c", "2.safetensors"}};
const std::string kPlacesText =
    R"({"a": "1.safetensors", "b": "1.safetensors", "c": "2.safetensors"})";
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

WeightMap with(const std::string& tensor, const std::string& file) {
  WeightMap places = kPlaces;
  places[tensor] = file;
  return places;
}

/// Of the right weight_map and these metadata.
std::string verdict_of_metadata(const std::string& metadata) {
  const TempDirectory directory;
  write_shards(directory);
  train::write_file_atomically(
      directory / train::kIndexFile,
      R"({"metadata": )" + metadata + R"(, "weight_map": )" + kPlacesText + "}");
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

TEST_CASE("an index whose shard is missing is rejected, naming the file") {
  CHECK_THAT(verdict_of_index(with("c", "3.safetensors"), kBytes),
             Contains("3.safetensors: No such file"));
}

TEST_CASE("an index that maps a tensor to a shard that lacks it is rejected") {
  CHECK_THAT(verdict_of_index(with("d", "2.safetensors"), kBytes),
             Contains("'d' in 2.safetensors, which lacks it"));
}

TEST_CASE("an index that maps a tensor to another shard than has it is rejected") {
  CHECK_THAT(verdict_of_index(with("b", "2.safetensors"), kBytes),
             Contains("'b' in 1.safetensors, which has it"));
}

TEST_CASE("an index that leaves out a tensor of its shards is rejected") {
  WeightMap places = kPlaces;
  places.erase("a");
  CHECK_THAT(verdict_of_index(places, kBytes), Contains("'a' in 1.safetensors, which has it"));
}

TEST_CASE("a tensor that stands in two shards is rejected") {
  const TempDirectory directory;
  write_shards(directory);
  train::write_safetensors(directory / "2.safetensors",
                           {{"b", at::zeros({4})}, {"c", at::arange(5, at::kFloat)}});
  train::write_safetensors_index(directory.path(), kPlaces, kBytes);
  CHECK_THAT(verdict(directory), Contains("'b' in 2.safetensors, which has it"));
}

TEST_CASE("an index with another total size than its tensors have is rejected") {
  CHECK(verdict_of_index(kPlaces, kBytes).empty());
  CHECK_THAT(
      verdict_of_index(kPlaces, kBytes + 4),
      Contains("total_size of 52, its tensors have 48 bytes") && Contains("remove its total_size"));
  for (const char* other : {"0", "47", "-48", "48.5", "\"48\"", "[48]", "18446744073709551664"}) {
    CHECK_THAT(verdict_of_metadata(R"({"total_size": )" + std::string(other) + "}"),
               Contains("total_size"));
  }
  for (const char* other : {"[1]", "3", "\"total_size\""}) {
    CHECK_THAT(verdict_of_metadata(other), Contains("metadata are not an object"));
  }
}

TEST_CASE("an index needs no total size") {
  for (const char* metadata : {"{}", "null", R"({"total_size": null})", R"({"total_size": 48.0})",
                               R"({"format": "pt", "total_size": 48})"}) {
    CHECK(verdict_of_metadata(metadata) == "");
  }
  const TempDirectory directory;
  write_shards(directory);
  train::write_file_atomically(directory / train::kIndexFile,
                               R"({"weight_map": )" + kPlacesText + "}");
  CHECK(verdict(directory) == "");
}

TEST_CASE("shards may be links, as in the cache of Hugging Face") {
  const TempDirectory blobs;
  write_shards(blobs);
  const TempDirectory snapshot;
  for (const char* name : {"1.safetensors", "2.safetensors"}) {
    std::filesystem::create_symlink(blobs / name, snapshot / name);
  }
  train::write_safetensors_index(snapshot.path(), kPlaces, kBytes);
  CHECK(verdict(snapshot) == "");
}

TEST_CASE("an index cannot lead out of its directory") {
  const std::vector<std::string> names = {"../1.safetensors",
                                          "/etc/passwd",
                                          "sub/../../1.safetensors",
                                          "sub/1.safetensors",
                                          "..",
                                          ".",
                                          "",
                                          "1/",
                                          std::string("1.safetensors\0x", 15)};
  for (const std::string& name : names) {
    CHECK_THAT(verdict_of_index(with("a", name), kBytes), Contains("not a file of this directory"));
  }
}

TEST_CASE("a malformed index and an empty directory are rejected") {
  const TempDirectory directory;
  CHECK_THAT(verdict(directory), Contains("has neither model.safetensors nor"));
  for (const char* text : {"", "[]", "{}", R"({"weight_map": 3})", R"({"weight_map": {"a": 3}})",
                           R"({"weight_map": {"a": "1.safetensors", "a": "2.safetensors"}})"}) {
    train::write_file_atomically(directory / train::kIndexFile, text);
    CHECK_FALSE(verdict(directory).empty());
  }
}

}  // namespace
