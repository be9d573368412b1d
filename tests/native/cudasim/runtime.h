// A stand-in for CUDA's runtime on top of the simulator: include/cuda_runtime_api.h has the functions, this header what
// tests need beside them.
//
// Work put on a stream waits there until somebody synchronises with it, so that a host which forgets to do so reads
// stale data, as it might on a GPU; work on the legacy stream runs at once, after that of all blocking streams. Copies
// check that both sides lie inside an allocation of the right kind. Device memory begins as NaN and, under ASan, cannot
// be touched outside of kernels and copies. Captured work is kept as a list and run anew at each launch of the graph.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "include/cuda_runtime_api.h"
#include "simulator.h"

namespace cudasim {

// What is alive now, and what has been called so far.
struct Counts {
  uint64_t device_allocations, device_bytes, device_bytes_high_water;
  uint64_t host_allocations;
  uint64_t streams, events, graphs, graph_execs;
  uint64_t kernel_launches;  // run, those of graphs included
  uint64_t graph_launches;
  uint64_t synchronizations;  // calls that make the host wait
  uint64_t calls;             // of any function that can fail
  uint64_t retained_contexts;
  uint64_t library_objects;  // handles and descriptors of cuBLAS and cuDNN
};
Counts counts();
// kernel_launches by the file that launches.
std::map<std::string, uint64_t> launches_by_file();

// Devices there are; 0 makes cudaGetDeviceCount return cudaErrorNoDevice and leave its result alone. One at first.
void set_device_count(int count);
// Compute capability of the devices; 70 at first.
void set_architecture(int architecture);
// Without, cudaGetDriverEntryPoint finds nothing, as in a driver older than the runtime.
void set_driver(bool whole);

// The n-th call from now, counted from 1, fails with this error and does nothing; 0 ends that. Every function of the
// runtime that can fail counts, kernel launches too.
void fail_call(uint64_t n, cudaError_t error);
// Name of the call that failed so, "" while none has.
const char* failed_call();

// The driver's contexts. The primary one of the only device is current where no other is; what is allocated belongs to the one that
// is current.
void* primary_context();
void* current_context();  // NULL for none
void set_current_context(void* context);

// ---- For stand-ins of libraries that put work on streams, and for launches ---------------------------------------------

// Begins a call: the injected error, or cudaSuccess.
cudaError_t begin_call(const char* name);
// Puts work on a stream, or into the graph it is captured into.
cudaError_t enqueue(cudaStream_t stream, std::function<void()> work);
bool is_capturing(cudaStream_t stream);
// Whether [pointer, pointer + bytes) lies inside one device allocation.
bool is_device_memory(const void* pointer, size_t bytes);
// Counts an object of a library: 1 when it is made, -1 when it is destroyed.
void count_object(int change);
// What a library was asked to do, for tests to look at; taking the records clears them.
void record(std::string text);
std::vector<std::string> take_records();

}  // namespace cudasim
