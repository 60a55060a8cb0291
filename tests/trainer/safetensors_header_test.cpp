#include "trainer/safetensors_header.h"

#include <string>
#include <vector>

#include "configs/errors.h"
#include "tests/support/catch.h"

namespace {

using dsmoe::train::parse_safetensors_header;

struct Case {
  const char* what;
  std::string json;
  int64_t data_bytes;
};

/// One F32 tensor `a` of two elements, with `entry` in place of its usual description.
std::string one(const std::string& entry) { return R"({"a":{)" + entry + "}}"; }

TEST_CASE("a safetensors header that the format allows is accepted") {
  const std::string good = R"("dtype":"F32","shape":[2],"data_offsets":[0,8])";
  const std::vector<Case> cases = {
      {"plain", one(good), 8},
      {"no tensors", "{}", 0},
      {"metadata only", R"({"__metadata__":{"format":"pt"}})", 0},
      {"trailing whitespace", one(good) + "  \n\t ", 8},
      {"leading whitespace", "  " + one(good), 8},
      {"zero-sized", one(R"("dtype":"F32","shape":[2,0],"data_offsets":[0,0])"), 0},
      {"scalar", one(R"("dtype":"F64","shape":[],"data_offsets":[0,8])"), 8},
      {"unknown key in an entry", one(good + R"(,"note":{"x":[1]})"), 8},
      {"sub-byte filling bytes", one(R"("dtype":"F4","shape":[4],"data_offsets":[0,2])"), 2},
      {"any order of keys",
       R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[3,4]},)"
       R"("a":{"shape":[3],"data_offsets":[0,3],"dtype":"U8"}})",
       4},
      {"zero-sized between others",
       R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
       R"("z":{"dtype":"U8","shape":[0],"data_offsets":[1,1]},)"
       R"("c":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
       2},
      {"escapes and UTF-8 in names",
       R"({"\u00e4\"ß":{"dtype":"U8","shape":[1],)"
       R"("data_offsets":[0,1]}})",
       1}};
  for (const Case& item : cases) {
    INFO(item.what);
    CHECK_NOTHROW(parse_safetensors_header(item.json, item.data_bytes, "f"));
  }
}

// What the format forbids.
const std::vector<Case> kForbidden = {
    {"empty", "", 0},
    {"spaces", "   ", 0},
    {"not UTF-8", "{\"\xff\":{}}", 0},
    {"byte order mark", "\xEF\xBB\xBF{}", 0},
    {"text after a zero byte", std::string("{}\0x", 4), 0},
    {"not JSON", "{a}", 0},
    {"truncated JSON", R"({"a":{"dtype":"F32")", 0},
    {"two values", "{}{}", 0},
    {"an array", "[]", 0},
    {"a string", R"("a")", 0},
    {"entry not an object", R"({"a":3})", 0},
    {"nesting bomb in an unknown key",
     one(R"("dtype":"U8","shape":[1],"data_offsets":[0,1],"x":)" + std::string(500, '[') +
         std::string(500, ']')),
     1},
    {"nesting bomb", std::string(100000, '['), 0},
    {"object nesting bomb",
     [] {
       std::string text;
       for (int level = 0; level < 10000; ++level) text += R"({"a":)";
       return text;
     }(),
     0},
    {"duplicate tensor",
     R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
     R"("a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
     1},
    {"duplicate key", one(R"("dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1])"), 1},
    {"no dtype", one(R"("shape":[2],"data_offsets":[0,8])"), 8},
    {"unknown dtype", one(R"("dtype":"F31","shape":[2],"data_offsets":[0,8])"), 8},
    {"dtype not a string", one(R"("dtype":32,"shape":[2],"data_offsets":[0,8])"), 8},
    {"no shape", one(R"("dtype":"F32","data_offsets":[0,8])"), 8},
    {"no offsets", one(R"("dtype":"F32","shape":[2])"), 8},
    {"one offset", one(R"("dtype":"F32","shape":[2],"data_offsets":[8])"), 8},
    {"three offsets", one(R"("dtype":"F32","shape":[2],"data_offsets":[0,8,8])"), 8},
    {"negative size", one(R"("dtype":"F32","shape":[-2],"data_offsets":[0,8])"), 8},
    {"fractional size", one(R"("dtype":"F32","shape":[2.0],"data_offsets":[0,8])"), 8},
    {"exponent", one(R"("dtype":"F32","shape":[2e0],"data_offsets":[0,8])"), 8},
    {"number over 64 bits",
     one(R"("dtype":"U8","shape":[18446744073709551617],"data_offsets":[0,1])"), 1},
    {"shape product overflow",
     one(R"("dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0])"), 0},
    {"size in bits overflow",
     one(R"("dtype":"F64","shape":[4611686018427387904],"data_offsets":[0,0])"), 0},
    {"sub-byte not filling a byte", one(R"("dtype":"F4","shape":[3],"data_offsets":[0,1])"), 1},
    {"begin after end", one(R"("dtype":"F32","shape":[2],"data_offsets":[8,0])"), 8},
    {"first offset not zero", one(R"("dtype":"F32","shape":[1],"data_offsets":[4,8])"), 8},
    {"range wider than the shape", one(R"("dtype":"F32","shape":[1],"data_offsets":[0,8])"), 8},
    {"hole",
     R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
     R"("b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
     3},
    {"overlap",
     R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
     R"("b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
     3},
    {"two names for one range",
     R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
     R"("b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})",
     2},
    {"data longer", one(R"("dtype":"F32","shape":[2],"data_offsets":[0,8])"), 9},
    {"data shorter", one(R"("dtype":"F32","shape":[2],"data_offsets":[0,8])"), 7},
    {"data without tensors", "{}", 1},
    {"metadata with a number", R"({"__metadata__":{"a":1}})", 0},
    {"metadata not an object", R"({"__metadata__":"a"})", 0}};

TEST_CASE("a safetensors header that the format forbids is rejected, naming the file") {
  for (const Case& item : kForbidden) {
    INFO(item.what);
    std::string message;
    try {
      (void)parse_safetensors_header(item.json, item.data_bytes, "dir/f.safetensors");
    } catch (const dsmoe::CheckpointError& error) {
      message = error.what();
    }
    CHECK(message.rfind("dir/f.safetensors: ", 0) == 0);
    CHECK(message.find("\nhint: ") != std::string::npos);
  }
}

TEST_CASE("a damaged safetensors entry is named with its numbers") {
  const std::string json = one(R"("dtype":"F32","shape":[3],"data_offsets":[0,8])");
  CHECK_THROWS_WITH(
      parse_safetensors_header(json, 8, "f"),
      Catch::Matchers::StartsWith(
          "f: tensor 'a': data_offsets [0, 8] do not hold the 12 bytes of its shape\nhint: "));
}

TEST_CASE("a safetensors header gives names, dtypes, shapes, offsets and metadata") {
  const auto header = parse_safetensors_header(
      R"({"__metadata__":{"format":"pt"},"w":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]}})",
      12, "f");
  CHECK(header.metadata.at("format") == "pt");
  CHECK(header.tensors.at("w").dtype == "BF16");
  CHECK(header.tensors.at("w").shape == std::vector<int64_t>{2, 3});
  CHECK(header.tensors.at("w").end == 12);
}

}  // namespace
