/* A backend of another release: the loader must refuse it before it uses anything else in the table. */
#include "adadelta/backend.h"

const adn_backend* adn_backend_get(void) {
  static adn_backend backend;
  backend.backend_version = 4711;
  return &backend;
}
