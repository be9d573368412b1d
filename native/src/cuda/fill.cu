// Every element of 2, 4 or 8 bytes becomes a copy of one.
// Limit: memory, written once, in accesses of 16 bytes where the pointer allows.
#include "cuda/launch.h"

namespace adn::cuda {
namespace {

// whole: vectors of 16 bytes; the elements behind them follow one by one.
template <class E>
__global__ void __launch_bounds__(kThreads) fill_kernel(E* memory, E element, uint64_t whole, uint64_t count) {
  constexpr uint64_t kPack = 16 / sizeof(E);
  E pack[kPack];
  for (E& e : pack) e = element;
  uint4 bits;
  memcpy(&bits, pack, sizeof bits);
  for (uint64_t i = first_index(); i < whole; i += index_step()) reinterpret_cast<uint4*>(memory)[i] = bits;
  for (uint64_t i = whole * kPack + first_index(); i < count; i += index_step()) memory[i] = element;
}

template <class E>
Error fill_with(Stream stream, void* memory, uint64_t element, uint64_t count) {
  const uint64_t whole = aligned_to_16(memory) ? count / (16 / sizeof(E)) : 0;
  return launch(stream, grid_for(whole != 0 ? whole : count), &fill_kernel<E>, static_cast<E*>(memory),
                static_cast<E>(element), whole, count);
}

}  // namespace

Error fill(Stream stream, void* memory, uint64_t element, uint64_t element_bytes, uint64_t count) {
  if (count == 0) return cudaSuccess;
  switch (element_bytes) {
    case 2:
      return fill_with<uint16_t>(stream, memory, element, count);
    case 4:
      return fill_with<uint32_t>(stream, memory, element, count);
    case 8:
      return fill_with<uint64_t>(stream, memory, element, count);
    default:
      return cudaErrorInvalidValue;
  }
}

}  // namespace adn::cuda
