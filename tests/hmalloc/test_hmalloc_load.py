#!/usr/bin/env python3
"""The real libhmalloc.so where loading matters: dlopen, preload, audit, limits of the process."""

import os
import resource
import subprocess
import sys
import unittest

BUILD = os.environ["HEAPMARK_BUILD_DIR"]
LIB = os.path.join(BUILD, "lib", "libhmalloc.so")
LOADER = os.path.join(BUILD, "tests", "hm_hmalloc_loader")
AUDIT = os.path.join(BUILD, "tests", "hm_hmalloc_audit.so")
FORKER = os.path.join(BUILD, "tests", "hm_hmalloc_forker.so")
OVERCOMMIT = "/proc/sys/vm/overcommit_memory"
MIB = 1 << 20

FORKS = """
import os, threading, time
stop = False
def work():
    while not stop:
        [str(i) for i in range(200)]
threads = [threading.Thread(target=work) for _ in range(3)]
[t.start() for t in threads]
for i in range(15):
    pid = os.fork()
    if pid == 0:
        [bytearray(i * 37) for i in range(1000)]
        os._exit(7)
    assert os.waitpid(pid, 0)[1] >> 8 == 7
stop = True
[t.join() for t in threads]
print("done")
"""


class Load(unittest.TestCase):
    def run_one(self, command, preload=LIB, limit=None, timeout=60, **more):
        def before():
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if limit:
                resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

        env = {"PATH": os.environ["PATH"], "LC_ALL": "C", **more}
        if preload:
            env["LD_PRELOAD"] = preload
        return subprocess.run(command, env=env, capture_output=True, timeout=timeout, text=True,
                              preexec_fn=before)

    def good(self, *args, **more):
        done = self.run_one(*args, **more)
        self.assertEqual((done.returncode, done.stderr), (0, ""), f"{args} {more}")
        return done

    def test_dlopen(self):
        self.good([LOADER, "dlopen", LIB], preload=None)

    def test_dlopen_beside_itself(self):
        self.good([LOADER, "dlopen", LIB])

    def test_preload(self):
        self.good([LOADER, "use", "50"])

    def test_audit(self):
        self.good([LOADER, "use", "20"], LD_AUDIT=AUDIT)
        self.good([LOADER, "dlopen", LIB], preload=None, LD_AUDIT=AUDIT)
        self.good([sys.executable, "-W", "ignore", "-c", FORKS], LD_AUDIT=AUDIT)

    def test_fork_handlers_that_allocate(self):
        for preload in (f"{LIB}:{FORKER}", f"{FORKER}:{LIB}"):
            with self.subTest(preload=preload):
                done = self.good([sys.executable, "-W", "ignore", "-c", FORKS], preload=preload, timeout=20)
                self.assertEqual(done.stdout, "done\n")

    def test_address_space(self):
        # Of each limit, what a program may expect to get; the rest is code, table and rounding.
        for limit, use in ((64, 40), (256, 200), (1024, 800), (4096, 1000)):
            with self.subTest(limit=limit):
                self.good([LOADER, "use", str(use)], limit=limit * MIB)

    def test_address_space_too_small(self):
        done = self.run_one([LOADER, "use", "100"], limit=64 * MIB)
        self.assertEqual(done.returncode, 1)
        self.assertIn("not block", done.stderr)  # NULL, and the program goes on to say so

    def test_options_and_misuse(self):
        for name, says in (("double", "double free"), ("foreign", "is no block of hmalloc"),
                           ("interior", "points into a block")):
            with self.subTest(misuse=name):
                command = [LOADER, "misuse", name]
                done = self.run_one(command, HMALLOC_ON_FAULT="abort")
                self.assertEqual(done.returncode, -6, done.stderr)
                self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
                self.assertIn(says, done.stderr)
                done = self.run_one(command, HMALLOC_ON_FAULT="report")
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
                self.assertIn(says, done.stderr)
                self.good(command, HMALLOC_ON_FAULT="ignore")

    def test_option_malformed(self):
        done = self.run_one([LOADER, "use", "1"], HMALLOC_ON_FAULT="perhaps")
        self.assertEqual(done.returncode, 0)
        self.assertIn("HMALLOC_ON_FAULT", done.stderr)
        for value in ("", "-1", "1x", "99999999999999999999", "0x10"):
            done = self.run_one([LOADER, "use", "1"], HMALLOC_DECAY_MS=value)
            self.assertEqual(done.returncode, 0)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)

    @unittest.skipUnless(os.environ.get("HEAPMARK_TEST_OVERCOMMIT") == "1",
                         "changes the whole machine: HEAPMARK_TEST_OVERCOMMIT=1, as root, alone")
    def test_overcommit_strict(self):
        with open(OVERCOMMIT) as f:
            old = f.read()
        try:
            with open(OVERCOMMIT, "w") as f:
                f.write("2")
            self.good([LOADER, "use", "300"])
            self.good([LOADER, "dlopen", LIB], preload=None)
            self.good([sys.executable, "-W", "ignore", "-c", FORKS])
        finally:
            with open(OVERCOMMIT, "w") as f:
                f.write(old)


if __name__ == "__main__":
    unittest.main(verbosity=2)
