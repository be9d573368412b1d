# adadelta_hardening(target): what makes an error in native code harder to exploit, for what is shipped. Sanitizers find more by
# themselves and do not go well with it. tests/native/check_hardening.cmake looks at the result.
function(adadelta_hardening target)
  if(NOT ADADELTA_SANITIZER STREQUAL "" OR MSVC)
    return()
  endif()
  get_target_property(type ${target} TYPE)
  foreach(language C CXX)
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:${language}>:-fstack-protector-strong>)
    # Distributions define it themselves, to other values; without optimization glibc warns of it.
    target_compile_options(
      ${target}
      PRIVATE
        "$<$<AND:$<COMPILE_LANGUAGE:${language}>,$<CONFIG:Release,RelWithDebInfo,MinSizeRel>>:-U_FORTIFY_SOURCE;-D_FORTIFY_SOURCE=2>")
  endforeach()
  if(type STREQUAL "SHARED_LIBRARY" AND CMAKE_SYSTEM_NAME STREQUAL "Linux")
    target_link_options(${target} PRIVATE LINKER:-z,relro LINKER:-z,now LINKER:-z,noexecstack)
  endif()
endfunction()
