/* The header as a C99 program takes it: compiled with -Wall -Wextra -Wpedantic -Werror, trained for a few steps. */
#include <stdio.h>
#include <string.h>

#include "adadelta/adadelta.h"

#define CHECK(call)                                                         \
  do {                                                                      \
    if ((call) != ADN_STATUS_OK) {                                          \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, adn_last_error()); \
      return 1;                                                             \
    }                                                                       \
  } while (0)

int main(void) {
  enum { batch = 4, pixels = 6 * 6, layer_count = 5 };
  adn_context_options context_options;
  adn_network_options network_options;
  adn_adadelta_options options;
  adn_layer layers[layer_count];
  const int32_t kinds[layer_count] = {ADN_LAYER_CONV2D, ADN_LAYER_MAXPOOL2D, ADN_LAYER_RELU, ADN_LAYER_FLATTEN,
                                      ADN_LAYER_LINEAR};
  adn_context* context = NULL;
  adn_network* network = NULL;
  adn_adadelta* optimizer = NULL;
  float images[batch * pixels];
  const int32_t labels[batch] = {0, 1, 2, 0};
  float first = 0, last = 0;
  uint64_t i;

  if (adn_abi_version() != ADN_ABI_VERSION) {
    fprintf(stderr, "ABI version %u, expected %u\n", (unsigned)adn_abi_version(), (unsigned)ADN_ABI_VERSION);
    return 1;
  }
  for (i = 0; i < batch * pixels; ++i) {
    images[i] = (float)(i * 7 % 11) / 11.0f;
  }

  CHECK(adn_context_options_init(&context_options, sizeof context_options));
  context_options.device_type = ADN_DEVICE_CPU;
  CHECK(adn_context_create(&context, &context_options));
  for (i = 0; i < layer_count; ++i) {
    CHECK(adn_layer_init(&layers[i], sizeof layers[i], kinds[i]));
  }
  layers[0].out_features = 4;
  layers[0].kernel[0] = layers[0].kernel[1] = 3;
  layers[1].kernel[0] = layers[1].kernel[1] = 2;
  layers[4].out_features = 3;
  CHECK(adn_network_options_init(&network_options, sizeof network_options));
  network_options.input_shape[0] = 1;
  network_options.input_shape[1] = network_options.input_shape[2] = 6;
  network_options.max_batch_size = batch;
  CHECK(adn_network_create(&network, context, layers, layer_count, &network_options));

  CHECK(adn_adadelta_options_init(&options, sizeof options));
  CHECK(adn_adadelta_create(&optimizer, context, &options));
  for (i = 0; i < 4; ++i) {
    adn_tensor* value = NULL;
    adn_tensor* gradient = NULL;
    const char* name = NULL;
    adn_tensor* parameters[1];
    adn_tensor* gradients[1];
    CHECK(adn_network_get_parameter(&value, &gradient, &name, network, i));
    parameters[0] = value;
    gradients[0] = gradient;
    CHECK(adn_adadelta_add_group(NULL, optimizer, parameters, gradients, 1, NULL));
    adn_tensor_destroy(value);
    adn_tensor_destroy(gradient);
  }

  for (i = 0; i < 100; ++i) {
    CHECK(adn_network_train_step(&last, network, optimizer, images, batch * pixels, labels, batch));
    if (i == 0) {
      first = last;
    }
  }
  if (!(last < first)) {
    fprintf(stderr, "loss %g after 100 steps, %g before\n", (double)last, (double)first);
    return 1;
  }

  if (adn_network_loss(NULL, network, labels, batch) != ADN_STATUS_INVALID_ARGUMENT ||
      strstr(adn_last_error(), "loss") == NULL) {
    fprintf(stderr, "NULL for a result was not refused by name: %s\n", adn_last_error());
    return 1;
  }
  adn_context_destroy(context);
  adn_adadelta_destroy(optimizer);
  adn_network_destroy(network);
  printf("adadelta_native %s from C99: loss %g, then %g\n", adn_version(), (double)first, (double)last);
  return 0;
}
