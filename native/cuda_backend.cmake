# adadelta_native_cuda: the CUDA backend, which the library loads at run time. It has the kernels (adadelta_cuda_kernels) and,
# of the core, what a backend needs of its own: error messages and the opening of libraries.
add_library(
  adadelta_native_cuda SHARED
  src/core/error.cpp
  src/core/library.cpp
  src/core/library_file.cpp
  src/cuda/backend.cpp
  src/cuda/cublas.cpp
  src/cuda/cudnn.cpp
  src/cuda/device.cpp
  src/cuda/network.cpp
  src/cuda/optimizer.cpp
  src/cuda/primary_context.cpp
  src/cuda/products.cpp
  src/cuda/vendor_library.cpp
  $<TARGET_OBJECTS:adadelta_cuda_kernels>)
target_include_directories(adadelta_native_cuda PRIVATE include src)
# The oldest GPU that the kernels are compiled for; the simulator calls itself one of 7.0.
set(least_architecture 70)
if(NOT ADADELTA_CUDASIM)
  string(REGEX MATCHALL "[0-9]+" architectures "${CMAKE_CUDA_ARCHITECTURES}")
  list(SORT architectures COMPARE NATURAL)
  list(GET architectures 0 least_architecture)
endif()
target_compile_definitions(adadelta_native_cuda PRIVATE ADN_BUILDING_LIBRARY
                                                        ADN_CUDA_LEAST_ARCHITECTURE=${least_architecture})
target_link_libraries(adadelta_native_cuda PRIVATE Threads::Threads ${CMAKE_DL_LIBS})
set_target_properties(adadelta_native_cuda PROPERTIES LINKER_LANGUAGE CXX CXX_VISIBILITY_PRESET hidden
                                                      VISIBILITY_INLINES_HIDDEN ON)
adadelta_warnings(adadelta_native_cuda)
adadelta_hardening(adadelta_native_cuda)
if(ADADELTA_CUDASIM)
  # Beside the simulator and not beside the library, which would take it for a real one.
  set_target_properties(adadelta_native_cuda PROPERTIES LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/cudasim")
  target_link_libraries(adadelta_native_cuda PRIVATE adadelta_cudart)
  # NVIDIA's own libraries must not be found: they know nothing of the simulator.
  target_compile_definitions(adadelta_native_cuda PRIVATE ADN_CUDA_LIBRARY_PATH="${CMAKE_BINARY_DIR}/cudasim/libraries")
else()
  # The runtime is part of it, so that it starts on every machine and asks the driver only then.
  find_package(CUDAToolkit REQUIRED)
  target_link_libraries(adadelta_native_cuda PRIVATE CUDA::cudart_static)
  target_sources(adadelta_native_cuda PRIVATE src/cuda/vendor_check.cpp)
  set_target_properties(adadelta_native_cuda PROPERTIES CUDA_RUNTIME_LIBRARY None CUDA_STANDARD 17)
  add_custom_target(cuda DEPENDS adadelta_native_cuda)
endif()
if(CMAKE_SYSTEM_NAME STREQUAL "Linux")
  target_link_options(adadelta_native_cuda PRIVATE "LINKER:--version-script=${PROJECT_SOURCE_DIR}/cmake/exports.map"
                      LINKER:--gc-sections)
  set_target_properties(adadelta_native_cuda PROPERTIES LINK_DEPENDS "${PROJECT_SOURCE_DIR}/cmake/exports.map")
  if(ADADELTA_SANITIZER STREQUAL "")
    target_link_options(adadelta_native_cuda PRIVATE LINKER:--no-undefined -static-libstdc++ -static-libgcc)
  endif()
endif()
