#!/usr/bin/env python3
"""docs/hmalloc.md against the library: its table of options is the one in options.c, and its calls
are those of hmalloc.h. Run with --table it prints the table to be put there."""

import ctypes
import os
import re
import sys
import unittest
from pathlib import Path

SOURCE = Path(os.environ["HEAPMARK_SOURCE_DIR"])
LIBRARY = os.path.join(os.environ["HEAPMARK_BUILD_DIR"], "lib", "libhmalloc.so")
NUMBER, SWITCH, CHOICE, TEXT = range(4)


class Option(ctypes.Structure):
    """struct hmalloc_option"""
    _fields_ = [("name", ctypes.c_char_p), ("help", ctypes.c_char_p),
                ("choices", ctypes.POINTER(ctypes.c_char_p)), ("kind", ctypes.c_int),
                ("at_run_time", ctypes.c_int), ("minimum", ctypes.c_uint64),
                ("maximum", ctypes.c_uint64), ("standard", ctypes.c_uint64),
                ("value", ctypes.c_uint64)]


def options():
    at = ctypes.CDLL(LIBRARY).hmalloc_option_at
    at.argtypes = [ctypes.c_size_t, ctypes.POINTER(Option)]
    option = Option()
    index = 0
    while at(index, ctypes.byref(option)) == 0:
        yield option
        index += 1


def row(o):
    standard, bounds = str(o.standard), f"{o.minimum} to {o.maximum}"
    if o.kind == CHOICE:
        names = [o.choices[i].decode() for i in range(o.maximum + 1)]
        standard, bounds = names[o.standard], ", ".join(names)
    elif o.kind == TEXT:
        standard, bounds = "none", f"up to {o.maximum} bytes"
    return (f"| `{o.name.decode()}` | {standard} | {bounds} |"
            f" {'yes' if o.at_run_time else 'no'} | {o.help.decode()} |")


class Docs(unittest.TestCase):
    def setUp(self):
        self.text = (SOURCE / "docs/hmalloc.md").read_text()

    def test_options(self):
        rows = [line for line in self.text.splitlines() if line.startswith("| `HMALLOC_")
                and line.count("|") == 6]
        self.maxDiff = None
        self.assertEqual(rows, [row(o) for o in options()],
                         "\nput the output of `test_hmalloc_docs.py --table` into docs/hmalloc.md")

    def test_every_option_named_exists(self):
        named = set(re.findall(r"\bHMALLOC_[A-Z_]+\b", self.text))
        self.assertEqual(named, {o.name.decode() for o in options()})

    def test_calls(self):
        exports = (SOURCE / "allocators/hmalloc/exports.txt").read_text().split()
        section = self.text.split("## Calls")[1].split("## ")[0].replace(
            "`_get`", "`hmalloc_option_get`").replace("`_set`", "`hmalloc_option_set`")
        named = set(re.findall(r"`(hmalloc_\w+)`", section))
        self.assertEqual(named, {e for e in exports if e.startswith("hmalloc_")})


if __name__ == "__main__":
    if sys.argv[1:] == ["--table"]:
        print("\n".join(row(o) for o in options()))
    else:
        unittest.main()
