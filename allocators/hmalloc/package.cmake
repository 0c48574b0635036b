# What other programs use hmalloc by: libhmalloc.so.1 with nothing but exports.txt visible,
# libhmalloc.a with nothing else global, hmalloc.h, pkg-config's and CMake's files. All of it is the
# install component "hmalloc".
include(CMakePackageConfigHelpers)
file(STRINGS hmalloc.h HMALLOC_VERSION REGEX "^#define HMALLOC_VERSION")
string(REGEX MATCH "[0-9.]+" HMALLOC_VERSION "${HMALLOC_VERSION}")
string(REGEX MATCH "^[0-9]+" HMALLOC_SOVERSION "${HMALLOC_VERSION}")
set(exports "${CMAKE_CURRENT_SOURCE_DIR}/exports.txt")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${exports}" hmalloc.h)

# Without a version's name: symbols that have one do not stand in for those of the C library.
file(STRINGS "${exports}" symbols)
list(JOIN symbols ";\n        " symbols)
file(CONFIGURE OUTPUT "${CMAKE_CURRENT_BINARY_DIR}/hmalloc.map"
    CONTENT "{\n    global:\n        ${symbols};\n    local:\n        *;\n};\n")
target_link_options(hmalloc PRIVATE
    "LINKER:--version-script=${CMAKE_CURRENT_BINARY_DIR}/hmalloc.map")
set_target_properties(hmalloc PROPERTIES VERSION ${HMALLOC_VERSION} SOVERSION ${HMALLOC_SOVERSION}
    LINK_DEPENDS "${CMAKE_CURRENT_BINARY_DIR}/hmalloc.map")

# One object, in which only the exports are left global: names like slab_take meet no others.
set(static "${CMAKE_ARCHIVE_OUTPUT_DIRECTORY}/libhmalloc.a")
set(object "${CMAKE_CURRENT_BINARY_DIR}/hmalloc.o")
add_custom_command(OUTPUT "${static}"
    COMMAND ${CMAKE_C_COMPILER} -r -nostdlib -o "${object}" "$<TARGET_OBJECTS:hmalloc>"
    COMMAND ${CMAKE_OBJCOPY} "--keep-global-symbols=${exports}" "${object}"
    COMMAND ${CMAKE_COMMAND} -E rm -f "${static}"
    COMMAND ${CMAKE_AR} rcs "${static}" "${object}"
    DEPENDS hmalloc "$<TARGET_OBJECTS:hmalloc>" "${exports}"
    COMMAND_EXPAND_LISTS VERBATIM COMMENT "Putting libhmalloc.a together")
add_custom_target(hmalloc_static ALL DEPENDS "${static}")
add_dependencies(product hmalloc_static)

set(cmake_dir "${CMAKE_INSTALL_LIBDIR}/cmake/hmalloc")
file(RELATIVE_PATH HMALLOC_PC_UP "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
file(RELATIVE_PATH HMALLOC_CMAKE_UP "/${cmake_dir}" "/")
string(REGEX REPLACE "/$" "" HMALLOC_PC_UP "${HMALLOC_PC_UP}")
string(REGEX REPLACE "/$" "" HMALLOC_CMAKE_UP "${HMALLOC_CMAKE_UP}")
set(packaging "${CMAKE_SOURCE_DIR}/packaging/hmalloc")
configure_file("${packaging}/hmalloc.pc.in" hmalloc.pc @ONLY)
configure_file("${packaging}/hmalloc-config.cmake.in" hmalloc-config.cmake @ONLY)
write_basic_package_version_file(hmalloc-config-version.cmake VERSION ${HMALLOC_VERSION}
    COMPATIBILITY SameMajorVersion)
install(TARGETS hmalloc LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
    COMPONENT hmalloc NAMELINK_COMPONENT hmalloc)
install(FILES "${static}" DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT hmalloc)
install(FILES hmalloc.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT hmalloc)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/hmalloc.pc"
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT hmalloc)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/hmalloc-config.cmake"
    "${CMAKE_CURRENT_BINARY_DIR}/hmalloc-config-version.cmake"
    DESTINATION ${cmake_dir} COMPONENT hmalloc)

# The catalogue looks for libhmalloc.so beside the other allocators.
file(MAKE_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/link")
file(CREATE_LINK ../libhmalloc.so.${HMALLOC_SOVERSION}
    "${CMAKE_CURRENT_BINARY_DIR}/link/libhmalloc.so" SYMBOLIC)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/link/libhmalloc.so"
    DESTINATION ${HEAPMARK_ALLOCATOR_DIR})
