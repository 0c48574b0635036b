"""Real runner processes for the workload tests: mini_supervisor and the allocators installed."""
import fcntl
import json
import os
import signal
import subprocess
import tempfile
import unittest

BUILD = os.environ["HEAPMARK_BUILD_DIR"]
RUNNER = os.path.join(BUILD, "bin", "heapmark-runner")
MINI = os.path.join(BUILD, "tests", "mini_supervisor")
VICTIMS = os.path.join(BUILD, "tests", "victims")
DEBIAN = "/usr/lib/x86_64-linux-gnu"
CPUS = sorted(os.sched_getaffinity(0))
FINISHED, FAILED = 4, 5
MIB = 1 << 20

LIBRARIES = {
    "glibc": "prefix=",
    "jemalloc": f"lib={DEBIAN}/libjemalloc.so.2",
    "mimalloc": f"lib={DEBIAN}/libmimalloc.so.2.0",
    "tcmalloc": f"lib={DEBIAN}/libtcmalloc_minimal.so.4,prefix=tc_",
    "tbb": f"lib={DEBIAN}/libtbbmalloc.so.2,prefix=scalable_",
    "scudo": "lib=/usr/lib/llvm-14/lib/clang/14.0.6/lib/linux/"
             "libclang_rt.scudo_standalone-x86_64.so",
    "bump": f"lib={BUILD}/lib/libhm_bump.so,flags=2",
    "lifo": f"lib={BUILD}/lib/libhm_lifo.so",
    "classic-first": f"lib={BUILD}/lib/libhm_classic_first.so",
    "hmalloc": f"lib={BUILD}/lib/libhmalloc.so",
}


def installed():
    """Name and subject of every allocator whose library is there."""
    for name, subject in LIBRARIES.items():
        path = dict(pair.split("=", 1) for pair in subject.split(",")).get("lib")
        if path is None or os.path.exists(path):
            yield name, subject


def run(workload, subjects, params=(), prefix=(), **options):
    args = [*prefix, MINI, "--runner", RUNNER, "--workload", workload,
            "--cpu0", str(CPUS[0]), "--cpu1", str(CPUS[-1])]
    for key, value in dict(params).items():
        args += ["--param", f"{key}={value}"]
    for key, value in options.items():
        args += ["--" + key.replace("_", "-"), str(value)]
    for subject in subjects:
        args += ["--subject", subject]
    # A session of its own: a forked child that outlives its runner ends with the test. Files, not
    # pipes: such a child would hold a pipe open.
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(args, stdout=out, stderr=log, start_new_session=True)
        try:
            code = process.wait(timeout=120)
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
        out.seek(0)
        log.seek(0)
        assert code == 0, log.read()
        Knob.check_all()
        return json.loads(out.read())["runners"]


def read(path):
    with open(path, encoding="ascii") as f:
        return f.read().strip()


# Whoever sets knobs of the machine holds this lock: another checkout may be testing beside us.
KNOBS_LOCK = "/tmp/heapmark-host-knobs.lock"


class Knob:
    """A file of /sys or /proc set for the length of a `with`; skips where it may not be."""

    lock, depth, active = None, 0, []

    def __init__(self, path, value):
        self.path, self.value = path, value

    def __enter__(self):
        Knob.acquire()
        try:
            self.before = self.chosen()
            self.write(self.value)
            self.now = self.chosen()
        except OSError as e:
            Knob.release()
            raise unittest.SkipTest(f"{self.path} cannot be set: {e.strerror}")
        Knob.active.append(self)
        return self

    def chosen(self):
        text = read(self.path)
        return text[text.index("[") + 1:text.index("]")] if "[" in text else text

    @classmethod
    def check_all(cls):
        """After a run: a supervisor outside this test, which does not know the lock, may have set
        the same knob, as is its job. Then the run says nothing."""
        for knob in cls.active:
            if knob.chosen() != knob.now:
                raise unittest.SkipTest(f"{knob.path} was changed by another process meanwhile")

    @classmethod
    def acquire(cls):
        if cls.depth == 0:
            cls.lock = open(KNOBS_LOCK, "w", encoding="ascii")
            fcntl.flock(cls.lock, fcntl.LOCK_EX)
        cls.depth += 1

    @classmethod
    def release(cls):
        cls.depth -= 1
        if cls.depth == 0:
            cls.lock.close()

    def write(self, value):
        with open(self.path, "w", encoding="ascii") as f:
            f.write(str(value))

    def __exit__(self, *_):
        Knob.active.remove(self)
        try:
            self.write(self.before)
        finally:
            Knob.release()


class WorkloadTest(unittest.TestCase):
    def assert_finished(self, runner):
        self.assertEqual((runner["failure"], runner["message"]), ("none", ""))
        self.assertEqual((runner["exit"], runner["signal"], runner["state"]), (0, 0, FINISHED))

    def assert_failed(self, runner, failure, message):
        self.assertEqual(runner["failure"], failure, runner["message"])
        self.assertIn(message, runner["message"])
        self.assertEqual((runner["exit"], runner["state"]), (10, FAILED))
