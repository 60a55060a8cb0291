#pragma once

/// What a test may tell the stand-in beside the libraries' own calls. For the whole process.
namespace nccl_stand_in {

/// The devices that there are; 8 to begin with. Each is at an address of its own.
void set_devices(int count);

/// The nth operation from now, counted from 1, that any rank `rank` of a communicator starts, fails
/// on the device as a lost peer does; 0: none.
void fail_operation(int rank, int nth);

}  // namespace nccl_stand_in
