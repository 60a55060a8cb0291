// Runs a fuzz target where the compiler has no libFuzzer, with the same arguments:
//   TARGET [-runs=N] [-seed=S] PLACE...
// Calls the target with every file of the places, files or folders, as it is; then, N times, with
// one of them damaged. No coverage is measured: what a target is fed depends on the arguments
// alone. The input that a sanitizer or an abort ends the program on is left in crash-input.
#include <sanitizer/common_interface_defs.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned int seed);
extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace {

using Input = std::vector<uint8_t>;

constexpr size_t kMaxSize = 4096;
constexpr int kMaxSteps = 4;

// libFuzzer's functions have no argument to pass these by.
std::minstd_rand& random_bytes() {
  static std::minstd_rand random;
  return random;
}

Input& current_input() {
  static Input input;
  return input;
}

void save_current_input() {
  const Input& input = current_input();
  std::ofstream("crash-input", std::ios::binary)
      .write(reinterpret_cast<const char*>(input.data()),
             static_cast<std::streamsize>(input.size()));
  std::cerr << "crash-input holds the " << input.size() << " bytes that ended the program\n";
}

void run(Input input) {
  current_input() = std::move(input);
  LLVMFuzzerTestOneInput(current_input().data(), current_input().size());
}

size_t below(size_t limit) { return random_bytes()() % limit; }

struct Arguments {
  int64_t runs = 0;
  unsigned int seed = 1;
  std::vector<std::filesystem::path> files;
};

void add_files(const std::filesystem::path& place, std::vector<std::filesystem::path>& files) {
  if (!std::filesystem::is_directory(place)) return files.push_back(place);
  for (const auto& entry : std::filesystem::directory_iterator(place)) {
    files.push_back(entry.path());
  }
}

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string text = argv[i];
    if (text.starts_with("-runs=")) {
      arguments.runs = std::stoll(text.substr(6));
    } else if (text.starts_with("-seed=")) {
      arguments.seed = static_cast<unsigned int>(std::stoul(text.substr(6)));
    } else {
      add_files(text, arguments.files);
    }
  }
  std::sort(arguments.files.begin(), arguments.files.end());
  return arguments;
}

Input read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path.string());
  return Input(std::istreambuf_iterator<char>(file), {});
}

Input damaged(Input input) {
  size_t size = std::min(input.size(), kMaxSize);
  input.resize(kMaxSize);
  for (size_t step = 0; step <= below(kMaxSteps); ++step) {
    size = LLVMFuzzerCustomMutator(input.data(), size, kMaxSize,
                                   static_cast<unsigned int>(random_bytes()()));
  }
  input.resize(size);
  // An allocation of its own, so that AddressSanitizer sees reads behind its end.
  return Input(input.begin(), input.end());
}

}  // namespace

/// Flips a bit, sets a byte, inserts, removes, doubles or moves a stretch.
extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size) {
  Input input(data, data + size);
  const auto at = [&](size_t place) { return input.begin() + static_cast<ptrdiff_t>(place); };
  const size_t place = below(size + 1);
  const size_t bytes = below(std::min<size_t>(size - place, 32) + 1);
  const auto any = static_cast<uint8_t>(below(256));
  const Input stretch(at(place), at(place + bytes));
  switch (below(6)) {
    case 0:
      if (place < size) *at(place) = static_cast<uint8_t>(*at(place) ^ (1 << below(8)));
      break;
    case 1:
      if (place < size) *at(place) = any;
      break;
    case 2:
      input.insert(at(place), any);
      break;
    case 3:
      input.erase(at(place), at(place + bytes));
      break;
    case 4:
      input.insert(at(below(size + 1)), stretch.begin(), stretch.end());
      break;
    default:
      std::copy(stretch.begin(), stretch.end(), at(below(size - bytes + 1)));
  }
  const size_t kept = std::min(input.size(), max_size);
  std::copy_n(input.begin(), kept, data);
  return kept;
}

/// Aborts are reported too; inputs are small, and so must be what they make the target allocate.
extern "C" const char* __asan_default_options() {
  return "handle_abort=1:max_allocation_size_mb=16";
}

int main(int argc, char** argv) {
  const Arguments arguments = parse(argc, argv);
  random_bytes().seed(arguments.seed);
  std::vector<Input> inputs;
  for (const auto& file : arguments.files) inputs.push_back(read(file));
  __sanitizer_set_death_callback(save_current_input);
  for (const Input& input : inputs) run(input);
  for (int64_t i = 0; !inputs.empty() && i < arguments.runs; ++i) {
    run(damaged(inputs[below(inputs.size())]));
  }
  std::cout << inputs.size() << " files as they are, " << arguments.runs << " damaged\n";
  return inputs.empty() ? 1 : 0;
}
