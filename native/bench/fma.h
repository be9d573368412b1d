// What the machine can do at most: fused multiply-adds that touch no memory.
#pragma once

#include <cstdint>

namespace bench {

// Runs chains of multiply-adds in registers, as long as `repeats` says, with the instructions of an ADN_INSTRUCTION_SET_*.
// Returns the floating-point operations done. The baseline, which has no fused ones, multiplies and adds.
double run_fma(int32_t instruction_set, int64_t repeats);

}  // namespace bench
