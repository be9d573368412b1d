// Convolutions and linear layers by whoever does them: linear layers by cuBLAS and the others by cuDNN, where they are there, and
// the project's own kernels for all the rest. A linear layer is a convolution whose kernel is the whole image.
#pragma once

#include "cuda/cublas.h"
#include "cuda/cudnn.h"
#include "cuda/device.h"
#include "cuda/kernels.h"

namespace adn::cuda {

class Products {
 public:
  Products(Device& device, const adn_context_options& options, int architecture);

  // Versions of the libraries, 0 and a reason where one is not used.
  void info(adn_context_info& info) const;

  // Bytes for the passes of a batch of this shape or of a smaller one. The algorithms for it are found here.
  uint64_t workspace(const ConvShape& shape);
  // As conv_forward, conv_backward_data and conv_backward_weights; failures lose the device.
  void forward(float* y, const float* x, const float* weight, const float* bias, bool relu, const ConvShape& shape,
               const Memory& workspace);
  void backward_data(float* x_gradient, const float* y_gradient, const float* weight, const ConvShape& shape,
                     const Memory& workspace);
  void backward_weights(float* weight_gradient, const float* x, const float* y_gradient, const ConvShape& shape,
                        const Memory& workspace);

 private:
  // Whether one of the libraries has done it; if not, the own kernels must.
  bool by_cublas(float* to, Cublas::Operand a, Cublas::Operand b, int rows, int columns, int depth,
                 const ConvShape& shape, const Memory& workspace);
  bool by_cudnn(ConvPass pass, float* to, const float* a, const float* b, const ConvShape& shape,
                const Memory& workspace);

  Device& device_;
  int architecture_;  // the major number
  std::unique_ptr<Cublas> cublas_;
  std::unique_ptr<Cudnn> cudnn_;
  std::string cublas_reason_, cudnn_reason_;
};

}  // namespace adn::cuda
