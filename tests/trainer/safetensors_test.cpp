#include "trainer/safetensors.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <rapidcheck.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "configs/errors.h"
#include "tests/support/address_space_limit.h"
#include "tests/support/catch.h"
#include "tests/support/python.h"
#include "tests/support/temp_directory.h"
#include "trainer/atomic_file.h"
#include "trainer/safetensors_writer.h"

namespace {

using Catch::Matchers::Contains;
using dsmoe::test::TempDirectory;
using dsmoe::train::NamedTensor;
using dsmoe::train::SafetensorsFile;
using dsmoe::train::SafetensorsWriter;
using dsmoe::train::write_safetensors;

/// The tensors that tests/trainer/safetensors_peer.py makes too: 1, 2, 3, ... of each dtype.
std::vector<NamedTensor> sample() {
  const std::vector<std::pair<const char*, at::ScalarType>> dtypes = {
      {"f64", at::kDouble},
      {"f32", at::kFloat},
      {"bf16", at::kBFloat16},
      {"f16", at::kHalf},
      {"i64", at::kLong},
      {"i32", at::kInt},
      {"i16", at::kShort},
      {"i8", at::kChar},
      {"u8", at::kByte},
      {"bool", at::kBool},
      {"u16", at::kUInt16},
      {"u32", at::kUInt32},
      {"u64", at::kUInt64},
      {"c64", at::kComplexFloat},
      {"e5m2", at::kFloat8_e5m2},
      {"e4m3", at::kFloat8_e4m3fn},
      {"e8m0", at::kFloat8_e8m0fnu},
      {"e4m3z", at::kFloat8_e4m3fnuz},
      {"e5m2z", at::kFloat8_e5m2fnuz}};
  std::vector<NamedTensor> tensors;
  for (const auto& [name, dtype] : dtypes) {
    tensors.push_back({name, at::arange(1, 13, at::kLong)
                                 .remainder(2 + 11 * (dtype != at::kBool))
                                 .to(dtype)
                                 .view({4, 3})});
  }
  tensors.push_back({"scalar", at::full({}, 7.5, at::kFloat)});
  tensors.push_back({"empty", at::zeros({2, 0}, at::kFloat)});
  tensors.push_back({"model.ä\"quoted\".weight", at::full({5}, -1, at::kByte)});
  return tensors;
}

/// The same bits: not every dtype can be compared.
bool same_bytes(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() &&
         at::equal(a.flatten().view(at::kByte), b.flatten().view(at::kByte));
}

void write_bytes(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

std::string file_of(const std::string& json, const std::string& data) {
  const uint64_t length = json.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + json + data;
}

TEST_CASE("safetensors of every dtype of torch are read back bit for bit") {
  const TempDirectory directory;
  write_safetensors(directory / "a.safetensors", sample(), {{"format", "pt"}, {"step", "3"}});
  const auto file = SafetensorsFile::open(directory / "a.safetensors");
  CHECK(file.names().size() == sample().size());
  CHECK(file.metadata().at("step") == "3");
  for (const auto& [name, tensor] : sample()) {
    INFO(name);
    CHECK(file.dtype(name) == tensor.scalar_type());
    CHECK(file.info(name).shape == tensor.sizes().vec());
    CHECK(same_bytes(file.read(name), tensor));
  }
}

TEST_CASE("half precision is read as IEEE 754 says") {
  const TempDirectory directory;
  const std::string values("\x00\x3c\x00\xc0\xff\x7b\x01\x00\x00\xfc", 10);
  write_bytes(directory / "a",
              file_of(R"({"x":{"dtype":"F16","shape":[5],"data_offsets":[0,10]}})", values));
  const at::Tensor read = SafetensorsFile::open(directory / "a").read("x");
  CHECK(read.scalar_type() == at::kHalf);
  const std::vector<double> expected = {1.0, -2.0, 65504.0, std::ldexp(1.0, -24), -INFINITY};
  CHECK(at::equal(read.to(at::kDouble), at::tensor(expected, at::kDouble)));
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
}

TEST_CASE("ranges that leave their tensor are refused before anything is allocated") {
  const TempDirectory directory;
  write_safetensors(directory / "a", {{"t", at::zeros({5, 4, 3})}, {"scalar", at::zeros({})}});
  const auto file = SafetensorsFile::open(directory / "a");
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();
  using Range = std::pair<int64_t, int64_t>;
  const dsmoe::test::AddressSpaceLimit limit(64 << 20);
  for (const auto& [begin, end] :
       {Range{3, 6}, {-1, 2}, {4, 3}, {6, 6}, {0, kMost}, {kLeast, 0}, {kLeast, kMost}}) {
    CAPTURE(begin, end);
    CHECK_THROWS_WITH(file.read_rows("t", begin, end), Contains("read_rows: "));
  }
  for (const auto& [begin, end] : {Range{59, 61},
                                   {-1, 2},
                                   {4, 3},
                                   {61, 61},
                                   {0, int64_t{1} << 32},
                                   {0, kMost},
                                   {kLeast, 0},
                                   {kLeast, kMost}}) {
    CAPTURE(begin, end);
    CHECK_THROWS_WITH(file.read_elements("t", begin, end), Contains("read_elements: "));
  }
  CHECK_THROWS_WITH(file.read_rows("scalar", 0, 1), Contains("read_rows: "));
  CHECK(file.read_elements("scalar", 0, 1).numel() == 1);
  CHECK_THROWS_AS(file.read_into("t", 0, at::zeros({1}, at::kDouble)), c10::Error);
  CHECK_THROWS_AS(file.read_into("t", 60, at::zeros({1})), c10::Error);
  CHECK_THROWS_AS(file.read_into("t", kLeast, at::zeros({1})), c10::Error);
}

TEST_CASE("zero-sized safetensors are read, whatever their other sizes") {
  const TempDirectory directory;
  const std::string json =
      R"({"x":{"dtype":"F32","shape":[0,1073741824,16777216],"data_offsets":[0,0]}})";
  write_bytes(directory / "a", file_of(json, ""));
  const auto file = SafetensorsFile::open(directory / "a");
  CHECK(file.read("x").sizes() == at::IntArrayRef({0, 1073741824, 16777216}));
  CHECK(file.read_rows("x", 0, 0).numel() == 0);
  CHECK(file.read_elements("x", 0, 0).numel() == 0);
}

TEST_CASE("safetensors over 4 GiB are read at their place") {
  const TempDirectory directory;
  constexpr int64_t kBig = (int64_t{5} << 30) + 1;
  const std::string big = std::to_string(kBig);
  const std::string start =
      file_of(R"({"big":{"dtype":"U8","shape":[)" + big + R"(],"data_offsets":[0,)" + big +
                  R"(]},"last":{"dtype":"F32","shape":[1],"data_offsets":[)" + big + "," +
                  std::to_string(kBig + 4) + "]}}",
              "");
  const float value = 2.5F;
  {
    auto sparse = dsmoe::train::FileHandle::create(directory / "a");
    const int64_t end = static_cast<int64_t>(start.size()) + kBig;
    sparse.write_at(0, start.data(), start.size());
    sparse.write_at(end - 1, "\7", 1);
    sparse.write_at(end, &value, sizeof(value));
  }
  const auto file = SafetensorsFile::open(directory / "a");
  CHECK(file.read("last").item<float>() == value);
  CHECK(file.read_elements("big", kBig - 2, kBig)[1].item<int64_t>() == 7);
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

TEST_CASE("a safetensors file of the wrong length is rejected") {
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

TEST_CASE("the header that a short safetensors file claims is not allocated") {
  const TempDirectory directory;
  const dsmoe::test::AddressSpaceLimit limit(64 << 20);
  for (const uint64_t length :
       {uint64_t{100'000'000}, uint64_t{100'000'001}, uint64_t{1} << 40, ~uint64_t{0}}) {
    write_bytes(directory / "a", std::string(reinterpret_cast<const char*>(&length), 8) + "{}");
    CHECK_THROWS_WITH(SafetensorsFile::open(directory / "a"),
                      Contains("would be " + std::to_string(length) + " bytes long"));
  }
}

TEST_CASE("a nesting bomb in a safetensors header takes little memory and no stack") {
  const TempDirectory directory;
  const std::string bomb = file_of(std::string(32 << 20, '['), "");
  write_bytes(directory / "a", bomb);
  const dsmoe::test::AddressSpaceLimit limit(128 << 20);
  CHECK_THROWS_WITH(SafetensorsFile::open(directory / "a"), Contains("nests too deeply"));
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
  CHECK_THROWS_WITH(file.read("y"), Contains("has no tensor 'y'"));
  CHECK_THROWS_WITH(file.read("x"), Contains("'x': cannot compute with dtype F4"));
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
  const auto result = dsmoe::test::run_python("trainer/safetensors_peer.py", directory / "ours");
  INFO(result.output);
  CHECK(result.exit_code == 0);
}

}  // namespace
