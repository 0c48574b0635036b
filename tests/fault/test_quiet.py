"""What keeps a ring quiet, end to end: rings with stolen time are thrown away and tried again, and
the daemon stays off the CPUs that measure. A real heapmarkd, as root: it sees a /proc/stat of ours,
mounted in a namespace of its own, in which a hypervisor steals when a test says so."""

import contextlib
import os
import shutil
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import heapmarkd  # noqa: E402

CPUS = sorted(os.sched_getaffinity(0))
TRIES = 3


class Stat:
    """A text like /proc/stat, written in place: a reader never sees half of it."""

    def __init__(self, path):
        self.path, self.ticks, self.stealing = path, 0, False
        open(path, "w").close()
        self.write()
        self.end = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def write(self):
        names = ["cpu "] + [f"cpu{i}" for i in range(os.cpu_count())]
        text = "".join(f"{n} 0 0 0 0 0 0 0 {self.ticks:012} 0 0\n" for n in names)
        with open(self.path, "r+") as f:
            f.write(text)

    def run(self):
        while not self.end.wait(0.002):
            if self.stealing:
                self.ticks += 10
                self.write()

    def stop(self):
        self.end.set()
        self.thread.join()


def job(threads=1, rings=1, slice_ops=2000):
    return heapmarkd.small_job(
        allocators=["glibc", "lifo"],
        workloads=[
            {
                "workload": "table-churn",
                "params": {"live": 500, "remote_pct": 0},
                "threads": threads,
            }
        ],
        repeat={"rings": rings, "rotations": 4, "slice_ops": slice_ops, "warm_pct": 10},
    )


def cpus_of(pid):
    """The CPUs every thread of a process may use."""
    found = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError):
            found[task] = sorted(os.sched_getaffinity(int(task)))
    return found


class Quiet(unittest.TestCase):
    maxDiff = None

    @contextlib.contextmanager
    def daemon(self):
        directory = tempfile.mkdtemp(prefix="heapmark-quiet-")
        stat = Stat(os.path.join(directory, "stat"))
        mount = f"mount --make-rprivate / && mount --bind {stat.path} /proc/stat"
        prefix = ["unshare", "-m", "sh", "-c", mount + ' && exec "$@"', "sh"]
        d = heapmarkd.Heapmarkd(
            ["supervisor.uids=62200-62207"], directory=directory, prefix=prefix
        )
        d.stat = stat
        with d:
            try:
                yield d
            finally:
                stat.stop()

    def trials(self, d, uuid):
        return d.items(f"/api/v1/jobs/{uuid}/trials")

    def states(self, d, uuid):
        """Of the attempts, in their order."""
        found = {(t["attempt"], t["attempt_state"]) for t in self.trials(d, uuid)}
        return [state for _, state in sorted(found)]

    def test_quiet_host_discards_nothing(self):
        with self.daemon() as d:
            found = d.wait(d.submit(job()))
            trials = self.trials(d, found["id"])
            self.assertEqual(found["state"], "succeeded", found)
            self.assertEqual(found["progress"]["steps_discarded"], 0)
            self.assertEqual(self.states(d, found["id"]), ["accepted"])
            self.assertEqual({t["steal_ratio"] for t in trials}, {0})

    def test_stolen_time_discards_and_gives_up(self):
        with self.daemon() as d:
            d.stat.stealing = True
            found = d.wait(d.submit(job()))
            trials = self.trials(d, found["id"])
            self.assertEqual(self.states(d, found["id"]), ["discarded"] * TRIES)
            self.assertEqual(found["progress"]["steps_discarded"], TRIES)
            self.assertEqual(found["progress"]["steps_given_up"], 1)
            for t in trials:
                self.assertGreater(t["steal_ratio"], 0.05)
                self.assertIn("stolen by the hypervisor", t["discard_reason"])
            cells = d.items(f"/api/v1/jobs/{found['id']}/cells")
            self.assertEqual({c["trials"]["discarded"] > 0 for c in cells}, {True})
            self.assertEqual({c["trials"]["ok"] for c in cells}, {0})

    def test_the_next_attempt_counts(self):
        with self.daemon() as d:
            d.stat.stealing = True
            uuid = d.submit(job(slice_ops=1000000))  # each attempt lasts longer than a look
            end = time.monotonic() + 30
            while "discarded" not in self.states(d, uuid):
                self.assertLess(time.monotonic(), end, d.log())
                time.sleep(0.005)
            d.stat.stealing = False
            found = d.wait(uuid)
            states = self.states(d, uuid)
            self.assertEqual(found["state"], "succeeded", found)
            self.assertEqual((states[0], states[-1]), ("discarded", "accepted"), states)
            self.assertLessEqual(len(states), TRIES)
            self.assertEqual(found["progress"]["steps_discarded"], len(states) - 1)

    @unittest.skipIf(len(CPUS) < 2, "one CPU: none is left for the daemon")
    def test_daemon_keeps_to_the_housekeeping_cpu(self):
        with self.daemon() as d:
            before = cpus_of(d.process.pid)
            self.assertEqual({tuple(c) for c in before.values()}, {tuple(CPUS)})
            uuid = d.submit(job(rings=3, slice_ops=200000))
            end = time.monotonic() + 30
            while "heapmark-runner" not in (n for _, n in heapmarkd.children(d.process.pid)):
                self.assertLess(time.monotonic(), end, d.log())
                time.sleep(0.005)
            own = {tuple(c) for c in cpus_of(d.process.pid).values()}
            found = d.wait(uuid)
            self.assertEqual(len(own), 1, own)
            (own,) = own
            self.assertEqual(len(own), 1, "every thread on one CPU")
            self.assertEqual(found["state"], "succeeded", found)
            self.assertEqual({t["housekeeping"] for t in self.trials(d, uuid)}, {True})
            for c in d.items(f"/api/v1/jobs/{uuid}/cells"):
                self.assertEqual(c["trials"]["crowded"], 0, c)
            d.wait(d.submit(job(threads=len(CPUS))))  # no CPU is left for it: back to all
            own = {tuple(c) for c in cpus_of(d.process.pid).values()}
            self.assertEqual(own, {tuple(CPUS)})

    def test_no_cpu_left_is_said(self):
        with self.daemon() as d:
            found = d.wait(d.submit(job(threads=len(CPUS))))
            self.assertEqual(found["state"], "succeeded", found)
            trials = self.trials(d, found["id"])
            self.assertEqual({t["housekeeping"] for t in trials}, {False})
            for c in d.items(f"/api/v1/jobs/{found['id']}/cells"):
                self.assertGreater(c["trials"]["ok"], 0, c)
                self.assertEqual(c["trials"]["crowded"], c["trials"]["ok"], c)


if __name__ == "__main__":
    if os.geteuid() != 0:
        heapmarkd.skip("needs root: mounts over /proc/stat")
    if not shutil.which("unshare"):
        heapmarkd.skip("unshare is not installed")
    unittest.main(verbosity=2)
