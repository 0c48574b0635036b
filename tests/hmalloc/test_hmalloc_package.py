#!/usr/bin/env python3
"""hmalloc as other programs get it: what the library shows, what is installed, and small programs
built with CMake, pkg-config and by hand, shared, static and wholly static."""

import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

BUILD = Path(os.environ["HEAPMARK_BUILD_DIR"])
SOURCE = Path(os.environ["HEAPMARK_SOURCE_DIR"]) / "allocators/hmalloc"
LIBRARY = BUILD / "lib/libhmalloc.so"

# `fault` and `slab_take` are names of hmalloc's own as well: both must keep theirs.
CONSUMER = r"""
#include <hmalloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int fault, slab_take = 7;

int main(void)
{
    struct hmalloc_stats before, after;
    hmalloc_stats_get(&before);
    char *volatile p = malloc(1 << 20);
    memset(p, 1, 1 << 20);
    hmalloc_stats_get(&after);
    if (strcmp(hmalloc_version(), HMALLOC_VERSION) != 0 || slab_take != 7 ||
        after.allocated - before.allocated < 1 << 20)
        return 1;
    free(p);
    puts(hmalloc_version());
    return 0;
}
"""
CMAKE = """
cmake_minimum_required(VERSION 3.20)
project(consumer LANGUAGES C)
find_package(hmalloc 1.0 REQUIRED CONFIG)
find_package(hmalloc 1.0 REQUIRED CONFIG) # twice must do no harm
add_executable(shared main.c)
target_link_libraries(shared PRIVATE hmalloc::hmalloc)
add_executable(static main.c)
target_link_libraries(static PRIVATE hmalloc::static)
"""


def run(command, **env):
    done = subprocess.run([str(c) for c in command], env={**os.environ, **env}, timeout=100,
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def exports():
    return set((SOURCE / "exports.txt").read_text().split())


def defined(*nm):
    return {line.split()[-1] for line in run(["nm", "--defined-only", *nm]).splitlines()
            if len(line.split()) == 3}


class Library(unittest.TestCase):
    def test_exports(self):
        self.assertEqual(defined("-D", LIBRARY), exports())

    def test_static_shows_the_same(self):
        self.assertEqual(defined("-g", BUILD / "lib/libhmalloc.a"), exports())

    def test_header_and_exports_agree(self):
        text = (SOURCE / "hmalloc.h").read_text()
        declared = set(re.findall(r"^[a-z].*?\b(hmalloc_\w+)\([^;]*;", text, re.M | re.S))
        self.assertEqual(declared, {e for e in exports() if e.startswith("hmalloc_")})

    def test_soname(self):
        dynamic = run(["readelf", "-d", LIBRARY])
        self.assertIn("Library soname: [libhmalloc.so.1]", dynamic)
        self.assertRegex(dynamic, r"FLAGS_1.*NODELETE")

    def test_static_tls_is_small(self):
        """Room for it must be found when the library is opened late."""
        tls = [line.split() for line in run(["readelf", "-lW", LIBRARY]).splitlines()
               if line.split()[:1] == ["TLS"]]
        self.assertEqual(len(tls), 1)
        self.assertLessEqual(int(tls[0][5], 16), 64, tls)


class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = Path(tempfile.mkdtemp(prefix="hm-package-"))
        cls.addClassCleanup(shutil.rmtree, cls.root)
        run(["cmake", "--install", BUILD, "--component", "hmalloc", "--prefix", cls.root / "first"])
        # Found from wherever it is moved to.
        cls.prefix = cls.root / "usr"
        (cls.root / "first").rename(cls.prefix)
        (cls.root / "main.c").write_text(CONSUMER)
        (cls.root / "CMakeLists.txt").write_text(CMAKE)

    def dynamic_of(self, program):
        return run(["readelf", "-d", program])

    def check(self, program, is_shared, **env):
        self.assertEqual(run([program], **env), "1.0.0\n")
        self.assertEqual("[libhmalloc.so.1]" in self.dynamic_of(program), is_shared)

    def test_files(self):
        found = {str(p.relative_to(self.prefix)) for p in self.prefix.rglob("*") if not p.is_dir()}
        lib = os.path.dirname(next(f for f in found if f.endswith("libhmalloc.a")))
        self.assertEqual(found, {"include/hmalloc.h"} | {f"{lib}/{f}" for f in (
            "libhmalloc.a", "libhmalloc.so", "libhmalloc.so.1", "libhmalloc.so.1.0.0",
            "pkgconfig/hmalloc.pc", "cmake/hmalloc/hmalloc-config.cmake",
            "cmake/hmalloc/hmalloc-config-version.cmake")})

    def test_cmake(self):
        build = self.root / "build"
        run(["cmake", "-S", self.root, "-B", build, f"-DCMAKE_PREFIX_PATH={self.prefix}"])
        run(["cmake", "--build", build])
        self.check(build / "shared", True)
        self.check(build / "static", False)

    def test_cmake_refuses_another_major(self):
        (self.root / "two").mkdir()
        (self.root / "two/CMakeLists.txt").write_text(CMAKE.replace("hmalloc 1.0", "hmalloc 2.0"))
        with self.assertRaisesRegex(AssertionError, "hmalloc"):
            run(["cmake", "-S", self.root / "two", "-B", self.root / "two/build",
                 f"-DCMAKE_PREFIX_PATH={self.prefix}"])

    def pkg_config(self, *args):
        path = next(self.prefix.rglob("hmalloc.pc")).parent
        return run(["pkg-config", *args, "hmalloc"], PKG_CONFIG_PATH=str(path)).split()

    def test_pkg_config(self):
        self.assertEqual(self.pkg_config("--modversion"), ["1.0.0"])
        program = self.root / "by-pkg-config"
        run(["cc", self.root / "main.c", "-o", program, *self.pkg_config("--cflags", "--libs")])
        library = next(self.prefix.rglob("libhmalloc.so.1")).parent
        self.check(program, True, LD_LIBRARY_PATH=str(library))

    def test_static_by_pkg_config(self):
        file = self.pkg_config("--variable=static_library")
        for name, options in (("static", []), ("whole", ["-static"])):
            with self.subTest(name):
                program = self.root / f"by-hand-{name}"
                run(["cc", self.root / "main.c", "-o", program, *self.pkg_config("--cflags"),
                     *file, "-pthread", *options])
                self.check(program, False)

    def test_header_in_cxx(self):
        compiler = shutil.which("g++") or shutil.which("clang++")
        if not compiler:
            self.skipTest("no C++ compiler is installed")
        (self.root / "main.cpp").write_text(
            '#include <hmalloc.h>\nint main() { return hmalloc_check(); }\n')
        program = self.root / "cxx"
        run([compiler, "-Wall", "-Wextra", "-Werror", self.root / "main.cpp", "-o", program,
             *self.pkg_config("--cflags"), *self.pkg_config("--variable=static_library")])
        run([program])


if __name__ == "__main__":
    unittest.main()
