// The opaque structs of the C ABI that more than one file of it opens.
#pragma once

#include "core/network.h"

struct adn_adadelta {
  adn_adadelta(std::shared_ptr<adn::Context> context, const adn_adadelta_options& defaults)
      : impl(std::move(context), defaults) {}
  adn::Adadelta impl;
};

struct adn_dataset {
  adn::Dataset impl;
};

struct adn_network {
  template <class... Arguments>
  explicit adn_network(Arguments&&... arguments) : impl(std::forward<Arguments>(arguments)...) {}
  adn::Network impl;
};
