// The CPU backend's table for the core.
#pragma once

#include "adadelta/backend.h"

namespace adn {

const adn_backend& cpu_backend();

}  // namespace adn
