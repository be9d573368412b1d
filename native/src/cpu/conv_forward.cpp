// A convolution's packed weights and its forward pass.
#include <algorithm>
#include <cstring>

#include "cpu/conv.h"

namespace adn::cpu {

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
    g.a = source + y * stride_y_ * padded_width_ * channels_;
    g.rows = pixels_.data();
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

}  // namespace adn::cpu
