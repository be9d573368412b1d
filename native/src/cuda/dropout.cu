// to = uniform(seed, layer, step, place) >= probability ? from / (1 - probability) : 0. One Philox block gives the
// numbers of four elements; they are the CPU's, so the same seed drops the same elements on every device. Limit:
// memory, 8 bytes an element, with 20 multiplications of 32 bits for each 32 bytes.
#include "core/philox.h"
#include "cuda/launch.h"

namespace adn::cuda {
namespace {

__device__ __forceinline__ float drop(uint32_t word, float x, float probability, float scale) {
  return uniform01(word) >= probability ? x * scale : 0.0f;
}

template <bool kWide>
__global__ void __launch_bounds__(kThreads)
    dropout_kernel(float* to, const float* from, uint64_t count, float probability, float scale, uint64_t seed,
                   uint64_t layer, const uint64_t* step) {
  const uint64_t stream = dropout_stream(layer, *step);
  for (uint64_t block = first_index(); block * 4 < count; block += index_step()) {
    const PhiloxWords words = philox(seed, stream, block);
    const uint64_t i = block * 4;
    if (kWide && count - i >= 4) {
      const float4 x = *reinterpret_cast<const float4*>(from + i);
      *reinterpret_cast<float4*>(to + i) =
          make_float4(drop(words.word[0], x.x, probability, scale), drop(words.word[1], x.y, probability, scale),
                      drop(words.word[2], x.z, probability, scale), drop(words.word[3], x.w, probability, scale));
    } else {
      for (int j = 0; j < 4; ++j) {
        if (i + j < count) to[i + j] = drop(words.word[j], from[i + j], probability, scale);
      }
    }
  }
}

// A thread for each element in the order of memory, which is not the order of the numbers: each works its block out.
__global__ void __launch_bounds__(kThreads)
    image_dropout_kernel(float* to, const float* from, uint64_t count, uint64_t channels, uint64_t pixels,
                         float probability, float scale, uint64_t seed, uint64_t layer, const uint64_t* step) {
  const uint64_t stream = dropout_stream(layer, *step);
  for (uint64_t i = first_index(); i < count; i += index_step()) {
    const uint64_t plane = i / pixels, pixel = i % pixels;
    const uint64_t place = (plane / channels * pixels + pixel) * channels + plane % channels;
    to[i] = drop(philox(seed, stream, place / 4).word[place % 4], from[i], probability, scale);
  }
}

}  // namespace

Error dropout_images(Stream stream, float* to, const float* from, uint64_t batch, uint64_t channels, uint64_t pixels,
                     float probability, uint64_t seed, uint64_t layer, const uint64_t* step) {
  const uint64_t count = batch * channels * pixels;
  if (count == 0 || channels == 1 || pixels == 1) {
    return dropout(stream, to, from, count, probability, seed, layer, step);
  }
  return launch(stream, grid_for(count), &image_dropout_kernel, to, from, count, channels, pixels, probability,
                1.0f / (1.0f - probability), seed, layer, step);
}

Error dropout(Stream stream, float* to, const float* from, uint64_t count, float probability, uint64_t seed,
              uint64_t layer, const uint64_t* step) {
  if (count == 0) return cudaSuccess;
  const float scale = 1.0f / (1.0f - probability);
  const Grid grid = grid_for(ceil_div(count, 4));
  return aligned_to_16(to) && aligned_to_16(from)
             ? launch(stream, grid, &dropout_kernel<true>, to, from, count, probability, scale, seed, layer, step)
             : launch(stream, grid, &dropout_kernel<false>, to, from, count, probability, scale, seed, layer, step);
}

}  // namespace adn::cuda
