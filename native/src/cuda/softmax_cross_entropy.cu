// losses[row] = log(sum exp(x - max)) - (x[label] - max); gradient = scale * (exp(x - max) / sum - [class is label]);
// loss = scale * the sum of losses. A warp for each row: its lanes go over the classes 32 apart, and their maxima and
// sums meet in shuffles. The rows' losses are added in double by one block, in an order that depends on the batch
// alone. Limit: memory, 4 bytes read and 4 written for each logit, which stay in cache between the three passes over a
// row.
#include "cuda/block_sum.h"

namespace adn::cuda {
namespace {

constexpr unsigned kRowsPerBlock = kThreads / 32;

__global__ void __launch_bounds__(kThreads)
    softmax_rows(float* losses, float* gradient, const float* logits, const int32_t* labels, float scale,
                 uint64_t batch, uint32_t classes) {
  const unsigned lane = threadIdx.x % 32;
  // A whole warp leaves or stays, so the shuffles below have all their lanes.
  const uint64_t row = uint64_t{blockIdx.x} * kRowsPerBlock + threadIdx.x / 32;
  if (row >= batch) return;
  const float* x = logits + row * classes;
  float* g = gradient + row * classes;
  float most = -INFINITY;
  for (uint32_t i = lane; i < classes; i += 32) most = x[i] > most ? x[i] : most;
  for (int step = 16; step > 0; step /= 2) {
    const float other = __shfl_xor_sync(kAllLanes, most, step);
    most = other > most ? other : most;
  }
  // In double: of a million classes, a sum in float would lose digits.
  double wide_sum = 0;
  for (uint32_t i = lane; i < classes; i += 32) wide_sum += static_cast<double>(expf(x[i] - most));
  const auto sum = static_cast<float>(warp_sum(wide_sum));
  // A label out of range, which the host should have refused, gives NaN and touches nothing else.
  const auto label = static_cast<uint32_t>(labels[row]);
  if (lane == 0) losses[row] = label < classes ? logf(sum) - (x[label] - most) : NAN;
  for (uint32_t i = lane; i < classes; i += 32) {
    g[i] = expf(x[i] - most) / sum * scale - (i == label ? scale : 0.0f);
  }
}

__global__ void __launch_bounds__(kThreads) add_losses(float* loss, const float* losses, float scale, uint64_t batch) {
  double sum = 0;
  for (uint64_t row = threadIdx.x; row < batch; row += kThreads) sum += static_cast<double>(losses[row]);
  sum = block_sum(sum);
  if (threadIdx.x == 0) *loss = static_cast<float>(sum * static_cast<double>(scale));
}

}  // namespace

Error softmax_cross_entropy(Stream stream, float* loss, float* losses, float* gradient, const float* logits,
                            const int32_t* labels, float scale, uint64_t batch, uint64_t classes) {
  if (batch == 0 || classes == 0 || classes > 0x7FFFFFFF) return cudaErrorInvalidValue;
  const Error error = launch(stream, Grid(ceil_div(batch, kRowsPerBlock)), &softmax_rows, losses, gradient, logits,
                             labels, scale, batch, static_cast<uint32_t>(classes));
  return error != cudaSuccess ? error : launch(stream, Grid(1), &add_losses, loss, losses, scale, batch);
}

}  // namespace adn::cuda
