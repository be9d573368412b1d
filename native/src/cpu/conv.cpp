#include "cpu/conv.h"

#include <algorithm>

namespace adn::cpu {

Conv::Conv(const adn_op& op, const Kernels& kernels, uint64_t max_batch_size, bool training, bool input_gradient)
    : kernels_(&kernels) {
  const auto batch = static_cast<int64_t>(max_batch_size);
  relu_before_pool_ = op.relu_before_pool != 0;
  relu_ = op.relu != 0;
  pool_ = op.pool_kernel[0] != 0;
  pool_height_ = pool_ ? static_cast<int64_t>(op.pool_kernel[0]) : 1;
  pool_width_ = pool_ ? static_cast<int64_t>(op.pool_kernel[1]) : 1;
  pool_stride_y_ = pool_ ? static_cast<int64_t>(op.pool_stride[0]) : 1;
  pool_stride_x_ = pool_ ? static_cast<int64_t>(op.pool_stride[1]) : 1;
  channels_ = static_cast<int64_t>(op.in_shape[0]);
  height_ = static_cast<int64_t>(op.in_shape[1]);
  width_ = static_cast<int64_t>(op.in_shape[2]);
  pad_y_ = static_cast<int64_t>(op.padding[0]);
  pad_x_ = static_cast<int64_t>(op.padding[1]);
  out_channels_ = static_cast<int64_t>(op.conv_shape[0]);
  conv_height_ = static_cast<int64_t>(op.conv_shape[1]);
  conv_width_ = static_cast<int64_t>(op.conv_shape[2]);
  pooled_height_ = static_cast<int64_t>(op.out_shape[1]);
  pooled_width_ = static_cast<int64_t>(op.out_shape[2]);
  int64_t kernel_height = static_cast<int64_t>(op.kernel[0]), kernel_width = static_cast<int64_t>(op.kernel[1]);
  int64_t stride_y = static_cast<int64_t>(op.stride[0]), stride_x = static_cast<int64_t>(op.stride[1]);
  int64_t dilation_y = static_cast<int64_t>(op.dilation[0]), dilation_x = static_cast<int64_t>(op.dilation[1]);

  taps_ = kernel_height * kernel_width;
  depth_ = taps_ * channels_;
  same_order_ = taps_ == 1 || channels_ == 1;
  weight_order_.resize(static_cast<size_t>(depth_));
  for (int64_t k = 0; k < depth_; ++k) {
    weight_order_[static_cast<size_t>(k % channels_ * taps_ + k / channels_)] = k;
  }
  if (pad_y_ == 0 && pad_x_ == 0 && kernel_height == height_ && kernel_width == width_ && dilation_y == 1 &&
      dilation_x == 1) {
    // The kernel covers the image: to the passes this is a plain matrix product over one pixel of many channels.
    channels_ = depth_;
    height_ = width_ = kernel_height = kernel_width = stride_y = stride_x = taps_ = 1;
  }
  stride_y_ = stride_y;
  reach_y_ = (kernel_height - 1) * dilation_y + 1;
  padded_height_ = height_ + 2 * pad_y_;
  padded_width_ = width_ + 2 * pad_x_;
  panel_ = kernels.panel;
  panels_ = divide_up(out_channels_, panel_);
  out_step_ = panels_ * panel_;
  in_panels_ = divide_up(channels_, panel_);
  image_size_ = height_ * width_ * channels_;
  padded_size_ = padded_height_ * padded_width_ * channels_;
  conv_pixels_ = conv_height_ * conv_width_;
  out_size_ = pooled_height_ * pooled_width_ * out_channels_;
  exact_cover_ = taps_ == 1 && stride_y == 1 && stride_x == 1 && pad_y_ == 0 && pad_x_ == 0;
  linear_ = exact_cover_ && conv_pixels_ == 1;
  for (int64_t o = 0; linear_ && training && o < std::min(out_channels_, kTableRows); ++o) dy_columns_.push_back(o);

  for (int64_t ky = 0; ky < kernel_height; ++ky) {
    for (int64_t kx = 0; kx < kernel_width; ++kx) {
      const int64_t place = (ky * dilation_y * padded_width_ + kx * dilation_x) * channels_;
      tap_places_.push_back(place);
      for (int64_t c = 0; c < channels_; ++c) depth_places_.push_back(place + c);
    }
  }
  // Taps of a kernel row lie side by side unless dilated.
  run_length_ = dilation_x == 1 || kernel_width == 1 ? kernel_width * channels_ : channels_;
  for (int64_t k = 0; k < depth_; k += run_length_) runs_.push_back(depth_places_[static_cast<size_t>(k)]);

  const int64_t band_floats_a_row = conv_width_ * out_step_;
  const int64_t least_rows = pool_ ? pool_stride_y_ : 1;
  band_images_ = 1;
  if (conv_height_ * band_floats_a_row <= kBandFloats) {
    band_rows_ = conv_height_;
    band_images_ = std::min(batch, divide_up(kEnoughRows, conv_pixels_));
  } else {
    band_rows_ =
        std::min(conv_height_, std::max<int64_t>(1, kBandFloats / band_floats_a_row / least_rows) * least_rows);
  }
  block_images_ = std::min(batch, divide_up(kEnoughSteps, conv_pixels_));
  const bool ever_by_matrix = by_matrix(1);
  const int64_t matrix_images = by_matrix(batch) ? batch : std::min(batch, kParts - 1);
  const int64_t sweep_images = std::max(block_images_, ever_by_matrix ? matrix_images : 1);

  table_rows_ = std::min(conv_height_, std::max({kTableRows / conv_width_, band_rows_, int64_t{1}}));
  for (int64_t image = 0; image < band_images_; ++image) {
    for (int64_t y = 0; y < table_rows_; ++y) {
      for (int64_t x = 0; x < conv_width_; ++x) {
        pixels_.push_back(image * padded_size_ + (y * stride_y * padded_width_ + x * stride_x) * channels_);
        dy_rows_.push_back(static_cast<int64_t>(dy_rows_.size()) * out_step_);
      }
    }
  }
  // Output pixels at equal steps: a row of them, or where rows are single pixels a column, or where images are, the images.
  if (conv_width_ > 1) {
    sweep_length_ = conv_width_;
    sweep_step_ = stride_x * channels_;
  } else {
    sweep_length_ = conv_height_;
    sweep_step_ = stride_y * padded_width_ * channels_;
  }
  sweeps_per_image_ = conv_pixels_ / sweep_length_;
  if (conv_pixels_ == 1) {
    sweep_step_ = padded_size_;  // one sweep over all images, as long as the batch
    sweeps_.push_back(0);
  } else {
    // A column of single pixels is one sweep.
    const int64_t sweep_rows = conv_width_ > 1 ? 1 : conv_height_;
    for (int64_t image = 0; training && image < sweep_images; ++image) {
      for (int64_t y = 0; y < conv_height_; y += sweep_rows) {
        sweeps_.push_back(image * padded_size_ + y * stride_y * padded_width_ * channels_);
      }
    }
  }

  forward_weights_ = Floats(static_cast<uint64_t>(panels_ * depth_ * panel_));
  const bool pads = padded_size_ != image_size_;
  const int64_t forward_images = pads ? band_images_ * padded_size_ : 0;
  const int64_t band = (band_rows_ < conv_height_ ? band_rows_ * conv_width_ : band_images_ * conv_pixels_) * out_step_;
  scratch_floats_ = static_cast<uint64_t>(forward_images + band + kSlack);
  if (!training) return;

  max_parts_ = std::min(batch, kParts);
  if (input_gradient) {
    backward_weights_ = Floats(static_cast<uint64_t>(taps_ * in_panels_ * out_channels_ * panel_));
  }
  if (!linear_) parts_ = Floats(static_cast<uint64_t>(max_parts_ * panels_ * depth_ * panel_));
  bias_parts_ = Floats(static_cast<uint64_t>(max_parts_ * out_step_));
  if (pool_) winners_.resize(static_cast<size_t>(batch * out_size_));
  const int64_t dy = block_images_ * conv_pixels_ * out_step_;
  const int64_t backward_images = (pads ? block_images_ + 1 : 0) * padded_size_;
  const int64_t linear = linear_ ? batch * panel_ : 0;
  scratch_floats_ = std::max(scratch_floats_, static_cast<uint64_t>(std::max(dy + backward_images, linear) + kSlack));
  if (ever_by_matrix) {
    shared_floats_ =
        static_cast<uint64_t>(matrix_images * (conv_pixels_ * out_step_ + (pads ? padded_size_ : 0)) + kSlack);
  }
}

uint64_t Conv::bytes() const {
  uint64_t tables = 0;
  for (const auto* table :
       {&pixels_, &dy_rows_, &tap_places_, &depth_places_, &weight_order_, &dy_columns_, &runs_, &sweeps_}) {
    tables += table->capacity();
  }
  return sizeof(float) * (forward_weights_.count() + backward_weights_.count() + parts_.count() + bias_parts_.count()) +
         sizeof(int64_t) * tables + winners_.size();
}

}  // namespace adn::cpu
