// What this CPU and this process have.
#pragma once

#include <cstdint>

#include "cpu/kernels.h"

namespace adn::cpu {

// Whether the CPU and the operating system support an instruction set (ADN_INSTRUCTION_SET_*) that this build has.
bool has_instruction_set(int32_t instruction_set);
const char* instruction_set_name(int32_t instruction_set);
const Kernels& kernels_for(int32_t instruction_set);

// Cores this process may run on: those of its affinity, and no more than its control group's quota comes to.
uint32_t available_cores();

// The CPU's own name, e.g. "AMD EPYC"; "CPU" where the system does not tell. size includes the final 0.
void device_name(char* name, uint64_t size);

}  // namespace adn::cpu
