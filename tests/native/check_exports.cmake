# cmake -DLIBRARY=… -DNM=… -DREADELF=… -P check_exports.cmake
#
# What the library shows and needs: only adn_ symbols leave it, the C++ runtime is inside it, and no symbol of glibc newer than
# 2.28 (2018; Debian 10, RHEL 8, Ubuntu 18.10) is needed.
set(newest_glibc 2.28)

execute_process(COMMAND "${NM}" -D --defined-only "${LIBRARY}" OUTPUT_VARIABLE defined COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[^\n]+" lines "${defined}")
set(exported 0)
foreach(line IN LISTS lines)
  if(NOT line MATCHES "^[0-9a-f]+ [A-Za-z] (adn_[a-z0-9_]+)$")
    message(SEND_ERROR "exported, but not an adn_ function: ${line}")
  endif()
  math(EXPR exported "${exported} + 1")
endforeach()

# Every function that the header declares is there.
file(READ "${HEADER}" header)
string(REGEX REPLACE "/\\*([^*]|\\*+[^*/])*\\*+/" "" header "${header}")
string(REGEX MATCHALL "ADN_API [^;(]*adn_[a-z0-9_]+\\(" declarations "${header}")
set(declared 0)
foreach(declaration IN LISTS declarations)
  string(REGEX MATCH "(adn_[a-z0-9_]+)\\($" _ "${declaration}")
  if(NOT defined MATCHES " ${CMAKE_MATCH_1}\n")
    message(SEND_ERROR "declared in the header, but not exported: ${CMAKE_MATCH_1}")
  endif()
  math(EXPR declared "${declared} + 1")
endforeach()
if(NOT exported EQUAL declared OR declared EQUAL 0)
  message(SEND_ERROR "${exported} symbols exported, ${declared} functions declared in the header")
endif()

execute_process(COMMAND "${READELF}" -d "${LIBRARY}" OUTPUT_VARIABLE dynamic COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "\\(NEEDED\\)[^\n]*" needed "${dynamic}")
foreach(line IN LISTS needed)
  if(line MATCHES "libstdc\\+\\+|libgcc_s|libc\\+\\+")
    message(SEND_ERROR "the C++ runtime is to be inside the library: ${line}")
  endif()
endforeach()

execute_process(COMMAND "${NM}" -D --undefined-only "${LIBRARY}" OUTPUT_VARIABLE undefined COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[^ \n]+@GLIBC_[0-9.]+" versioned "${undefined}")
foreach(symbol IN LISTS versioned)
  string(REGEX REPLACE ".*@GLIBC_" "" version "${symbol}")
  if(version VERSION_GREATER newest_glibc)
    message(SEND_ERROR "needs a newer glibc than ${newest_glibc}: ${symbol}")
  endif()
endforeach()
message(STATUS "${exported} functions exported")
