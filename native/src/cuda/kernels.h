// The CUDA kernels as the host sees them: plain C++17 that needs no CUDA header. Every function puts its work on a stream
// and returns at once with the runtime's error code, 0 (cudaSuccess) when all is well; it allocates nothing and never waits,
// so any of them can be captured into a graph. Pointers are device pointers unless a name says host. What changes between
// two replays of a graph (learning rates, the step's number, the batch's place) is therefore read from device memory.
//
// Images lie N x C x H x W, weights as in PyTorch: [out][in][height][width]. float32 unless said otherwise.
// Sums are cut by shape alone, never by the device, and added in a fixed order, so that a step gives the same bits each
// time. Where the parts need a workspace, a function of the same name tells its size in bytes; it need not be cleared.
// A shape beyond the stated limits is cudaErrorInvalidValue (1) before anything is launched.
#pragma once

#include <cstdint>

#include "adadelta/backend.h"
#include "core/adadelta_formula.h"

struct CUstream_st;  // cudaStream_t is a pointer to it

namespace adn::cuda {

using Stream = CUstream_st*;
using Error = int;  // cudaError_t

// ---- Convolution and linear layers: conv.cu -------------------------------------------------------------------------

// A linear layer is a convolution whose kernel is the whole image. Limits: below 2^31 are the elements of one image (before
// and after), channels * kernel and out_channels * kernel, and the pixels of the batch (before and after).
struct ConvShape {
  int32_t batch;
  int32_t channels, height, width;
  int32_t out_channels, out_height, out_width;
  int32_t kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x, dilation_y, dilation_x;
};

bool conv_supported(const ConvShape& shape);

// y = conv(x, weight) + bias, then ReLU. bias may be NULL.
uint64_t conv_forward_workspace(const ConvShape& shape);
Error conv_forward(Stream stream, float* y, const float* x, const float* weight, const float* bias, bool relu,
                   const ConvShape& shape, void* workspace);
// x_gradient is written whole.
uint64_t conv_backward_data_workspace(const ConvShape& shape);
Error conv_backward_data(Stream stream, float* x_gradient, const float* y_gradient, const float* weight,
                         const ConvShape& shape, void* workspace);
// weight_gradient is written whole.
uint64_t conv_backward_weights_workspace(const ConvShape& shape);
Error conv_backward_weights(Stream stream, float* weight_gradient, const float* x, const float* y_gradient,
                            const ConvShape& shape, void* workspace);

// ---- Bias and ReLU: bias_relu.cu, bias_gradient.cu ------------------------------------------------------------------

// y[image][channel][pixel] = relu(x + bias[channel]); bias may be NULL, y may be x. As everywhere, ReLU keeps NaN.
Error bias_relu(Stream stream, float* y, const float* x, const float* bias, bool relu, uint64_t batch,
                uint64_t channels, uint64_t pixels);
// x_gradient = y <= 0 ? 0 : y_gradient, where y is ReLU's result; x_gradient may be y_gradient.
Error relu_backward(Stream stream, float* x_gradient, const float* y, const float* y_gradient, uint64_t count);
// bias_gradient[channel] = sum of y_gradient[image][channel][pixel].
uint64_t bias_gradient_workspace(uint64_t batch, uint64_t channels, uint64_t pixels);
Error bias_gradient(Stream stream, float* bias_gradient, const float* y_gradient, uint64_t batch, uint64_t channels,
                    uint64_t pixels, void* workspace);

// ---- Pooling: max_pool.cu, avg_pool.cu ------------------------------------------------------------------------------

// planes: batch * channels. Limits: the extents of a plane and of the window, and their products, below 2^31.
struct PoolShape {
  int64_t planes;
  int32_t height, width, out_height, out_width;
  int32_t kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x;
};

// What surrounds a max-pool that follows a convolution: y = relu(max_pool(relu_before(x))).
struct PoolRelu {
  bool before, after;
};

bool pool_supported(const PoolShape& shape);

// winner: which element of each window won, for max_pool_backward; NULL when not wanted. The first maximum in row-major
// order wins and NaN beats everything, as in PyTorch.
uint64_t max_pool_winner_bytes(const PoolShape& shape);
Error max_pool_forward(Stream stream, float* y, void* winner, const float* x, PoolRelu relu, const PoolShape& shape);
// x_gradient is written whole. y is max_pool_forward's result, which is read only where there was a ReLU.
Error max_pool_backward(Stream stream, float* x_gradient, const float* y, const float* y_gradient, const void* winner,
                        PoolRelu relu, const PoolShape& shape);
// The mean over the whole window, its part in the padding counted as zeros.
Error avg_pool_forward(Stream stream, float* y, const float* x, const PoolShape& shape);
Error avg_pool_backward(Stream stream, float* x_gradient, const float* y_gradient, const PoolShape& shape);

// ---- Dropout: dropout.cu --------------------------------------------------------------------------------------------

// to = keep ? from / (1 - probability) : 0, and its way back alike: the same Philox numbers as on the CPU, from seed,
// layer, *step and place. to may be from.
Error dropout(Stream stream, float* to, const float* from, uint64_t count, float probability, uint64_t seed,
              uint64_t layer, const uint64_t* step);

// ---- Loss: softmax_cross_entropy.cu ---------------------------------------------------------------------------------

// losses[row] = -log softmax(logits[row])[labels[row]] and gradient = scale * (softmax - one-hot), in one pass.
// *loss = the sum over losses, added in double, times scale: scale is 1 / batch for the mean. classes < 2^31.
Error softmax_cross_entropy(Stream stream, float* loss, float* losses, float* gradient, const float* logits,
                            const int32_t* labels, float scale, uint64_t batch, uint64_t classes);

// ---- Batches: gather.cu ---------------------------------------------------------------------------------------------

// A data set kept on the device: images as bytes, labels as bytes.
struct ByteImages {
  const uint8_t* images;
  const uint8_t* labels;  // may be NULL
  uint64_t image_size;    // bytes of an image
};

// Image i of the batch is image order[*first + i] of the set: x = byte / 255.0f, the same bits as Pixels.Scale and
// torchvision's ToTensor, and labels its label. first may be NULL for 0.
Error gather_batch(Stream stream, float* x, int32_t* labels, const ByteImages& set, const uint32_t* order,
                   const uint64_t* first, uint64_t batch);

// ---- Reductions and helpers: reduce.cu, fill.cu ---------------------------------------------------------------------

// The sum of all elements, of their squares, or whether any is infinite or NaN (0 or 1), in double and in a fixed order.
enum class Reduction : int32_t { kSum, kSumOfSquares, kNotFinite };
uint64_t reduce_workspace(uint64_t count);
Error reduce(Stream stream, double* result, const float* x, uint64_t count, Reduction reduction, void* workspace);

Error fill(Stream stream, float* x, float value, uint64_t count);
// x *= factor
Error scale(Stream stream, float* x, float factor, uint64_t count);
// *counter += by: the step's number and the batch's place move on inside a replayed graph.
Error advance(Stream stream, uint64_t* counter, uint64_t by);

// ---- Adadelta: adadelta.cu ------------------------------------------------------------------------------------------

// The pieces are cut into chunks, one for each block, so that one launch serves any number of tensors. Pieces and chunks are
// uploaded once; the groups' numbers are read from device memory at every step, so that a captured graph sees changes.
constexpr uint64_t kAdadeltaChunk = 4096;

struct AdadeltaChunk {
  uint32_t piece;
  uint32_t index;  // elements [index * kAdadeltaChunk, …) of the piece
};

// Host side: how many chunks, and the table itself.
uint64_t adadelta_chunk_count(const adn_adadelta_piece* host_pieces, uint64_t piece_count);
void adadelta_chunks(AdadeltaChunk* host_chunks, const adn_adadelta_piece* host_pieces, uint64_t piece_count);

Error adadelta(Stream stream, const adn_adadelta_piece* pieces, const AdadeltaChunk* chunks, uint64_t chunk_count,
               const AdadeltaNumbers* groups);

}  // namespace adn::cuda
