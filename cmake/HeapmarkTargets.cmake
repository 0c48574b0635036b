# heapmark_library(NAME SOURCES ... [LIBS ...] [NO_SANITIZE])   static library
# heapmark_program(NAME SOURCES ... [LIBS ...] [NO_SANITIZE])   executable in bin/
# heapmark_test(NAME SOURCES ... [LIBS ...] [LABELS ...] [NO_SANITIZE])   cmocka test, in ctest
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

function(heapmark_test name)
    cmake_parse_arguments(A "NO_SANITIZE" "" "SOURCES;LIBS;LABELS" ${ARGN})
    add_executable(${name} ${A_SOURCES})
    _heapmark_setup(${name} "${A_NO_SANITIZE}")
    target_link_libraries(${name} PRIVATE ${A_LIBS} PkgConfig::CMOCKA)
    set_target_properties(${name} PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
    add_test(NAME ${name} COMMAND ${name})
    set_tests_properties(${name} PROPERTIES TIMEOUT 120 LABELS "${A_LABELS}"
        SKIP_RETURN_CODE 77
        ENVIRONMENT "HEAPMARK_BUILD_DIR=${CMAKE_BINARY_DIR};HEAPMARK_SOURCE_DIR=${CMAKE_SOURCE_DIR}")
endfunction()
