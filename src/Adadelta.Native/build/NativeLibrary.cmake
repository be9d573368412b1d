# What the .NET side builds with CMake. On failure ERROR_FILE says all there is to say.
#   the library, into OUTPUT: cmake -DSOURCE=… -DBUILD=… -DOUTPUT=… -DERROR_FILE=… -P NativeLibrary.cmake
#   with its tests, in BUILD: cmake -DSOURCE=… -DBUILD=… -DTESTS=ON -DERROR_FILE=… -P NativeLibrary.cmake
function(fail text)
  file(WRITE "${ERROR_FILE}" "${text}")
  message(FATAL_ERROR "${text}")
endfunction()

# One line: MSBuild would make an error of each.
function(fail_for_want_of what)
  file(READ "${CMAKE_CURRENT_LIST_DIR}/install-tools.txt" commands)
  string(REPLACE "\n" " " commands "${commands}")
  fail("${what} ${commands}")
endfunction()

if(CMAKE_VERSION VERSION_LESS 3.24)
  fail_for_want_of("CMake: ${CMAKE_VERSION}, expected 3.24 or later.")
endif()
cmake_minimum_required(VERSION 3.24)

function(run what)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(result EQUAL 0)
    return()
  endif()
  if(new_folder)
    # CMake would stay with the tools that it found, or did not find, this time.
    file(REMOVE_RECURSE "${BUILD}/CMakeCache.txt" "${BUILD}/CMakeFiles")
  endif()
  if(output MATCHES "No CMAKE_C(XX)?_COMPILER could be found|CMAKE_MAKE_PROGRAM is not set")
    fail_for_want_of("No C++ compiler or build program was found.")
  endif()
  if(output MATCHES "\n *(C\\+\\+ compiler: [^\n]+)")
    fail("${CMAKE_MATCH_1}")
  endif()
  fail("The native library could not be ${what}:\n${output}")
endfunction()

# Several dotnet processes may build the checkout at once; the second finds nothing left to do.
file(MAKE_DIRECTORY "${BUILD}")
file(LOCK "${BUILD}/dotnet.lock" TIMEOUT 3600)
file(REMOVE "${ERROR_FILE}")

set(target --target adadelta_native)
set(tests OFF)
if(TESTS)
  set(target "")
  set(tests ON)
endif()

set(configured "${BUILD}/dotnet.configured")
# GoogleTest may have been installed since the tests were last configured.
if(TESTS OR NOT EXISTS "${configured}" OR NOT EXISTS "${BUILD}/CMakeCache.txt")
  set(options "")
  # A folder that was configured by hand keeps its generator and its settings.
  if(NOT EXISTS "${BUILD}/CMakeCache.txt")
    set(new_folder TRUE)
    list(APPEND options -DCMAKE_BUILD_TYPE=Release -DADADELTA_BUILD_TESTS=${tests})
    # On Windows only a developer prompt has the compiler on the path that Ninja needs.
    find_program(ninja ninja)
    find_program(cl cl)
    if(ninja AND (cl OR NOT CMAKE_HOST_WIN32) AND NOT DEFINED ENV{CMAKE_GENERATOR})
      list(APPEND options -G Ninja)
    endif()
  endif()
  run(configured "${CMAKE_COMMAND}" -S "${SOURCE}" -B "${BUILD}" ${options})
  file(TOUCH "${configured}")
  set(new_folder FALSE)
endif()

cmake_host_system_information(RESULT cores QUERY NUMBER_OF_LOGICAL_CORES)
run(built "${CMAKE_COMMAND}" --build "${BUILD}" --config Release ${target} --parallel ${cores})
if(TESTS)
  return()
endif()

get_filename_component(name "${OUTPUT}" NAME)
foreach(folder native/Release native)
  if(EXISTS "${BUILD}/${folder}/${name}")
    get_filename_component(output_folder "${OUTPUT}" DIRECTORY)
    file(MAKE_DIRECTORY "${output_folder}")
    file(COPY_FILE "${BUILD}/${folder}/${name}" "${OUTPUT}" ONLY_IF_DIFFERENT)
    return()
  endif()
endforeach()
fail("The native build left no ${name} in ${BUILD}/native.")
