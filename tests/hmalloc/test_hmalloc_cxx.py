#!/usr/bin/env python3
"""C++ programs on libhmalloc: operator new and delete in all forms, bad_alloc, new handlers; and
what happens where there is no C++ library."""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
LIBRARY = os.path.join(os.environ["HEAPMARK_BUILD_DIR"], "lib", "libhmalloc.so")
COMPILER = shutil.which("g++") or shutil.which("clang++")


def run(command, **env):
    return subprocess.run(command, env={"PATH": os.environ["PATH"], **env}, capture_output=True,
                          text=True, timeout=20)


class Cxx(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="hm-cxx-")
        cls.addClassCleanup(shutil.rmtree, cls.directory)

    def build(self, name, *options):
        if not COMPILER:
            self.skipTest("no C++ compiler is installed")
        program = os.path.join(self.directory, name)
        done = run([COMPILER, "-std=c++17", "-O0", "-Wall", os.path.join(HERE, "operators.cpp"),
                    "-o", program, *options])
        self.assertEqual(done.returncode, 0, done.stderr)
        return program

    def check(self, program, **env):
        done = run([program, "libhmalloc"], **env)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "fine\n", ""))

    def test_preloaded(self):
        program = self.build("plain")
        for level in "0123":
            with self.subTest(level=level):
                self.check(program, LD_PRELOAD=LIBRARY, HMALLOC_HARDEN=level,
                           HMALLOC_GUARD_SAMPLE="3")

    def test_linked(self):
        directory = os.path.dirname(LIBRARY)
        self.check(self.build("linked", LIBRARY, f"-Wl,-rpath,{directory}"))

    def test_without_a_cxx_library(self):
        """Nobody to throw to: one line, and abort."""
        script = ("import ctypes, faulthandler; new = ctypes.CDLL(None)._Znwm;"
                  "new.restype = ctypes.c_void_p; new.argtypes = [ctypes.c_size_t];"
                  "assert new(100); print('some'); new(1 << 62)")
        done = run([sys.executable, "-u", "-c", script], LD_PRELOAD=LIBRARY)
        self.assertEqual(done.returncode, -6, done.stderr)
        self.assertEqual(done.stdout, "some\n")
        self.assertEqual(done.stderr, "hmalloc: operator new: out of memory, and no C++ library "
                                      "to throw std::bad_alloc\n")


if __name__ == "__main__":
    unittest.main()
