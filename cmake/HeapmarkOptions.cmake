# Compiler settings every target shares. Sanitizers are chosen by HEAPMARK_SANITIZE
# ("address,undefined", "thread" or empty) so that one target can opt out (see
# HEAPMARK_NO_SANITIZE in HeapmarkTargets.cmake).
set(HEAPMARK_SANITIZE "" CACHE STRING "Sanitizers for everything but what a trial loads")
option(HEAPMARK_COVERAGE "Instrument for gcov" OFF)
option(HEAPMARK_WERROR "Warnings are errors" ON)

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/lib")
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/lib")

add_library(heapmark_options INTERFACE)
target_compile_definitions(heapmark_options INTERFACE _GNU_SOURCE)
target_compile_options(heapmark_options INTERFACE
    -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes
    -fno-common -g
    $<$<BOOL:${HEAPMARK_WERROR}>:-Werror>)
target_include_directories(heapmark_options INTERFACE "${CMAKE_SOURCE_DIR}")
target_link_options(heapmark_options INTERFACE -Wl,-z,relro,-z,now)

add_library(heapmark_instrument INTERFACE)
if(HEAPMARK_SANITIZE)
    target_compile_options(heapmark_instrument INTERFACE
        -fsanitize=${HEAPMARK_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    target_link_options(heapmark_instrument INTERFACE -fsanitize=${HEAPMARK_SANITIZE})
endif()
if(HEAPMARK_COVERAGE)
    target_compile_options(heapmark_instrument INTERFACE --coverage -fprofile-update=atomic)
    target_link_options(heapmark_instrument INTERFACE --coverage)
endif()
