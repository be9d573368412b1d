# cmake -DSCRIPT=…/NativeLibrary.cmake -DSOURCE=… -DFOLDER=… -DCXX_COMPILER=… -DOLD_FLAGS=… -P check_dotnet_build.cmake
#
# Runs the script by which dotnet build builds the native library where a tool is missing or too old, and looks at the error that
# it leaves: one line that names what was found, what was expected, and the command that helps.
function(expect what script expected)
  set(folder "${FOLDER}/${what}")
  file(REMOVE_RECURSE "${folder}")
  file(MAKE_DIRECTORY "${folder}")
  execute_process(
    COMMAND ${CMAKE_COMMAND} -E env ${ARGN} ${CMAKE_COMMAND} -DSOURCE=${SOURCE} -DBUILD=${folder} -DOUTPUT=${folder}/library
            -DERROR_FILE=${folder}/error.txt -P ${script}
    OUTPUT_VARIABLE output
    ERROR_VARIABLE output
    RESULT_VARIABLE result)
  if(result EQUAL 0)
    message(SEND_ERROR "${what}: it did not fail")
    return()
  endif()
  set(error "")
  if(EXISTS "${folder}/error.txt")
    file(READ "${folder}/error.txt" error)
  endif()
  string(STRIP "${error}" error)
  if(NOT error MATCHES "${expected}.*apt-get install" OR error MATCHES "\n")
    message(SEND_ERROR "${what}: ${error}\n${output}")
  endif()
endfunction()

# This CMake, seen by a script that expects a later one.
get_filename_component(scripts "${SCRIPT}" DIRECTORY)
file(REMOVE_RECURSE "${FOLDER}/later")
file(COPY "${scripts}/" DESTINATION "${FOLDER}/later")
file(READ "${SCRIPT}" text)
string(REPLACE "VERSION_LESS 3.24)" "VERSION_LESS 9999)" later "${text}")
if(later STREQUAL text)
  message(FATAL_ERROR "${SCRIPT} does not look at the version of CMake any more")
endif()
file(WRITE "${FOLDER}/later/NativeLibrary.cmake" "${later}")
expect(OldCMake "${FOLDER}/later/NativeLibrary.cmake" "^CMake: ${CMAKE_VERSION}, expected 3.24 or later\\.")

expect(NoCompiler "${SCRIPT}" "^No C\\+\\+ compiler or build program was found\\." PATH=/nowhere --unset=CC --unset=CXX
       --unset=CMAKE_GENERATOR)
if(OLD_FLAGS)
  expect(OldCompiler "${SCRIPT}" "^C\\+\\+ compiler: [A-Za-z]+ [0-9.]+, expected [A-Za-z]+ [0-9]+ or later\\."
         "CXX=${CXX_COMPILER}" "CXXFLAGS=${OLD_FLAGS}")
endif()
