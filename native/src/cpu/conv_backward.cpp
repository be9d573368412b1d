// A convolution's backward passes.
#include <algorithm>
#include <cstring>

#include "cpu/conv.h"

namespace adn::cpu {

// Gradient of the convolution's result, [image][pixel][out_step], for images of the batch. Columns beyond the out channels
// stay as they are: what the passes make of them is never stored.
void Conv::make_dy(const float* out, const float* out_gradient, int64_t image, int64_t images, float* dy) const {
  EpilogueGradient e = {};
  e.x_step = out_step_;
  e.height = conv_height_;
  e.width = conv_width_;
  e.channels = out_channels_;
  e.pool_height = pool_height_;
  e.pool_width = pool_width_;
  e.pool_stride_y = pool_stride_y_;
  e.pool_stride_x = pool_stride_x_;
  e.pool = pool_;
  e.relu = relu_ || relu_before_pool_;
  for (int64_t i = 0; i < images; ++i) {
    const int64_t place = (image + i) * out_size_;
    e.gradient = out_gradient + place;
    e.out = out + place;
    e.winner = pool_ ? winners_.data() + place : nullptr;
    e.x = dy + i * conv_pixels_ * out_step_;
    kernels_->epilogue_gradient(e);
  }
}

// Adds to rows first_k … last_k-1 of one panel of a part.
void Conv::weight_gradient(const float* x, const float* dy, int64_t images, int64_t panel, int64_t first_k,
                           int64_t last_k, float* part, bool accumulate) const {
  Gemm g = {};
  g.a = x;
  g.rows = depth_places_.data() + first_k;
  g.row_count = last_k - first_k;
  g.segments = sweeps_.data();
  g.segment_count = conv_pixels_ == 1 ? 1 : images * sweeps_per_image_;
  g.segment_length = conv_pixels_ == 1 ? images : sweep_length_;
  g.a_step = sweep_step_;
  g.b = dy + panel * panel_;
  g.b_step = out_step_;
  g.c = part + (panel * depth_ + first_k) * panel_;
  g.c_step = panel_;
  g.columns = std::min(panel_, out_channels_ - panel * panel_);
  g.accumulate = accumulate;
  kernels_->gemm(g);
}

// One panel of columns of a linear layer's gradient with respect to the weights, where it belongs. The panel's columns of x are brought
// together first: the rows of x lie a page or some apart, and would push each other out of the cache.
void Conv::linear_weight_gradient(const float* x, const float* dy, int64_t images, int64_t in_panel,
                                  float* weight_gradient, float* scratch) const {
  const int64_t first = in_panel * panel_, columns = std::min(panel_, depth_ - first);
  const int64_t* order = weight_order_.data() + first;
  for (int64_t image = 0; image < images; ++image) {
    const float* from = x + image * depth_;
    float* to = scratch + image * panel_;
    if (same_order_) {
      std::memcpy(to, from + first, static_cast<size_t>(columns) * sizeof(float));
    } else {
      for (int64_t i = 0; i < columns; ++i) to[i] = from[order[i]];
    }
  }
  Gemm g = {};
  g.rows = dy_columns_.data();
  g.segments = sweeps_.data();
  g.segment_count = 1;
  g.segment_length = images;
  g.a_step = out_step_;
  g.b = scratch;
  g.b_step = panel_;
  g.c_step = depth_;
  g.columns = columns;
  for (int64_t row = 0; row < out_channels_; row += kTableRows) {
    g.row_count = std::min(kTableRows, out_channels_ - row);
    g.a = dy + row;
    g.c = weight_gradient + first + row * depth_;
    kernels_->gemm(g);
  }
}

// Some channels (panels of them) of the gradient with respect to the input.
void Conv::data_gradient(const float* dy, int64_t images, int64_t first_panel, int64_t last_panel, float* x_gradient,
                         float* scratch) const {
  const bool pads = padded_size_ != image_size_;
  const int64_t first = first_panel * panel_, columns = std::min(channels_, last_panel * panel_) - first;
  Gemm g = {};
  g.segments = tap_places_.data();  // begins with 0
  g.segment_count = 1;
  g.segment_length = out_channels_;
  g.a_step = 1;
  g.b_step = panel_;
  g.accumulate = !exact_cover_;
  if (exact_cover_) {
    // The pixels lie at equal steps on both sides.
    const bool direct = !linear_ || same_order_;
    const int64_t rows = images * conv_pixels_, most = static_cast<int64_t>(dy_rows_.size());
    g.rows = dy_rows_.data();
    g.c_step = direct ? channels_ : panel_;
    for (int64_t panel = first_panel; panel < last_panel; ++panel) {
      g.b = backward_weights_.data() + panel * out_channels_ * panel_;
      g.columns = std::min(panel_, channels_ - panel * panel_);
      for (int64_t row = 0; row < rows; row += most) {
        g.row_count = std::min(most, rows - row);
        g.a = dy + row * out_step_;
        g.c = (direct ? x_gradient + panel * panel_ : scratch) + row * g.c_step;
        kernels_->gemm(g);
      }
      if (direct) continue;
      const int64_t* order = weight_order_.data() + panel * panel_;
      for (int64_t image = 0; image < images; ++image) {
        for (int64_t i = 0; i < g.columns; ++i) x_gradient[image * depth_ + order[i]] = scratch[image * panel_ + i];
      }
    }
    return;
  }
  g.rows = dy_rows_.data();
  g.c_rows = pixels_.data();
  for (int64_t image = 0; image < images; ++image) {
    float* to = pads ? scratch : x_gradient + image * image_size_;
    // All channels lie in one piece; those of some panels only are a piece in each pixel.
    const int64_t pixels = padded_height_ * padded_width_, pieces = columns == channels_ ? 1 : pixels;
    for (int64_t piece = 0; piece < pieces; ++piece) {
      std::memset(to + piece * channels_ + first, 0, static_cast<size_t>(pixels / pieces * columns) * sizeof(float));
    }
    const float* from = dy + image * conv_pixels_ * out_step_;
    for (int64_t tap = 0; tap < taps_; ++tap) {
      for (int64_t panel = first_panel; panel < last_panel; ++panel) {
        g.b = backward_weights_.data() + (tap * in_panels_ + panel) * out_channels_ * panel_;
        g.columns = std::min(panel_, channels_ - panel * panel_);
        for (int64_t y = 0; y < conv_height_; y += table_rows_) {
          g.row_count = std::min(table_rows_, conv_height_ - y) * conv_width_;
          g.a = from + y * conv_width_ * out_step_;
          g.c = to + tap_places_[static_cast<size_t>(tap)] + y * stride_y_ * padded_width_ * channels_ + panel * panel_;
          kernels_->gemm(g);
        }
      }
    }
    if (!pads) continue;
    for (int64_t y = 0; y < height_; ++y) {
      for (int64_t x = 0; x < width_; ++x) {
        std::memcpy(x_gradient + image * image_size_ + (y * width_ + x) * channels_ + first,
                    scratch + ((y + pad_y_) * padded_width_ + x + pad_x_) * channels_ + first,
                    static_cast<size_t>(columns) * sizeof(float));
      }
    }
  }
}

// Sums the parts in order and puts them in PyTorch's order, where a linear layer's gradient is already.
void Conv::reduce(ThreadPool& pool, const Gradients& gradients, int64_t parts) {
  const int64_t part_step = panels_ * depth_ * panel_;
  const int64_t blocks = divide_up(depth_, kRun), tasks = linear_ ? 0 : std::min(kTasks, panels_ * blocks);
  pool.run(tasks, [&](int64_t task, uint32_t) {
    float sums[kRun * kMaxPanel];
    for (int64_t block = task * panels_ * blocks / tasks; block < (task + 1) * panels_ * blocks / tasks; ++block) {
      const int64_t panel = block / blocks, first = panel * panel_, columns = std::min(panel_, out_channels_ - first);
      const int64_t place = block % blocks * kRun, count = std::min(kRun, depth_ - place);
      kernels_->add_parts(sums, parts_.data() + panel * depth_ * panel_, weight_order_.data() + place, count, panel_,
                          parts, part_step);
      float* to = gradients.weight + first * depth_ + place;
      kernels_->transpose(to, depth_, sums, panel_, count, columns);
    }
  });
  if (gradients.bias != nullptr) {
    const int64_t row = 0;
    kernels_->add_parts(gradients.bias, bias_parts_.data(), &row, 1, out_channels_, parts, out_step_);
  }
}

// Few output pixels in all: the tasks share one dy and are cut by rows and panels of the result.
bool Conv::by_matrix(int64_t batch) const { return conv_pixels_ < 16 || batch < kParts; }

void Conv::backward(ThreadPool& pool, const Scratch& scratch, const Gradients& gradients, const float* x,
                    const float* out, const float* out_gradient, float* x_gradient, int64_t batch) {
  if (by_matrix(batch)) {
    backward_by_matrix(pool, scratch, gradients, x, out, out_gradient, x_gradient, batch);
  } else {
    backward_by_image(pool, scratch, gradients, x, out, out_gradient, x_gradient, batch);
  }
}

void Conv::backward_by_image(ThreadPool& pool, const Scratch& scratch, const Gradients& gradients, const float* x,
                             const float* out, const float* out_gradient, float* x_gradient, int64_t batch) {
  const int64_t part_images = divide_up(batch, kParts), parts = divide_up(batch, part_images);
  pool.run(parts, [&](int64_t part, uint32_t thread) {
    float* dy = scratch.threads + thread * scratch.stride;
    float* images_scratch = dy + block_images_ * conv_pixels_ * out_step_;
    float* sums = parts_.data() + part * panels_ * depth_ * panel_;
    float* bias_sums = bias_parts_.data() + part * out_step_;
    std::memset(bias_sums, 0, static_cast<size_t>(out_step_) * sizeof(float));
    const int64_t end = std::min(batch, (part + 1) * part_images);
    for (int64_t image = part * part_images; image < end; image += block_images_) {
      const int64_t images = std::min(block_images_, end - image);
      make_dy(out, out_gradient, image, images, dy);
      kernels_->add_columns(bias_sums, dy, images * conv_pixels_, out_channels_, out_step_);
      const float* source = padded(x + image * image_size_, images, 0, padded_height_, images_scratch);
      for (int64_t panel = 0; panel < panels_; ++panel) {
        weight_gradient(source, dy, images, panel, 0, depth_, sums, image != part * part_images);
      }
      if (x_gradient != nullptr) {
        data_gradient(dy, images, 0, in_panels_, x_gradient + image * image_size_,
                      images_scratch + block_images_ * padded_size_);
      }
    }
  });
  reduce(pool, gradients, parts);
}

void Conv::backward_by_matrix(ThreadPool& pool, const Scratch& scratch, const Gradients& gradients, const float* x,
                              const float* out, const float* out_gradient, float* x_gradient, int64_t batch) {
  float* dy = scratch.shared;
  float* images_shared = dy + batch * conv_pixels_ * out_step_;
  const bool pads = padded_size_ != image_size_;
  pool.run(batch, [&](int64_t image, uint32_t) {
    make_dy(out, out_gradient, image, 1, dy + image * conv_pixels_ * out_step_);
    if (pads) padded(x + image * image_size_, 1, 0, padded_height_, images_shared + image * padded_size_);
  });
  const float* source = pads ? images_shared : x;

  const int64_t k_groups = std::min(depth_, divide_up(kTasks, panels_)), k_step = divide_up(depth_, k_groups);
  const int64_t weight_tasks = linear_ ? in_panels_ : panels_ * divide_up(depth_, k_step);
  const int64_t blocks = exact_cover_ ? 1 : batch, block = exact_cover_ ? batch : 1;
  const int64_t groups = std::min(in_panels_, divide_up(kTasks, blocks)), group_panels = divide_up(in_panels_, groups);
  const int64_t data_tasks = x_gradient != nullptr ? blocks * divide_up(in_panels_, group_panels) : 0;
  pool.run(1 + weight_tasks + data_tasks, [&](int64_t task, uint32_t thread) {
    if (task < weight_tasks && linear_) {
      linear_weight_gradient(x, dy, batch, task, gradients.weight, scratch.threads + thread * scratch.stride);
    } else if (task < weight_tasks) {
      const int64_t panel = task % panels_, k = task / panels_ * k_step;
      weight_gradient(source, dy, batch, panel, k, std::min(depth_, k + k_step), parts_.data(), false);
    } else if (task < weight_tasks + data_tasks) {
      const int64_t image = (task - weight_tasks) % blocks * block,
                    panel = (task - weight_tasks) / blocks * group_panels;
      data_gradient(dy + image * conv_pixels_ * out_step_, block, panel, std::min(in_panels_, panel + group_panels),
                    x_gradient + image * image_size_, scratch.threads + thread * scratch.stride);
    } else {
      std::memset(bias_parts_.data(), 0, static_cast<size_t>(out_step_) * sizeof(float));
      kernels_->add_columns(bias_parts_.data(), dy, batch * conv_pixels_, out_channels_, out_step_);
    }
  });
  reduce(pool, gradients, 1);
}

}  // namespace adn::cpu
