// A convolution (or linear layer) on the CPU: its geometry, its packed weights and its three passes, all of them the one
// matrix product of kernels.h. Images lie channels-last, [height][width][channels].
//
//   forward          out[pixel][oc]    = sum over k of x[pixel + k][...] * W[k][oc]      rows = pixels, steps = k
//   backward data    dx[pixel + tap]  += sum over oc of dy[pixel][oc] * W[tap][oc][ic]   rows = pixels, steps = oc
//   backward weights dW[k][oc]        += sum over pixels of x[pixel + k] * dy[pixel][oc] rows = k, steps = pixels
//
// where k runs over the kernel's taps and, within each, the input channels. Of a linear layer PyTorch's weight and its gradient are
// such matrices as they lie, so its backward passes work in PyTorch's order of k and turn nothing:
//
//   backward data    dx[image][k]      = sum over oc of dy[image][oc] * W[oc][k]         rows = images, steps = oc
//   backward weights dW[oc][k]         = sum over images of dy[image][oc] * x[image][k]  rows = oc, steps = images
#pragma once

#include <vector>

#include "adadelta/backend.h"
#include "cpu/floats.h"
#include "cpu/kernels.h"
#include "cpu/thread_pool.h"

namespace adn::cpu {

// Jobs are cut into about this many tasks: enough to keep many cores busy, few enough to be worth their overhead. A fixed
// number, so that results do not depend on the threads.
constexpr int64_t kTasks = 16;
// Parts that a weight gradient is summed in: one for each run of images.
constexpr int64_t kParts = 8;
// What a forward task computes before its epilogue takes it on: half of a small second-level cache.
constexpr int64_t kBandFloats = 16 * 1024;
// Rows that make a matrix product worth the reading of its weights.
constexpr int64_t kEnoughRows = 64;
// Steps of a weight gradient between two visits to its sums in memory.
constexpr int64_t kEnoughSteps = 256;
// Elements of a row of PyTorch's weight that are turned into a column at a time: a cache line of them.
constexpr int64_t kRun = 16;
// Entries of a table of output pixels or out channels, where a whole image or layer has more: passes take so many at a time.
constexpr int64_t kTableRows = 8 * 1024;
// A vector load may reach this far beyond the last element.
constexpr int64_t kSlack = 64;

inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

class Conv {
 public:
  // training: backward passes follow; input_gradient: they also give the gradient with respect to the input.
  Conv(const adn_op& op, const Kernels& kernels, uint64_t max_batch_size, bool training, bool input_gradient);

  // Floats each thread needs at hand, and floats that all share during a backward pass.
  uint64_t scratch_floats() const { return scratch_floats_; }
  uint64_t shared_floats() const { return shared_floats_; }
  // Held by the object itself.
  uint64_t bytes() const;

  struct Parameters {
    const float* weight;  // [out][in][height][width]
    const float* bias;    // or NULL
  };
  struct Gradients {
    float* weight;
    float* bias;  // or NULL
  };
  struct Scratch {
    float* threads;  // scratch of thread t begins at t * stride
    uint64_t stride;
    float* shared;
  };

  // Copies the weights into the order the passes read them in.
  void pack(ThreadPool& pool, const float* weight, bool backward);
  void forward(ThreadPool& pool, const Scratch& scratch, const Parameters& parameters, const float* x, float* out,
               int64_t batch, bool training);
  // x_gradient NULL: not wanted.
  void backward(ThreadPool& pool, const Scratch& scratch, const Gradients& gradients, const float* x, const float* out,
                const float* out_gradient, float* x_gradient, int64_t batch);

 private:
  const float* padded(const float* x, int64_t images, int64_t first_row, int64_t last_row, float* scratch) const;
  void make_dy(const float* out, const float* out_gradient, int64_t image, int64_t images, float* dy) const;
  void weight_gradient(const float* x, const float* dy, int64_t images, int64_t panel, int64_t first_k, int64_t last_k,
                       float* part, bool accumulate) const;
  void linear_weight_gradient(const float* x, const float* dy, int64_t images, int64_t in_panel, float* weight_gradient,
                              float* scratch) const;
  void data_gradient(const float* dy, int64_t images, int64_t first_panel, int64_t last_panel, float* x_gradient,
                     float* scratch) const;
  void put_row(const float* from, int64_t tap, int64_t first, int64_t count, int64_t out_channel);
  void reduce(ThreadPool& pool, const Gradients& gradients, int64_t parts);
  void backward_by_image(ThreadPool& pool, const Scratch& scratch, const Gradients& gradients, const float* x,
                         const float* out, const float* out_gradient, float* x_gradient, int64_t batch);
  void backward_by_matrix(ThreadPool& pool, const Scratch& scratch, const Gradients& gradients, const float* x,
                          const float* out, const float* out_gradient, float* x_gradient, int64_t batch);
  bool by_matrix(int64_t batch) const;

  const Kernels* kernels_;
  bool relu_before_pool_, relu_, pool_;
  int64_t pool_height_, pool_width_, pool_stride_y_, pool_stride_x_;

  int64_t channels_, height_, width_;  // of the input
  int64_t pad_y_, pad_x_, padded_height_, padded_width_;
  int64_t stride_y_, reach_y_;                       // reach: rows of the image under a kernel
  int64_t out_channels_, conv_height_, conv_width_;  // before the pool
  int64_t pooled_height_, pooled_width_;             // after it
  int64_t taps_, depth_;                             // depth: taps * channels, the length of a forward sum
  int64_t panels_, panel_, out_step_;                // out_step: out channels, rounded up to whole panels
  int64_t in_panels_;
  int64_t image_size_, padded_size_, conv_pixels_, out_size_;
  bool exact_cover_;  // every input pixel meets exactly one tap of one output pixel
  bool linear_;       // a linear layer: one output pixel, and a kernel that covers the image

  // Tables of as many output pixels as a pass takes at a time: those of some whole images, or of some rows of one.
  std::vector<int64_t> pixels_;        // of each output pixel's window in the padded image
  std::vector<int64_t> dy_rows_;       // of each output pixel in dy
  int64_t table_rows_;                 // rows of output pixels of one image that they hold at least
  std::vector<int64_t> tap_places_;    // of each tap relative to the window
  std::vector<int64_t> depth_places_;  // of each k relative to the window
  std::vector<int64_t> weight_order_;  // the k of each element of a row of PyTorch's weight
  bool same_order_;                    // it is its place
  std::vector<int64_t> dy_columns_;    // linear: 0, 1, …: of some out channels in a row of dy
  std::vector<int64_t> runs_;          // forward: starts of the runs of k that lie side by side in the image
  int64_t run_length_;
  std::vector<int64_t> sweeps_;  // backward weights: starts of the runs of output pixels at equal steps; several images
  int64_t sweep_length_, sweep_step_, sweeps_per_image_;

  int64_t band_rows_, band_images_;  // forward works on some rows of one image, or on some whole images
  int64_t block_images_;             // images whose dy a backward task makes at a time
  int64_t max_parts_;
  uint64_t scratch_floats_ = 0, shared_floats_ = 0;

  Floats forward_weights_;   // [panel][k][column]
  Floats backward_weights_;  // [tap][input panel][out channel][column]
  Floats parts_;             // [part][panel][k][column]: partial sums of the weight's gradient
  Floats bias_parts_;        // [part][out_step]
  std::vector<uint8_t> winners_;
};

}  // namespace adn::cpu
