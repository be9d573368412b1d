// The CUDA kernels as the host sees them: plain C++17 that needs no CUDA header. Every function puts its work on a
// stream and returns at once with the runtime's error code, 0 (cudaSuccess) when all is well; it allocates nothing and
// never waits, so any of them can be captured into a graph. Pointers are device pointers unless a name says host. What
// changes between two replays of a graph (learning rates, the step's number, the batch's place) is therefore read from
// device memory.
//
// Images lie N x C x H x W, weights as in PyTorch: [out][in][height][width]. float32 unless said otherwise. Sums are
// cut by shape alone, never by the device, and added in a fixed order, so that a step gives the same bits each time.
// Where the parts need a workspace, a function of the same name tells its size in bytes for a supported shape and any
// smaller batch; it need not be cleared. A shape beyond the stated limits is cudaErrorInvalidValue (1) before anything is launched.
#pragma once

#include <cstdint>

#include "adadelta/backend.h"
#include "core/adadelta_formula.h"

struct CUstream_st;  // cudaStream_t is a pointer to it

namespace adn::cuda {

using Stream = CUstream_st*;
using Error = int;  // cudaError_t

// ---- Convolution and linear layers: conv.cu -------------------------------------------------------------------------

// A linear layer is a convolution whose kernel is the whole image. Limits: below 2^31 are the elements of one image
// (before and after), channels * kernel and out_channels * kernel, and the pixels of the batch (before and after).
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

// to = keep ? from / (1 - probability) : 0, and its backward pass alike: the same Philox numbers as on the CPU, from seed,
// layer, *step and place. to may be from.
Error dropout(Stream stream, float* to, const float* from, uint64_t count, float probability, uint64_t seed,
              uint64_t layer, const uint64_t* step);
// The same for images. A place counts channels-last, [image][pixel][channel], as the CPU's memory lies.
Error dropout_images(Stream stream, float* to, const float* from, uint64_t batch, uint64_t channels, uint64_t pixels,
                     float probability, uint64_t seed, uint64_t layer, const uint64_t* step);

// ---- Loss: softmax_cross_entropy.cu ---------------------------------------------------------------------------------

// losses[row] = -log softmax(logits[row])[labels[row]] and gradient = scale * (softmax - one-hot), in one pass.
// *loss = the sum over losses, added in double, times scale: scale is 1 / batch for the mean. classes < 2^31.
Error softmax_cross_entropy(Stream stream, float* loss, float* losses, float* gradient, const float* logits,
                            const int32_t* labels, float scale, uint64_t batch, uint64_t classes);

// ---- Batches and helpers: gather.cu, fill.cu ------------------------------------------------------------------------

// x[i] = images[order[i]] / 255.0f, from a data set kept on the device as [image][image_size] bytes.
Error gather_images(Stream stream, float* x, const uint8_t* images, uint64_t image_size, const uint32_t* order,
                    uint64_t batch);

// Repeats an element of 2, 4 or 8 bytes, which is the low bytes of `element`; memory is aligned to it.
Error fill(Stream stream, void* memory, uint64_t element, uint64_t element_bytes, uint64_t count);

// ---- Adadelta: adadelta.cu, adadelta_vjp.cu -------------------------------------------------------------------------

// The pieces that have a gradient are cut into chunks, one for each block, so that one launch serves any number of
// tensors of any types. tensor_by_tensor asks for nothing more: a block sees one tensor in any case.
constexpr uint64_t kAdadeltaChunk = 4096;

struct AdadeltaChunk {
  uint32_t piece;
  uint32_t index;  // elements [index * kAdadeltaChunk, ...) of the piece
};

struct AdadeltaPart {
  double sum;
  double finite;  // 0 or 1
};

// Zeroed once, then the kernels' own. result is that of the last step.
struct AdadeltaState {
  adn_adadelta_result result;
  double clip_factor;
  uint32_t ticket;
  uint32_t reserved;
};

// Everything in device memory. Pieces and chunks are uploaded once; the pass and its groups (whose address in the pass
// is the device's) whenever they change, and lr_memory is read at each step, so that a captured graph sees changes.
struct AdadeltaTables {
  const adn_adadelta_piece* pieces;
  const AdadeltaChunk* chunks;
  uint64_t chunk_count;  // below 2^31
  const adn_adadelta_pass* pass;
  AdadeltaState* state;
  AdadeltaPart* parts;  // chunk_count of them; used where the pass measures
};

// Host side: how many chunks, the table itself, and whether a pass needs the launch that measures the gradients.
uint64_t adadelta_chunk_count(const adn_adadelta_piece* host_pieces, uint64_t piece_count);
void adadelta_chunks(AdadeltaChunk* host_chunks, const adn_adadelta_piece* host_pieces, uint64_t piece_count);
bool adadelta_measures(const adn_adadelta_pass& host_pass);

// measure: adadelta_measures of the pass in device memory. Everything the pass says is done, the pieces' step counts
// and state->result included.
Error adadelta(Stream stream, const AdadeltaTables& tables, bool measure);

// *lr_bar += the gradient with respect to lr; vjp's pointers are the device's, group is read now.
uint64_t adadelta_vjp_workspace(uint64_t count);
Error adadelta_vjp(Stream stream, double* lr_bar, const adn_adadelta_vjp& vjp, const adn_adadelta_group& group,
                   void* workspace);

}  // namespace adn::cuda
