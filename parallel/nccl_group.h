#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

struct CUstream_st;
struct CUevent_st;
struct ncclComm;

namespace dsmoe::parallel {

/// The parts of CUDA and NCCL that the communicator is made of: pointers, counts, streams. No
/// tensors, and no device memory is allocated. All throw CommError with the library's text.

using DeviceStream = CUstream_st*;
/// What joins the ranks of a group: made by one of them, given to all.
using NcclId = std::array<char, 128>;
[[nodiscard]] NcclId make_nccl_id();

enum class NcclType { kByte, kFloat, kDouble, kInt64 };

/// The devices that this process sees, and the one that this thread uses.
[[nodiscard]] int64_t count_devices();
[[nodiscard]] int64_t current_device();
void use_device(int64_t device);
/// The current device's address on its machine, the same in every process.
[[nodiscard]] std::string device_address();
/// Blocks the host until everything queued on the stream is done.
void finish_stream(DeviceStream stream);

/// A point in a stream.
class StreamMark final {
 public:
  explicit StreamMark(DeviceStream stream);
  ~StreamMark();
  StreamMark(const StreamMark&) = delete;
  StreamMark& operator=(const StreamMark&) = delete;
  /// Whether the stream got there.
  [[nodiscard]] bool passed() const;
  /// What `stream` is given from now on waits for this point; the host does not.
  void hold(DeviceStream stream) const;

 private:
  CUevent_st* event_ = nullptr;
};

/// A stream of the current device for communication, apart from the one that computes.
class CommStream final {
 public:
  CommStream();
  ~CommStream();
  CommStream(const CommStream&) = delete;
  CommStream& operator=(const CommStream&) = delete;
  [[nodiscard]] DeviceStream get() const { return stream_; }

 private:
  DeviceStream stream_ = nullptr;
};

/// A member of a group, as its messages call it.
struct NcclMember {
  std::string group;
  int64_t rank = 0;
  int64_t size = 1;
};

/// What a call does, as its messages say it.
struct NcclCall {
  const char* operation;
  int64_t bytes = 0;
};

/// A run of bytes for or from one rank, the own one included.
struct NcclPiece {
  void* data;
  int64_t bytes;
  int64_t peer;
  bool sends;
};

/// An NCCL communicator on one stream. An operation waits for the mark `ready`, runs on the group's
/// stream behind the operations before it, and returns the mark behind it; nothing waits for that
/// but what is made to. The first error of the library, and a deadline
/// that passes before an operation is done, abort the group: what waits on the device goes on, and
/// every call from then on throws. watch() finds both; so does every call.
/// Calls of one rank must not overlap, but for watch().
class NcclGroup final {
 public:
  /// Begins to join the ranks; returns at once. block_limit: thread blocks of a kernel, 0: the
  /// library's choice.
  NcclGroup(NcclMember member, const NcclId& id, std::shared_ptr<CommStream> stream,
            double timeout_seconds, int block_limit = 0);
  /// Collective: not while an exception unwinds this rank, which aborts instead.
  ~NcclGroup();
  NcclGroup(const NcclGroup&) = delete;
  NcclGroup& operator=(const NcclGroup&) = delete;

  /// Whether all ranks have joined.
  [[nodiscard]] bool joined();
  void wait_until_joined();

  using Mark = std::shared_ptr<StreamMark>;
  /// All pieces at once; empty ones are left out. In order between any two ranks.
  Mark exchange(const NcclCall& call, const std::vector<NcclPiece>& pieces,
                const StreamMark& ready);
  Mark all_reduce(void* data, int64_t count, NcclType type, bool max, const StreamMark& ready);
  /// output: on root; null elsewhere.
  Mark reduce(const void* input, void* output, int64_t count, NcclType type, int64_t root,
              const StreamMark& ready);
  Mark reduce_scatter(void* output, const void* input, int64_t count, NcclType type,
                      const StreamMark& ready);
  Mark all_gather(void* output, const void* input, int64_t bytes, const StreamMark& ready);
  Mark broadcast(void* data, int64_t bytes, int64_t root, const StreamMark& ready);

  /// Looks at what is under way; aborts the group where it failed or is late. From any thread.
  void watch();
  /// Throws what the group was aborted for.
  void check(const NcclCall& call);
  /// Looks first, then the same.
  void watch_and_check(const NcclCall& call);

 private:
  struct Flight;
  template <typename Call>
  Mark launch(const NcclCall& call, const StreamMark& ready, const Call& enqueue);
  void settle(const NcclCall& call, int result);
  void fail(const NcclCall& call, const std::string& reason);
  [[nodiscard]] std::string describe(const NcclCall& call, const std::string& reason) const;
  void look();

  const NcclMember member_;
  const std::shared_ptr<CommStream> stream_;
  const double timeout_seconds_;
  std::mutex mutex_;
  ncclComm* comm_ = nullptr;  ///< null: aborted
  bool joined_ = false;
  std::string failure_;
  std::deque<Flight> flights_;
  double created_at_ = 0;
};

}  // namespace dsmoe::parallel
