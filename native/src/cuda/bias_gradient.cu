// bias_gradient[channel] = the sum of y_gradient[image][channel][pixel] over images and pixels. The images are cut into
// parts, by shape alone; the parts' sums are added in order by a second kernel where there are several. Limit: memory,
// 4 bytes an element.
#include "cuda/block_sum.h"

namespace adn::cuda {
namespace {

constexpr uint64_t kPartElements = 16 * 1024;  // of one channel, that a block adds up

struct Cut {
  uint64_t images, parts;  // images of a part, and parts
};

Cut cut_of(uint64_t batch, uint64_t pixels) {
  const uint64_t images = pixels >= kPartElements ? 1 : kPartElements / pixels;
  return {images, ceil_div(batch, images)};
}

// One block for a channel (x) and a part of the images (y), its threads side by side on the pixels.
__global__ void __launch_bounds__(kThreads) add_planes(float* sums, const float* gradient, uint64_t batch,
                                                       uint64_t channels, uint64_t pixels, uint64_t images) {
  const uint64_t channel = blockIdx.x, first = blockIdx.y * images;
  const uint64_t last = first + images < batch ? first + images : batch;
  float sum = 0;
  for (uint64_t image = first; image < last; ++image) {
    const float* plane = gradient + (image * channels + channel) * pixels;
    for (uint64_t i = threadIdx.x; i < pixels; i += kThreads) sum += plane[i];
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) sums[blockIdx.y * channels + channel] = sum;
}

// Where planes are small, as after a linear layer: a thread for each of 32 channels (x) side by side, and 8 rows of
// images.
__global__ void __launch_bounds__(kThreads) add_columns(float* sums, const float* gradient, uint64_t batch,
                                                        uint64_t channels, uint64_t pixels, uint64_t images) {
  constexpr unsigned kRows = kThreads / 32;
  struct Sums {
    float rows[kRows][32];
  };
  Sums& s = shared<Sums>();
  const unsigned column = threadIdx.x % 32, row = threadIdx.x / 32;
  const uint64_t channel = uint64_t{blockIdx.x} * 32 + column, first = blockIdx.y * images;
  const uint64_t last = first + images < batch ? first + images : batch;
  float sum = 0;
  if (channel < channels) {
    for (uint64_t image = first + row; image < last; image += kRows) {
      const float* plane = gradient + (image * channels + channel) * pixels;
      for (uint64_t i = 0; i < pixels; ++i) sum += plane[i];
    }
  }
  s.rows[row][column] = sum;
  __syncthreads();
  if (row == 0 && channel < channels) {
    for (unsigned i = 1; i < kRows; ++i) sum += s.rows[i][column];
    sums[blockIdx.y * channels + channel] = sum;
  }
}

__global__ void __launch_bounds__(kThreads)
    add_parts(float* total, const float* sums, uint64_t channels, uint64_t parts) {
  for (uint64_t channel = first_index(); channel < channels; channel += index_step()) {
    float sum = sums[channel];
    for (uint64_t part = 1; part < parts; ++part) sum += sums[part * channels + channel];
    total[channel] = sum;
  }
}

}  // namespace

uint64_t bias_gradient_workspace(uint64_t batch, uint64_t channels, uint64_t pixels) {
  const Cut cut = cut_of(batch, pixels);
  return cut.parts > 1 ? cut.parts * channels * sizeof(float) : 0;
}

Error bias_gradient(Stream stream, float* bias_gradient, const float* y_gradient, uint64_t batch, uint64_t channels,
                    uint64_t pixels, void* workspace) {
  if (batch == 0 || channels == 0 || pixels == 0) return cudaErrorInvalidValue;
  const Cut cut = cut_of(batch, pixels);
  float* sums = cut.parts > 1 ? static_cast<float*>(workspace) : bias_gradient;
  if (sums == nullptr) return cudaErrorInvalidValue;
  const Error error = pixels >= 32 ? launch(stream, Grid(channels, cut.parts), &add_planes, sums, y_gradient, batch,
                                            channels, pixels, cut.images)
                                   : launch(stream, Grid(ceil_div(channels, 32), cut.parts), &add_columns, sums,
                                            y_gradient, batch, channels, pixels, cut.images);
  if (error != cudaSuccess || cut.parts == 1) return error;
  return launch(stream, grid_for(channels), &add_parts, bias_gradient, sums, channels, cut.parts);
}

}  // namespace adn::cuda
