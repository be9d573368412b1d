# Faults planted into copies of the kernels, each of which the kernels' tests must catch:
#   adadelta_fault(name kernel file tests symptom before after)
# kernel: the .cu that is compiled; file: itself or a header, in which `before`, there once, becomes `after`; tests: the
# filter of those that are run; symptom: what their output must show.
set(wrong "\\[  FAILED  \\]")

adadelta_fault(MissingBarrierInBlockSum bias_gradient.cu block_sum.h BiasGradient.* "${wrong}"
[[  __syncthreads();
  T total = 0;]]
[[  T total = 0;]])
adadelta_fault(MissingBarrierBetweenTiles conv.cu conv.cu Cuda/Conv.* "${wrong}"
[[    half ^= 1;
    __syncthreads();]]
[[    half ^= 1;]])
adadelta_fault(DivergentBarrier adadelta.cu adadelta.cu CudaAdadelta.UpdatesTensorsOfEveryTypeAndLength
"its threads wait for each other at different places"
[[  __syncthreads();
  return numbers;]]
[[  if (threadIdx.x < 128) __syncthreads();
  return numbers;]])
adadelta_fault(WrongShuffleMask softmax_cross_entropy.cu block_sum.h *Softmax* "a shuffle with mask 0x0000ffff"
[[__shfl_xor_sync(kAllLanes, value, step)]]
[[__shfl_xor_sync(kAllLanes >> 16, value, step)]])
adadelta_fault(TailOneTooFar adadelta.cu adadelta.cu CudaAdadelta.UpdatesTensorsOfEveryTypeAndLength
"AddressSanitizer: (heap-buffer-overflow|use-after-poison)"
[[i < r.count; i += kThreads) {
    T w]]
[[i <= r.count; i += kThreads) {
    T w]])
adadelta_fault(TailLeftOut fill.cu fill.cu Fill.* "${wrong}"
[[i = whole * kPack + first_index(); i < count;]]
[[i = whole * kPack + first_index(); i + 1 < count;]])
adadelta_fault(MisalignedVectors bias_relu.cu bias_relu.cu ReluBackward.* "misaligned address"
[[aligned_to_16(x_gradient) && aligned_to_16(y) && aligned_to_16(y_gradient)]]
[[count != 0]])
adadelta_fault(StoreInsteadOfAtomic adadelta.cu adadelta.cu CudaAdadelta.ClipsByTheNorm "${wrong}"
[[atomicAdd(&state->ticket, 1u) ==]]
[[(state->ticket = 1u) ==]])
adadelta_fault(TicketNotReturned adadelta.cu adadelta.cu CudaAdadelta.ClipsByTheNorm "${wrong}"
[[    state->ticket = 0;
]]
[[]])
adadelta_fault(RowBeyondTheMatrix conv.cu conv.cu Cuda/Conv.* "AddressSanitizer: (heap-buffer-overflow|use-after-poison)"
[[a[i] = ka < end && m < extents.rows ?]]
[[a[i] = ka < end ?]])
adadelta_fault(WindowBeyondTheImage avg_pool.cu pool.h *Pool* "AddressSanitizer|${wrong}"
[[end < extent ? end : extent]]
[[end <= extent ? end : extent + 1]])
adadelta_fault(WrongIndexOfTheWinner max_pool.cu max_pool.cu *Pool* "${wrong}"
[[static_cast<Winner>((best_y - top) * s.kernel_x + (best_x - left))]]
[[static_cast<Winner>((best_y - top) * s.kernel_y + (best_x - left))]])
