/*
 * The interface between the core and a device backend: one table of C functions. The CPU backend is linked into the core;
 * others are shared libraries that export adn_backend_get. Core and backend are built together: a table of another
 * ADN_BACKEND_VERSION is refused when it is loaded.
 *
 * A backend gets a plan (a flat list of operations on numbered values) and executes it. It alone knows layouts, tiles,
 * streams and threads: the core hands it shapes and reads tensors back in row-major order through its functions.
 * Functions return an adn_status and leave a message for last_error; they never throw. Memory is zeroed when allocated.
 */
#ifndef ADADELTA_BACKEND_H
#define ADADELTA_BACKEND_H

#include <stdint.h>

#include "adadelta/adadelta.h"

#define ADN_BACKEND_VERSION 4u

/* Kinds of operation. CONV is Conv2d and Linear: a Linear layer on C x H x W is a convolution whose kernel is H x W, so
 * its weight [out, C*H*W] is the same memory as [out, C, H, W]. Flatten is no operation at all. */
typedef enum adn_op_kind {
  ADN_OP_CONV = 1,
  ADN_OP_MAXPOOL = 2,
  ADN_OP_AVGPOOL = 3,
  ADN_OP_RELU = 4,
  ADN_OP_DROPOUT = 5
} adn_op_kind;

typedef struct adn_op {
  adn_op_kind kind;
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
  int32_t inference; /* 1: only forward passes in mode EVALUATE follow, and gradients have no memory */
  uint32_t reserved;
} adn_plan;

/* Storage of a network: everything a pass reads and writes. */
typedef struct adn_network_memory {
  float* arena;
  const float* parameters;
  float* gradients;
  uint64_t parameter_version; /* changes whenever a parameter does, so that packed copies can be kept */
} adn_network_memory;

/* ---- Adadelta: what one fused step does ------------------------------------------------------------------------------
 * The arithmetic of an element is core/adadelta_formula.h. Pieces, groups and pass are plain data, ready to be copied to a
 * device; every pointer in them is to the device's memory.
 *
 * The types of memory, by the piece's dtype (which is never COMPLEX64: that is a FLOAT32 piece of twice as many elements):
 *   p and g          dtype
 *   v, u, average    FLOAT64 for FLOAT64, else FLOAT32: the type the step computes in
 *   master           FLOAT32; only with FLOAT16 and BFLOAT16 */

typedef struct adn_adadelta_piece {
  void* p;
  void* g;        /* NULL: the piece is skipped, its step count too. Written only with zero_gradients. */
  void* v;        /* square_avg */
  void* u;        /* acc_delta */
  void* master;   /* the weights in full: they are updated, and p takes them rounded; NULL: p itself is updated */
  void* average;  /* exponential moving average of the updated weights; NULL: none is kept */
  uint64_t* step; /* number of steps taken; one is added */
  uint64_t count; /* elements, >= 1; may exceed 2^32 */
  uint64_t start; /* elements in the pieces before this one */
  uint32_t group; /* index into the pass's groups */
  int32_t dtype;  /* ADN_DTYPE_* */
} adn_adadelta_piece;

typedef struct adn_adadelta_group {
  double lr;
  double rho;
  double eps;
  double weight_decay;           /* L2: added to the gradient; 0: p stays out of it */
  double decoupled_weight_decay; /* p *= 1 - lr * this, beside the update */
  double clip_value;             /* > 0, infinity for none */
  double average_decay;
  const void* lr_memory; /* one element that holds lr at the time of the step; NULL: lr above counts */
  int32_t lr_dtype;      /* of lr_memory: FLOAT32 or FLOAT64 */
  int32_t maximize;
  int32_t keep_zero;        /* 1: an element with sqrt(v + eps) = 0 keeps its p; 0: it gets NaN, as in PyTorch */
  int32_t tensor_by_tensor; /* 1: each piece is a pass of its own (foreach false); the results are the same bits */
} adn_adadelta_group;

/* In this order: a gradient is divided by gradient_scale (multiplied by its reciprocal), clamped to +-clip_value, multiplied
 * by min(1, clip_norm / (norm + 1e-6)), where the norm is that of all gradients so far in the order of the pieces. With
 * skip_nonfinite and an infinite or NaN gradient anywhere (before all of this), nothing is updated or counted; gradients are
 * zeroed all the same where that is asked for. */
typedef struct adn_adadelta_pass {
  const adn_adadelta_group* groups; /* host memory */
  uint64_t group_count;
  double gradient_scale; /* finite, > 0; 1: none */
  double clip_norm;      /* > 0, infinity for none */
  int32_t skip_nonfinite;
  int32_t zero_gradients;
} adn_adadelta_pass;

typedef struct adn_adadelta_result {
  double norm; /* after unscaling and clipping by value, before clipping by norm; 0 where no clip_norm was given */
  int32_t nonfinite; /* 1: skip_nonfinite found one, and the step was skipped */
  uint32_t reserved;
} adn_adadelta_result;

/* The derivative of one parameter's step: from the gradients with respect to what the step wrote to those with respect to what it
 * read. */
typedef struct adn_adadelta_vjp {
  const void *p, *g, *v, *u;   /* as the step found them; dtype */
  void *p_bar, *v_bar, *u_bar; /* in: with respect to the new p, v and u; out: to the old ones; dtype */
  void* g_bar;                 /* out */
  uint64_t count;
  int32_t dtype; /* FLOAT32 or FLOAT64 */
  uint32_t reserved;
} adn_adadelta_vjp;

/* The images of a pass, from one of three places, and their labels in a training step. What comes from the caller has been
 * checked: counts, labels, places. */
typedef struct adn_batch {
  uint64_t count;
  const float* input; /* [count, C, H, W] in host memory, or on the device where external is 1 */
  int32_t external;   /* input is the device's own address, used in the order of the stream */
  uint32_t reserved;
  const int32_t* labels;   /* [count] in host memory; NULL in a forward pass */
  const void* dataset;     /* from dataset_create; then input is NULL */
  const uint32_t* indices; /* [count] in host memory: places in the data set */
} adn_batch;

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
  adn_status (*read)(void* host, void* device, const void* memory, uint64_t bytes);
  adn_status (*write)(void* device, void* memory, const void* host, uint64_t bytes);
  adn_status (*copy)(void* device, void* to, const void* from, uint64_t bytes);
  /* Repeats an element of 2, 4 or 8 bytes, which is in host memory. */
  adn_status (*fill)(void* device, void* memory, const void* element, uint64_t element_bytes, uint64_t count);
  /* Whether memory of the caller's own can be used by the device; the message says why not. */
  adn_status (*check_external)(void* device, const void* memory, uint64_t bytes);

  /* A network's own memory (packed weights, partial sums) is made here; *bytes is its size. */
  adn_status (*network_create)(void** network, uint64_t* bytes, void* device, const adn_plan* plan);
  void (*network_destroy)(void* network);
  adn_status (*network_forward)(void* network, const adn_network_memory* memory, const adn_batch* batch, int32_t mode,
                                uint64_t step);
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

  /* An optimizer's own memory: tables of the pieces, partial sums. */
  adn_status (*adadelta_create)(void** optimizer, void* device);
  void (*adadelta_destroy)(void* optimizer);
  /* Takes the pieces (host memory, which stays as it is until the next call). All allocation is done here and none in a
   * step. On failure the former pieces stay in use. */
  adn_status (*adadelta_prepare)(void* optimizer, const adn_adadelta_piece* pieces, uint64_t piece_count,
                                 uint64_t group_count);
  adn_status (*adadelta_step)(void* optimizer, const adn_adadelta_pass* pass);
  /* Of the last step; waits for it where steps are asynchronous. Zeros before the first. */
  adn_status (*adadelta_result)(adn_adadelta_result* result, void* optimizer);
  /* Adds to *lr_bar (host memory) the gradient with respect to lr. Of the group, lr (not lr_memory), rho, eps, weight_decay,
   * decoupled_weight_decay, maximize and keep_zero count. */
  adn_status (*adadelta_vjp)(double* lr_bar, void* device, const adn_adadelta_vjp* vjp,
                             const adn_adadelta_group* group);

  /* Images as bytes kept on the device, [count][image_size] in row-major order in host memory. A network takes
   * byte / 255.0f. external 1: the pixels stay where they are until dataset_destroy, so that a device which reads host memory
   * need not copy them. */
  adn_status (*dataset_create)(void** dataset, void* device, const uint8_t* pixels, uint64_t count, uint64_t image_size,
                               int32_t external);
  void (*dataset_destroy)(void* dataset);

  /* NULL in a backend that has always finished when a call returns: waits for everything given to it so far. */
  adn_status (*synchronize)(void* device);

  /* One training step as a unit: forward in mode TRAIN, loss, backward, Adadelta (left out where optimizer is NULL). NULL
   * in a backend without one: the core then calls the four in turn. loss may be NULL: the step then need not have finished when the call returns, and its loss
   * is read later. On failure the parameters and the state of the optimizer are those before the step, or the device is
   * lost, and every later call on it fails. */
  adn_status (*network_train_step)(float* loss, void* network, const adn_network_memory* memory, const adn_batch* batch,
                                   uint64_t step, void* optimizer, const adn_adadelta_pass* pass);
  /* Losses of the last count calls of network_train_step, the oldest first; count <= ADN_LOSS_HISTORY. NULL where
   * network_train_step is NULL or always gives the loss, which the core then keeps itself. */
  adn_status (*network_read_losses)(float* losses, void* network, uint64_t count);
} adn_backend;

#if defined(__cplusplus)
extern "C" {
#endif
/* What a backend's shared library exports. The table is static. */
ADN_API const adn_backend* adn_backend_get(void) ADN_NOEXCEPT;
#if defined(__cplusplus)
}
#endif

#endif /* ADADELTA_BACKEND_H */
