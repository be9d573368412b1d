// The backends of this process: the CPU's, which is linked in, and CUDA's, which is loaded when it is first asked for.
#pragma once

#include "adadelta/backend.h"

namespace adn {

// The backend for a device type; fails with UNSUPPORTED and the reason where it cannot be used. AUTO takes CUDA where it is
// there and a device answers, and the CPU elsewhere.
const adn_backend& find_backend(int32_t device_type);

// Why the backend of that name cannot be used: "" when it can, NULL when there is no such name. Valid until the next call on
// this thread.
const char* backend_reason(const char* name);

}  // namespace adn
