#include "cpu/conv.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "core/error.h"

namespace adn::cpu {
namespace {

// Jobs are cut into about this many tasks: enough to keep many cores busy, few enough to be worth their overhead. A fixed
// number, so that results do not depend on the threads.
constexpr int64_t kTasks = 16;
// Parts that a weight gradient is summed in: one for each run of images.
constexpr int64_t kParts = 8;
// What a forward task computes before its epilogue takes it on: half of a small second-level cache.
constexpr int64_t kBandFloats = 16 * 1024;
constexpr uintptr_t kCacheLine = 64;
// Rows that make a matrix product worth the reading of its weights.
constexpr int64_t kEnoughRows = 64;
// Steps of a weight gradient between two visits to its sums in memory.
constexpr int64_t kEnoughSteps = 256;
// Elements of a row of PyTorch's weight that are turned into a column at a time: a cache line of them.
constexpr int64_t kRun = 16;
// A vector load may reach this far beyond the last element.
constexpr int64_t kSlack = 64;

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

// calloc, since the system's fresh pages are zero already: clearing them here would touch all of them before the first step, and
// those that no batch comes to stay with the system. The block's own address stands before its first cache line.
Floats::Floats(uint64_t count) : count_(count) {
  if (count == 0) return;
  void* const block = std::calloc(count + 2 * kCacheLine / sizeof(float), sizeof(float));
  if (block == nullptr) {
    fail(ADN_STATUS_OUT_OF_MEMORY, "out of memory: %llu bytes", static_cast<unsigned long long>(count * sizeof(float)));
  }
  const uintptr_t first = reinterpret_cast<uintptr_t>(block) + sizeof(void*) + kCacheLine - 1;
  data_ = reinterpret_cast<float*>(first / kCacheLine * kCacheLine);
  reinterpret_cast<void**>(data_)[-1] = block;
}

Floats::~Floats() { free(data_); }

void Floats::free(float* data) {
  if (data != nullptr) std::free(reinterpret_cast<void**>(data)[-1]);
}

float* Floats::release() {
  count_ = 0;
  return std::exchange(data_, nullptr);
}

Floats::Floats(Floats&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), count_(std::exchange(other.count_, 0)) {}

Floats& Floats::operator=(Floats&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(count_, other.count_);
  return *this;
}

Conv::Conv(const adn_op& op, const Kernels& kernels, uint64_t max_batch_size, bool input_gradient)
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
  for (int64_t o = 0; linear_ && o < out_channels_; ++o) dy_columns_.push_back(o);

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
  const int64_t table_images = std::max({band_images_, block_images_, ever_by_matrix ? matrix_images : 1});

  for (int64_t image = 0; image < table_images; ++image) {
    for (int64_t y = 0; y < conv_height_; ++y) {
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
    for (size_t i = 0; i < pixels_.size(); i += static_cast<size_t>(sweep_length_)) sweeps_.push_back(pixels_[i]);
  }

  max_parts_ = std::min(batch, kParts);
  forward_weights_ = Floats(static_cast<uint64_t>(panels_ * depth_ * panel_));
  if (input_gradient) {
    backward_weights_ = Floats(static_cast<uint64_t>(taps_ * in_panels_ * out_channels_ * panel_));
  }
  if (!linear_) parts_ = Floats(static_cast<uint64_t>(max_parts_ * panels_ * depth_ * panel_));
  bias_parts_ = Floats(static_cast<uint64_t>(max_parts_ * out_step_));
  if (pool_) winners_.resize(static_cast<size_t>(batch * out_size_));

  const bool pads = padded_size_ != image_size_;
  const int64_t forward_images = pads ? band_images_ * padded_size_ : 0;
  const int64_t band = std::max(band_images_ * conv_pixels_, band_rows_ * conv_width_) * out_step_;
  const int64_t dy = block_images_ * conv_pixels_ * out_step_;
  const int64_t backward_images = (pads ? block_images_ + 1 : 0) * padded_size_;
  const int64_t linear = linear_ ? batch * panel_ : 0;
  scratch_floats_ = static_cast<uint64_t>(std::max({forward_images + band, dy + backward_images, linear}) + kSlack);
  if (ever_by_matrix) {
    shared_floats_ =
        static_cast<uint64_t>(matrix_images * (conv_pixels_ * out_step_ + (pads ? padded_size_ : 0)) + kSlack);
  }
}

uint64_t Conv::bytes() const {
  return sizeof(float) * (forward_weights_.count() + backward_weights_.count() + parts_.count() + bias_parts_.count()) +
         winners_.size();
}

// Both ways of packing turn rows into columns. Places in the packed weights are often some power of two apart and would push
// each other out of the cache, so each is written once and whole.
void Conv::pack(ThreadPool& pool, const float* weight, bool backward) {
  const int64_t blocks = divide_up(depth_, kRun), tasks = std::min(kTasks, panels_ * blocks);
  pool.run(tasks, [&](int64_t task, uint32_t) {
    for (int64_t block = task * panels_ * blocks / tasks; block < (task + 1) * panels_ * blocks / tasks; ++block) {
      const int64_t panel = block / blocks, first = panel * panel_, columns = std::min(panel_, out_channels_ - first);
      const int64_t place = block % blocks * kRun, count = std::min(kRun, depth_ - place);
      float* to = forward_weights_.data() + panel * depth_ * panel_;
      const float* from = weight + first * depth_ + place;
      const int64_t* order = weight_order_.data() + place;
      alignas(64) float turned[kRun * kMaxPanel];
      if (columns < panel_) std::memset(turned, 0, sizeof turned);
      kernels_->transpose(turned, kMaxPanel, from, depth_, columns, count);
      for (int64_t i = 0; i < count; ++i) {
        std::memcpy(to + order[i] * panel_, turned + i * kMaxPanel, static_cast<size_t>(panel_) * sizeof(float));
      }
    }
  });
  if (!backward || backward_weights_.count() == 0) return;
  const int64_t row_tasks = std::min(kTasks, out_channels_);
  pool.run(row_tasks, [&](int64_t task, uint32_t) {
    for (int64_t o = task * out_channels_ / row_tasks; o < (task + 1) * out_channels_ / row_tasks; ++o) {
      const float* from = weight + o * depth_;
      if (taps_ == 1) {
        put_row(from, 0, 0, channels_, o);
        continue;
      }
      // A row of PyTorch's weight is [channel][tap].
      for (int64_t tap = 0; tap < taps_; tap += kRun) {
        const int64_t taps = std::min(kRun, taps_ - tap);
        for (int64_t channel = 0; channel < channels_; channel += kMaxPanel) {
          const int64_t count = std::min(kMaxPanel, channels_ - channel);
          alignas(64) float turned[kRun * kMaxPanel];
          kernels_->transpose(turned, kMaxPanel, from + channel * taps_ + tap, taps_, count, taps);
          for (int64_t t = 0; t < taps; ++t) put_row(turned + t * kMaxPanel, tap + t, channel, count, o);
        }
      }
    }
  });
}

// Channels first … first + count - 1 of one tap and out channel, into the panels that hold them.
void Conv::put_row(const float* from, int64_t tap, int64_t first, int64_t count, int64_t out_channel) {
  while (count > 0) {
    const int64_t panel = first / panel_, column = first % panel_, part = std::min(count, panel_ - column);
    float* to = backward_weights_.data() + ((tap * in_panels_ + panel) * out_channels_ + out_channel) * panel_;
    std::memcpy(to + column, from, static_cast<size_t>(part) * sizeof(float));
    from += part;
    first += part;
    count -= part;
  }
}

// The images with their border of zeros, in scratch unless there is none: the given rows of the bordered image, at their places.
const float* Conv::padded(const float* x, int64_t images, int64_t first_row, int64_t last_row, float* scratch) const {
  if (padded_size_ == image_size_) return x;
  const auto clear = [](float* to, int64_t count) { std::memset(to, 0, static_cast<size_t>(count) * sizeof(float)); };
  const int64_t row = padded_width_ * channels_, side = pad_x_ * channels_, inner = width_ * channels_;
  for (int64_t image = 0; image < images; ++image) {
    for (int64_t y = first_row; y < last_row; ++y) {
      float* to = scratch + image * padded_size_ + y * row;
      if (y < pad_y_ || y >= pad_y_ + height_) {
        clear(to, row);
        continue;
      }
      clear(to, side);
      std::memcpy(to + side, x + image * image_size_ + (y - pad_y_) * inner,
                  static_cast<size_t>(inner) * sizeof(float));
      clear(to + side + inner, side);
    }
  }
  return scratch;
}

void Conv::forward(ThreadPool& pool, const Scratch& scratch, const Parameters& parameters, const float* x, float* out,
                   int64_t batch, bool training) {
  const int64_t bands = divide_up(conv_height_, band_rows_);
  const int64_t units = bands * divide_up(batch, band_images_);
  const int64_t groups = std::min(panels_, divide_up(kTasks, units));
  const int64_t group_panels = divide_up(panels_, groups);
  pool.run(units * divide_up(panels_, group_panels), [&](int64_t task, uint32_t thread) {
    const int64_t unit = task % units;
    const int64_t first_panel = task / units * group_panels, last_panel = std::min(panels_, first_panel + group_panels);
    const int64_t image = unit / bands * band_images_, images = std::min(band_images_, batch - image);
    const int64_t y = unit % bands * band_rows_;
    const int64_t rows = bands == 1 ? conv_height_ * images : std::min(band_rows_, conv_height_ - y);
    float* result = scratch.threads + thread * scratch.stride;
    const int64_t step = (last_panel - first_panel) * panel_;
    const bool whole = bands == 1;
    const float* source =
        padded(x + image * image_size_, images, whole ? 0 : y * stride_y_,
               whole ? padded_height_ : (y + rows - 1) * stride_y_ + reach_y_, result + rows * conv_width_ * step);

    Gemm g = {};
    g.a = source;
    g.rows = pixels_.data() + y * conv_width_;
    g.row_count = rows * conv_width_;
    g.segments = runs_.data();
    g.segment_count = static_cast<int64_t>(runs_.size());
    g.segment_length = run_length_;
    g.a_step = 1;
    g.b_step = panel_;
    g.c_step = step;
    for (int64_t panel = first_panel; panel < last_panel; ++panel) {
      g.b = forward_weights_.data() + panel * depth_ * panel_;
      g.c = result + (panel - first_panel) * panel_;
      g.columns = std::min(panel_, out_channels_ - panel * panel_);
      kernels_->gemm(g);
    }

    Epilogue e = {};
    e.x_step = step;
    e.width = conv_width_;
    e.bias = parameters.bias != nullptr ? parameters.bias + first_panel * panel_ : nullptr;
    e.channels = std::min(out_channels_, last_panel * panel_) - first_panel * panel_;
    e.out_step = out_channels_;
    e.pool_height = pool_height_;
    e.pool_width = pool_width_;
    e.pool_stride_y = pool_stride_y_;
    e.pool_stride_x = pool_stride_x_;
    e.pool = pool_;
    e.relu_before_pool = relu_before_pool_;
    e.relu = relu_;
    e.height = bands == 1 ? conv_height_ : rows;
    for (int64_t i = 0; i < images; ++i) {
      const int64_t place =
          (image + i) * out_size_ + y / pool_stride_y_ * pooled_width_ * out_channels_ + first_panel * panel_;
      e.x = result + i * conv_pixels_ * step;
      e.out = out + place;
      e.winner = pool_ && training ? winners_.data() + place : nullptr;
      kernels_->epilogue(e);
    }
  });
}

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

// One panel of columns of a linear layer's gradient by the weights, straight into its place. The panel's columns of x are brought
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
  g.a = dy;
  g.rows = dy_columns_.data();
  g.row_count = out_channels_;
  g.segments = sweeps_.data();
  g.segment_count = 1;
  g.segment_length = images;
  g.a_step = out_step_;
  g.b = scratch;
  g.b_step = panel_;
  g.c = weight_gradient + first;
  g.c_step = depth_;
  g.columns = columns;
  kernels_->gemm(g);
}

// Some channels (panels of them) of the gradient by the input.
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
    const bool direct = !linear_ || same_order_;
    g.a = dy;
    g.rows = dy_rows_.data();
    g.row_count = images * conv_pixels_;
    g.c_rows = direct ? pixels_.data() : nullptr;
    g.c_step = panel_;
    for (int64_t panel = first_panel; panel < last_panel; ++panel) {
      g.b = backward_weights_.data() + panel * out_channels_ * panel_;
      g.c = direct ? x_gradient + panel * panel_ : scratch;
      g.columns = std::min(panel_, channels_ - panel * panel_);
      kernels_->gemm(g);
      if (direct) continue;
      const int64_t* order = weight_order_.data() + panel * panel_;
      for (int64_t image = 0; image < images; ++image) {
        for (int64_t i = 0; i < g.columns; ++i) x_gradient[image * depth_ + order[i]] = scratch[image * panel_ + i];
      }
    }
    return;
  }
  g.rows = dy_rows_.data();
  g.row_count = conv_pixels_;
  g.c_rows = pixels_.data();
  for (int64_t image = 0; image < images; ++image) {
    float* to = pads ? scratch : x_gradient + image * image_size_;
    // All channels lie in one piece; those of some panels only are a piece in each pixel.
    const int64_t pixels = padded_height_ * padded_width_, pieces = columns == channels_ ? 1 : pixels;
    for (int64_t piece = 0; piece < pieces; ++piece) {
      std::memset(to + piece * channels_ + first, 0, static_cast<size_t>(pixels / pieces * columns) * sizeof(float));
    }
    g.a = dy + image * conv_pixels_ * out_step_;
    for (int64_t tap = 0; tap < taps_; ++tap) {
      for (int64_t panel = first_panel; panel < last_panel; ++panel) {
        g.b = backward_weights_.data() + (tap * in_panels_ + panel) * out_channels_ * panel_;
        g.c = to + tap_places_[static_cast<size_t>(tap)] + panel * panel_;
        g.columns = std::min(panel_, channels_ - panel * panel_);
        kernels_->gemm(g);
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

// Sums the parts in order and puts them into PyTorch's places, where a linear layer's gradient by the weights is already.
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
