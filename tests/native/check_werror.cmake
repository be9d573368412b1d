# cmake -DSOURCE=… -DFOLDER=… -DGENERATOR=… -DC_COMPILER=… -DCXX_COMPILER=… -P check_werror.cmake
#
# A newer compiler warns of more: that must not stop those who build from source, and must not go unseen in CI.
function(expect what expected)
  execute_process(
    COMMAND ${CMAKE_COMMAND} -E env ${ARGN} ${CMAKE_COMMAND} -S ${SOURCE} -B ${FOLDER}/${what} -G ${GENERATOR} -DADADELTA_BUILD_TESTS=OFF
            -DCMAKE_C_COMPILER=${C_COMPILER} -DCMAKE_CXX_COMPILER=${CXX_COMPILER}
    OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
  file(READ "${FOLDER}/${what}/compile_commands.json" commands)
  string(REGEX MATCHALL "\"command\"[^\n]*" commands "${commands}")
  foreach(command IN LISTS commands)
    set(found OFF)
    if(command MATCHES " -Werror|/WX")
      set(found ON)
    endif()
    if(NOT found STREQUAL expected)
      message(SEND_ERROR "${what}: warnings as errors: ${found}, expected ${expected}: ${command}")
    endif()
  endforeach()
  if(commands STREQUAL "")
    message(SEND_ERROR "${what}: no commands")
  endif()
endfunction()

file(REMOVE_RECURSE "${FOLDER}")
expect(plain OFF --unset=ADADELTA_WERROR)
expect(asked ON ADADELTA_WERROR=true)
