# adadelta_warnings(target): the warnings every target of the project is clean under. They are errors with ADADELTA_WERROR.
function(adadelta_warnings target)
  if(MSVC)
    target_compile_options(${target} PRIVATE /W4 /permissive-)
  else()
    target_compile_options(
      ${target} PRIVATE -Wall -Wextra -Wpedantic -Wvla $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor>
                        $<$<COMPILE_LANGUAGE:CXX>:-Woverloaded-virtual>)
    # GCC's flow analysis reports impossible paths through inlined library code: GCC 11 always, later ones in instrumented builds.
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND (NOT ADADELTA_SANITIZER STREQUAL "" OR CMAKE_CXX_COMPILER_VERSION VERSION_LESS 12))
      target_compile_options(${target} PRIVATE -Wno-maybe-uninitialized)
    endif()
  endif()
  set_target_properties(${target} PROPERTIES COMPILE_WARNING_AS_ERROR ${ADADELTA_WERROR})
endfunction()
