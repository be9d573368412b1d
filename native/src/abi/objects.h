// The opaque structs of the C ABI that more than one file of it opens.
#pragma once

#include "core/network.h"

struct adn_adadelta {
  adn::Adadelta impl;
};

struct adn_network {
  adn::Network impl;
};
