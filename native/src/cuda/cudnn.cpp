#include "cuda/cudnn.h"

#include <algorithm>
#include <cstring>

namespace adn::cuda {
namespace {

constexpr uint64_t kDefaultLimit = uint64_t{64} << 20;
constexpr int kMostAlgorithms = 16;  // a pass has at most 8, each with or without tensor cores
constexpr ConvPass kPasses[] = {ConvPass::kForward, ConvPass::kBackwardData, ConvPass::kBackwardWeights};

struct Loaded {
  CudnnFunctions functions = {};
  std::string reason;
};

const Loaded& loaded() {
  static const Loaded once = [] {
    Loaded result;
    // The parts that convolutions use. What is only for recurrent networks and attention (adv) may be missing.
    VendorLibrary library("cudnn", {{9,
                                     {"cudnn_graph", "cudnn_ops", "cudnn_cnn", "cudnn_heuristic",
                                      "cudnn_engines_precompiled", "cudnn_engines_runtime_compiled"}},
                                    {8, {"cudnn_ops_infer", "cudnn_ops_train", "cudnn_cnn_infer", "cudnn_cnn_train"}}});
#define ADN_FIND(name) library.find(result.functions.name, #name)
    ADN_CUDNN_FUNCTIONS(ADN_FIND);
#undef ADN_FIND
    result.reason = library.reason();
    return result;
  }();
  return once;
}

template <class T>
using Descriptor = std::unique_ptr<T, int (*)(T*)>;

uint64_t floats(std::initializer_list<int32_t> extents) {
  uint64_t count = 1;
  for (int32_t extent : extents) count *= static_cast<uint64_t>(extent);
  return count;
}

}  // namespace

// What is known of a shape.
struct Cudnn::Convolution {
  struct Algorithm {
    int algo;
    size_t memory;
  };
  Descriptor<cudnnTensorStruct> x{nullptr, nullptr}, y{nullptr, nullptr};
  Descriptor<cudnnFilterStruct> weight{nullptr, nullptr};
  Descriptor<cudnnConvolutionStruct> convolution{nullptr, nullptr};
  std::vector<Algorithm> algorithms[3];  // by pass; those allowed, the best first
  bool measured = false;

  std::vector<Algorithm>& of(ConvPass pass) { return algorithms[static_cast<size_t>(pass)]; }
  const Algorithm* within(ConvPass pass, uint64_t bytes) {
    const auto fits = [&](const Algorithm& algorithm) { return algorithm.memory <= bytes; };
    const auto found = std::find_if(of(pass).begin(), of(pass).end(), fits);
    return found != of(pass).end() ? &*found : nullptr;
  }
};

bool Cudnn::Less::operator()(const ConvShape& a, const ConvShape& b) const { return std::memcmp(&a, &b, sizeof a) < 0; }

Cudnn::Cudnn(const CudnnFunctions& functions, const adn_context_options& options)
    : functions_(functions),
      tf32_(options.cuda_tf32 != 0),
      deterministic_(options.cuda_deterministic != 0),
      search_(options.cuda_search != 0),
      limit_(options.cuda_workspace_limit != 0 ? options.cuda_workspace_limit : kDefaultLimit) {}

std::unique_ptr<Cudnn> Cudnn::create(const adn_context_options& options, std::string& reason) {
  reason = loaded().reason;
  if (!reason.empty()) return nullptr;
  std::unique_ptr<Cudnn> cudnn(new Cudnn(loaded().functions, options));
  try {
    cudnn->check(cudnn->functions_.cudnnCreate(&cudnn->handle_), "cudnnCreate");
  } catch (const VendorError& error) {
    reason = error.text;
    return nullptr;
  }
  cudnn->version_ = static_cast<int>(cudnn->functions_.cudnnGetVersion());
  return cudnn;
}

Cudnn::~Cudnn() {
  convolutions_.clear();
  if (handle_ != nullptr) static_cast<void>(functions_.cudnnDestroy(handle_));
}

void Cudnn::check(int status, const char* call) const {
  if (status != kCudnnSuccess) {
    throw VendorError{std::string(call) + ": " + functions_.cudnnGetErrorString(status) + " (" +
                      std::to_string(status) + ")"};
  }
}

// ---- Shapes and their algorithms -------------------------------------------------------------------------------------

Cudnn::Convolution& Cudnn::find(const ConvShape& shape) {
  const auto known = convolutions_.find(shape);
  if (known != convolutions_.end()) return *known->second;
  auto made = std::make_unique<Convolution>();
  try {
    describe(*made, shape);
    for (ConvPass pass : kPasses) ask_heuristics(*made, pass);
  } catch (const VendorError& error) {
    refuse(error.text);
  }
  return *convolutions_.emplace(shape, std::move(made)).first->second;
}

void Cudnn::describe(Convolution& c, const ConvShape& s) const {
  const CudnnFunctions& f = functions_;
  const auto tensor = [&](Descriptor<cudnnTensorStruct>& to, int channels, int height, int width) {
    cudnnTensorStruct* made = nullptr;
    check(f.cudnnCreateTensorDescriptor(&made), "cudnnCreateTensorDescriptor");
    to = {made, f.cudnnDestroyTensorDescriptor};
    check(f.cudnnSetTensor4dDescriptor(made, kCudnnNchw, kCudnnFloat, s.batch, channels, height, width),
          "cudnnSetTensor4dDescriptor");
  };
  tensor(c.x, s.channels, s.height, s.width);
  tensor(c.y, s.out_channels, s.out_height, s.out_width);
  cudnnFilterStruct* weight = nullptr;
  check(f.cudnnCreateFilterDescriptor(&weight), "cudnnCreateFilterDescriptor");
  c.weight = {weight, f.cudnnDestroyFilterDescriptor};
  check(
      f.cudnnSetFilter4dDescriptor(weight, kCudnnFloat, kCudnnNchw, s.out_channels, s.channels, s.kernel_y, s.kernel_x),
      "cudnnSetFilter4dDescriptor");
  cudnnConvolutionStruct* convolution = nullptr;
  check(f.cudnnCreateConvolutionDescriptor(&convolution), "cudnnCreateConvolutionDescriptor");
  c.convolution = {convolution, f.cudnnDestroyConvolutionDescriptor};
  check(f.cudnnSetConvolution2dDescriptor(convolution, s.pad_y, s.pad_x, s.stride_y, s.stride_x, s.dilation_y,
                                          s.dilation_x, kCudnnCrossCorrelation, kCudnnFloat),
        "cudnnSetConvolution2dDescriptor");
  check(f.cudnnSetConvolutionMathType(convolution, tf32_ ? kCudnnTf32 : kCudnnFloat32), "cudnnSetConvolutionMathType");
}

void Cudnn::ask_heuristics(Convolution& c, ConvPass pass) const {
  const CudnnFunctions& f = functions_;
  CudnnAlgorithm found[kMostAlgorithms] = {};
  int count = 0;
  switch (pass) {
    case ConvPass::kForward:
      check(f.cudnnGetConvolutionForwardAlgorithm_v7(handle_, c.x.get(), c.weight.get(), c.convolution.get(), c.y.get(),
                                                     kMostAlgorithms, &count, found),
            "cudnnGetConvolutionForwardAlgorithm_v7");
      break;
    case ConvPass::kBackwardData:
      check(f.cudnnGetConvolutionBackwardDataAlgorithm_v7(handle_, c.weight.get(), c.y.get(), c.convolution.get(),
                                                          c.x.get(), kMostAlgorithms, &count, found),
            "cudnnGetConvolutionBackwardDataAlgorithm_v7");
      break;
    case ConvPass::kBackwardWeights:
      check(f.cudnnGetConvolutionBackwardFilterAlgorithm_v7(handle_, c.x.get(), c.y.get(), c.convolution.get(),
                                                            c.weight.get(), kMostAlgorithms, &count, found),
            "cudnnGetConvolutionBackwardFilterAlgorithm_v7");
      break;
  }
  take(c, pass, found, count);
}

// Of what was found, what the options allow. The workspace is asked for: the heuristics may have thought of another math type than
// that of the descriptor, which is the one that counts.
void Cudnn::take(Convolution& c, ConvPass pass, const CudnnAlgorithm* found, int count) const {
  const CudnnFunctions& f = functions_;
  std::vector<Convolution::Algorithm> taken;
  for (int i = 0; i < count; ++i) {
    const CudnnAlgorithm& a = found[i];
    if (a.status != kCudnnSuccess || (deterministic_ && a.determinism != kCudnnDeterministic)) continue;
    size_t memory = 0;
    const int status = pass == ConvPass::kForward
                           ? f.cudnnGetConvolutionForwardWorkspaceSize(handle_, c.x.get(), c.weight.get(),
                                                                       c.convolution.get(), c.y.get(), a.algo, &memory)
                       : pass == ConvPass::kBackwardData
                           ? f.cudnnGetConvolutionBackwardDataWorkspaceSize(
                                 handle_, c.weight.get(), c.y.get(), c.convolution.get(), c.x.get(), a.algo, &memory)
                           : f.cudnnGetConvolutionBackwardFilterWorkspaceSize(
                                 handle_, c.x.get(), c.y.get(), c.convolution.get(), c.weight.get(), a.algo, &memory);
    if (status == kCudnnSuccess && memory <= limit_) taken.push_back({a.algo, memory});
  }
  c.of(pass) = std::move(taken);
}

void Cudnn::measure(Device& device, Convolution& c, const ConvShape& s) {
  const CudnnFunctions& f = functions_;
  const auto make = [&](uint64_t count) {
    Memory memory(device, count * sizeof(float));
    device.clear(memory.as<void>(), memory.bytes());
    return memory;
  };
  const Memory x = make(floats({s.batch, s.channels, s.height, s.width}));
  const Memory y = make(floats({s.batch, s.out_channels, s.out_height, s.out_width}));
  const Memory weight = make(floats({s.out_channels, s.channels, s.kernel_y, s.kernel_x}));
  const Memory workspace(device, limit_);
  void *const to_x = x.as<void>(), *const to_y = y.as<void>(), *const to_weight = weight.as<void>();
  CudnnAlgorithm found[kMostAlgorithms] = {};
  int count = 0;
  check(f.cudnnSetStream(handle_, device.stream()), "cudnnSetStream");
  check(f.cudnnFindConvolutionForwardAlgorithmEx(handle_, c.x.get(), to_x, c.weight.get(), to_weight,
                                                 c.convolution.get(), c.y.get(), to_y, kMostAlgorithms, &count, found,
                                                 workspace.as<void>(), limit_),
        "cudnnFindConvolutionForwardAlgorithmEx");
  take(c, ConvPass::kForward, found, count);
  check(f.cudnnFindConvolutionBackwardDataAlgorithmEx(handle_, c.weight.get(), to_weight, c.y.get(), to_y,
                                                      c.convolution.get(), c.x.get(), to_x, kMostAlgorithms, &count,
                                                      found, workspace.as<void>(), limit_),
        "cudnnFindConvolutionBackwardDataAlgorithmEx");
  take(c, ConvPass::kBackwardData, found, count);
  check(f.cudnnFindConvolutionBackwardFilterAlgorithmEx(handle_, c.x.get(), to_x, c.y.get(), to_y, c.convolution.get(),
                                                        c.weight.get(), to_weight, kMostAlgorithms, &count, found,
                                                        workspace.as<void>(), limit_),
        "cudnnFindConvolutionBackwardFilterAlgorithmEx");
  take(c, ConvPass::kBackwardWeights, found, count);
  device.synchronize();
}

uint64_t Cudnn::prepare(Device& device, const ConvShape& shape) {
  Convolution& c = find(shape);
  if (search_ && !c.measured && c.convolution != nullptr) {
    try {
      measure(device, c, shape);
    } catch (const VendorError& error) {
      refuse(error.text);
    }
    c.measured = true;
  }
  uint64_t most = 0;
  for (ConvPass pass : kPasses) {
    if (!c.of(pass).empty()) {
      most = std::max<uint64_t>(most, c.of(pass).front().memory);
    } else {
      refuse("no algorithm for a pass of a layer");
    }
  }
  return most;
}

// ---- Passes ----------------------------------------------------------------------------------------------------------

bool Cudnn::run(ConvPass pass, CUstream_st* stream, float* to, const float* a, const float* b, const ConvShape& shape,
                void* workspace, uint64_t workspace_bytes) {
  Convolution& c = find(shape);
  const Convolution::Algorithm* chosen = c.within(pass, workspace_bytes);
  if (chosen == nullptr) return false;
  const CudnnFunctions& f = functions_;
  const float one = 1, zero = 0;
  check(f.cudnnSetStream(handle_, stream), "cudnnSetStream");
  switch (pass) {
    case ConvPass::kForward:
      check(f.cudnnConvolutionForward(handle_, &one, c.x.get(), a, c.weight.get(), b, c.convolution.get(), chosen->algo,
                                      workspace, chosen->memory, &zero, c.y.get(), to),
            "cudnnConvolutionForward");
      break;
    case ConvPass::kBackwardData:
      check(f.cudnnConvolutionBackwardData(handle_, &one, c.weight.get(), a, c.y.get(), b, c.convolution.get(),
                                           chosen->algo, workspace, chosen->memory, &zero, c.x.get(), to),
            "cudnnConvolutionBackwardData");
      break;
    case ConvPass::kBackwardWeights:
      check(f.cudnnConvolutionBackwardFilter(handle_, &one, c.x.get(), a, c.y.get(), b, c.convolution.get(),
                                             chosen->algo, workspace, chosen->memory, &zero, c.weight.get(), to),
            "cudnnConvolutionBackwardFilter");
      break;
  }
  return true;
}

}  // namespace adn::cuda
