# adadelta_cuda_kernels: the kernels of src/cuda as objects. ADADELTA_CUDA compiles them with nvcc; ADADELTA_CUDASIM compiles the
# same files as C++17 against the simulator's headers.
set(cuda_kernel_sources
    src/cuda/adadelta.cu
    src/cuda/adadelta_vjp.cu
    src/cuda/avg_pool.cu
    src/cuda/bias_gradient.cu
    src/cuda/bias_relu.cu
    src/cuda/conv.cu
    src/cuda/dropout.cu
    src/cuda/fill.cu
    src/cuda/gather.cu
    src/cuda/max_pool.cu
    src/cuda/softmax_cross_entropy.cu)

if(ADADELTA_CUDA AND ADADELTA_CUDASIM)
  message(FATAL_ERROR "ADADELTA_CUDA and ADADELTA_CUDASIM: both ON, expected one: they compile the same files in two ways")
endif()

if(ADADELTA_CUDASIM)
  add_library(adadelta_cuda_kernels OBJECT ${cuda_kernel_sources})
  set_source_files_properties(${cuda_kernel_sources} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS -xc++)
  # For files compiled so, the simulator's headers stand where CUDA's would.
  target_include_directories(adadelta_cuda_kernels PRIVATE include src ${PROJECT_SOURCE_DIR}/tests/native/cudasim/include)
  target_compile_options(adadelta_cuda_kernels PRIVATE -Wno-unknown-pragmas -O1 -ffp-contract=off)
  set_target_properties(adadelta_cuda_kernels PROPERTIES CXX_STANDARD 17)
  adadelta_warnings(adadelta_cuda_kernels)
  return()
endif()

# Volta, Ampere and Hopper as machine code; Hopper's PTX is kept too, from which later drivers compile for later devices.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES "70-real;80-real;90")
endif()
if(NOT DEFINED CMAKE_CUDA_RUNTIME_LIBRARY)
  set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
endif()
enable_language(CUDA)
if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 11.8)
  message(FATAL_ERROR "nvcc: ${CMAKE_CUDA_COMPILER_VERSION}, expected 11.8 or later")
endif()
# CUDA 13 has left Volta behind.
if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 13 AND CMAKE_CUDA_ARCHITECTURES STREQUAL "70-real;80-real;90")
  set(CMAKE_CUDA_ARCHITECTURES "80-real;90")
endif()

add_library(adadelta_cuda_kernels OBJECT ${cuda_kernel_sources})
target_include_directories(adadelta_cuda_kernels PRIVATE include src)
set_target_properties(
  adadelta_cuda_kernels PROPERTIES CUDA_STANDARD 17 CUDA_STANDARD_REQUIRED ON CUDA_VISIBILITY_PRESET hidden
                                   VISIBILITY_INLINES_HIDDEN ON)
# -Wpedantic is out of the question: nvcc's own stubs are not clean.
target_compile_options(adadelta_cuda_kernels PRIVATE -Xcompiler=-Wall,-Wextra,-fstack-protector-strong)
if(ADADELTA_WERROR)
  target_compile_options(adadelta_cuda_kernels PRIVATE --Werror all-warnings -Xcompiler=-Werror)
endif()
# Only the matrix products may fuse a multiplication with an addition: everything else gives the CPU's bits.
set(exact_sources ${cuda_kernel_sources})
list(REMOVE_ITEM exact_sources src/cuda/conv.cu)
set_source_files_properties(${exact_sources} PROPERTIES COMPILE_OPTIONS --fmad=false)
