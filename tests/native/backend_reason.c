/* Prints why CUDA cannot be used here; fails when it can, or when the answer and adn_context_create disagree. */
#include <stdio.h>
#include <string.h>

#include "adadelta/adadelta.h"

int main(void) {
  const char* reason = NULL;
  adn_context* context = NULL;
  adn_context_options options;
  adn_context_info info;
  if (adn_backend_reason(&reason, "cuda") != ADN_STATUS_OK || reason[0] == '\0') {
    printf("a backend was loaded: %s\n", adn_last_error());
    return 1;
  }
  if (adn_context_options_init(&options, sizeof options) != ADN_STATUS_OK) return 1;
  options.device_type = ADN_DEVICE_CUDA;
  if (adn_context_create(&context, &options) != ADN_STATUS_UNSUPPORTED || strstr(adn_last_error(), reason) == NULL) {
    printf("unsupported was expected with the same reason: %s\n", adn_last_error());
    return 1;
  }
  options.device_type = ADN_DEVICE_AUTO;
  info.struct_size = sizeof info;
  if (adn_context_create(&context, &options) != ADN_STATUS_OK ||
      adn_context_get_info(&info, context) != ADN_STATUS_OK || info.device_type != ADN_DEVICE_CPU) {
    printf("AUTO was expected to take the CPU: %s\n", adn_last_error());
    return 1;
  }
  adn_context_destroy(context);
  printf("%s\n", reason);
  return 0;
}
