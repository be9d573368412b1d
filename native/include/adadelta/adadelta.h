/*
 * Adadelta.Native: the whole public C ABI.
 *
 * Rules that hold for every function:
 *   - Out-parameters come first. Functions return an adn_status; destroy functions return nothing and take NULL. The few
 *     functions that cannot fail (version, last error) return their value.
 *   - On failure nothing has changed, and adn_last_error() names the argument, its value and the bound.
 *   - NULL data is legal only with a count of 0. Arrays given by the caller are used only until the call returns, unless the
 *     function's name says _external.
 *   - Counts are in elements, not bytes. Tensors are dense and row-major ("C order"), float32 where nothing else is said.
 *     Images are N x C x H x W.
 *   - Objects made from a context keep it alive, so they may be destroyed in any order.
 *   - One object must not be used by two threads at once: the second call fails with ADN_STATUS_INVALID_STATE and changes
 *     nothing. Different objects may, also on one context. A network, the tensors of its parameters and gradients, and every
 *     optimizer that was given one of them, with its state, count as one object; so do an optimizer and every tensor that it
 *     was given, from then on. Contexts and data sets may be used by several threads at once; destroying is not a call: it
 *     must not overlap with one on the same handle. adn_network_clone makes a copy for another thread, and
 *     adn_network_copy_parameters renews it; both wait for the call that runs instead of failing. adn_last_error() is per
 *     thread.
 *   - After fork() the child may go on with all it has on the CPU, unless a call was running on another thread: the object of
 *     that call stays in use for ever there.
 *
 * Option structs begin with struct_size and have an _init function that fills in the defaults. A smaller struct from an
 * older caller is accepted; a larger one is accepted only when the part this library does not know is all zero.
 */
#ifndef ADADELTA_ADADELTA_H
#define ADADELTA_ADADELTA_H

#include <stdint.h>

#if defined(_WIN32)
#if defined(ADN_BUILDING_LIBRARY)
#define ADN_API __declspec(dllexport)
#else
#define ADN_API __declspec(dllimport)
#endif
#else
#define ADN_API __attribute__((visibility("default")))
#endif

#if defined(__cplusplus)
#define ADN_NOEXCEPT noexcept
extern "C" {
#else
#define ADN_NOEXCEPT
#endif

/* ---- Status and errors ------------------------------------------------------------------------------------------ */

/* Result of a call. The numbers are frozen. */
typedef int32_t adn_status;
#define ADN_STATUS_OK 0
#define ADN_STATUS_INVALID_ARGUMENT 1 /* an argument is out of its bounds; the message names it */
#define ADN_STATUS_INVALID_STATE 2    /* the call does not fit the object's state, e.g. backward before forward */
#define ADN_STATUS_UNSUPPORTED 3      /* valid, but not offered by this device or build */
#define ADN_STATUS_OUT_OF_MEMORY 4
#define ADN_STATUS_DEVICE_ERROR 5 /* the device or its driver failed */
#define ADN_STATUS_INTERNAL_ERROR 6

/* Version of this ABI. A caller compiled against another ADN_ABI_VERSION must not go on. */
#define ADN_ABI_VERSION 1u
ADN_API uint32_t adn_abi_version(void) ADN_NOEXCEPT;

/* Version of the library, e.g. "0.1.0". Static storage. */
ADN_API const char* adn_version(void) ADN_NOEXCEPT;

/* Message of the last failed call on this thread, "" when there was none. Valid until the next failing call on this
 * thread; never allocated, cut at 1,023 bytes. */
ADN_API const char* adn_last_error(void) ADN_NOEXCEPT;

/* Name of a status, e.g. "invalid argument"; "unknown status" for other numbers. Static storage. */
ADN_API const char* adn_status_name(adn_status status) ADN_NOEXCEPT;

/* ---- Devices and context ------------------------------------------------------------------------------------------ */

typedef struct adn_context adn_context;

/* Kinds of device. AUTO takes CUDA where its backend loads and a device answers, and the CPU elsewhere.
 * The CUDA backend is a library of its own, libadadelta_native_cuda, looked for beside this one, or where the environment
 * variable ADADELTA_BACKEND_PATH says (the file, or its folder). */
#define ADN_DEVICE_AUTO 0
#define ADN_DEVICE_CPU 1
#define ADN_DEVICE_CUDA 2

/* CPU instruction sets, in rising order of preference. AUTO takes the best that the CPU and the system offer. */
#define ADN_INSTRUCTION_SET_AUTO 0
#define ADN_INSTRUCTION_SET_BASELINE 1 /* what every CPU of the architecture has */
#define ADN_INSTRUCTION_SET_AVX2 2     /* AVX2 and FMA */
#define ADN_INSTRUCTION_SET_AVX512 3   /* AVX-512 F, BW, DQ and VL */

typedef struct adn_context_options {
  uint32_t struct_size;
  int32_t device_type;     /* ADN_DEVICE_*; default AUTO */
  int32_t device_index;    /* which device of that type, from 0; the CPU has one */
  uint32_t thread_count;   /* CPU threads, 0 <= n <= 256; 0 (default) takes one for each core this process may use */
  int32_t instruction_set; /* ADN_INSTRUCTION_SET_*; default AUTO; one the CPU lacks is ADN_STATUS_UNSUPPORTED */
  uint32_t reserved;       /* must be 0 */

  /* For CUDA; on the CPU they have no effect. */
  int32_t cuda_tf32;          /* 1: matrix products may round their inputs to TF32; 0 (default): strict float32 */
  int32_t cuda_deterministic; /* 1: only algorithms of cuDNN that give the same bits each time; default 0 */
  int32_t cuda_search;        /* 1: cuDNN measures its algorithms when a network is made; 0 (default): its heuristics */
  int32_t cuda_own_kernels;   /* 1: cuDNN and cuBLAS are not used even where they are found; default 0 */
  int32_t cuda_no_graph;      /* 1: a training step is launched piece by piece, not as a captured graph; default 0 */
  uint32_t reserved2;         /* must be 0 */
  uint64_t cuda_workspace_limit; /* bytes of workspace for one algorithm of cuDNN; 0 (default): 64 MiB */
  void* cuda_stream_external; /* a cudaStream_t of the caller's, which outlives all that is made on the context: work is
                                  * put on it; NULL (default): one of the context's own */
} adn_context_options;

typedef struct adn_context_info {
  uint32_t struct_size;
  int32_t device_type; /* never AUTO */
  int32_t device_index;
  uint32_t thread_count;
  int32_t instruction_set; /* never AUTO */
  uint32_t reserved;
  char device_name[128];         /* e.g. "AMD EPYC", UTF-8, 0-terminated */
  char instruction_set_name[32]; /* "baseline", "NEON", "AVX2+FMA" or "AVX-512"; on CUDA e.g. "sm_80" */

  /* For CUDA; zero and empty on the CPU. */
  uint64_t memory_bytes;      /* held by the context's objects on the device */
  uint64_t memory_peak_bytes; /* the most that memory_bytes has been */
  int32_t cudnn_version;      /* e.g. 90100; 0 where the own kernels are used */
  int32_t cublas_version;     /* e.g. 120304; 0 where the own kernels are used */
  char libraries[768];        /* versions of runtime and driver, and why cuDNN or cuBLAS is not used */
} adn_context_info;

ADN_API adn_status adn_context_options_init(adn_context_options* options, uint32_t struct_size) ADN_NOEXCEPT;

/* Makes a context: one device and its threads. options may be NULL for the defaults.
 * Errors: INVALID_ARGUMENT, UNSUPPORTED (device or instruction set not here; the message says why), OUT_OF_MEMORY. */
ADN_API adn_status adn_context_create(adn_context** context, const adn_context_options* options) ADN_NOEXCEPT;
ADN_API void adn_context_destroy(adn_context* context) ADN_NOEXCEPT;
ADN_API adn_status adn_context_get_info(adn_context_info* info, const adn_context* context) ADN_NOEXCEPT;

/* Waits until the device has done everything given to it so far; at once on the CPU. Errors: DEVICE_ERROR. */
ADN_API adn_status adn_context_synchronize(adn_context* context) ADN_NOEXCEPT;

/* Why a backend ("cpu", "cuda") cannot be used here: "" when it can. For CUDA: the path that was tried and why its library
 * did not load, or what the driver answered (no driver, no device). The text is static or valid until the next call of this
 * function on this thread. */
ADN_API adn_status adn_backend_reason(const char** reason, const char* backend) ADN_NOEXCEPT;

/* ---- Random numbers --------------------------------------------------------------------------------------------------
 * Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011). The generator has no state: the
 * 32-bit word at a place depends on (seed, stream, place) alone. */

/* Words [offset, offset + count) of the sequence (seed, stream), which has 2^64. Errors: INVALID_ARGUMENT beyond them. */
ADN_API adn_status adn_random_bits(uint32_t* bits, uint64_t count, uint64_t seed, uint64_t stream,
                                   uint64_t offset) ADN_NOEXCEPT;

/* A uniformly drawn permutation of 0 … count-1 (Fisher-Yates, unbiased). count <= 2^32 - 1. */
ADN_API adn_status adn_random_permutation(uint32_t* order, uint64_t count, uint64_t seed, uint64_t stream) ADN_NOEXCEPT;

/* ---- Tensor ------------------------------------------------------------------------------------------------------------ */

typedef struct adn_tensor adn_tensor;

#define ADN_MAX_RANK 8

/* Types of element. The numbers are frozen. */
#define ADN_DTYPE_FLOAT32 0
#define ADN_DTYPE_FLOAT64 1
#define ADN_DTYPE_FLOAT16 2   /* IEEE binary16 */
#define ADN_DTYPE_BFLOAT16 3  /* the upper half of a float32 */
#define ADN_DTYPE_COMPLEX64 4 /* two float32: real and imaginary part */

/* A tensor of float32 zeros on the context's device. rank 0 (shape NULL) is a scalar; every extent >= 1. */
ADN_API adn_status adn_tensor_create(adn_tensor** tensor, adn_context* context, const uint64_t* shape,
                                     uint32_t rank) ADN_NOEXCEPT;
/* The same with elements of type dtype (ADN_DTYPE_*). Networks take float32 alone; the optimizer takes all. */
ADN_API adn_status adn_tensor_create_typed(adn_tensor** tensor, adn_context* context, int32_t dtype,
                                           const uint64_t* shape, uint32_t rank) ADN_NOEXCEPT;
/* A tensor on memory of the caller's own, which is used in place: nothing is copied, and what either side writes the other
 * sees. data is aligned to its element (2, 4 or 8 bytes; 4 for COMPLEX64) and, on a device other than the CPU, an address of
 * that device. It must stay valid and where it is until the tensor and everything made with it (an optimizer's group) is
 * destroyed; then release(user) is called once, on the thread that drops the last reference. release may be NULL. The library never
 * frees the memory itself, and no call may run on the tensor while the caller writes there.
 * Errors: INVALID_ARGUMENT for NULL, an address that is not aligned or one the device cannot use; release is not called. */
typedef void (*adn_release)(void* user);
ADN_API adn_status adn_tensor_create_external(adn_tensor** tensor, adn_context* context, void* data, int32_t dtype,
                                              const uint64_t* shape, uint32_t rank, adn_release release,
                                              void* user) ADN_NOEXCEPT;
ADN_API void adn_tensor_destroy(adn_tensor* tensor) ADN_NOEXCEPT;

/* Writes the rank and the extents; shape must have room for ADN_MAX_RANK numbers. */
ADN_API adn_status adn_tensor_get_shape(uint32_t* rank, uint64_t* shape, const adn_tensor* tensor) ADN_NOEXCEPT;
ADN_API adn_status adn_tensor_get_dtype(int32_t* dtype, const adn_tensor* tensor) ADN_NOEXCEPT;

/* Copies all elements of a float32 tensor out or in, in row-major order. count must be the tensor's element count.
 * Errors: INVALID_ARGUMENT for another count and for a tensor of another type. */
ADN_API adn_status adn_tensor_read(float* data, uint64_t count, const adn_tensor* tensor) ADN_NOEXCEPT;
ADN_API adn_status adn_tensor_write(adn_tensor* tensor, const float* data, uint64_t count) ADN_NOEXCEPT;
/* Copies a run of a tensor's bytes out or in, for every type: byte_count bytes from byte_offset on, both within the element
 * count times the size of an element (4, 8, 2, 2, 8). So a tensor larger than a caller's buffer is copied piece by piece. */
ADN_API adn_status adn_tensor_read_bytes(void* data, uint64_t byte_offset, uint64_t byte_count,
                                         const adn_tensor* tensor) ADN_NOEXCEPT;
ADN_API adn_status adn_tensor_write_bytes(adn_tensor* tensor, const void* data, uint64_t byte_offset,
                                          uint64_t byte_count) ADN_NOEXCEPT;
/* Sets every element; in a type other than float32, to the nearest number there is (COMPLEX64: value + 0i). */
ADN_API adn_status adn_tensor_fill(adn_tensor* tensor, float value) ADN_NOEXCEPT;

/* ---- Data set ------------------------------------------------------------------------------------------------------------
 * Labelled images kept on the device as bytes: a batch is then made from places in the set, and its images need not travel. */

typedef struct adn_dataset adn_dataset;

/* Copies count images of [channels, height, width] = shape, one byte a value, and count labels. A network takes a byte as
 * byte / 255.0f. pixel_count must be count times the elements of an image, count >= 1. */
ADN_API adn_status adn_dataset_create(adn_dataset** dataset, adn_context* context, const uint8_t* pixels,
                                      uint64_t pixel_count, const uint8_t* labels, uint64_t count,
                                      const uint64_t* shape) ADN_NOEXCEPT;
/* The same on pixels of the caller's own, in host memory on every device: the CPU reads them where they are, so that they are
 * held once; a device with memory of its own takes a copy. They must stay valid and where they are until the data set is
 * destroyed, and must not be written while a call runs on it. What is written between two calls the CPU sees and another
 * device does not. The labels are copied. Errors: as adn_dataset_create. */
ADN_API adn_status adn_dataset_create_external(adn_dataset** dataset, adn_context* context, const uint8_t* pixels,
                                               uint64_t pixel_count, const uint8_t* labels, uint64_t count,
                                               const uint64_t* shape) ADN_NOEXCEPT;
ADN_API void adn_dataset_destroy(adn_dataset* dataset) ADN_NOEXCEPT;

/* ---- Network -------------------------------------------------------------------------------------------------------------
 * A feed-forward network planned once for a largest batch. Forward, backward and step allocate nothing. */

typedef struct adn_network adn_network;

/* Layer kinds, each as PyTorch's module of that name. Image layers take C x H x W, Linear takes a flat vector. */
#define ADN_LAYER_CONV2D 1    /* name, out_features (channels), kernel, stride, padding, dilation, bias */
#define ADN_LAYER_MAXPOOL2D 2 /* kernel, stride, padding <= kernel/2; the first maximum in row-major order wins */
#define ADN_LAYER_AVGPOOL2D 3 /* kernel, stride, padding <= kernel/2; padding counts in the mean */
#define ADN_LAYER_RELU 4
#define ADN_LAYER_FLATTEN 5 /* C x H x W to a vector, channel-major */
#define ADN_LAYER_LINEAR 6  /* name, out_features, bias */
#define ADN_LAYER_DROPOUT 7 /* probability in [0, 1): scaled by 1/(1-p) in training, the identity in evaluation */

typedef struct adn_layer {
  uint32_t struct_size;
  int32_t kind;     /* ADN_LAYER_* */
  const char* name; /* 1 to 63 of [A-Za-z0-9_-.]; NULL numbers by kind: conv1, pool1, relu1, flatten1, fc1, dropout1 */
  uint64_t out_features; /* output channels of Conv2d, output features of Linear */
  uint64_t kernel[2];    /* height, width, here and below; default 1 */
  uint64_t stride[2];    /* default 1; for pooling 0 (default) means the kernel */
  uint64_t padding[2];   /* default 0 */
  uint64_t dilation[2];  /* default 1; Conv2d only */
  float probability;     /* Dropout; default 0.5 */
  int32_t bias;          /* Conv2d and Linear: 1 (default) or 0 */
} adn_layer;

ADN_API adn_status adn_layer_init(adn_layer* layer, uint32_t struct_size, int32_t kind) ADN_NOEXCEPT;

/* Reduction of the softmax cross-entropy over the batch. */
#define ADN_REDUCTION_MEAN 0
#define ADN_REDUCTION_SUM 1

typedef struct adn_network_options {
  uint32_t struct_size;
  int32_t reduction;       /* ADN_REDUCTION_*; default MEAN */
  uint64_t input_shape[3]; /* channels, height, width of one image, each >= 1; no default */
  uint64_t max_batch_size; /* >= 1; default 64 */
  uint64_t seed;           /* of the initial weights and of dropout; default 0 */
  int32_t input_gradient;  /* 1: backward also computes the loss's gradient with respect to the input; default 0 */
  int32_t inference;       /* 1: forward passes in mode EVALUATE alone, without memory for gradients; default 0 */
} adn_network_options;

ADN_API adn_status adn_network_options_init(adn_network_options* options, uint32_t struct_size) ADN_NOEXCEPT;

/* Plans a network. Each layer carries its own struct_size, the same in all of them: it is the array's stride.
 * The network's output must be a flat vector (the logits) or an image, read as a vector of C*H*W logits.
 * Weights and biases start as PyTorch's do, U(-1/sqrt(fan_in), 1/sqrt(fan_in)), drawn from the seed.
 * Errors: INVALID_ARGUMENT names the layer and the shapes that do not fit; OUT_OF_MEMORY. */
ADN_API adn_status adn_network_create(adn_network** network, adn_context* context, const adn_layer* layers,
                                      uint64_t layer_count, const adn_network_options* options) ADN_NOEXCEPT;
ADN_API void adn_network_destroy(adn_network* network) ADN_NOEXCEPT;

/* Makes a network of the same layers with the parameters that `network` has between two calls, on the same context: its own
 * memory, so that another thread may use it. max_batch_size 0 takes that of `network`; inference as in the options. Waits for
 * a call that runs on `network` on another thread.
 * Errors: INVALID_ARGUMENT, OUT_OF_MEMORY. */
ADN_API adn_status adn_network_clone(adn_network** clone, adn_network* network, uint64_t max_batch_size,
                                     int32_t inference) ADN_NOEXCEPT;
/* Sets the parameters and the step of `to` to those that `from` has between two calls; both must have parameters of the same
 * names and shapes, on whichever context. Waits for a call that runs on `from` on another thread, and fails where one runs on
 * `to`. Errors: INVALID_ARGUMENT, INVALID_STATE. */
ADN_API adn_status adn_network_copy_parameters(adn_network* to, adn_network* from) ADN_NOEXCEPT;

typedef struct adn_network_info {
  uint32_t struct_size;
  uint32_t layer_count;
  uint64_t input_shape[3]; /* channels, height, width */
  uint64_t output_count;   /* logits an image */
  uint64_t max_batch_size;
  uint64_t parameter_count; /* tensors, not elements */
  uint64_t memory_bytes;    /* held by parameters, gradients, activations and workspaces */
  int32_t reduction;
  uint32_t reserved;
} adn_network_info;

ADN_API adn_status adn_network_get_info(adn_network_info* info, const adn_network* network) ADN_NOEXCEPT;

typedef struct adn_layer_info {
  uint32_t struct_size;
  int32_t kind;             /* ADN_LAYER_* */
  uint64_t output_shape[3]; /* channels, height, width; features, 1, 1 after Flatten and Linear */
  uint64_t parameter_elements;
  char name[64];
  int32_t has_activation; /* 1: adn_network_read_activation can read this layer's output */
  uint32_t reserved;
} adn_layer_info;

ADN_API adn_status adn_network_get_layer(adn_layer_info* info, const adn_network* network, uint64_t index) ADN_NOEXCEPT;

/* Parameters in the order of the layers, weight before bias, named as in PyTorch: "conv1.weight", "conv1.bias".
 * Shapes are PyTorch's: Conv2d [out, in, kh, kw], Linear [out, in], bias [out].
 * The two tensors are new handles on the network's own storage: what is written through them is what the network uses.
 * Either may be NULL when it is not wanted. A network for inference has no gradients: *gradient is set to NULL. name is valid as
 * long as the network. */
ADN_API adn_status adn_network_get_parameter(adn_tensor** value, adn_tensor** gradient, const char** name,
                                             const adn_network* network, uint64_t index) ADN_NOEXCEPT;
ADN_API adn_status adn_network_find_parameter(uint64_t* index, const adn_network* network,
                                              const char* name) ADN_NOEXCEPT;

/* Modes of a forward pass. */
#define ADN_MODE_EVALUATE 0 /* dropout is the identity; no backward afterwards */
#define ADN_MODE_TRAIN 1    /* dropout draws; keeps what backward needs */

/* Forward pass over batch_size images, 1 <= batch_size <= max_batch_size. input: [batch_size, C, H, W], input_count its
 * element count. output: [batch_size, output_count], or NULL with output_total 0 when it is not wanted. */
ADN_API adn_status adn_network_forward(float* output, uint64_t output_total, adn_network* network, const float* input,
                                       uint64_t input_count, uint64_t batch_size, int32_t mode) ADN_NOEXCEPT;

/* The same over images of a data set on the network's context: image i of the batch is image indices[i] of the set, whose
 * shape must be the network's. */
ADN_API adn_status adn_network_forward_dataset(float* output, uint64_t output_total, adn_network* network,
                                               const adn_dataset* dataset, const uint32_t* indices, uint64_t batch_size,
                                               int32_t mode) ADN_NOEXCEPT;

/* The same over images in memory of the network's device that belongs to the caller: a 4-byte aligned device pointer on
 * CUDA (of a device or managed allocation of the same device), any 4-byte aligned pointer on the CPU. The images must be there, in the
 * order of the context's stream, until the pass has run. Errors: INVALID_ARGUMENT for an address of another kind. */
ADN_API adn_status adn_network_forward_external(float* output, uint64_t output_total, adn_network* network,
                                                const float* input_external, uint64_t input_count, uint64_t batch_size,
                                                int32_t mode) ADN_NOEXCEPT;

/* Softmax cross-entropy of the last forward pass against class indices, 0 <= label < output_count, label_count its batch
 * size. The log-sum-exp is taken after the row's maximum has been subtracted; the sum over the batch is in double. */
ADN_API adn_status adn_network_loss(float* loss, adn_network* network, const int32_t* labels,
                                    uint64_t label_count) ADN_NOEXCEPT;

/* Backward pass of the last forward pass in mode TRAIN. output_gradient: [batch_size, output_count], or NULL with count 0
 * to start from the last adn_network_loss. Parameter gradients are overwritten, not added to.
 * Errors: INVALID_STATE when there is no forward pass in mode TRAIN, or no loss, to go back from. */
ADN_API adn_status adn_network_backward(adn_network* network, const float* output_gradient,
                                        uint64_t output_gradient_count) ADN_NOEXCEPT;

/* Gradient of the loss with respect to the input of the last backward pass, [batch_size, C, H, W].
 * Errors: INVALID_STATE when the network was made without input_gradient or there was no backward pass. */
ADN_API adn_status adn_network_read_input_gradient(float* data, uint64_t count,
                                                   const adn_network* network) ADN_NOEXCEPT;

/* Output of a layer in the last forward pass, [batch_size, C, H, W]. Outputs that a fused operation keeps in registers
 * are never written (adn_layer_info.has_activation is 0). Errors: UNSUPPORTED for those, INVALID_STATE before forward. */
ADN_API adn_status adn_network_read_activation(float* data, uint64_t count, const adn_network* network,
                                               uint64_t layer_index) ADN_NOEXCEPT;

/* Number of forward passes in mode TRAIN so far: with the seed it determines what dropout draws next, so setting it resumes
 * a run exactly. */
ADN_API adn_status adn_network_get_step(uint64_t* step, const adn_network* network) ADN_NOEXCEPT;
ADN_API adn_status adn_network_set_step(adn_network* network, uint64_t step) ADN_NOEXCEPT;

/* ---- Adadelta ----------------------------------------------------------------------------------------------------------------
 * torch.optim.Adadelta (Zeiler, arXiv 1212.5701), for each element, in this order:
 *   g = -g if maximize; g += weight_decay*p; v = rho*v + (1-rho)*g*g; d = sqrt(u+eps)/sqrt(v+eps)*g;
 *   u = rho*u + (1-rho)*d*d; p -= lr*d
 * with v = square_avg and u = acc_delta. v and u below the least normal number become 0 where eps is at least 2^25 times that
 * number (3.9e-31 in float32), so that averages without a gradient do not stay denormal, and slow, for ever as PyTorch's do: the
 * difference is below the rounding of v + eps and u + eps. It is computed in float64 for FLOAT64 parameters and in float32 for all others;
 * state has the type of that computation, also for 16-bit parameters. A complex number is a pair of real ones. */

typedef struct adn_adadelta adn_adadelta;

/* foreach: how a step iterates over a group's parameters. The results are the same bits. */
#define ADN_FOREACH_AUTO 0  /* None in PyTorch; takes the multi-tensor pass */
#define ADN_FOREACH_FALSE 1 /* tensor by tensor */
#define ADN_FOREACH_TRUE 2  /* all of them in one pass */

/* eps 0 and a gradient that has always been 0 make 0/0. */
#define ADN_ZERO_EPS_NAN 0    /* the parameter becomes NaN, as in PyTorch */
#define ADN_ZERO_EPS_REFUSE 1 /* options with eps 0, also after rounding to the type of a step, are refused */
#define ADN_ZERO_EPS_KEEP 2   /* the parameter stays as it is */

typedef struct adn_adadelta_options {
  uint32_t struct_size;
  int32_t maximize;    /* 0 (default) or 1 */
  double lr;           /* default 1, finite, >= 0 */
  double rho;          /* default 0.9, 0 <= rho <= 1 */
  double eps;          /* default 1e-6, finite, >= 0 */
  double weight_decay; /* default 0, finite, >= 0 */
  /* PyTorch's further parameters. */
  int32_t foreach;        /* ADN_FOREACH_*, default AUTO */
  int32_t capturable;     /* 0 (default) or 1; counts and a lr tensor are read in memory at step time either way */
  int32_t differentiable; /* 0 (default) or 1: steps are recorded for adn_adadelta_backward; not with foreach TRUE,
                             clip_value or 16-bit parameters */
  /* What PyTorch has not, all in the same pass. */
  int32_t zero_eps;       /* ADN_ZERO_EPS_*, default NAN */
  int32_t master_weights; /* 0 (default) or 1: 16-bit parameters are updated in float32 copies and take them rounded */
  uint32_t reserved;      /* must be 0 */
  double decoupled_weight_decay; /* default 0, finite, >= 0: p *= 1 - lr*decoupled_weight_decay, beside the update */
  double clip_value; /* 0 (default): none; else finite, > 0: gradients are clamped to [-clip_value, clip_value] */
  double
      average_decay; /* 0 (default): none; else < 1: average = average_decay*average + (1-average_decay)*p after each step */
} adn_adadelta_options;

ADN_API adn_status adn_adadelta_options_init(adn_adadelta_options* options, uint32_t struct_size) ADN_NOEXCEPT;

/* Known settings of lr, rho and eps. */
#define ADN_PRESET_PYTORCH 0   /* 1, 0.9, 1e-6: torch.optim.Adadelta, and this library's defaults */
#define ADN_PRESET_PAPER2012 1 /* 1, 0.95, 1e-6: Zeiler, arXiv 1212.5701, section 4.1 (MNIST), which has no lr */
#define ADN_PRESET_KERAS 2     /* 0.001, 0.95, 1e-7: keras.optimizers.Adadelta of Keras 3 */

/* As adn_adadelta_options_init, with lr, rho and eps of a preset (ADN_PRESET_*). */
ADN_API adn_status adn_adadelta_options_preset(adn_adadelta_options* options, uint32_t struct_size,
                                               int32_t preset) ADN_NOEXCEPT;

/* An optimizer without parameters. options are the defaults of its groups; NULL takes PyTorch's. */
ADN_API adn_status adn_adadelta_create(adn_adadelta** optimizer, adn_context* context,
                                       const adn_adadelta_options* options) ADN_NOEXCEPT;
ADN_API void adn_adadelta_destroy(adn_adadelta* optimizer) ADN_NOEXCEPT;

/* Adds a group of parameters with its own options (NULL: the optimizer's) and zero state. parameters[i] and gradients[i]
 * have equal shapes and types and stand on the optimizer's context; the optimizer keeps their storage alive. A gradient may be
 * NULL: its parameter is skipped until adn_adadelta_set_gradient. group may be NULL.
 * A gradient may be shared by parameters unless gradients are zeroed, but be no parameter's memory.
 * Errors: INVALID_ARGUMENT for a shape, type or context that differs, for no parameters, and for memory already in use. */
ADN_API adn_status adn_adadelta_add_group(uint64_t* group, adn_adadelta* optimizer, adn_tensor* const* parameters,
                                          adn_tensor* const* gradients, uint64_t count,
                                          const adn_adadelta_options* options) ADN_NOEXCEPT;

/* Parameters over all groups, counted in the order they were added. */
ADN_API adn_status adn_adadelta_get_parameter_count(uint64_t* count, const adn_adadelta* optimizer) ADN_NOEXCEPT;

/* Replaces the gradient of a parameter, by its place over all groups. NULL is PyTorch's None: a step skips the parameter,
 * its state and its step count. Allocates nothing. */
ADN_API adn_status adn_adadelta_set_gradient(adn_adadelta* optimizer, uint64_t index,
                                             adn_tensor* gradient) ADN_NOEXCEPT;

/* Options of a group, e.g. for a schedule on lr. Groups count from 0 in the order they were added. Turning master_weights or
 * average_decay on makes them from the parameter's present value; turning them off drops them. */
ADN_API adn_status adn_adadelta_get_group_count(uint64_t* count, const adn_adadelta* optimizer) ADN_NOEXCEPT;
ADN_API adn_status adn_adadelta_get_options(adn_adadelta_options* options, const adn_adadelta* optimizer,
                                            uint64_t group) ADN_NOEXCEPT;
ADN_API adn_status adn_adadelta_set_options(adn_adadelta* optimizer, uint64_t group,
                                            const adn_adadelta_options* options) ADN_NOEXCEPT;

/* Makes a group read its lr from memory at the time of each step: a float32 or float64 tensor of one element and any rank on
 * the optimizer's context. It overrides options.lr until it is replaced by NULL, and is not checked at the step. */
ADN_API adn_status adn_adadelta_set_lr_tensor(adn_adadelta* optimizer, uint64_t group, adn_tensor* lr) ADN_NOEXCEPT;

/* The lr that a group's next step takes, where it stands: in memory (adn_adadelta_set_lr_tensor), else in options.lr. On a
 * device, memory is read after what was given to the device before. set_lr, for schedules, takes 0 <= lr <= FLT_MAX. */
ADN_API adn_status adn_adadelta_get_lr(double* lr, const adn_adadelta* optimizer, uint64_t group) ADN_NOEXCEPT;
ADN_API adn_status adn_adadelta_set_lr(adn_adadelta* optimizer, uint64_t group, double lr) ADN_NOEXCEPT;

/* What a step does beside the update, for all groups together. In this order: a gradient is divided by gradient_scale,
 * clamped to the group's clip_value, and multiplied by min(1, clip_norm/(norm + 1e-6)), where norm is the 2-norm of all
 * gradients so far (torch.nn.utils.clip_grad_norm_), added up in an order that no number of threads changes. */
typedef struct adn_adadelta_pass_options {
  uint32_t struct_size;
  int32_t zero_gradients; /* 1: gradients are 0 after the step; 0 (default): they are not changed */
  double gradient_scale;  /* default 1, 2^-126 <= it <= 2^126: the factor that the loss was multiplied by */
  double clip_norm;       /* 0 (default): none; else finite, > 0 */
  int32_t skip_nonfinite; /* 1: an infinite or NaN gradient anywhere skips the step, its counts too; default 0 */
  uint32_t reserved;      /* must be 0 */
} adn_adadelta_pass_options;

ADN_API adn_status adn_adadelta_pass_options_init(adn_adadelta_pass_options* options,
                                                  uint32_t struct_size) ADN_NOEXCEPT;
ADN_API adn_status adn_adadelta_get_pass_options(adn_adadelta_pass_options* options,
                                                 const adn_adadelta* optimizer) ADN_NOEXCEPT;
ADN_API adn_status adn_adadelta_set_pass_options(adn_adadelta* optimizer,
                                                 const adn_adadelta_pass_options* options) ADN_NOEXCEPT;

/* Updates every parameter of every group that has a gradient, in one pass. Gradients are not changed, unless the pass
 * options zero them. */
ADN_API adn_status adn_adadelta_step(adn_adadelta* optimizer) ADN_NOEXCEPT;

typedef struct adn_adadelta_report {
  uint32_t struct_size;
  int32_t skipped; /* 1: skip_nonfinite found an infinite or NaN gradient */
  double norm;     /* of the gradients before they were clipped by it; 0 without clip_norm */
} adn_adadelta_report;

/* What the last step found; on a device it waits for the step. */
ADN_API adn_status adn_adadelta_get_report(adn_adadelta_report* report, const adn_adadelta* optimizer) ADN_NOEXCEPT;

/* State of a parameter, by its place over all groups in the order they were added: new handles on the optimizer's own
 * storage, FLOAT64 for FLOAT64 parameters, COMPLEX64 for COMPLEX64, else FLOAT32. Either may be NULL when it is not wanted. */
ADN_API adn_status adn_adadelta_get_state(adn_tensor** square_avg, adn_tensor** acc_delta,
                                          const adn_adadelta* optimizer, uint64_t index) ADN_NOEXCEPT;
/* The same for what options keep beside it: *master and *average are NULL where there is none. */
ADN_API adn_status adn_adadelta_get_weights(adn_tensor** master, adn_tensor** average, const adn_adadelta* optimizer,
                                            uint64_t index) ADN_NOEXCEPT;

/* Number of steps that a parameter took part in, PyTorch's state["step"]. */
ADN_API adn_status adn_adadelta_get_parameter_step(uint64_t* step, const adn_adadelta* optimizer,
                                                   uint64_t index) ADN_NOEXCEPT;
ADN_API adn_status adn_adadelta_set_parameter_step(adn_adadelta* optimizer, uint64_t index, uint64_t step) ADN_NOEXCEPT;
/* The largest of them, 0 without parameters; setting sets all. */
ADN_API adn_status adn_adadelta_get_step(uint64_t* step, const adn_adadelta* optimizer) ADN_NOEXCEPT;
ADN_API adn_status adn_adadelta_set_step(adn_adadelta* optimizer, uint64_t step) ADN_NOEXCEPT;

/* Derivatives of recorded steps. While options.differentiable of a group is 1, every step first copies the group's parameters,
 * gradients and state (four arrays for each step, the one case in which a step allocates). The last step comes off first.
 *
 * For each parameter over all groups: tensors of its shape and type. parameter, square_avg and acc_delta hold the gradients of
 * some function with respect to what the step wrote, and afterwards those with respect to what it read; gradient is written. Tensors of a parameter that
 * the step did not take or record may be NULL and are left alone. */
typedef struct adn_adadelta_cotangent {
  adn_tensor* parameter;
  adn_tensor* gradient;
  adn_tensor* square_avg;
  adn_tensor* acc_delta;
} adn_adadelta_cotangent;

/* Steps recorded whose derivative has not been taken yet. */
ADN_API adn_status adn_adadelta_get_tape_length(uint64_t* length, const adn_adadelta* optimizer) ADN_NOEXCEPT;
/* Takes the derivative of the last recorded step and forgets the step. To lr_gradients[group] the gradient with respect to that
 * group's lr is added;
 * cotangent_count is the number of parameters, lr_count the number of groups (NULL and 0: not wanted). To go on to the step
 * before, add to the parameters' gradients what reaches them through the loss whose gradient the step was given.
 * Errors: INVALID_STATE when nothing is recorded; INVALID_ARGUMENT for a tensor that is missing or does not fit. */
ADN_API adn_status adn_adadelta_backward(double* lr_gradients, uint64_t lr_count, adn_adadelta* optimizer,
                                         const adn_adadelta_cotangent* cotangents,
                                         uint64_t cotangent_count) ADN_NOEXCEPT;
ADN_API adn_status adn_adadelta_clear_tape(adn_adadelta* optimizer) ADN_NOEXCEPT;

/* One whole training step: forward in mode TRAIN, loss, backward, Adadelta. *loss is the loss before the update.
 * The optimizer must stand on the network's context and hold at least one of its parameters; those it does not hold stay as
 * they are. A label out of range is refused before anything has changed.
 * loss may be NULL: the call then does not wait for the device, and adn_network_read_losses gives the loss later.
 * Errors: DEVICE_ERROR, after which the step may have been taken in part. */
ADN_API adn_status adn_network_train_step(float* loss, adn_network* network, adn_adadelta* optimizer,
                                          const float* input, uint64_t input_count, const int32_t* labels,
                                          uint64_t batch_size) ADN_NOEXCEPT;

/* The same over images of a data set (see adn_network_forward_dataset), with its labels. */
ADN_API adn_status adn_network_train_step_dataset(float* loss, adn_network* network, adn_adadelta* optimizer,
                                                  const adn_dataset* dataset, const uint32_t* indices,
                                                  uint64_t batch_size) ADN_NOEXCEPT;

/* The same over images in device memory of the caller's (see adn_network_forward_external). */
ADN_API adn_status adn_network_train_step_external(float* loss, adn_network* network, adn_adadelta* optimizer,
                                                   const float* input_external, uint64_t input_count,
                                                   const int32_t* labels, uint64_t batch_size) ADN_NOEXCEPT;

/* The losses of the last count training steps of this network, the oldest first. Waits until they are there. So a program
 * that wants every loss takes N steps without waiting and then reads N losses.
 * Errors: INVALID_ARGUMENT for a count above ADN_LOSS_HISTORY or above the steps taken; DEVICE_ERROR. */
#define ADN_LOSS_HISTORY 1024
ADN_API adn_status adn_network_read_losses(float* losses, uint64_t count, const adn_network* network) ADN_NOEXCEPT;

#if defined(__cplusplus)
}
#endif

#endif /* ADADELTA_ADADELTA_H */
