#include "cpu/network.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/op_kind.h"
#include "core/philox.h"

namespace adn::cpu {
namespace {

// Elements of one task of an elementwise operation.
constexpr int64_t kChunk = 16 * 1024;

int64_t count_of(const uint64_t* shape) { return static_cast<int64_t>(shape[0] * shape[1] * shape[2]); }

// An image's byte as a network takes it: a quotient, since a product with a rounded 1/255 gives other bits.
void bytes_to_channels_last(float* out, const uint8_t* in, int64_t channels, int64_t pixels) {
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t p = 0; p < pixels; ++p) out[p * channels + c] = static_cast<float>(in[c * pixels + p]) / 255.0f;
  }
}

// Row-major [channels][pixels] to channels-last and back.
void to_channels_last(float* out, const float* in, int64_t channels, int64_t pixels) {
  if (channels == 1 || pixels == 1) {
    std::memcpy(out, in, static_cast<size_t>(channels * pixels) * sizeof(float));
    return;
  }
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t p = 0; p < pixels; ++p) out[p * channels + c] = in[c * pixels + p];
  }
}

// Transposing twice with the sides exchanged gives the original back.
void from_channels_last(float* out, const float* in, int64_t channels, int64_t pixels) {
  to_channels_last(out, in, pixels, channels);
}

// A pool that is not part of a convolution: its window over one image.
struct Window {
  explicit Window(const adn_op& op)
      : channels(static_cast<int64_t>(op.in_shape[0])),
        height(static_cast<int64_t>(op.in_shape[1])),
        width(static_cast<int64_t>(op.in_shape[2])),
        out_height(static_cast<int64_t>(op.out_shape[1])),
        out_width(static_cast<int64_t>(op.out_shape[2])),
        kernel_y(static_cast<int64_t>(op.kernel[0])),
        kernel_x(static_cast<int64_t>(op.kernel[1])),
        stride_y(static_cast<int64_t>(op.stride[0])),
        stride_x(static_cast<int64_t>(op.stride[1])),
        pad_y(static_cast<int64_t>(op.padding[0])),
        pad_x(static_cast<int64_t>(op.padding[1])) {}

  // Calls body(output pixel, first row, end row, first column, end column) with the part of each window inside the image.
  template <class Body>
  void for_each(const Body& body) const {
    for (int64_t y = 0; y < out_height; ++y) {
      const int64_t top = y * stride_y - pad_y;
      for (int64_t x = 0; x < out_width; ++x) {
        const int64_t left = x * stride_x - pad_x;
        body(y * out_width + x, std::max<int64_t>(top, 0), std::min(top + kernel_y, height), std::max<int64_t>(left, 0),
             std::min(left + kernel_x, width));
      }
    }
  }

  // Place of the first maximum in row-major order; NaN beats everything, as in PyTorch.
  int64_t winner(const float* in, int64_t y0, int64_t y1, int64_t x0, int64_t x1, int64_t c) const {
    int64_t best = (y0 * width + x0) * channels + c;
    for (int64_t y = y0; y < y1; ++y) {
      for (int64_t x = x0; x < x1; ++x) {
        const int64_t place = (y * width + x) * channels + c;
        if (in[place] > in[best] || std::isnan(in[place])) best = place;
      }
    }
    return best;
  }

  int64_t channels, height, width, out_height, out_width, kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x;
};

void max_pool(const Window& w, float* out, const float* in) {
  w.for_each([&](int64_t pixel, int64_t y0, int64_t y1, int64_t x0, int64_t x1) {
    for (int64_t c = 0; c < w.channels; ++c) out[pixel * w.channels + c] = in[w.winner(in, y0, y1, x0, x1, c)];
  });
}

// The winners are looked up again: that is cheaper than keeping them for a pool that stands alone.
void max_pool_gradient(const Window& w, float* in_gradient, const float* in, const float* out_gradient) {
  w.for_each([&](int64_t pixel, int64_t y0, int64_t y1, int64_t x0, int64_t x1) {
    for (int64_t c = 0; c < w.channels; ++c) {
      in_gradient[w.winner(in, y0, y1, x0, x1, c)] += out_gradient[pixel * w.channels + c];
    }
  });
}

void average_pool(const Window& w, float* out, const float* in) {
  const float count = static_cast<float>(w.kernel_y * w.kernel_x);
  w.for_each([&](int64_t pixel, int64_t y0, int64_t y1, int64_t x0, int64_t x1) {
    float* to = out + pixel * w.channels;
    std::memset(to, 0, static_cast<size_t>(w.channels) * sizeof(float));
    for (int64_t y = y0; y < y1; ++y) {
      for (int64_t x = x0; x < x1; ++x) {
        for (int64_t c = 0; c < w.channels; ++c) to[c] += in[(y * w.width + x) * w.channels + c];
      }
    }
    for (int64_t c = 0; c < w.channels; ++c) to[c] /= count;
  });
}

void average_pool_gradient(const Window& w, float* in_gradient, const float* out_gradient) {
  const float count = static_cast<float>(w.kernel_y * w.kernel_x);
  w.for_each([&](int64_t pixel, int64_t y0, int64_t y1, int64_t x0, int64_t x1) {
    for (int64_t y = y0; y < y1; ++y) {
      for (int64_t x = x0; x < x1; ++x) {
        float* to = in_gradient + (y * w.width + x) * w.channels;
        for (int64_t c = 0; c < w.channels; ++c) to[c] += out_gradient[pixel * w.channels + c] / count;
      }
    }
  });
}

// Calls body(first, count) for runs of the elements.
template <class Body>
void for_chunks(ThreadPool& pool, int64_t count, const Body& body) {
  pool.run((count + kChunk - 1) / kChunk,
           [&](int64_t chunk, uint32_t) { body(chunk * kChunk, std::min(kChunk, count - chunk * kChunk)); });
}

}  // namespace

Network::Network(ThreadPool& pool, const Kernels& kernels, const adn_plan& plan)
    : pool_(pool),
      kernels_(kernels),
      value_offsets_(plan.value_offsets, plan.value_offsets + plan.op_count + 1),
      gradient_offsets_(plan.gradient_offsets, plan.gradient_offsets + plan.op_count + 1),
      parameter_offsets_(plan.parameter_offsets, plan.parameter_offsets + plan.parameter_count),
      seed_(plan.seed),
      mean_(plan.reduction == ADN_REDUCTION_MEAN),
      input_gradient_(plan.input_gradient != 0),
      losses_(plan.max_batch_size) {
  uint64_t shared = 0;
  const bool training = plan.inference == 0;
  ops_.reserve(plan.op_count);
  for (uint64_t i = 0; i < plan.op_count; ++i) {
    const adn_op& op = plan.ops[i];
    check_op_kind(op.kind);
    ops_.push_back({op, std::nullopt, count_of(op.in_shape), count_of(op.out_shape)});
    if (op.kind != ADN_OP_CONV) continue;
    const Conv& conv =
        ops_.back().conv.emplace(op, kernels, plan.max_batch_size, training, training && (i > 0 || input_gradient_));
    scratch_stride_ = std::max(scratch_stride_, conv.scratch_floats());
    shared = std::max(shared, conv.shared_floats());
  }
  scratch_stride_ = (scratch_stride_ + 15) / 16 * 16;
  thread_scratch_ = Floats(scratch_stride_ * pool.size());
  shared_scratch_ = Floats(shared);
}

uint64_t Network::bytes() const {
  uint64_t total = sizeof(float) * (thread_scratch_.count() + shared_scratch_.count() + losses_.count());
  for (const Op& op : ops_) total += op.conv ? op.conv->bytes() : 0;
  return total;
}

Conv::Scratch Network::scratch() const { return {thread_scratch_.data(), scratch_stride_, shared_scratch_.data()}; }

// Dropout, forward and backward: the numbers depend on seed, step, layer and index alone.
void Network::drop(const Op& op, float* to, const float* from, int64_t batch, uint64_t step) const {
  const float p = op.op.probability, scale = 1.0f / (1.0f - p);
  const uint64_t stream = dropout_stream(op.op.layer, step);
  for_chunks(pool_, batch * op.out_size, [&](int64_t first, int64_t count) {
    for (int64_t i = first; i < first + count; i += 4) {  // chunks are whole blocks of four words
      const PhiloxWords words = philox(seed_, stream, static_cast<uint64_t>(i) / 4);
      for (int64_t j = i; j < std::min(i + 4, first + count); ++j) {
        to[j] = uniform01(words.word[j - i]) >= p ? from[j] * scale : 0.0f;
      }
    }
  });
}

void Network::read_input(const adn_network_memory& memory, const adn_batch& batch) const {
  const uint64_t* shape = ops_[0].op.in_shape;
  const int64_t size = ops_[0].in_size;
  const auto channels = static_cast<int64_t>(shape[0]), pixels = static_cast<int64_t>(shape[1] * shape[2]);
  const auto* dataset = static_cast<const Dataset*>(batch.dataset);
  pool_.run(static_cast<int64_t>(batch.count), [&](int64_t image, uint32_t) {
    float* to = value(memory, 0) + image * size;
    if (dataset != nullptr) {
      bytes_to_channels_last(to, dataset->pixels + batch.indices[image] * size, channels, pixels);
    } else {
      to_channels_last(to, batch.input + image * size, channels, pixels);
    }
  });
}

void Network::forward(const adn_network_memory& memory, const adn_batch& images, bool training, uint64_t step) {
  const bool stale = packed_version_ != memory.parameter_version || (training && !packed_backward_);
  const auto batch = static_cast<int64_t>(images.count);
  read_input(memory, images);
  for (size_t i = 0; i < ops_.size(); ++i) {
    Op& op = ops_[i];
    const float* in = value(memory, i);
    float* out = value(memory, i + 1);
    const auto for_images = [&](const auto& body) {
      pool_.run(batch, [&](int64_t image, uint32_t) { body(out + image * op.out_size, in + image * op.in_size); });
    };
    switch (op.op.kind) {
      case ADN_OP_CONV: {
        const float* weight = memory.parameters + parameter_offsets_[static_cast<size_t>(op.op.weight)];
        const float* bias =
            op.op.bias >= 0 ? memory.parameters + parameter_offsets_[static_cast<size_t>(op.op.bias)] : nullptr;
        if (stale) op.conv->pack(pool_, weight, training);
        op.conv->forward(pool_, scratch(), {weight, bias}, in, out, batch, training);
        break;
      }
      case ADN_OP_MAXPOOL:
        for_images([window = Window(op.op)](float* to, const float* from) { max_pool(window, to, from); });
        break;
      case ADN_OP_AVGPOOL:
        for_images([window = Window(op.op)](float* to, const float* from) { average_pool(window, to, from); });
        break;
      case ADN_OP_RELU:
        for_chunks(pool_, batch * op.out_size,
                   [&](int64_t first, int64_t count) { kernels_.relu(out + first, in + first, count); });
        break;
      case ADN_OP_DROPOUT:
        if (training) {
          drop(op, out, in, batch, step);
        } else {
          std::memcpy(out, in, static_cast<size_t>(batch * op.out_size) * sizeof(float));
        }
        break;
    }
  }
  packed_backward_ = stale ? training : packed_backward_;
  packed_version_ = memory.parameter_version;
}

float Network::loss(const adn_network_memory& memory, const int32_t* labels, int64_t batch) {
  const size_t last = ops_.size();
  const uint64_t* shape = value_shape(last);
  const int64_t classes = ops_.back().out_size;
  const auto channels = static_cast<int64_t>(shape[0]), pixels = static_cast<int64_t>(shape[1] * shape[2]);
  const float* logits = value(memory, last);
  float* gradients = gradient(memory, last);
  const float scale = mean_ ? 1.0f / static_cast<float>(batch) : 1.0f;
  const int64_t rows_a_task = std::max<int64_t>(1, kChunk / 16 / classes);
  pool_.run((batch + rows_a_task - 1) / rows_a_task, [&](int64_t task, uint32_t) {
    for (int64_t row = task * rows_a_task; row < std::min(batch, (task + 1) * rows_a_task); ++row) {
      const float* x = logits + row * classes;
      float* g = gradients + row * classes;
      // Classes count in row-major order, values lie channels-last.
      const int64_t label = labels[row] % pixels * channels + labels[row] / pixels;
      float most = x[0];
      for (int64_t i = 1; i < classes; ++i) most = std::max(most, x[i]);
      // In double: of a million classes, a sum in float would lose five digits.
      double sum = 0;
      for (int64_t i = 0; i < classes; ++i) {
        g[i] = std::exp(x[i] - most);
        sum += static_cast<double>(g[i]);
      }
      losses_.data()[row] = static_cast<float>(std::log(sum) - static_cast<double>(x[label] - most));
      const float total = static_cast<float>(sum);
      for (int64_t i = 0; i < classes; ++i) g[i] = g[i] / total * scale;
      g[label] -= scale;
    }
  });
  double total = 0;
  for (int64_t row = 0; row < batch; ++row) total += static_cast<double>(losses_.data()[row]);
  return static_cast<float>(mean_ ? total / static_cast<double>(batch) : total);
}

void Network::backward(const adn_network_memory& memory, const float* output_gradient, int64_t batch, uint64_t step) {
  if (output_gradient != nullptr) {
    const uint64_t* shape = value_shape(ops_.size());
    const int64_t size = ops_.back().out_size;
    float* to = gradient(memory, ops_.size());
    for (int64_t image = 0; image < batch; ++image) {
      to_channels_last(to + image * size, output_gradient + image * size, static_cast<int64_t>(shape[0]),
                       static_cast<int64_t>(shape[1] * shape[2]));
    }
  }
  for (size_t i = ops_.size(); i-- > 0;) {
    Op& op = ops_[i];
    const float* in = value(memory, i);
    const float* out = value(memory, i + 1);
    const float* out_gradient = gradient(memory, i + 1);
    float* in_gradient = i > 0 || input_gradient_ ? gradient(memory, i) : nullptr;
    const auto for_images = [&](const auto& body) {
      pool_.run(batch, [&](int64_t image, uint32_t) {
        float* to = in_gradient + image * op.in_size;
        std::memset(to, 0, static_cast<size_t>(op.in_size) * sizeof(float));
        body(to, in + image * op.in_size, out_gradient + image * op.out_size);
      });
    };
    if (op.op.kind == ADN_OP_CONV) {
      float* weight = memory.gradients + parameter_offsets_[static_cast<size_t>(op.op.weight)];
      float* bias = op.op.bias >= 0 ? memory.gradients + parameter_offsets_[static_cast<size_t>(op.op.bias)] : nullptr;
      op.conv->backward(pool_, scratch(), {weight, bias}, in, out, out_gradient, in_gradient, batch);
      continue;
    }
    if (in_gradient == nullptr) continue;
    switch (op.op.kind) {
      case ADN_OP_MAXPOOL:
        for_images([window = Window(op.op)](float* to, const float* x, const float* g) {
          max_pool_gradient(window, to, x, g);
        });
        break;
      case ADN_OP_AVGPOOL:
        for_images([window = Window(op.op)](float* to, const float*, const float* g) {
          average_pool_gradient(window, to, g);
        });
        break;
      case ADN_OP_RELU:
        for_chunks(pool_, batch * op.out_size, [&](int64_t first, int64_t count) {
          kernels_.relu_gradient(in_gradient + first, out + first, out_gradient + first, count);
        });
        break;
      case ADN_OP_CONV:  // above
        break;
      case ADN_OP_DROPOUT:
        drop(op, in_gradient, out_gradient, batch, step);
        break;
    }
  }
}

void Network::read_value(float* host, const adn_network_memory& memory, uint64_t index, int64_t batch) const {
  const uint64_t* shape = value_shape(index);
  const int64_t size = count_of(shape);
  for (int64_t image = 0; image < batch; ++image) {
    from_channels_last(host + image * size, value(memory, index) + image * size, static_cast<int64_t>(shape[0]),
                       static_cast<int64_t>(shape[1] * shape[2]));
  }
}

void Network::read_gradient(float* host, const adn_network_memory& memory, uint64_t index, int64_t batch) const {
  const uint64_t* shape = value_shape(index);
  const int64_t size = count_of(shape);
  for (int64_t image = 0; image < batch; ++image) {
    from_channels_last(host + image * size, gradient(memory, index) + image * size, static_cast<int64_t>(shape[0]),
                       static_cast<int64_t>(shape[1] * shape[2]));
  }
}

}  // namespace adn::cpu
