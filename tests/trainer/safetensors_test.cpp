#include "trainer/safetensors.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <rapidcheck.h>

#include <filesystem>
#include <fstream>

#include "configs/errors.h"
#include "tests/support/catch.h"
#include "tests/support/python.h"
#include "tests/support/temp_directory.h"
#include "trainer/atomic_file.h"
#include "trainer/safetensors_writer.h"

namespace {

using dsmoe::test::TempDirectory;
using dsmoe::train::NamedTensor;
using dsmoe::train::SafetensorsFile;
using dsmoe::train::SafetensorsWriter;
using dsmoe::train::write_safetensors;

/// The tensors that tests/trainer/safetensors_peer.py makes too: 0, 1, 2, ... of each dtype.
std::vector<NamedTensor> sample() {
  const std::vector<std::pair<const char*, at::ScalarType>> dtypes = {
      {"f64", at::kDouble}, {"f32", at::kFloat}, {"bf16", at::kBFloat16}, {"f16", at::kHalf},
      {"i64", at::kLong},   {"i32", at::kInt},   {"i16", at::kShort},     {"i8", at::kChar},
      {"u8", at::kByte},    {"bool", at::kBool}};
  std::vector<NamedTensor> tensors;
  for (const auto& [name, dtype] : dtypes) {
    tensors.push_back({name, at::arange(12, at::kLong)
                                 .remainder(2 + 11 * (dtype != at::kBool))
                                 .to(dtype)
                                 .view({4, 3})});
  }
  tensors.push_back({"scalar", at::full({}, 7.5, at::kFloat)});
  tensors.push_back({"empty", at::zeros({2, 0}, at::kFloat)});
  tensors.push_back({"model.ä\"quoted\".weight", at::full({5}, -1, at::kByte)});
  return tensors;
}

void write_bytes(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

std::string file_of(const std::string& json, const std::string& data) {
  const uint64_t length = json.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + json + data;
}

TEST_CASE("safetensors that were written are read back bit for bit") {
  const TempDirectory directory;
  write_safetensors(directory / "a.safetensors", sample(), {{"format", "pt"}, {"step", "3"}});
  const auto file = SafetensorsFile::open(directory / "a.safetensors");
  CHECK(file.names().size() == sample().size());
  CHECK(file.metadata().at("step") == "3");
  for (const auto& [name, tensor] : sample()) {
    INFO(name);
    CHECK(file.dtype(name) == tensor.scalar_type());
    CHECK(file.info(name).shape == tensor.sizes().vec());
    CHECK(at::equal(file.read(name), tensor));
  }
}

TEST_CASE("ranges of rows and of elements are read as slices of the whole") {
  const TempDirectory directory;
  const at::Tensor whole = at::arange(60, at::kFloat).view({5, 4, 3});
  write_safetensors(directory / "a", {{"t", whole}, {"first", at::arange(3, at::kDouble)}});
  const auto file = SafetensorsFile::open(directory / "a");
  CHECK(at::equal(file.read_rows("t", 1, 4), whole.slice(0, 1, 4)));
  CHECK(file.read_rows("t", 5, 5).sizes() == at::IntArrayRef({0, 4, 3}));
  CHECK(at::equal(file.read_elements("t", 7, 31), whole.flatten().slice(0, 7, 31)));
  const at::Tensor target = at::zeros({60}, at::kFloat);
  file.read_into("t", 10, target.slice(0, 2, 5));
  CHECK(at::equal(target.slice(0, 2, 5), whole.flatten().slice(0, 10, 13)));
  CHECK(target.count_nonzero().item<int64_t>() == 3);
  CHECK_THROWS_AS(file.read_rows("t", 3, 6), c10::Error);
  CHECK_THROWS_AS(file.read_elements("t", 59, 61), c10::Error);
  CHECK_THROWS_AS(file.read_into("t", 0, at::zeros({1}, at::kDouble)), c10::Error);
}

TEST_CASE("a streamed safetensors file equals one written at once, whatever the order") {
  const TempDirectory directory;
  const at::Tensor a = at::arange(6, at::kFloat).view({3, 2});
  const at::Tensor b = at::arange(4, at::kDouble);
  write_safetensors(directory / "whole", {{"a", a}, {"b", b}});
  SafetensorsWriter writer(directory / "parts",
                           {{"b", at::kDouble, {4}}, {"a", at::kFloat, {3, 2}}});
  writer.write_elements("a", 4, a[2]);
  writer.write("b", b);
  writer.write_elements("a", 0, a.slice(0, 0, 2));
  writer.finish();
  CHECK(dsmoe::train::read_file(directory / "whole") ==
        dsmoe::train::read_file(directory / "parts"));
}

TEST_CASE("the safetensors writer refuses what was not announced and what is left out") {
  const TempDirectory directory;
  SafetensorsWriter writer(directory / "a", {{"a", at::kFloat, {3}}});
  CHECK_THROWS_AS(writer.write("b", at::zeros({3})), c10::Error);
  CHECK_THROWS_AS(writer.write("a", at::zeros({4})), c10::Error);
  CHECK_THROWS_AS(writer.write("a", at::zeros({3}, at::kDouble)), c10::Error);
  CHECK_THROWS_AS(writer.write_elements("a", 2, at::zeros({2})), c10::Error);
  CHECK_THROWS_AS(writer.finish(), c10::Error);
  writer.write("a", at::zeros({3}));
  CHECK_NOTHROW(writer.finish());
  CHECK_THROWS_AS(
      write_safetensors(directory / "b", {{"a", at::zeros({1})}, {"a", at::zeros({1})}}),
      c10::Error);
}

TEST_CASE("transposed tensors are written in row-major order") {
  const TempDirectory directory;
  const at::Tensor transposed = at::arange(6, at::kFloat).view({2, 3}).t();
  write_safetensors(directory / "a", {{"t", transposed}});
  CHECK(at::equal(SafetensorsFile::open(directory / "a").read("t"), transposed));
}

TEST_CASE("a safetensors file of the wrong length is rejected with both numbers") {
  const TempDirectory directory;
  write_safetensors(directory / "good", {{"a", at::zeros({3})}});
  const std::string good = dsmoe::train::read_file(directory / "good");
  std::vector<std::string> bad = {"",
                                  good.substr(0, 7),
                                  good.substr(0, 8),
                                  good.substr(0, 40),
                                  good.substr(0, good.size() - 1),
                                  good + "x"};
  for (const uint64_t length : {uint64_t{0}, uint64_t{100'000'001}, ~uint64_t{0}, ~uint64_t{7}}) {
    bad.push_back(std::string(reinterpret_cast<const char*>(&length), 8) + good.substr(8));
  }
  for (const std::string& bytes : bad) {
    write_bytes(directory / "bad", bytes);
    CHECK_THROWS_AS(SafetensorsFile::open(directory / "bad"), dsmoe::CheckpointError);
  }
  CHECK_THROWS_AS(SafetensorsFile::open(directory / "none"), dsmoe::CheckpointError);
}

TEST_CASE("a safetensors file cut short after it was opened is an error, not a crash") {
  const TempDirectory directory;
  write_safetensors(directory / "a", {{"a", at::zeros({1000})}});
  const auto file = SafetensorsFile::open(directory / "a");
  std::filesystem::resize_file(directory / "a", 500);
  CHECK_THROWS_AS(file.read("a"), dsmoe::CheckpointError);
}

TEST_CASE("unaligned safetensors data are read") {
  const TempDirectory directory;
  const double value = 2.5;
  const std::string json = R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                           R"("y":{"dtype":"F64","shape":[],"data_offsets":[1,9]}} )";
  write_bytes(directory / "a",
              file_of(json, "a" + std::string(reinterpret_cast<const char*>(&value), 8)));
  CHECK(SafetensorsFile::open(directory / "a").read("y").item<double>() == value);
}

TEST_CASE("an unknown tensor and a dtype that torch lacks are named") {
  const TempDirectory directory;
  write_bytes(directory / "a",
              file_of(R"({"x":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}})", "a"));
  const auto file = SafetensorsFile::open(directory / "a");
  CHECK_THROWS_WITH(file.read("y"), Catch::Matchers::Contains("has no tensor 'y'"));
  CHECK_THROWS_WITH(file.read("x"), Catch::Matchers::Contains("'x': cannot compute with dtype F4"));
}

TEST_CASE("random damage to a safetensors header never crashes the reader") {
  const TempDirectory directory;
  write_safetensors(directory / "good", sample());
  const std::string good = dsmoe::train::read_file(directory / "good");
  CHECK(rc::check([&](uint16_t place, uint8_t value) {
    std::string bytes = good;
    bytes[place % 700] = static_cast<char>(value);
    write_bytes(directory / "bad", bytes);
    try {
      (void)SafetensorsFile::open(directory / "bad");
    } catch (const dsmoe::CheckpointError&) {
    }
  }));
}

TEST_CASE("Python's safetensors reads our file and writes the same bytes", "[slow][python]") {
  if (dsmoe::test::skip_without_python()) return;
  const TempDirectory directory;
  write_safetensors(directory / "ours", sample());
  const auto result =
      dsmoe::test::run_python("trainer/safetensors_peer.py", "compare " + (directory / "ours"));
  INFO(result.output);
  CHECK(result.exit_code == 0);
}

TEST_CASE("Python's safetensors accepts and rejects the same damaged files", "[slow][python]") {
  if (dsmoe::test::skip_without_python()) return;
  const TempDirectory directory;
  auto result =
      dsmoe::test::run_python("trainer/safetensors_peer.py", "damage " + directory.path());
  INFO(result.output);
  REQUIRE(result.exit_code == 0);
  std::ifstream verdicts(directory / "verdicts");
  int64_t accepted = 0;
  int64_t files = 0;
  for (std::string name, verdict; verdicts >> name >> verdict; ++files) {
    bool ours = true;
    std::string message;
    try {
      (void)SafetensorsFile::open(directory / name);
    } catch (const dsmoe::CheckpointError& error) {
      ours = false;
      message = error.what();
    }
    INFO(name << " " << verdict << " " << message);
    CHECK(ours == (verdict == "accepted"));
    accepted += ours;
  }
  CHECK(files >= 1000);
  CHECK(accepted >= 50);
  CHECK(files - accepted >= 50);
}

}  // namespace
