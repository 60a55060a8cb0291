#include "trainer/safetensors_header.h"

#include <algorithm>
#include <string>
#include <vector>

#include "configs/errors.h"
#include "tests/support/catch.h"

namespace {

using dsmoe::train::parse_safetensors_header;
using dsmoe::train::safetensors_header_bytes;

struct Allowed {
  const char* what;
  std::string json;
  int64_t data_bytes;
};

struct Forbidden {
  const char* what;
  std::string json;
  int64_t data_bytes;
  const char* says;
};

/// One tensor `a` with this description.
std::string one(const std::string& entry) { return R"({"a":{)" + entry + "}}"; }

/// Tensors of U8, each with its name, size and range.
std::string entry(const std::string& name, const std::string& size, const std::string& range) {
  return "\"" + name + R"(":{"dtype":"U8","shape":[)" + size + R"(],"data_offsets":[)" + range +
         "]}";
}

std::string repeated(const std::string& text, int count) {
  std::string all;
  for (int i = 0; i < count; ++i) all += text;
  return all;
}

/// A valid tensor with an unknown key that holds this many lists in each other, in two objects.
std::string nested(int lists) {
  return one(R"("dtype":"U8","shape":[1],"data_offsets":[0,1],"x":)" + repeated("[", lists) +
             repeated("]", lists));
}

const std::string kGood = R"("dtype":"F32","shape":[2],"data_offsets":[0,8])";

const std::vector<Allowed> kAllowed = {
    {"plain", one(kGood), 8},
    {"no tensors", "{}", 0},
    {"metadata only", R"({"__metadata__":{"format":"pt"}})", 0},
    {"trailing JSON whitespace", one(kGood) + "  \r\n\t ", 8},
    {"leading JSON whitespace", " \r\n\t " + one(kGood), 8},
    {"zero-sized", one(R"("dtype":"F32","shape":[2,0],"data_offsets":[0,0])"), 0},
    {"zero-sized between others",
     "{" + entry("a", "1", "0,1") + "," + entry("z", "0", "1,1") + "," + entry("c", "1", "1,2") +
         "}",
     2},
    {"zero-sized of a sub-byte dtype", one(R"("dtype":"F4","shape":[0,3],"data_offsets":[0,0])"),
     0},
    {"rank-0 scalar", one(R"("dtype":"F64","shape":[],"data_offsets":[0,8])"), 8},
    {"unknown key in an entry", one(kGood + R"(,"note":{"x":[1]})"), 8},
    {"as deep as the reference allows", nested(125), 1},
    {"sub-byte dtype filling bytes", one(R"("dtype":"F4","shape":[4],"data_offsets":[0,2])"), 2},
    {"any order of keys",
     R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[3,4]},)"
     R"("a":{"shape":[3],"data_offsets":[0,3],"dtype":"U8"}})",
     4},
    {"a start that no dtype is aligned at",
     "{" + entry("a", "1", "0,1") + R"(,"b":{"dtype":"F64","shape":[],"data_offsets":[1,9]}})", 9},
    {"escapes in names", "{" + entry(R"(\u00e4\"\n\u0000\ud83d\ude00)", "1", "0,1") + "}", 1},
    {"UTF-8 in names", "{" + entry("ß漢😀", "1", "0,1") + "}", 1},
    {"a very long name", "{" + entry(std::string(1 << 20, 'n'), "1", "0,1") + "}", 1},
    {"data over 4 GiB", "{" + entry("a", "8589934592", "0,8589934592") + "}", 8589934592}};

TEST_CASE("a safetensors header that the format allows is accepted") {
  for (const Allowed& item : kAllowed) {
    INFO(item.what);
    CHECK_NOTHROW(parse_safetensors_header(item.json, item.data_bytes, "f"));
  }
}

constexpr const char* kNotJson = "is not JSON";
constexpr const char* kNoCount = "not a count";
constexpr const char* kOverflow = "the shape overflows 64 bits";
constexpr const char* kTwice = "' twice";

const std::vector<Forbidden> kForbidden = {
    {"empty header", "", 0, kNotJson},
    {"only spaces", "   ", 0, kNotJson},
    {"non-UTF-8 header", "{\"\xff\":{}}", 0, kNotJson},
    {"overlong UTF-8", "{\"\xc0\x80\":{}}", 0, kNotJson},
    {"half a surrogate pair", R"({"\ud83d":{}})", 0, kNotJson},
    {"byte order mark", "\xEF\xBB\xBF{}", 0, kNotJson},
    {"text after a zero byte", std::string("{}\0x", 4), 0, kNotJson},
    {"whitespace that JSON lacks", "{}\f", 0, kNotJson},
    {"not JSON", "{a}", 0, kNotJson},
    {"a comment", "{/**/}", 0, kNotJson},
    {"truncated JSON", R"({"a":{"dtype":"F32")", 0, kNotJson},
    {"two values", "{}{}", 0, kNotJson},
    {"an array", "[]", 0, "is not a JSON object"},
    {"a string", R"("a")", 0, "is not a JSON object"},
    {"entry not an object", R"({"a":3})", 0, "its entry is not an object"},
    {"one level deeper than the reference allows", nested(126), 1, "nests too deeply"},
    {"nesting bomb in an unknown key", nested(100000), 1, "nests too deeply"},
    {"nesting bomb", std::string(1 << 20, '['), 0, "nests too deeply"},
    {"nesting bomb of objects", repeated(R"({"a":)", 100000), 0, "nests too deeply"},
    {"duplicate tensor names", "{" + entry("a", "1", "0,1") + "," + entry("a", "1", "0,1") + "}", 1,
     kTwice},
    {"duplicate tensor names spelt differently",
     "{" + entry("a", "1", "0,1") + "," + entry("\\u0061", "1", "0,1") + "}", 1, kTwice},
    {"duplicate key in an entry", one(R"("dtype":"U8",)" + kGood), 8, kTwice},
    {"duplicate key in the metadata", R"({"__metadata__":{"a":"1","a":"2"}})", 0, kTwice},
    {"duplicate metadata", R"({"__metadata__":{},"__metadata__":{}})", 0, kTwice},
    {"missing dtype", one(R"("shape":[2],"data_offsets":[0,8])"), 8, "dtype is missing"},
    {"unknown dtype", one(R"("dtype":"F31","shape":[2],"data_offsets":[0,8])"), 8,
     "unknown dtype F31"},
    {"dtype of another case", one(R"("dtype":"f32","shape":[2],"data_offsets":[0,8])"), 8,
     "unknown dtype f32"},
    {"dtype not a string", one(R"("dtype":32,"shape":[2],"data_offsets":[0,8])"), 8,
     "dtype is missing"},
    {"missing shape", one(R"("dtype":"F32","data_offsets":[0,8])"), 8, "shape is missing"},
    {"shape not a list", one(R"("dtype":"F32","shape":2,"data_offsets":[0,8])"), 8,
     "shape is missing or not a list"},
    {"missing offsets", one(R"("dtype":"F32","shape":[2])"), 8, "data_offsets is missing"},
    {"one offset", one(R"("dtype":"F32","shape":[2],"data_offsets":[8])"), 8, "not two numbers"},
    {"three offsets", one(R"("dtype":"F32","shape":[2],"data_offsets":[0,8,8])"), 8,
     "not two numbers"},
    {"negative size", one(R"("dtype":"F32","shape":[-2],"data_offsets":[0,8])"), 8, kNoCount},
    {"negative zero", one(R"("dtype":"F32","shape":[2],"data_offsets":[-0,8])"), 8, kNoCount},
    {"negative offset", one(R"("dtype":"F32","shape":[2],"data_offsets":[-8,0])"), 8, kNoCount},
    {"fractional size", one(R"("dtype":"F32","shape":[2.0],"data_offsets":[0,8])"), 8, kNoCount},
    {"fractional offset", one(R"("dtype":"F32","shape":[2],"data_offsets":[0,8.0])"), 8, kNoCount},
    {"exponent", one(R"("dtype":"F32","shape":[2e0],"data_offsets":[0,8])"), 8, kNoCount},
    {"a number as text", one(R"("dtype":"F32","shape":["2"],"data_offsets":[0,8])"), 8, kNoCount},
    {"size over 2^64", one(R"("dtype":"U8","shape":[18446744073709551617],"data_offsets":[0,1])"),
     1, kNoCount},
    {"offset over 2^64", "{" + entry("a", "1", "18446744073709551616,18446744073709551617") + "}",
     1, kNoCount},
    {"size that torch cannot hold", "{" + entry("a", "0,9223372036854775808", "0,0") + "}", 0,
     kNoCount},
    {"a number over all limits", one(kGood + R"(,"x":1e999)"), 8, kNotJson},
    {"shape product overflow", "{" + entry("a", "4294967296,4294967296", "0,0") + "}", 0,
     kOverflow},
    {"shape product overflow before a zero",
     "{" + entry("a", "4294967296,4294967296,0", "0,0") + "}", 0, kOverflow},
    {"shape product overflow behind a zero",
     "{" + entry("a", "0,4294967296,4294967296", "0,0") + "}", 0, kOverflow},
    {"product by element bits overflow",
     one(R"("dtype":"F64","shape":[288230376151711744],"data_offsets":[0,0])"), 0, kOverflow},
    {"sub-byte dtype not filling a byte", one(R"("dtype":"F4","shape":[3],"data_offsets":[0,1])"),
     1, "do not fill whole bytes"},
    {"begin after end", one(R"("dtype":"F32","shape":[2],"data_offsets":[8,0])"), 8, "do not hold"},
    {"first offset not zero", one(R"("dtype":"F32","shape":[1],"data_offsets":[4,8])"), 8,
     "a hole"},
    {"range wider than the shape", one(R"("dtype":"F32","shape":[1],"data_offsets":[0,8])"), 8,
     "do not hold the 4 bytes"},
    {"range narrower than the shape", one(R"("dtype":"F32","shape":[3],"data_offsets":[0,8])"), 8,
     "do not hold the 12 bytes"},
    {"hole between tensors", "{" + entry("a", "1", "0,1") + "," + entry("b", "1", "2,3") + "}", 3,
     "'b': its data begin at 2 where 1, a hole"},
    {"overlapping ranges", "{" + entry("a", "2", "0,2") + "," + entry("b", "2", "1,3") + "}", 3,
     "'b': its data begin at 1 where 2, an overlap"},
    {"two names for one buffer", "{" + entry("a", "2", "0,2") + "," + entry("b", "2", "0,2") + "}",
     2, "an overlap"},
    {"zero-sized inside another", "{" + entry("a", "2", "0,2") + "," + entry("z", "0", "1,1") + "}",
     2, "an overlap"},
    {"data longer than the last offset", one(kGood), 9, "holds 9 bytes of data"},
    {"data shorter than the last offset", one(kGood), 7, "holds 7 bytes of data"},
    {"data without tensors", "{}", 1, "its header describes 0"},
    {"metadata with a number", R"({"__metadata__":{"a":1}})", 0, "'a' is not a string"},
    {"metadata with null", R"({"__metadata__":{"a":null}})", 0, "'a' is not a string"},
    {"metadata with an object", R"({"__metadata__":{"a":{}}})", 0, "'a' is not a string"},
    {"metadata not an object", R"({"__metadata__":"a"})", 0, "is not an object"},
    {"metadata null", R"({"__metadata__":null})", 0, "is not an object"}};

std::string rejection(const std::string& json, int64_t data_bytes) {
  try {
    (void)parse_safetensors_header(json, data_bytes, "dir/f.safetensors");
  } catch (const dsmoe::CheckpointError& error) {
    return error.what();
  }
  return "accepted";
}

TEST_CASE("a safetensors header that the format forbids is rejected, naming the file and why") {
  for (const Forbidden& item : kForbidden) {
    INFO(item.what);
    const std::string message = rejection(item.json, item.data_bytes);
    CHECK(message.rfind("dir/f.safetensors: ", 0) == 0);
    CHECK(message.find("\nhint: ") != std::string::npos);
    CHECK_THAT(message, Catch::Matchers::Contains(item.says));
  }
}

TEST_CASE("a damaged safetensors entry is named with its numbers") {
  CHECK_THAT(rejection(one(R"("dtype":"F32","shape":[3],"data_offsets":[0,8])"), 8),
             Catch::Matchers::StartsWith("dir/f.safetensors: tensor 'a': data_offsets [0, 8] do "
                                         "not hold the 12 bytes of its shape\nhint: "));
}

TEST_CASE("a message about a damaged safetensors header stays short") {
  const std::string name(1 << 20, 'n');
  const std::string message = rejection("{" + entry(name, "1", "0,7") + "}", 7);
  CHECK(message.size() < 1000);
  CHECK_THAT(message, Catch::Matchers::Contains("nnn': data_offsets [0, 7] do not hold the 1"));
  CHECK(rejection("{\"" + name, 0).size() < 1000);
  CHECK(rejection(one("\"dtype\":\"U8\",\"shape\":[\"" + name + "\"]"), 0).size() < 1000);
}

TEST_CASE("control characters of a damaged safetensors header do not reach the message") {
  CHECK_THAT(rejection("{" + entry("a\\u0000\\n\\u001b[31m", "1", "0,7") + "}", 7),
             Catch::Matchers::Contains("tensor 'a???[31m': data_offsets [0, 7] do not hold"));
}

TEST_CASE("many names for one safetensors buffer are rejected") {
  std::string json = "{";
  for (int i = 0; i < 1000; ++i) json += entry(std::to_string(i), "1048576", "0,1048576") + ",";
  json.back() = '}';
  CHECK_THAT(rejection(json, 1048576), Catch::Matchers::Contains("an overlap"));
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

/// The rejection of a file of these many bytes whose first eight give this length.
std::string length_rejection(uint64_t length, int64_t file_bytes) {
  std::string start(reinterpret_cast<const char*>(&length), sizeof(length));
  start.resize(static_cast<size_t>(std::min(file_bytes, dsmoe::train::kLengthBytes)));
  try {
    (void)safetensors_header_bytes(start, file_bytes, "f");
  } catch (const dsmoe::CheckpointError& error) {
    return error.what();
  }
  return "accepted";
}

TEST_CASE("the length of a safetensors header is checked against the limit and the file") {
  using Catch::Matchers::Contains;
  for (int64_t size = 0; size < 8; ++size) {
    CHECK_THAT(length_rejection(0, size),
               Contains("holds " + std::to_string(size) + " bytes, a header needs 8\nhint: "));
  }
  CHECK(length_rejection(0, 8) == "accepted");
  CHECK(length_rejection(2, 10) == "accepted");
  CHECK_THAT(length_rejection(3, 10), Contains("3 bytes long, only 2 follow\nhint: "));
  CHECK(length_rejection(100'000'000, 100'000'008) == "accepted");
  CHECK_THAT(length_rejection(100'000'001, 100'000'009), Contains("the limit is 100000000"));
  for (const uint64_t length : {~uint64_t{0}, ~uint64_t{7}, uint64_t{1} << 63}) {
    CHECK_THAT(length_rejection(length, 100), Contains("the limit is 100000000"));
  }
}

}  // namespace
