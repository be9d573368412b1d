/*
 * The interface between the core and a device backend: one table of C functions. The CPU backend is linked into the core;
 * others are shared libraries that export adn_backend_get.
 *
 * A backend gets a plan (a flat list of operations on numbered values) and executes it. It alone knows layouts, tiles,
 * streams and threads: the core hands it shapes and reads tensors back in row-major order through its functions.
 * Functions return an adn_status and leave a message for last_error; they never throw. Memory is zeroed when allocated.
 */
#ifndef ADADELTA_BACKEND_H
#define ADADELTA_BACKEND_H

#include <stdint.h>

#include "adadelta/adadelta.h"

#define ADN_BACKEND_VERSION 1u

/* Kinds of operation. CONV is Conv2d and Linear: a Linear layer on C x H x W is a convolution whose kernel is H x W, so
 * its weight [out, C*H*W] is the same memory as [out, C, H, W]. Flatten is no operation at all. */
#define ADN_OP_CONV 1
#define ADN_OP_MAXPOOL 2
#define ADN_OP_AVGPOOL 3
#define ADN_OP_RELU 4
#define ADN_OP_DROPOUT 5

typedef struct adn_op {
  int32_t kind;
  int32_t weight;         /* CONV: parameter index */
  int32_t bias;           /* CONV: parameter index, or -1 */
  uint32_t layer;         /* index of the layer the op begins with; the stream of DROPOUT's random numbers */
  uint64_t in_shape[3];   /* channels, height, width of an image */
  uint64_t conv_shape[3]; /* CONV: shape before the epilogue; elsewhere out_shape */
  uint64_t out_shape[3];
  uint64_t kernel[2]; /* CONV and pools: height, width, here and below */
  uint64_t stride[2];
  uint64_t padding[2];
  uint64_t dilation[2];
  /* CONV's epilogue, in this order: bias, ReLU, max-pool without padding and with stride >= kernel, ReLU. */
  int32_t relu_before_pool;
  int32_t relu;
  uint64_t pool_kernel[2]; /* 0: no pool */
  uint64_t pool_stride[2];
  float probability; /* DROPOUT */
  uint32_t reserved;
} adn_op;

/* Op i reads value i and writes value i + 1. Offsets are in floats into the arena. */
typedef struct adn_plan {
  const adn_op* ops;
  uint64_t op_count;
  const uint64_t* value_offsets;    /* op_count + 1: activations, max_batch_size images each */
  const uint64_t* gradient_offsets; /* op_count + 1: gradients of the values; neighbours never share memory */
  uint64_t arena_floats;
  const uint64_t* parameter_offsets; /* in floats, into the parameters and, alike, the gradients */
  uint64_t parameter_count;
  uint64_t max_batch_size;
  uint64_t seed;
  int32_t reduction;
  int32_t input_gradient;
} adn_plan;

/* Storage of a network: everything a pass reads and writes. */
typedef struct adn_network_memory {
  float* arena;
  const float* parameters;
  float* gradients;
  uint64_t parameter_version; /* changes whenever a parameter does, so that packed copies can be kept */
} adn_network_memory;

/* One run of elements of an Adadelta step. */
typedef struct adn_adadelta_piece {
  float* p;
  const float* g;
  float* v; /* square_avg */
  float* u; /* acc_delta */
  uint64_t count;
  uint64_t start; /* elements in the pieces before this one */
  uint64_t group; /* index into the options */
} adn_adadelta_piece;

typedef struct adn_backend {
  uint32_t backend_version; /* ADN_BACKEND_VERSION */
  int32_t device_type;
  const char* name;

  /* Message of the last failed call on this thread. */
  const char* (*last_error)(void);
  /* Why this backend cannot be used here, "" when it can. */
  const char* (*reason)(void);

  adn_status (*device_create)(void** device, const adn_context_options* options);
  void (*device_destroy)(void* device);
  adn_status (*device_info)(adn_context_info* info, void* device);

  adn_status (*allocate)(void** memory, void* device, uint64_t bytes);
  void (*release)(void* device, void* memory);
  adn_status (*read)(float* host, void* device, const float* memory, uint64_t count);
  adn_status (*write)(void* device, float* memory, const float* host, uint64_t count);
  adn_status (*fill)(void* device, float* memory, float value, uint64_t count);

  /* A network's own memory (packed weights, partial sums) is made here; *bytes is its size. */
  adn_status (*network_create)(void** network, uint64_t* bytes, void* device, const adn_plan* plan);
  void (*network_destroy)(void* network);
  adn_status (*network_forward)(void* network, const adn_network_memory* memory, const float* input,
                                uint64_t batch_size, int32_t mode, uint64_t step);
  /* Values and their gradients, as [batch_size, C, H, W] in host memory. */
  adn_status (*network_read_value)(float* host, void* network, const adn_network_memory* memory, uint64_t value,
                                   uint64_t batch_size);
  adn_status (*network_read_gradient)(float* host, void* network, const adn_network_memory* memory, uint64_t value,
                                      uint64_t batch_size);
  /* Loss of the last forward pass; leaves the gradient of the last value. Labels have been validated. */
  adn_status (*network_loss)(float* loss, void* network, const adn_network_memory* memory, const int32_t* labels,
                             uint64_t batch_size);
  /* output_gradient NULL: the one network_loss has left. */
  adn_status (*network_backward)(void* network, const adn_network_memory* memory, const float* output_gradient,
                                 uint64_t batch_size, uint64_t step);

  adn_status (*adadelta_step)(void* device, const adn_adadelta_piece* pieces, uint64_t piece_count,
                              const adn_adadelta_options* options);
} adn_backend;

#endif /* ADADELTA_BACKEND_H */
