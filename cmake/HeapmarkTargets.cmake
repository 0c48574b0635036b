# heapmark_library(NAME SOURCES ... [LIBS ...] [NO_SANITIZE])   static library
# heapmark_program(NAME SOURCES ... [LIBS ...] [NO_SANITIZE])   executable in bin/
# heapmark_test(NAME SOURCES ... [LIBS ...] [LABELS ...] [NO_SANITIZE])   cmocka test, in ctest
# heapmark_python_test(NAME SCRIPT ...), heapmark_add_test(NAME COMMAND ...)   any other test
#
# Labels besides the areas', by which .ci/run chooses: unit (cmocka), threads (ThreadSanitizer runs
# these too), slow (more than some ten seconds).
#
# NO_SANITIZE is for what lives inside a trial: the runner opens allocators with RTLD_DEEPBIND,
# which AddressSanitizer refuses, so the runner and the libraries it links stay uninstrumented.
# A library that both sides need is built twice: NAME and NAME_bare (pass BOTH).
function(_heapmark_setup target no_sanitize)
    target_link_libraries(${target} PRIVATE heapmark_options)
    if(NOT no_sanitize)
        target_link_libraries(${target} PRIVATE heapmark_instrument)
    endif()
endfunction()

function(heapmark_library name)
    cmake_parse_arguments(A "NO_SANITIZE;BOTH" "" "SOURCES;LIBS;BARE_LIBS" ${ARGN})
    add_library(${name} STATIC ${A_SOURCES})
    _heapmark_setup(${name} "${A_NO_SANITIZE}")
    target_link_libraries(${name} PUBLIC ${A_LIBS})
    if(A_BOTH)
        add_library(${name}_bare STATIC ${A_SOURCES})
        _heapmark_setup(${name}_bare TRUE)
        target_link_libraries(${name}_bare PUBLIC ${A_BARE_LIBS})
    endif()
endfunction()

function(heapmark_program name)
    cmake_parse_arguments(A "NO_SANITIZE" "" "SOURCES;LIBS" ${ARGN})
    add_executable(${name} ${A_SOURCES})
    _heapmark_setup(${name} "${A_NO_SANITIZE}")
    target_link_libraries(${name} PRIVATE ${A_LIBS})
endfunction()

# Every test of ctest: heapmark_add_test(NAME COMMAND ... [LABELS ...] [TIMEOUT S]
# [RESOURCE_LOCK L] [ENVIRONMENT ...] [RUN_SERIAL]). tests/lib/run_test judges skips.
function(heapmark_add_test name)
    cmake_parse_arguments(A "RUN_SERIAL" "TIMEOUT;RESOURCE_LOCK" "COMMAND;LABELS;ENVIRONMENT"
        ${ARGN})
    if(NOT A_TIMEOUT)
        set(A_TIMEOUT 300)
    endif()
    add_test(NAME ${name} COMMAND "${CMAKE_SOURCE_DIR}/tests/lib/run_test" ${name} ${A_COMMAND})
    set_tests_properties(${name} PROPERTIES TIMEOUT ${A_TIMEOUT} LABELS "${A_LABELS}"
        SKIP_RETURN_CODE 77 RUN_SERIAL ${A_RUN_SERIAL} RESOURCE_LOCK "${A_RESOURCE_LOCK}"
        ENVIRONMENT "HEAPMARK_BUILD_DIR=${CMAKE_BINARY_DIR};HEAPMARK_SOURCE_DIR=${CMAKE_SOURCE_DIR};PYTHONDONTWRITEBYTECODE=1;${A_ENVIRONMENT}")
endfunction()

# heapmark_python_test(NAME SCRIPT ...): a unittest file; -v names the cases that are skipped.
function(heapmark_python_test name script)
    find_package(Python3 REQUIRED COMPONENTS Interpreter)
    cmake_path(ABSOLUTE_PATH script)
    heapmark_add_test(${name} COMMAND ${Python3_EXECUTABLE} "${script}" -v ${ARGN})
endfunction()

function(heapmark_test name)
    cmake_parse_arguments(A "NO_SANITIZE" "" "SOURCES;LIBS;LABELS" ${ARGN})
    add_executable(${name} ${A_SOURCES})
    _heapmark_setup(${name} "${A_NO_SANITIZE}")
    target_link_libraries(${name} PRIVATE ${A_LIBS} PkgConfig::CMOCKA)
    set_target_properties(${name} PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
    heapmark_add_test(${name} COMMAND "$<TARGET_FILE:${name}>" TIMEOUT 120
        LABELS unit ${A_LABELS})
endfunction()
