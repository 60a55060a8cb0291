#include "trainer/manifest.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/zeros.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "configs/errors.h"
#include "tests/support/catch.h"
#include "tests/support/temp_directory.h"
#include "trainer/atomic_file.h"
#include "trainer/safetensors_writer.h"

namespace {

using dsmoe::test::TempDirectory;
namespace fs = std::filesystem;
namespace train = dsmoe::train;

constexpr const char* kWeights = "model/model.safetensors";

/// A small checkpoint, complete with its manifest.
void write_checkpoint(const std::string& path, int64_t step) {
  fs::create_directories(path + "/model");
  train::write_file_atomically(path + "/state.json", R"({"step": 7})");
  train::write_safetensors(path + "/" + kWeights, {{"a.weight", at::arange(100, at::kFloat)},
                                                   {"b.weight", at::zeros({50})}});
  train::Manifest manifest{step, train::hash_text("config"), 8, 2, 2, 2, train::record_files(path)};
  train::write_manifest(path, manifest);
}

void flip_bit(const std::string& path, int64_t byte) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekg(byte);
  const int value = file.get();
  file.seekp(byte);
  file.put(static_cast<char>(value ^ 4));
}

std::string verdict(const std::string& directory) {
  try {
    train::verify(directory);
  } catch (const dsmoe::CheckpointError& error) {
    return error.what();
  }
  return "";
}

TEST_CASE("a checkpoint that is whole verifies, and its manifest says what it is") {
  const TempDirectory directory;
  write_checkpoint(directory.path(), 7);
  const train::Manifest manifest = train::verify(directory.path());
  CHECK(manifest.step == 7);
  CHECK(manifest.config_hash == train::hash_text("config"));
  CHECK(manifest.world == 8);
  CHECK(manifest.expert == 2);
  CHECK(manifest.pipeline == 2);
  CHECK(manifest.replicas == 2);
  CHECK(manifest.files.size() == 2);
  CHECK(manifest.files.at("state.json").bytes == 11);
  CHECK(manifest.files.at(kWeights).tensors.size() == 2);
}

TEST_CASE("hashes are xxh3-128 in canonical form") {
  CHECK(train::hash_text("") == "99aa06d3014798d86001c324468d497f");
}

TEST_CASE("a file of the wrong size is named with both numbers") {
  const TempDirectory directory;
  write_checkpoint(directory.path(), 7);
  std::ofstream(directory / "state.json", std::ios::app) << "x";
  const std::string message = verdict(directory.path());
  CHECK(message.find(directory / "state.json: has 12 bytes, the manifest says 11") == 0);
  CHECK(message.find("\nhint: ") != std::string::npos);
}

TEST_CASE("a damaged tensor is named") {
  const TempDirectory directory;
  write_checkpoint(directory.path(), 7);
  const int64_t bytes = static_cast<int64_t>(fs::file_size(directory / kWeights));
  flip_bit(directory / kWeights, bytes - 3);
  CHECK(verdict(directory.path()).find("tensor 'b.weight' is damaged") != std::string::npos);
}

TEST_CASE("a damaged safetensors header is named") {
  const TempDirectory directory;
  write_checkpoint(directory.path(), 7);
  flip_bit(directory / kWeights, 12);
  const std::string message = verdict(directory.path());
  CHECK(message.find(kWeights) != std::string::npos);
  CHECK(message.find("its header is damaged") != std::string::npos);
}

TEST_CASE("any flipped bit is found") {
  const TempDirectory directory;
  write_checkpoint(directory.path(), 7);
  std::mt19937 random(1);
  const auto bytes = static_cast<uint32_t>(fs::file_size(directory / kWeights));
  for (int trial = 0; trial < 200; ++trial) {
    const auto place = static_cast<int64_t>(random() % bytes);
    flip_bit(directory / kWeights, place);
    CHECK_FALSE(verdict(directory.path()).empty());
    flip_bit(directory / kWeights, place);
  }
  CHECK(verdict(directory.path()).empty());
}

TEST_CASE("a missing file, swapped files and a missing manifest are found") {
  const TempDirectory directory;
  write_checkpoint(directory / "a", 7);
  fs::remove(directory / "a/state.json");
  CHECK(verdict(directory / "a").find("a/state.json: No such file") != std::string::npos);

  write_checkpoint(directory / "b", 7);
  train::write_safetensors((directory / "b/") + kWeights,
                           {{"a.weight", at::zeros({100})}, {"b.weight", at::zeros({50})}});
  CHECK(verdict(directory / "b").find("tensor 'a.weight' is damaged") != std::string::npos);

  fs::remove(directory / "b/manifest.json");
  CHECK_FALSE(verdict(directory / "b").empty());
}

TEST_CASE("a step directory that holds another step is refused") {
  const TempDirectory directory;
  write_checkpoint(directory / "step-00000007", 7);
  CHECK(verdict(directory / "step-00000007/").empty());
  fs::copy(directory / "step-00000007", directory / "step-00000009", fs::copy_options::recursive);
  CHECK(verdict(directory / "step-00000009/").find("holds step 7, its name says 9") !=
        std::string::npos);
}

TEST_CASE("a manifest that is cut short, of another format or incomplete is refused") {
  const TempDirectory directory;
  write_checkpoint(directory.path(), 7);
  const std::string good = train::read_file(directory / "manifest.json");
  for (const std::string& text :
       {std::string(), good.substr(0, good.size() / 2), std::string(R"({"format": 2})"),
        std::string(R"({"format": 1})"), std::string(R"({"format": 1, "step": "x"})")}) {
    train::write_file_atomically(directory / "manifest.json", text);
    CHECK_FALSE(verdict(directory.path()).empty());
  }
}

}  // namespace
