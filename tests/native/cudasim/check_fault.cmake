# Runs kernel tests with a fault planted: cmake -DPROGRAM=file -DTESTS=filter -DSYMPTOM=regex -P check_fault.cmake
execute_process(COMMAND "${PROGRAM}" "--gtest_filter=${TESTS}" RESULT_VARIABLE result OUTPUT_VARIABLE output
                        ERROR_VARIABLE output)
if(result EQUAL 0)
  message(FATAL_ERROR "The tests did not catch the fault:\n${output}")
elseif(NOT output MATCHES "${SYMPTOM}")
  message(FATAL_ERROR "The tests ended with ${result}, but nothing matches ${SYMPTOM}:\n${output}")
endif()
