#include "parallel/devices.h"

#include "configs/errors.h"
#include "parallel/local_communicator.h"
#include "tests/support/catch.h"

namespace dsmoe::parallel {
namespace {

TEST_CASE("the CPU needs nobody beside the ranks themselves") {
  LocalCommunicator world;
  const Device device = use_device_of_run("cpu", world);
  CHECK(device.where.is_cpu());
  CHECK(device.communicator == nullptr);
}

TEST_CASE("a device that is not in the build, or not on the machine, is refused with a way out") {
  LocalCommunicator world;
  std::string message;
  try {
    const Device device = use_device_of_run("cuda", world);
    CHECK(device.where.is_cuda());
  } catch (const ConfigError& error) {
    message = error.what();
    CHECK(message.find("run.device: cuda") != std::string::npos);
    CHECK(message.find("\nhint: set run.device=cpu") != std::string::npos);
  }
}

}  // namespace
}  // namespace dsmoe::parallel
