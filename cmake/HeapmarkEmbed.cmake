# heapmark_embed(TARGET SYMBOL BASE_DIR FILES... [DEPENDS ...])
#
# Puts files into TARGET's read-only data and defines `const struct embedded_file SYMBOL[]`
# (daemon/base/embed.h), ended by a NULL name, names relative to BASE_DIR, in the order given.
# Uses .incbin, so size costs nothing at compile time; a change of a file rebuilds.
function(heapmark_embed target symbol base_dir)
    cmake_parse_arguments(A "" "" "FILES;DEPENDS" ${ARGN})
    set(out "${CMAKE_CURRENT_BINARY_DIR}/${symbol}.c")
    set(text "#include \"daemon/base/embed.h\"\n")
    set(rows "")
    set(i 0)
    foreach(file ${A_FILES})
        file(RELATIVE_PATH name "${base_dir}" "${file}")
        string(APPEND text
            "__asm__(\".section .rodata\\n.balign 16\\n.global ${symbol}_${i}_begin\\n"
            "${symbol}_${i}_begin:\\n.incbin \\\"${file}\\\"\\n.global ${symbol}_${i}_end\\n"
            "${symbol}_${i}_end:\\n.byte 0\\n.previous\\n\");\n"
            "extern const unsigned char ${symbol}_${i}_begin[], ${symbol}_${i}_end[];\n")
        string(APPEND rows "    {\"${name}\", ${symbol}_${i}_begin, ${symbol}_${i}_end},\n")
        math(EXPR i "${i} + 1")
    endforeach()
    string(APPEND text "extern const struct embedded_file ${symbol}[];\n"
                       "const struct embedded_file ${symbol}[] = {\n${rows}    {0},\n};\n")
    file(CONFIGURE OUTPUT "${out}" CONTENT "${text}" @ONLY)
    set_source_files_properties("${out}" PROPERTIES OBJECT_DEPENDS "${A_FILES};${A_DEPENDS}")
    target_sources(${target} PRIVATE "${out}")
endfunction()
