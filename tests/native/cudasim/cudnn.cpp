// A stand-in for cuDNN 9: the functions that the backend uses, with real arithmetic on the CPU and the checks of its reference. It
// is strict where a mistake would show on a GPU alone: descriptors must be set and agree with each other, the workspace must be as
// large as the algorithm says and is overwritten, an algorithm that is not deterministic gives another last bit at every third
// call, TF32 rounds as tensor cores do, and a part of the library that was not opened aborts.
#include "cuda/cudnn.h"

#include <dlfcn.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <type_traits>
#include <vector>

#include "runtime.h"
#include "tf32.h"

using adn::cuda::CudnnAlgorithm;

struct cudnnContext {
  cudaStream_t stream = nullptr;
};
struct cudnnTensorStruct {
  int extents[4] = {};  // zeros until it is set, as below
};
struct cudnnFilterStruct {
  int extents[4] = {};
};
struct cudnnConvolutionStruct {
  int pad[2] = {}, stride[2] = {}, dilation[2] = {};
  int math = adn::cuda::kCudnnTf32;
};

namespace {

// Numbers of cuDNN 9.
enum Status : int {
  kSuccess = 0,
  kNotInitialized = 1001,
  kBadParam = 2000,
  kNotSupported = 3000,
  kInternalError = 4000,
  kAllocFailed = 4003,
  kExecutionFailed = 5000,
};

int status_of(cudaError_t error) {
  return error == cudaSuccess ? kSuccess : error == cudaErrorMemoryAllocation ? kAllocFailed : kExecutionFailed;
}

#define ADN_CUDNN_CALL() \
  if (const cudaError_t error = cudasim::begin_call(__func__); error != cudaSuccess) return status_of(error)

// What is alive of a kind; it lives as long as the program, since an object whose destruction was made to fail stays.
template <class T>
std::set<T*>& alive() {
  static auto* const objects = new std::set<T*>;
  return *objects;
}

template <class T>
bool lives(T* object) {
  return alive<T>().count(object) != 0;
}

template <class T>
int create(T** object) {
  *object = new T;
  alive<T>().insert(*object);
  cudasim::count_object(1);
  return kSuccess;
}

template <class T>
int destroy(T* object) {
  if (alive<T>().erase(object) == 0) return kBadParam;
  delete object;
  cudasim::count_object(-1);
  return kSuccess;
}

// ---- Algorithms --------------------------------------------------------------------------------------------------------

struct Shape {
  int n, c, h, w, k, oh, ow, kh, kw;
  cudnnConvolutionStruct convolution;
  size_t x_bytes() const { return bytes({n, c, h, w}); }
  size_t y_bytes() const { return bytes({n, k, oh, ow}); }
  size_t w_bytes() const { return bytes({k, c, kh, kw}); }
  static size_t bytes(std::initializer_list<int> extents) {
    size_t count = sizeof(float);
    for (int extent : extents) count *= static_cast<size_t>(extent);
    return count;
  }
};

bool shape_of(Shape* shape, cudnnTensorStruct* x, cudnnFilterStruct* w, cudnnConvolutionStruct* convolution,
              cudnnTensorStruct* y) {
  if (!lives(x) || !lives(w) || !lives(convolution) || !lives(y)) return false;
  if (x->extents[0] == 0 || w->extents[0] == 0 || y->extents[0] == 0 || convolution->stride[0] == 0) return false;
  *shape = {x->extents[0], x->extents[1], x->extents[2], x->extents[3], w->extents[0],
            y->extents[2], y->extents[3], w->extents[2], w->extents[3], *convolution};
  const auto out = [&](int i, int in, int kernel) {
    return (in + 2 * convolution->pad[i] - convolution->dilation[i] * (kernel - 1) - 1) / convolution->stride[i] + 1;
  };
  return w->extents[1] == shape->c && y->extents[0] == shape->n && y->extents[1] == shape->k &&
         shape->oh == out(0, shape->h, shape->kh) && shape->ow == out(1, shape->w, shape->kw);
}

struct Algorithm {
  int algo;
  bool deterministic;
  bool (*supports)(const Shape&);
  size_t (*memory)(const Shape&);
  float time;  // as measured; the heuristics' order is that of the list
};

bool always(const Shape&) { return true; }
bool never(const Shape&) { return false; }
size_t nothing(const Shape&) { return 0; }
size_t huge(const Shape&) { return (size_t{64} << 20) + 1; }  // beyond the backend's limit unless it is raised

enum Pass { kForward, kData, kFilter };

const std::vector<Algorithm>& algorithms(Pass pass) {
  static const std::vector<Algorithm> forward = {
      {6, true, never, nothing, 0},
      {4, true, always, huge, 4},
      {1, true, always, [](const Shape& s) { return s.x_bytes(); }, 3},
      {0, true, always, nothing, 2},
  };
  static const std::vector<Algorithm> data = {
      {0, false, always, nothing, 3},
      {4, true, never, nothing, 0},
      {1, true, always, [](const Shape& s) { return s.x_bytes(); }, 2},
  };
  static const std::vector<Algorithm> filter = {
      {3, false, always, [](const Shape& s) { return s.w_bytes() + 12; }, 4},
      {0, false, always, nothing, 3},
      {1, true, always, [](const Shape& s) { return 2 * s.w_bytes(); }, 2},
  };
  return pass == kForward ? forward : pass == kData ? data : filter;
}

const Algorithm* find(Pass pass, int algo) {
  for (const Algorithm& algorithm : algorithms(pass)) {
    if (algorithm.algo == algo) return &algorithm;
  }
  return nullptr;
}

// measured: what is possible within so much workspace, the fastest first.
int list(Pass pass, const Shape& shape, int requested, int* returned, CudnnAlgorithm* results,
         const size_t* measured = nullptr) {
  if (requested < 1 || returned == nullptr || results == nullptr) return kBadParam;
  std::vector<CudnnAlgorithm> found;
  for (const Algorithm& a : algorithms(pass)) {
    const size_t memory = a.memory(shape);
    const int status = !a.supports(shape)                          ? kNotSupported
                       : measured != nullptr && memory > *measured ? kAllocFailed
                                                                   : 0;
    found.push_back({a.algo,
                     status,
                     measured != nullptr && status == 0 ? a.time : -1.0f,
                     memory,
                     a.deterministic ? 1 : 0,
                     shape.convolution.math,
                     {}});
  }
  if (measured != nullptr) {
    std::stable_sort(found.begin(), found.end(), [](const CudnnAlgorithm& a, const CudnnAlgorithm& b) {
      return a.status != b.status ? a.status == 0 : a.time < b.time;
    });
  }
  *returned = std::min(requested, static_cast<int>(found.size()));
  std::copy_n(found.begin(), *returned, results);
  return kSuccess;
}

int workspace_size(Pass pass, const Shape& shape, int algo, size_t* bytes) {
  const Algorithm* algorithm = find(pass, algo);
  if (algorithm == nullptr || bytes == nullptr) return kBadParam;
  if (!algorithm->supports(shape)) return kNotSupported;
  *bytes = algorithm->memory(shape);
  return kSuccess;
}

// ---- Arithmetic --------------------------------------------------------------------------------------------------------

// Calls each(place in x, place in w, place in y) for every product of the convolution.
template <class Each>
void for_each_product(const Shape& s, const Each& each) {
  const cudnnConvolutionStruct& c = s.convolution;
  size_t y = 0;
  for (int n = 0; n < s.n; ++n) {
    for (int k = 0; k < s.k; ++k) {
      for (int oy = 0; oy < s.oh; ++oy) {
        for (int ox = 0; ox < s.ow; ++ox, ++y) {
          size_t w = static_cast<size_t>(k) * static_cast<size_t>(s.c * s.kh * s.kw);
          for (int channel = 0; channel < s.c; ++channel) {
            for (int ky = 0; ky < s.kh; ++ky) {
              const int iy = oy * c.stride[0] - c.pad[0] + ky * c.dilation[0];
              for (int kx = 0; kx < s.kw; ++kx, ++w) {
                const int ix = ox * c.stride[1] - c.pad[1] + kx * c.dilation[1];
                if (iy < 0 || iy >= s.h || ix < 0 || ix >= s.w) continue;
                each(((static_cast<size_t>(n) * static_cast<size_t>(s.c) + static_cast<size_t>(channel)) *
                          static_cast<size_t>(s.h) +
                      static_cast<size_t>(iy)) *
                             static_cast<size_t>(s.w) +
                         static_cast<size_t>(ix),
                     w, y);
              }
            }
          }
        }
      }
    }
  }
}

struct Call {
  Pass pass;
  const char* name;
  const float *x, *w, *y;
  float* to;  // one of them
  int algo;
  void* workspace;
  size_t workspace_bytes;
  float alpha, beta;
};

void compute(const Call& call, const Shape& s, bool tf32, bool other_bit) {
  const size_t bytes = call.pass == kForward ? s.y_bytes() : call.pass == kData ? s.x_bytes() : s.w_bytes();
  std::vector<double> sums(bytes / sizeof(float));
  const auto in = [tf32](float value) { return static_cast<double>(tf32 ? cudasim::to_tf32(value) : value); };
  for_each_product(s, [&](size_t x, size_t w, size_t y) {
    switch (call.pass) {
      case kForward:
        sums[y] += in(call.x[x]) * in(call.w[w]);
        break;
      case kData:
        sums[x] += in(call.y[y]) * in(call.w[w]);
        break;
      case kFilter:
        sums[w] += in(call.x[x]) * in(call.y[y]);
        break;
    }
  });
  for (size_t i = 0; i < sums.size(); ++i) {
    auto value = static_cast<float>(sums[i]);
    if (other_bit) value = std::nextafterf(value, 2 * value);
    call.to[i] = call.beta == 0 ? call.alpha * value : call.alpha * value + call.beta * call.to[i];
  }
}

int run(cudnnContext* handle, const Call& call, const Shape& shape) {
  const Algorithm* algorithm = find(call.pass, call.algo);
  if (algorithm == nullptr) return kBadParam;
  if (!algorithm->supports(shape)) return kNotSupported;
  const size_t needed = algorithm->memory(shape);
  if (call.workspace_bytes < needed || (needed != 0 && !cudasim::is_device_memory(call.workspace, needed))) {
    return kBadParam;
  }
  if (!cudasim::is_device_memory(call.x, shape.x_bytes()) || !cudasim::is_device_memory(call.w, shape.w_bytes()) ||
      !cudasim::is_device_memory(call.y, shape.y_bytes())) {
    return kBadParam;
  }
  const bool tf32 = shape.convolution.math == adn::cuda::kCudnnTf32;
  const std::string name(call.name);
  cudasim::record(name + " " + (tf32 ? "tf32" : "float32") + " algorithm " + std::to_string(call.algo));
  return status_of(cudasim::enqueue(handle->stream, [=, deterministic = algorithm->deterministic] {
    static int calls = 0;
    if (needed != 0) std::memset(call.workspace, 0xFF, needed);
    compute(call, shape, tf32, !deterministic && ++calls % 3 == 0);
  }));
}

float scalar(const void* pointer) { return *static_cast<const float*>(pointer); }
const float* floats(const void* pointer) { return static_cast<const float*>(pointer); }

int measure(cudnnContext* handle, Pass pass, const Shape& shape, int requested, int* returned, CudnnAlgorithm* results,
            void* workspace, size_t bytes) {
  if (cudasim::is_capturing(handle->stream)) return kInternalError;  // it waits for the device
  if (bytes != 0 && !cudasim::is_device_memory(workspace, bytes)) return kBadParam;
  cudasim::record("cudnnFind");
  return list(pass, shape, requested, returned, results, &bytes);
}

// The shape of a call, or an error.
#define ADN_CUDNN_SHAPE(x, w, convolution, y) \
  ADN_CUDNN_CALL();                           \
  if (!lives(handle)) return kNotInitialized; \
  Shape shape;                                \
  if (!shape_of(&shape, x, w, convolution, y)) return kBadParam

}  // namespace

extern "C" {

size_t cudnnGetVersion() { return 90100; }

const char* cudnnGetErrorString(int status) {
  switch (status) {
    case kSuccess:
      return "CUDNN_STATUS_SUCCESS";
    case kNotInitialized:
      return "CUDNN_STATUS_NOT_INITIALIZED";
    case kBadParam:
      return "CUDNN_STATUS_BAD_PARAM";
    case kNotSupported:
      return "CUDNN_STATUS_NOT_SUPPORTED";
    case kAllocFailed:
      return "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED";
    case kExecutionFailed:
      return "CUDNN_STATUS_EXECUTION_FAILED";
    default:
      return "CUDNN_STATUS_INTERNAL_ERROR";
  }
}

int cudnnCreate(cudnnContext** handle) {
  ADN_CUDNN_CALL();
  for (const char* part : {"graph", "ops", "cnn", "heuristic", "engines_precompiled", "engines_runtime_compiled"}) {
    const std::string file = std::string("libcudnn_") + part + ".so.9";
    void* library = dlopen(file.c_str(), RTLD_LAZY | RTLD_NOLOAD);
    if (library == nullptr) {
      std::fprintf(stderr, "cudnnCreate: %s was not opened before it\n", file.c_str());
      std::abort();
    }
    dlclose(library);
  }
  return create(handle);
}

int cudnnDestroy(cudnnContext* handle) {
  ADN_CUDNN_CALL();
  return destroy(handle);
}

int cudnnSetStream(cudnnContext* handle, cudaStream_t stream) {
  ADN_CUDNN_CALL();
  if (!lives(handle)) return kNotInitialized;
  handle->stream = stream;
  return kSuccess;
}

int cudnnCreateTensorDescriptor(cudnnTensorStruct** tensor) {
  ADN_CUDNN_CALL();
  return create(tensor);
}

int cudnnDestroyTensorDescriptor(cudnnTensorStruct* tensor) {
  ADN_CUDNN_CALL();
  return destroy(tensor);
}

int cudnnSetTensor4dDescriptor(cudnnTensorStruct* tensor, int format, int type, int n, int c, int h, int w) {
  ADN_CUDNN_CALL();
  if (!lives(tensor) || format != adn::cuda::kCudnnNchw || type != adn::cuda::kCudnnFloat) return kBadParam;
  if (n < 1 || c < 1 || h < 1 || w < 1) return kBadParam;
  *tensor = {{n, c, h, w}};
  return kSuccess;
}

int cudnnCreateFilterDescriptor(cudnnFilterStruct** filter) {
  ADN_CUDNN_CALL();
  return create(filter);
}

int cudnnDestroyFilterDescriptor(cudnnFilterStruct* filter) {
  ADN_CUDNN_CALL();
  return destroy(filter);
}

int cudnnSetFilter4dDescriptor(cudnnFilterStruct* filter, int type, int format, int k, int c, int h, int w) {
  ADN_CUDNN_CALL();
  if (!lives(filter) || format != adn::cuda::kCudnnNchw || type != adn::cuda::kCudnnFloat) return kBadParam;
  if (k < 1 || c < 1 || h < 1 || w < 1) return kBadParam;
  *filter = {{k, c, h, w}};
  return kSuccess;
}

int cudnnCreateConvolutionDescriptor(cudnnConvolutionStruct** convolution) {
  ADN_CUDNN_CALL();
  return create(convolution);
}

int cudnnDestroyConvolutionDescriptor(cudnnConvolutionStruct* convolution) {
  ADN_CUDNN_CALL();
  return destroy(convolution);
}

int cudnnSetConvolution2dDescriptor(cudnnConvolutionStruct* convolution, int pad_y, int pad_x, int stride_y,
                                    int stride_x, int dilation_y, int dilation_x, int mode, int type) {
  ADN_CUDNN_CALL();
  if (!lives(convolution) || mode != adn::cuda::kCudnnCrossCorrelation || type != adn::cuda::kCudnnFloat) {
    return kBadParam;
  }
  if (pad_y < 0 || pad_x < 0 || stride_y < 1 || stride_x < 1 || dilation_y < 1 || dilation_x < 1) return kBadParam;
  *convolution = {{pad_y, pad_x}, {stride_y, stride_x}, {dilation_y, dilation_x}, convolution->math};
  return kSuccess;
}

int cudnnSetConvolutionMathType(cudnnConvolutionStruct* convolution, int math_type) {
  ADN_CUDNN_CALL();
  if (!lives(convolution) || (math_type != adn::cuda::kCudnnTf32 && math_type != adn::cuda::kCudnnFloat32)) {
    return kBadParam;
  }
  convolution->math = math_type;
  return kSuccess;
}

int cudnnGetConvolutionForwardAlgorithm_v7(cudnnContext* handle, cudnnTensorStruct* x, cudnnFilterStruct* w,
                                           cudnnConvolutionStruct* convolution, cudnnTensorStruct* y, int requested,
                                           int* returned, CudnnAlgorithm* results) {
  ADN_CUDNN_SHAPE(x, w, convolution, y);
  return list(kForward, shape, requested, returned, results);
}

int cudnnGetConvolutionBackwardDataAlgorithm_v7(cudnnContext* handle, cudnnFilterStruct* w, cudnnTensorStruct* dy,
                                                cudnnConvolutionStruct* convolution, cudnnTensorStruct* dx,
                                                int requested, int* returned, CudnnAlgorithm* results) {
  ADN_CUDNN_SHAPE(dx, w, convolution, dy);
  return list(kData, shape, requested, returned, results);
}

int cudnnGetConvolutionBackwardFilterAlgorithm_v7(cudnnContext* handle, cudnnTensorStruct* x, cudnnTensorStruct* dy,
                                                  cudnnConvolutionStruct* convolution, cudnnFilterStruct* dw,
                                                  int requested, int* returned, CudnnAlgorithm* results) {
  ADN_CUDNN_SHAPE(x, dw, convolution, dy);
  return list(kFilter, shape, requested, returned, results);
}

int cudnnFindConvolutionForwardAlgorithmEx(cudnnContext* handle, cudnnTensorStruct* x_tensor, const void* x,
                                           cudnnFilterStruct* w_filter, const void* w,
                                           cudnnConvolutionStruct* convolution, cudnnTensorStruct* y_tensor, void* y,
                                           int requested, int* returned, CudnnAlgorithm* results, void* workspace,
                                           size_t bytes) {
  ADN_CUDNN_SHAPE(x_tensor, w_filter, convolution, y_tensor);
  if (!cudasim::is_device_memory(x, shape.x_bytes()) || !cudasim::is_device_memory(w, shape.w_bytes()) ||
      !cudasim::is_device_memory(y, shape.y_bytes())) {
    return kBadParam;
  }
  return measure(handle, kForward, shape, requested, returned, results, workspace, bytes);
}

int cudnnFindConvolutionBackwardDataAlgorithmEx(cudnnContext* handle, cudnnFilterStruct* w_filter, const void* w,
                                                cudnnTensorStruct* dy_tensor, const void* dy,
                                                cudnnConvolutionStruct* convolution, cudnnTensorStruct* dx_tensor,
                                                void* dx, int requested, int* returned, CudnnAlgorithm* results,
                                                void* workspace, size_t bytes) {
  ADN_CUDNN_SHAPE(dx_tensor, w_filter, convolution, dy_tensor);
  if (!cudasim::is_device_memory(dx, shape.x_bytes()) || !cudasim::is_device_memory(w, shape.w_bytes()) ||
      !cudasim::is_device_memory(dy, shape.y_bytes())) {
    return kBadParam;
  }
  return measure(handle, kData, shape, requested, returned, results, workspace, bytes);
}

int cudnnFindConvolutionBackwardFilterAlgorithmEx(cudnnContext* handle, cudnnTensorStruct* x_tensor, const void* x,
                                                  cudnnTensorStruct* dy_tensor, const void* dy,
                                                  cudnnConvolutionStruct* convolution, cudnnFilterStruct* dw_filter,
                                                  void* dw, int requested, int* returned, CudnnAlgorithm* results,
                                                  void* workspace, size_t bytes) {
  ADN_CUDNN_SHAPE(x_tensor, dw_filter, convolution, dy_tensor);
  if (!cudasim::is_device_memory(x, shape.x_bytes()) || !cudasim::is_device_memory(dw, shape.w_bytes()) ||
      !cudasim::is_device_memory(dy, shape.y_bytes())) {
    return kBadParam;
  }
  return measure(handle, kFilter, shape, requested, returned, results, workspace, bytes);
}

int cudnnGetConvolutionForwardWorkspaceSize(cudnnContext* handle, cudnnTensorStruct* x, cudnnFilterStruct* w,
                                            cudnnConvolutionStruct* convolution, cudnnTensorStruct* y, int algo,
                                            size_t* bytes) {
  ADN_CUDNN_SHAPE(x, w, convolution, y);
  return workspace_size(kForward, shape, algo, bytes);
}

int cudnnGetConvolutionBackwardDataWorkspaceSize(cudnnContext* handle, cudnnFilterStruct* w, cudnnTensorStruct* dy,
                                                 cudnnConvolutionStruct* convolution, cudnnTensorStruct* dx, int algo,
                                                 size_t* bytes) {
  ADN_CUDNN_SHAPE(dx, w, convolution, dy);
  return workspace_size(kData, shape, algo, bytes);
}

int cudnnGetConvolutionBackwardFilterWorkspaceSize(cudnnContext* handle, cudnnTensorStruct* x, cudnnTensorStruct* dy,
                                                   cudnnConvolutionStruct* convolution, cudnnFilterStruct* dw, int algo,
                                                   size_t* bytes) {
  ADN_CUDNN_SHAPE(x, dw, convolution, dy);
  return workspace_size(kFilter, shape, algo, bytes);
}

int cudnnConvolutionForward(cudnnContext* handle, const void* alpha, cudnnTensorStruct* x_tensor, const void* x,
                            cudnnFilterStruct* w_filter, const void* w, cudnnConvolutionStruct* convolution, int algo,
                            void* workspace, size_t bytes, const void* beta, cudnnTensorStruct* y_tensor, void* y) {
  ADN_CUDNN_SHAPE(x_tensor, w_filter, convolution, y_tensor);
  return run(handle,
             {kForward, __func__, floats(x), floats(w), floats(y), static_cast<float*>(y), algo, workspace, bytes,
              scalar(alpha), scalar(beta)},
             shape);
}

int cudnnConvolutionBackwardData(cudnnContext* handle, const void* alpha, cudnnFilterStruct* w_filter, const void* w,
                                 cudnnTensorStruct* dy_tensor, const void* dy, cudnnConvolutionStruct* convolution,
                                 int algo, void* workspace, size_t bytes, const void* beta,
                                 cudnnTensorStruct* dx_tensor, void* dx) {
  ADN_CUDNN_SHAPE(dx_tensor, w_filter, convolution, dy_tensor);
  return run(handle,
             {kData, __func__, floats(dx), floats(w), floats(dy), static_cast<float*>(dx), algo, workspace, bytes,
              scalar(alpha), scalar(beta)},
             shape);
}

int cudnnConvolutionBackwardFilter(cudnnContext* handle, const void* alpha, cudnnTensorStruct* x_tensor, const void* x,
                                   cudnnTensorStruct* dy_tensor, const void* dy, cudnnConvolutionStruct* convolution,
                                   int algo, void* workspace, size_t bytes, const void* beta,
                                   cudnnFilterStruct* dw_filter, void* dw) {
  ADN_CUDNN_SHAPE(x_tensor, dw_filter, convolution, dy_tensor);
  return run(handle,
             {kFilter, __func__, floats(x), floats(dw), floats(dy), static_cast<float*>(dw), algo, workspace, bytes,
              scalar(alpha), scalar(beta)},
             shape);
}

}  // extern "C"

#define ADN_CHECK(name) static_assert(std::is_same_v<decltype(&::name), decltype(adn::cuda::CudnnFunctions::name)>)
ADN_CUDNN_FUNCTIONS(ADN_CHECK);
