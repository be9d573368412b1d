// cuDNN, for the convolutions: opened at run time, so that the backend starts without it. Functions, structures and numbers are
// those that cuDNN 8 and 9 share, from NVIDIA's reference (docs.nvidia.com/deeplearning/cudnn); vendor_check.cpp holds them
// against its header.
#pragma once

#include <cstddef>
#include <map>
#include <memory>

#include "cuda/device.h"
#include "cuda/kernels.h"

struct cudnnContext;
struct cudnnTensorStruct;
struct cudnnFilterStruct;
struct cudnnConvolutionStruct;

namespace adn::cuda {

constexpr int kCudnnSuccess = 0;
constexpr int kCudnnFloat = 0;             // CUDNN_DATA_FLOAT
constexpr int kCudnnNchw = 0;              // CUDNN_TENSOR_NCHW
constexpr int kCudnnCrossCorrelation = 1;  // CUDNN_CROSS_CORRELATION: what networks call a convolution
constexpr int kCudnnTf32 = 0;              // CUDNN_DEFAULT_MATH: float32 may be rounded to TF32
constexpr int kCudnnFloat32 = 3;           // CUDNN_FMA_MATH: no tensor cores
constexpr int kCudnnDeterministic = 1;     // CUDNN_DETERMINISTIC: the same bits each time

// An algorithm of one pass, as all three passes have it: the best first, for those that cuDNN can rank.
struct CudnnAlgorithm {
  int algo;
  int status;
  float time;     // milliseconds, -1 where it was not measured
  size_t memory;  // bytes of workspace
  int determinism;
  int math_type;
  int reserved[3];
};

// Enumerations are int here.
struct CudnnFunctions {
  size_t (*cudnnGetVersion)();
  const char* (*cudnnGetErrorString)(int status);
  int (*cudnnCreate)(cudnnContext** handle);
  int (*cudnnDestroy)(cudnnContext* handle);
  int (*cudnnSetStream)(cudnnContext* handle, CUstream_st* stream);

  int (*cudnnCreateTensorDescriptor)(cudnnTensorStruct** tensor);
  int (*cudnnDestroyTensorDescriptor)(cudnnTensorStruct* tensor);
  int (*cudnnSetTensor4dDescriptor)(cudnnTensorStruct* tensor, int format, int type, int n, int c, int h, int w);
  int (*cudnnCreateFilterDescriptor)(cudnnFilterStruct** filter);
  int (*cudnnDestroyFilterDescriptor)(cudnnFilterStruct* filter);
  int (*cudnnSetFilter4dDescriptor)(cudnnFilterStruct* filter, int type, int format, int k, int c, int h, int w);
  int (*cudnnCreateConvolutionDescriptor)(cudnnConvolutionStruct** convolution);
  int (*cudnnDestroyConvolutionDescriptor)(cudnnConvolutionStruct* convolution);
  int (*cudnnSetConvolution2dDescriptor)(cudnnConvolutionStruct* convolution, int pad_y, int pad_x, int stride_y,
                                         int stride_x, int dilation_y, int dilation_x, int mode, int type);
  int (*cudnnSetConvolutionMathType)(cudnnConvolutionStruct* convolution, int math_type);

  // What the heuristics say.
  int (*cudnnGetConvolutionForwardAlgorithm_v7)(cudnnContext* handle, cudnnTensorStruct* x, cudnnFilterStruct* w,
                                                cudnnConvolutionStruct* convolution, cudnnTensorStruct* y,
                                                int requested, int* returned, CudnnAlgorithm* algorithms);
  int (*cudnnGetConvolutionBackwardDataAlgorithm_v7)(cudnnContext* handle, cudnnFilterStruct* w, cudnnTensorStruct* dy,
                                                     cudnnConvolutionStruct* convolution, cudnnTensorStruct* dx,
                                                     int requested, int* returned, CudnnAlgorithm* algorithms);
  int (*cudnnGetConvolutionBackwardFilterAlgorithm_v7)(cudnnContext* handle, cudnnTensorStruct* x,
                                                       cudnnTensorStruct* dy, cudnnConvolutionStruct* convolution,
                                                       cudnnFilterStruct* dw, int requested, int* returned,
                                                       CudnnAlgorithm* algorithms);
  // What measuring says. Memory is that of a pass: the last tensor is written to.
  int (*cudnnFindConvolutionForwardAlgorithmEx)(cudnnContext* handle, cudnnTensorStruct* x_tensor, const void* x,
                                                cudnnFilterStruct* w_filter, const void* w,
                                                cudnnConvolutionStruct* convolution, cudnnTensorStruct* y_tensor,
                                                void* y, int requested, int* returned, CudnnAlgorithm* algorithms,
                                                void* workspace, size_t bytes);
  int (*cudnnFindConvolutionBackwardDataAlgorithmEx)(cudnnContext* handle, cudnnFilterStruct* w_filter, const void* w,
                                                     cudnnTensorStruct* dy_tensor, const void* dy,
                                                     cudnnConvolutionStruct* convolution, cudnnTensorStruct* dx_tensor,
                                                     void* dx, int requested, int* returned, CudnnAlgorithm* algorithms,
                                                     void* workspace, size_t bytes);
  int (*cudnnFindConvolutionBackwardFilterAlgorithmEx)(cudnnContext* handle, cudnnTensorStruct* x_tensor, const void* x,
                                                       cudnnTensorStruct* dy_tensor, const void* dy,
                                                       cudnnConvolutionStruct* convolution,
                                                       cudnnFilterStruct* dw_filter, void* dw, int requested,
                                                       int* returned, CudnnAlgorithm* algorithms, void* workspace,
                                                       size_t bytes);

  int (*cudnnGetConvolutionForwardWorkspaceSize)(cudnnContext* handle, cudnnTensorStruct* x, cudnnFilterStruct* w,
                                                 cudnnConvolutionStruct* convolution, cudnnTensorStruct* y, int algo,
                                                 size_t* bytes);
  int (*cudnnGetConvolutionBackwardDataWorkspaceSize)(cudnnContext* handle, cudnnFilterStruct* w, cudnnTensorStruct* dy,
                                                      cudnnConvolutionStruct* convolution, cudnnTensorStruct* dx,
                                                      int algo, size_t* bytes);
  int (*cudnnGetConvolutionBackwardFilterWorkspaceSize)(cudnnContext* handle, cudnnTensorStruct* x,
                                                        cudnnTensorStruct* dy, cudnnConvolutionStruct* convolution,
                                                        cudnnFilterStruct* dw, int algo, size_t* bytes);

  int (*cudnnConvolutionForward)(cudnnContext* handle, const void* alpha, cudnnTensorStruct* x_tensor, const void* x,
                                 cudnnFilterStruct* w_filter, const void* w, cudnnConvolutionStruct* convolution,
                                 int algo, void* workspace, size_t bytes, const void* beta, cudnnTensorStruct* y_tensor,
                                 void* y);
  int (*cudnnConvolutionBackwardData)(cudnnContext* handle, const void* alpha, cudnnFilterStruct* w_filter,
                                      const void* w, cudnnTensorStruct* dy_tensor, const void* dy,
                                      cudnnConvolutionStruct* convolution, int algo, void* workspace, size_t bytes,
                                      const void* beta, cudnnTensorStruct* dx_tensor, void* dx);
  int (*cudnnConvolutionBackwardFilter)(cudnnContext* handle, const void* alpha, cudnnTensorStruct* x_tensor,
                                        const void* x, cudnnTensorStruct* dy_tensor, const void* dy,
                                        cudnnConvolutionStruct* convolution, int algo, void* workspace, size_t bytes,
                                        const void* beta, cudnnFilterStruct* dw_filter, void* dw);
};

// What is done to each of them.
#define ADN_CUDNN_FUNCTIONS(each)                       \
  each(cudnnGetVersion);                                \
  each(cudnnGetErrorString);                            \
  each(cudnnCreate);                                    \
  each(cudnnDestroy);                                   \
  each(cudnnSetStream);                                 \
  each(cudnnCreateTensorDescriptor);                    \
  each(cudnnDestroyTensorDescriptor);                   \
  each(cudnnSetTensor4dDescriptor);                     \
  each(cudnnCreateFilterDescriptor);                    \
  each(cudnnDestroyFilterDescriptor);                   \
  each(cudnnSetFilter4dDescriptor);                     \
  each(cudnnCreateConvolutionDescriptor);               \
  each(cudnnDestroyConvolutionDescriptor);              \
  each(cudnnSetConvolution2dDescriptor);                \
  each(cudnnSetConvolutionMathType);                    \
  each(cudnnGetConvolutionForwardAlgorithm_v7);         \
  each(cudnnGetConvolutionBackwardDataAlgorithm_v7);    \
  each(cudnnGetConvolutionBackwardFilterAlgorithm_v7);  \
  each(cudnnFindConvolutionForwardAlgorithmEx);         \
  each(cudnnFindConvolutionBackwardDataAlgorithmEx);    \
  each(cudnnFindConvolutionBackwardFilterAlgorithmEx);  \
  each(cudnnGetConvolutionForwardWorkspaceSize);        \
  each(cudnnGetConvolutionBackwardDataWorkspaceSize);   \
  each(cudnnGetConvolutionBackwardFilterWorkspaceSize); \
  each(cudnnConvolutionForward);                        \
  each(cudnnConvolutionBackwardData);                   \
  each(cudnnConvolutionBackwardFilter)

enum class ConvPass { kForward, kBackwardData, kBackwardWeights };

// A handle of the current device and what it has found out about shapes.
class Cudnn {
 public:
  // NULL where it cannot be had, and reason says why.
  static std::unique_ptr<Cudnn> create(const adn_context_options& options, std::string& reason);
  ~Cudnn();
  Cudnn(const Cudnn&) = delete;
  Cudnn& operator=(const Cudnn&) = delete;

  int version() const { return version_; }

  // What cuDNN would not do, so that the own kernels do it: "" while there is nothing.
  const std::string& refusal() const { return refusal_; }

  // Finds algorithms for the passes of a shape whose workspace is within the limit of the options, by measuring where they ask
  // for it. Returns the bytes of workspace that the best need.
  uint64_t prepare(Device& device, const ConvShape& shape);
  // Puts a pass on the stream, by the best algorithm that has workspace enough; false where there is none. Heuristics decide on
  // a shape that comes up here. `to` is written whole. a and b are what is read, in cuDNN's order: x and weight, weight and
  // y_gradient, or x and y_gradient. Fails with a VendorError.
  bool run(ConvPass pass, CUstream_st* stream, float* to, const float* a, const float* b, const ConvShape& shape,
           void* workspace, uint64_t workspace_bytes);

 private:
  struct Convolution;
  struct Less {
    bool operator()(const ConvShape& a, const ConvShape& b) const;
  };

  Cudnn(const CudnnFunctions& functions, const adn_context_options& options);
  void check(int status, const char* call) const;
  void refuse(const std::string& why) {
    if (refusal_.empty()) refusal_ = why;
  }
  Convolution& find(const ConvShape& shape);
  void describe(Convolution& convolution, const ConvShape& shape) const;
  void ask_heuristics(Convolution& convolution, ConvPass pass) const;
  void take(Convolution& convolution, ConvPass pass, const CudnnAlgorithm* found, int count) const;
  void measure(Device& device, Convolution& convolution, const ConvShape& shape);

  const CudnnFunctions& functions_;
  bool tf32_, deterministic_, search_;
  uint64_t limit_;
  cudnnContext* handle_ = nullptr;
  int version_ = 0;
  std::string refusal_;
  std::map<ConvShape, std::unique_ptr<Convolution>, Less> convolutions_;
};

}  // namespace adn::cuda
