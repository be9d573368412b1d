// Kinds of operation: a backend refuses one that it was not built with, when a network is made.
#pragma once

#include "adadelta/backend.h"
#include "core/error.h"

namespace adn {

inline void check_op_kind(adn_op_kind kind) {
  switch (kind) {
    case ADN_OP_CONV:
    case ADN_OP_MAXPOOL:
    case ADN_OP_AVGPOOL:
    case ADN_OP_RELU:
    case ADN_OP_DROPOUT:
      return;
  }
  fail(ADN_STATUS_UNSUPPORTED, "operation of kind %d: not known to this backend", static_cast<int>(kind));
}

}  // namespace adn
