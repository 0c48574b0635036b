#!/usr/bin/env python3
"""hmalloc where this machine is not: pages of 16 and 64 KiB, and 64-bit ARM.

Pages: the library is built to take the kernel's pages for larger ones, which the kernel cannot
tell. ARM: cross-compiled and run by qemu's user mode emulation, on which RLIMIT_AS has no effect
(so nothing here runs out of memory) and whose memory model is the host's (so no missing barrier
shows). The probes are those of tests/allocator."""

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

SOURCE = Path(os.environ["HEAPMARK_SOURCE_DIR"])
ARM = "aarch64-linux-gnu"
NAMES = "malloc free calloc realloc aligned_alloc malloc_usable_size".split()
FAMILY = [f"-fno-builtin-{n}" for n in (*NAMES[:5], "memalign", "posix_memalign", "valloc",
                                         "pvalloc", "reallocarray")]


def run(command, timeout=200, **env):
    done = subprocess.run([str(c) for c in command], env={**os.environ, **env}, timeout=timeout,
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: {done.returncode}\n{done.stderr}")
    return done.stdout


def build_library(compiler, output, *options):
    sources = sorted((SOURCE / "allocators/hmalloc").glob("*.c"))
    run([compiler, "-std=gnu17", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-fexceptions",
         "-D_GNU_SOURCE", f"-I{SOURCE}", "-Wall", "-Wextra", "-Werror", *FAMILY, *options, *sources,
         SOURCE / "allocators/api/api.c", "-pthread", "-Wl,-Bsymbolic-functions", "-Wl,-z,nodelete",
         "-Wl,--no-undefined", "-o", output])


def build_probe(compiler, output):
    sources = [*(SOURCE / "tests/allocator").glob("probe*.c"),
               *(SOURCE / "allocators/adapters").glob("*.c")]
    run([compiler, "-std=gnu17", "-O1", "-fno-builtin", "-D_GNU_SOURCE", f"-I{SOURCE}",
         *sorted(sources), "-pthread", "-ldl", "-o", output])


class Probes(unittest.TestCase):
    runner = []  # words before the program

    @classmethod
    def setUpClass(cls):
        cls.directory = Path(tempfile.mkdtemp(prefix="hm-ports-"))
        cls.addClassCleanup(shutil.rmtree, cls.directory)

    def probe(self, library, mode, arg="", level="0"):
        # One arena: qemu's own threads would each reserve 64 MiB, which "threads" takes for ours.
        with self.subTest(library=library.name, mode=mode, level=level):
            # 65536: PROBE_IN_TREE
            run([*self.runner, self.directory / "probe", mode, library, "hmalloc", "65536", *NAMES,
                 arg], HMALLOC_HARDEN=level, HMALLOC_GUARD_SAMPLE="5", MALLOC_ARENA_MAX="1")


class Pages(Probes):
    def test_larger_pages(self):
        build_probe("cc", self.directory / "probe")
        for kib in (16, 64):
            library = self.directory / f"libhmalloc-{kib}.so"
            build_library("cc", library, f"-DHMALLOC_TEST_PAGE_SIZE={kib * 1024}")
            for mode, arg in (("api", ""), ("stream", "3"), ("stream", "8"), ("fork", ""),
                              ("threads", ""), ("enomem", "")):
                self.probe(library, mode, arg)
            self.probe(library, "api", level="3")
            self.probe(library, "stream", "3", level="3")


class Aarch64(Probes):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.compiler = shutil.which(f"{ARM}-gcc")
        qemu = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
        if not cls.compiler or not qemu:
            raise unittest.SkipTest(f"{ARM}-gcc or qemu-aarch64 is not installed")
        cls.runner = [qemu, "-L", f"/usr/{ARM}"]
        build_probe(cls.compiler, cls.directory / "probe")

    def check(self, name, *options):
        library = self.directory / name
        build_library(self.compiler, library, *options)
        for mode, arg in (("api", ""), ("stream", "3"), ("fork", ""), ("threads", "")):
            self.probe(library, mode, arg)
        self.probe(library, "api", level="3")

    def test_pages_of_4_kib(self):
        self.check("libhmalloc.so")

    def test_pages_of_64_kib(self):
        self.check("libhmalloc-64.so", "-DHMALLOC_TEST_PAGE_SIZE=65536")


if __name__ == "__main__":
    unittest.main()
