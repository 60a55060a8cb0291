// Streams, events and devices: a stream is a queue that a thread of its own works off.
#include <algorithm>
#include <cstdio>
#include <set>

#include "hub.h"
#include "stand_in.h"

namespace nccl_stand_in {
namespace {

thread_local int current_device = 0;

std::set<CUstream_st*>& live_streams() {
  static std::set<CUstream_st*> streams;
  return streams;
}

bool all_over(const Operations& operations) {
  return std::all_of(operations.begin(), operations.end(),
                     [](const auto& operation) { return is_over(*operation); });
}

void run_operations(CUstream_st& stream, std::unique_lock<std::mutex>& lock) {
  const Operations operations = stream.tasks.front().operations;
  for (const auto& operation : operations) arrive(*operation);
  hub().changed.notify_all();
  while (!all_over(operations)) {
    look_for_deadlock(stream);
    hub().changed.wait(lock);
  }
}

void run(CUstream_st& stream, std::unique_lock<std::mutex>& lock) {
  Task& task = stream.tasks.front();
  if (task.function) {
    lock.unlock();
    task.function();
    lock.lock();
  } else if (task.record) {
    task.record->done = true;
  } else if (task.awaited) {
    look_for_deadlock(stream);
    hub().changed.wait(lock, [&] { return task.awaited->done; });
  } else {
    run_operations(stream, lock);
  }
}

void work(CUstream_st& stream) {
  std::unique_lock lock(hub().mutex);
  while (true) {
    hub().changed.wait(lock, [&] { return stream.ended || !stream.tasks.empty(); });
    if (stream.tasks.empty()) return;
    run(stream, lock);
    stream.tasks.pop_front();
    hub().changed.notify_all();
  }
}

bool is_live(CUstream_st* stream) { return live_streams().count(stream) != 0; }

}  // namespace

Hub& hub() {
  static auto* const one = new Hub;  // streams may outlive static objects
  return *one;
}

void set_devices(int count) {
  const std::lock_guard lock(hub().mutex);
  hub().devices = count;
}

void push(CUstream_st& stream, Task task) {
  stream.tasks.push_back(std::move(task));
  hub().changed.notify_all();
}

}  // namespace nccl_stand_in

using namespace nccl_stand_in;  // NOLINT: what follows is the ABI of the same library

const char* cudaGetErrorString(cudaError_t error) {
  switch (static_cast<int>(error)) {
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorInvalidResourceHandle:
      return "invalid resource handle";
    case cudaErrorNotReady:
      return "device not ready";
    default:
      return "no error";
  }
}

cudaError_t cudaGetDeviceCount(int* count) {
  const std::lock_guard lock(hub().mutex);
  *count = hub().devices;
  return *count > 0 ? cudaSuccess : cudaErrorNoDevice;
}

cudaError_t cudaSetDevice(int device) {
  const std::lock_guard lock(hub().mutex);
  if (device < 0 || device >= hub().devices) return cudaErrorInvalidDevice;
  current_device = device;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  *device = current_device;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char* address, int length, int device) {
  if (address == nullptr || length < 13) return cudaErrorInvalidValue;
  std::snprintf(address, static_cast<size_t>(length), "0000:%02X:00.0",
                static_cast<unsigned int>(device + 1));
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned int /*flags*/) {
  const std::lock_guard lock(hub().mutex);
  auto* made = new CUstream_st;
  made->device = current_device;
  made->worker = std::thread([made] { work(*made); });
  live_streams().insert(made);
  *stream = made;
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  {
    const std::lock_guard lock(hub().mutex);
    if (live_streams().erase(stream) == 0) return cudaErrorInvalidResourceHandle;
    stream->ended = true;
    hub().changed.notify_all();
  }
  stream->worker.join();
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  std::unique_lock lock(hub().mutex);
  if (!is_live(stream)) return cudaErrorInvalidResourceHandle;
  const auto record = std::make_shared<Record>(Record{stream});
  push(*stream, {.record = record});
  hub().changed.wait(lock, [&] { return record->done; });
  return cudaSuccess;
}

// The latest recording counts, also where the event is recorded again; one that never was is over.
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned int /*flags*/) {
  const std::lock_guard lock(hub().mutex);
  if (!is_live(stream) || event == nullptr) return cudaErrorInvalidResourceHandle;
  if (event->latest) push(*stream, {.awaited = event->latest});
  return cudaSuccess;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  const std::lock_guard lock(hub().mutex);
  if (!is_live(stream)) return cudaErrorInvalidResourceHandle;
  push(*stream, {.function = [function, data] { function(data); }});
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned int /*flags*/) {
  *event = new CUevent_st;
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const std::lock_guard lock(hub().mutex);
  if (!is_live(stream) || event == nullptr) return cudaErrorInvalidResourceHandle;
  event->latest = std::make_shared<Record>(Record{stream});
  push(*stream, {.record = event->latest});
  return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  const std::lock_guard lock(hub().mutex);
  return !event->latest || event->latest->done ? cudaSuccess : cudaErrorNotReady;
}
