// x[i] = images[order[i]] / 255.0f: a batch from a data set of bytes kept on the device, so that a step moves four
// bytes an image to it. A quotient, as Pixels.Scale and torchvision's ToTensor have it; a product with 1/255 would give
// other bits. Limit: memory, 1 byte read and 4 written for each pixel.
#include "cuda/launch.h"

namespace adn::cuda {
namespace {

// One image for each blockIdx.x, its pixels shared by the blocks of blockIdx.y.
template <bool kWide>
__global__ void __launch_bounds__(kThreads)
    gather_kernel(float* x, const uint8_t* images, uint64_t image_size, const uint32_t* order) {
  const uint8_t* from = images + order[blockIdx.x] * image_size;
  float* to = x + blockIdx.x * image_size;
  const uint64_t begin = uint64_t{blockIdx.y} * kThreads + threadIdx.x, step = uint64_t{gridDim.y} * kThreads;
  if (kWide) {
    for (uint64_t i = begin; i < image_size / 4; i += step) {
      const uchar4 v = reinterpret_cast<const uchar4*>(from)[i];
      reinterpret_cast<float4*>(to)[i] = make_float4(v.x / 255.0f, v.y / 255.0f, v.z / 255.0f, v.w / 255.0f);
    }
  } else {
    for (uint64_t i = begin; i < image_size; i += step) to[i] = from[i] / 255.0f;
  }
}

}  // namespace

Error gather_images(Stream stream, float* x, const uint8_t* images, uint64_t image_size, const uint32_t* order,
                    uint64_t batch) {
  if (batch == 0 || image_size == 0) return cudaSuccess;
  const bool wide = image_size % 4 == 0 && aligned_to_16(x) && reinterpret_cast<uintptr_t>(images) % 4 == 0;
  const uint64_t blocks = ceil_div(image_size, 16 * kThreads);
  const Grid grid(batch, blocks < 64 ? blocks : 64);
  return wide ? launch(stream, grid, &gather_kernel<true>, x, images, image_size, order)
              : launch(stream, grid, &gather_kernel<false>, x, images, image_size, order);
}

}  // namespace adn::cuda
