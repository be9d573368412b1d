// What to compare on a GPU, through the CUDA backend's own kernels, as Markdown: the fused Adadelta step in bytes a
// parameter and GB/s beside the device's copy, and the reference network's training step, each launched anew and replayed
// as a graph.
//
//   bench_cuda [rounds = 50] [batch = 64] [parameters of the large set = 33554432]
//
// Times are medians of events around one round each. Without a device it says so and ends with 77.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <limits>
#include <vector>

#include "cuda/kernels.h"

using namespace adn::cuda;

namespace {

void check(int error) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s\n", cudaGetErrorString(static_cast<cudaError_t>(error)));
  std::exit(1);
}

// Device memory until the end of the program; 256 bytes at least, so that nothing is NULL.
template <class T>
T* allocate(uint64_t count) {
  void* memory = nullptr;
  check(cudaMalloc(&memory, std::max<uint64_t>(count * sizeof(T), 256)));
  return static_cast<T*>(memory);
}

template <class T>
T* upload(const std::vector<T>& data) {
  T* memory = allocate<T>(data.size());
  check(cudaMemcpy(memory, data.data(), data.size() * sizeof(T), cudaMemcpyHostToDevice));
  return memory;
}

// Numbers in [-size, size) that a generator of one line makes; quality is no matter here.
float* random_floats(uint64_t count, float size) {
  std::vector<float> data(count);
  uint32_t state = 12345;
  for (float& x : data) {
    state = state * 1664525u + 1013904223u;
    x = size * (static_cast<float>(state >> 8) * 0x1p-23f - 1.0f);
  }
  return upload(data);
}

// Median over the rounds in seconds, after one that does not count.
double median_time(cudaStream_t stream, int rounds, const std::function<void()>& body) {
  cudaEvent_t begin, end;
  check(cudaEventCreate(&begin));
  check(cudaEventCreate(&end));
  std::vector<float> times;
  for (int round = -1; round < rounds; ++round) {
    check(cudaEventRecord(begin, stream));
    body();
    check(cudaEventRecord(end, stream));
    check(cudaEventSynchronize(end));
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, begin, end));
    if (round >= 0) times.push_back(milliseconds);
  }
  check(cudaEventDestroy(begin));
  check(cudaEventDestroy(end));
  std::sort(times.begin(), times.end());
  return static_cast<double>(times[times.size() / 2]) * 1e-3;
}

// The same as one graph.
double median_graph_time(cudaStream_t stream, int rounds, const std::function<void()>& body) {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  body();
  check(cudaStreamEndCapture(stream, &graph));
  check(cudaGraphInstantiateWithFlags(&exec, graph, 0));
  check(cudaGraphDestroy(graph));
  const double time = median_time(stream, rounds, [&] { check(cudaGraphLaunch(exec, stream)); });
  check(cudaGraphExecDestroy(exec));
  return time;
}

struct Parameter {
  float *p, *g;
  uint64_t count;
};

// The optimizer over some parameters, with PyTorch's defaults.
class Adadelta {
 public:
  explicit Adadelta(const std::vector<Parameter>& parameters) {
    std::vector<adn_adadelta_piece> pieces;
    for (const Parameter& parameter : parameters) {
      adn_adadelta_piece piece = {};
      piece.p = parameter.p;
      piece.g = parameter.g;
      piece.v = zeros<float>(parameter.count);
      piece.u = zeros<float>(parameter.count);
      piece.step = zeros<uint64_t>(1);
      piece.count = parameter.count;
      piece.start = count;
      piece.dtype = ADN_DTYPE_FLOAT32;
      pieces.push_back(piece);
      count += parameter.count;
    }
    adn_adadelta_group group = {};
    group.lr = 1;
    group.rho = 0.9;
    group.eps = 1e-6;
    group.clip_value = std::numeric_limits<double>::infinity();
    adn_adadelta_pass pass = {};
    pass.groups = upload(std::vector<adn_adadelta_group>{group});
    pass.group_count = 1;
    pass.gradient_scale = 1;
    pass.clip_norm = std::numeric_limits<double>::infinity();
    std::vector<AdadeltaChunk> chunks(adadelta_chunk_count(pieces.data(), pieces.size()));
    adadelta_chunks(chunks.data(), pieces.data(), pieces.size());
    tables_ = {upload(pieces),          upload(chunks), chunks.size(), upload(std::vector<adn_adadelta_pass>{pass}),
               zeros<AdadeltaState>(1), nullptr};
  }

  void step(cudaStream_t stream) const { check(adadelta(stream, tables_, false)); }

  uint64_t count = 0;

 private:
  template <class T>
  static T* zeros(uint64_t count) {
    T* memory = allocate<T>(count);
    check(cudaMemset(memory, 0, count * sizeof(T)));
    return memory;
  }

  AdadeltaTables tables_;
};

// A convolution or linear layer with its pool and ReLU, and what a training pass needs of it.
struct Layer {
  Layer(const ConvShape& shape, bool pooled, bool relu) : shape(shape), pooled(pooled), relu(relu) {
    const auto batch = static_cast<uint64_t>(shape.batch), out = static_cast<uint64_t>(shape.out_channels);
    pixels = static_cast<uint64_t>(shape.out_height) * static_cast<uint64_t>(shape.out_width);
    const uint64_t fan_in = static_cast<uint64_t>(shape.channels) * static_cast<uint64_t>(shape.kernel_y) *
                            static_cast<uint64_t>(shape.kernel_x);
    weights = {random_floats(out * fan_in, 0.05f), allocate<float>(out * fan_in), out * fan_in};
    bias = {random_floats(out, 0.05f), allocate<float>(out), out};
    y = allocate<float>(batch * out * pixels);
    y_gradient = allocate<float>(batch * out * pixels);
    output = y;
    output_gradient = y_gradient;
    if (pooled) {
      pool = {int64_t{shape.batch} * shape.out_channels,
              shape.out_height,
              shape.out_width,
              shape.out_height / 2,
              shape.out_width / 2,
              2,
              2,
              2,
              2,
              0,
              0};
      output = allocate<float>(batch * out * pixels / 4);
      output_gradient = allocate<float>(batch * out * pixels / 4);
      winner = allocate<char>(max_pool_winner_bytes(pool));
    }
    workspace =
        allocate<char>(std::max({conv_forward_workspace(shape), conv_backward_data_workspace(shape),
                                 conv_backward_weights_workspace(shape), bias_gradient_workspace(batch, out, pixels)}));
  }

  void forward(cudaStream_t stream, const float* x) const {
    check(conv_forward(stream, y, x, weights.p, bias.p, relu && !pooled, shape, workspace));
    if (pooled) check(max_pool_forward(stream, output, winner, y, {false, relu}, pool));
  }

  // x_gradient NULL: nobody asks for it.
  void backward(cudaStream_t stream, const float* x, float* x_gradient) const {
    const auto batch = static_cast<uint64_t>(shape.batch), out = static_cast<uint64_t>(shape.out_channels);
    if (pooled) {
      check(max_pool_backward(stream, y_gradient, output, output_gradient, winner, {false, relu}, pool));
    } else if (relu) {
      check(relu_backward(stream, y_gradient, y, y_gradient, batch * out * pixels));
    }
    check(bias_gradient(stream, bias.g, y_gradient, batch, out, pixels, workspace));
    check(conv_backward_weights(stream, weights.g, x, y_gradient, shape, workspace));
    if (x_gradient != nullptr) check(conv_backward_data(stream, x_gradient, y_gradient, weights.p, shape, workspace));
  }

  ConvShape shape;
  bool pooled, relu;
  PoolShape pool = {};
  Parameter weights, bias;
  uint64_t pixels;
  float *y, *y_gradient, *output, *output_gradient;
  char *winner = nullptr, *workspace;
};

// Conv 5x5 to 32, pool, ReLU, conv 5x5 to 64, pool, ReLU, linear to 512, ReLU, linear to 10.
class ReferenceNetwork {
 public:
  explicit ReferenceNetwork(int32_t batch)
      : batch_(static_cast<uint64_t>(batch)),
        layers_{{{batch, 1, 28, 28, 32, 24, 24, 5, 5, 1, 1, 0, 0, 1, 1}, true, true},
                {{batch, 32, 12, 12, 64, 8, 8, 5, 5, 1, 1, 0, 0, 1, 1}, true, true},
                {{batch, 64, 4, 4, 512, 1, 1, 4, 4, 1, 1, 0, 0, 1, 1}, false, true},
                {{batch, 512, 1, 1, 10, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1}, false, false}},
        optimizer_(parameters()),
        x_(random_floats(batch_ * 784, 1)),
        loss_(allocate<float>(1)),
        losses_(allocate<float>(batch_)) {
    std::vector<int32_t> labels(batch_);
    for (uint64_t i = 0; i < batch_; ++i) labels[i] = static_cast<int32_t>(i * 7 % 10);
    labels_ = upload(labels);
  }

  void step(cudaStream_t stream) const {
    for (size_t i = 0; i < layers_.size(); ++i) layers_[i].forward(stream, i == 0 ? x_ : layers_[i - 1].output);
    check(softmax_cross_entropy(stream, loss_, losses_, layers_.back().output_gradient, layers_.back().output, labels_,
                                1.0f / static_cast<float>(batch_), batch_, 10));
    for (size_t i = layers_.size(); i-- > 0;) {
      layers_[i].backward(stream, i == 0 ? x_ : layers_[i - 1].output,
                          i == 0 ? nullptr : layers_[i - 1].output_gradient);
    }
    optimizer_.step(stream);
  }

  float loss() const {
    float value = 0;
    check(cudaMemcpy(&value, loss_, sizeof value, cudaMemcpyDeviceToHost));
    return value;
  }

  std::vector<Parameter> parameters() const {
    std::vector<Parameter> all;
    for (const Layer& layer : layers_) {
      all.push_back(layer.weights);
      all.push_back(layer.bias);
    }
    return all;
  }

 private:
  uint64_t batch_;
  std::vector<Layer> layers_;
  Adadelta optimizer_;
  float *x_, *loss_, *losses_;
  int32_t* labels_ = nullptr;
};

void print_adadelta(cudaStream_t stream, int rounds, const char* name, const std::vector<Parameter>& parameters) {
  // Read p, g, square_avg and acc_delta, write all but g.
  constexpr double kBytes = 7 * sizeof(float);
  const Adadelta optimizer(parameters);
  const auto step = [&] { optimizer.step(stream); };
  const double launched = median_time(stream, rounds, step), replayed = median_graph_time(stream, rounds, step);
  const auto count = static_cast<double>(optimizer.count);
  std::printf("| %s | %zu | %.0f | %.0f | %.4f | %.1f | %.4f | %.1f |\n", name, parameters.size(), count, kBytes,
              launched * 1e3, kBytes * count / launched * 1e-9, replayed * 1e3, kBytes * count / replayed * 1e-9);
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 50, batch = argc > 2 ? std::atoi(argv[2]) : 64;
  const int64_t large = argc > 3 ? std::atoll(argv[3]) : int64_t{1} << 25;
  if (rounds < 1 || batch < 1 || large < 16) {
    std::fprintf(stderr, "bench_cuda [rounds >= 1] [batch >= 1] [parameters of the large set >= 16]\n");
    return 2;
  }
  int devices = 0;
  if (const cudaError_t error = cudaGetDeviceCount(&devices); error != cudaSuccess) {
    std::printf("Skipped: no device: %s\n", cudaGetErrorString(error));
    return 77;
  }
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, 0));
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  std::printf("# %s\n\n", properties.name);

  const auto count = static_cast<uint64_t>(large);
  std::vector<Parameter> one = {{random_floats(count, 1), random_floats(count, 0.1f), count}};
  const double copy = median_time(stream, rounds, [&] {
    check(cudaMemcpyAsync(one[0].p, one[0].g, count * sizeof(float), cudaMemcpyDeviceToDevice, stream));
  });
  std::printf("Copy on the device: %.1f GB/s, read and written\n\n", 8e-9 * static_cast<double>(count) / copy);

  const ReferenceNetwork network(batch);
  std::vector<Parameter> many;
  for (uint64_t i = 0; i < 16; ++i)
    many.push_back({one[0].p + i * (count / 16), one[0].g + i * (count / 16), count / 16});
  std::printf("| Adadelta | tensors | parameters | bytes a parameter | ms | GB/s | ms as a graph | GB/s |\n");
  std::printf("| --- | --- | --- | --- | --- | --- | --- | --- |\n");
  print_adadelta(stream, rounds, "reference network", network.parameters());
  print_adadelta(stream, rounds, "one large tensor", one);
  print_adadelta(stream, rounds, "as much in 16", many);

  const auto step = [&] { network.step(stream); };
  const double launched = median_time(stream, rounds, step), replayed = median_graph_time(stream, rounds, step);
  std::printf("\n| reference network, batch %d | ms a step | samples/s |\n| --- | --- | --- |\n", batch);
  std::printf("| launched | %.4f | %.0f |\n", launched * 1e3, batch / launched);
  std::printf("| as a graph | %.4f | %.0f |\n", replayed * 1e3, batch / replayed);
  std::printf("\nLoss of the last step: %.6f\n", static_cast<double>(network.loss()));
  check(cudaStreamDestroy(stream));
}
