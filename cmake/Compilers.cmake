# A compiler that cannot build the kernels says so at length and without a remedy; this is said first, in one line.
# CMake leaves lines alone that begin with a space.
function(adadelta_compiler_error found expected)
  message(FATAL_ERROR " C++ compiler: ${found}, expected ${expected}. Install one and name it in CXX: "
                      "[Debian, Ubuntu] sudo apt-get install -y g++-12 && export CC=gcc-12 CXX=g++-12 "
                      "[Fedora] sudo dnf install -y gcc-c++ [macOS] xcode-select --install "
                      "[Windows] winget install Microsoft.VisualStudio.2022.BuildTools --override \"--passive --add "
                      "Microsoft.VisualStudio.Workload.VCTools --add Microsoft.VisualStudio.Component.VC.Llvm.Clang --add "
                      "Microsoft.VisualStudio.Component.VC.Llvm.ClangToolset\" && set CMAKE_GENERATOR_TOOLSET=ClangCL")
endfunction()

set(least_GNU 11)
set(least_Clang 14)
set(least_AppleClang 14)
if(CMAKE_CXX_COMPILER_ID STREQUAL "MSVC")
  adadelta_compiler_error("MSVC ${CMAKE_CXX_COMPILER_VERSION}" "Clang 14 or later: the kernels use the vectors of GCC and Clang")
elseif(DEFINED least_${CMAKE_CXX_COMPILER_ID} AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS least_${CMAKE_CXX_COMPILER_ID})
  adadelta_compiler_error("${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}"
                          "${CMAKE_CXX_COMPILER_ID} ${least_${CMAKE_CXX_COMPILER_ID}} or later")
endif()
