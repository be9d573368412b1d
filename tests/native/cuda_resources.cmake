# Compares what each kernel takes of a GPU with the checked-in table, or writes the table:
#   cmake -DCUOBJDUMP=... -DCUXXFILT=... -DCOMPILER=version -DTABLE=file [-DWRITE=ON] -P cuda_resources.cmake objects...
set(objects "")
set(script_seen OFF)
math(EXPR last "${CMAKE_ARGC} - 1")
foreach(i RANGE ${last})
  if(script_seen)
    list(APPEND objects "${CMAKE_ARGV${i}}")
  elseif(CMAKE_ARGV${i} MATCHES "cuda_resources\\.cmake$")
    set(script_seen ON)
  endif()
endforeach()

if(NOT COMPILER MATCHES "^([0-9]+\\.[0-9]+)")
  message(FATAL_ERROR "COMPILER: '${COMPILER}', expected nvcc's version")
endif()
set(compiler "${CMAKE_MATCH_1}")
set(text
    "# What nvcc gives each kernel: registers of a thread, bytes of a thread's stack (0: nothing is spilled) and of a block's
# shared memory. A test of the cuda preset compares; the target cuda_resources writes this file anew.
nvcc ${compiler}

kernel | architecture | registers | stack | shared
")
set(rows "")
foreach(object IN LISTS objects)
  get_filename_component(file "${object}" NAME)
  string(REGEX REPLACE "\\.cu\\..*" ".cu" file "${file}")
  execute_process(COMMAND "${CUOBJDUMP}" --dump-resource-usage "${object}" COMMAND "${CUXXFILT}" OUTPUT_VARIABLE report
                          COMMAND_ERROR_IS_FATAL ANY)
  string(REPLACE "\n" ";" lines "${report}")
  foreach(line IN LISTS lines)
    if(line MATCHES "^arch = (sm_[0-9]+)")
      set(architecture "${CMAKE_MATCH_1}")
    elseif(line MATCHES "^ Function (.*):$")
      # The bare name: no result, no namespaces, no casts before template arguments, no parameters.
      set(kernel "${CMAKE_MATCH_1}")
      string(REGEX REPLACE "^void |adn::cuda::|adn::|<unnamed>::|\\((int|bool)\\)" "" kernel "${kernel}")
      string(REGEX REPLACE "\\(.*" "" kernel "${kernel}")
    elseif(line MATCHES "REG:([0-9]+) STACK:([0-9]+) SHARED:([0-9]+) ")
      list(APPEND rows
           "${file} ${kernel} | ${architecture} | ${CMAKE_MATCH_1} | ${CMAKE_MATCH_2} | ${CMAKE_MATCH_3}")
    endif()
  endforeach()
endforeach()
if(rows STREQUAL "")
  message(FATAL_ERROR "cuobjdump: no kernel in ${objects}")
endif()
list(SORT rows)
list(JOIN rows "\n" rows)
string(APPEND text "${rows}\n")

if(WRITE)
  file(WRITE "${TABLE}" "${text}")
  return()
endif()
file(READ "${TABLE}" expected)
if(NOT expected MATCHES "\nnvcc ${compiler}\n")
  message("Skipped: the table in ${TABLE} is of another nvcc than ${compiler}")
  return()
endif()
if(NOT text STREQUAL expected)
  file(WRITE "${CMAKE_CURRENT_BINARY_DIR}/cuda_resources.txt" "${text}")
  execute_process(COMMAND diff -u "${TABLE}" "${CMAKE_CURRENT_BINARY_DIR}/cuda_resources.txt")
  message(FATAL_ERROR "The kernels take other resources than ${TABLE} says. Where that is meant: cmake --build --preset cuda --target cuda_resources")
endif()
