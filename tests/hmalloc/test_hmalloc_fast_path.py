#!/usr/bin/env python3
"""The fast paths of hmalloc's malloc and free, counted in the library: hardening, options and
statistics must not add an instruction to them."""

import os
import platform
import re
import shutil
import subprocess
import sys
import unittest

BUILD = os.environ["HEAPMARK_BUILD_DIR"]
LIBRARY = os.path.join(BUILD, "lib", "libhmalloc.so")
# Two of malloc's prefetch what its next caller writes.
# Three of free's and two of malloc's keep the next block in the bin and prefetch: see malloc.c.
LIMITS = {"malloc": 17, "free": 20}


def fast_path(function):
    """Instructions from the entry to the first return; padding is none."""
    text = subprocess.run(["objdump", "-d", "--no-show-raw-insn", LIBRARY], check=True,
                          capture_output=True, text=True).stdout
    body = re.search(rf"^[0-9a-f]+ <{function}>:\n(.*?)\n\n", text, re.M | re.S)
    path = []
    for line in body[1].splitlines():
        instruction = line.split("\t", 1)[1].split()
        path.append(instruction)
        if instruction[0] == "ret":
            return path
    raise AssertionError(f"{function} does not return: {body[0]}")


class FastPath(unittest.TestCase):
    def test_instructions(self):
        for function, limit in LIMITS.items():
            path = fast_path(function)
            listing = "\n".join(" ".join(i) for i in path)
            self.assertGreater(len(path), 8, listing)
            self.assertLessEqual(len(path), limit, listing)
            self.assertNotIn("call", [i[0] for i in path], listing)


if __name__ == "__main__":
    with open(os.path.join(BUILD, "CMakeCache.txt")) as cache:
        settings = cache.read()
    if platform.machine() != "x86_64" or not shutil.which("objdump"):
        print("skipped: needs x86-64 and objdump")
        sys.exit(77)
    if "CMAKE_BUILD_TYPE:STRING=Release" not in settings or re.search(
            r"CMAKE_C_COMPILER:\w+=.*clang", settings):
        print("skipped: counts what gcc makes of the release build")
        sys.exit(77)
    unittest.main()
