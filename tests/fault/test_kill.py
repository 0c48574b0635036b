"""kill -9 of daemon, supervisor and runners at random moments: nothing acknowledged is lost.

Jobs are submitted all the while. At the end every job that got a 202 must be there and succeed,
with exactly one accepted attempt for each of its steps, the database must be sound, and no
runner, cgroup or knob may be left. Every second job wants huge pages of both kinds, on a host whose
THP mode is "madvise" and whose pool has three pages, so that the supervisor changes both knobs all
the while. HEAPMARK_KILLS sets the number of kills (200)."""

import os
import random
import re
import signal
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "workloads"))
import heapmarkd  # noqa: E402
from harness import Knob, read  # noqa: E402

THP = "/sys/kernel/mm/transparent_hugepage/enabled"
POOL = "/sys/kernel/mm/hugepages/hugepages-2048kB"
POOL_BEFORE = 3
PAGES_JOB = [
    {
        "workload": "chase",
        "params": {"bytes": "8MiB"},
        "pages": ["4k", "thp", "hugetlb-2m"],
        "threads": 1,
    },
    {"workload": "fork-latency", "pages": ["thp"], "threads": 1},
]
KILLS = int(os.environ.get("HEAPMARK_KILLS", "200"))
ATTEMPTS = 20  # as many as the daemon allows
PATIENCE = 60  # seconds
SEED = int(os.environ.get("HEAPMARK_SEED", str(int(time.time()))))


def cgroups_left():
    found = []
    for root, dirs, _ in os.walk("/sys/fs/cgroup"):
        found += [os.path.join(root, d) for d in dirs if d.startswith("heapmark-kill-test")]
    return found


class HostKnob(Knob):
    """Given back by others too while a run goes on: only what is there at the end counts."""

    @classmethod
    def check_all(cls):
        pass


class Kill(unittest.TestCase):
    def setUp(self):
        self.enterContext(HostKnob(THP, "madvise"))
        self.enterContext(HostKnob(f"{POOL}/nr_hugepages", POOL_BEFORE))
        self.knobs_before = self.knobs()
        self.knobs_seen = set()
        self.random = random.Random(SEED)
        self.daemon = heapmarkd.Heapmarkd(
            [
                f"scheduler.attempts_max={ATTEMPTS}",
                "supervisor.cgroup_name=heapmark-kill-test",
                "log.level=warning",
            ]
        )
        self.daemon.start()
        self.acknowledged = []
        self.killed = {"heapmarkd": 0, "supervisor": 0, "runner": 0}

    def tearDown(self):
        self.daemon.remove()

    def knobs(self):
        """THP mode and the pool: pages in it, free, promised."""
        pool = [int(read(f"{POOL}/{f}_hugepages")) for f in ("nr", "free", "resv")]
        return [re.search(r"\[(\w+)\]", read(THP)).group(1), *pool]

    def submit(self):
        """Acknowledged only if the reply came whole; a broken connection promises nothing."""
        seed = len(self.acknowledged) + 1
        changes = {"workloads": PAGES_JOB, "allocators": ["glibc", "bump"]} if seed % 2 else {}
        try:
            self.acknowledged.append(self.daemon.submit(heapmarkd.small_job(seed=seed, **changes)))
        except (OSError, heapmarkd.http.client.HTTPException):
            pass

    def open_jobs(self):
        try:
            return sum(
                j["state"] in ("queued", "claimed", "running")
                for j in self.daemon.get("/api/v1/jobs?limit=20").json["items"]
            )
        except (OSError, heapmarkd.http.client.HTTPException):
            return 0

    def steps_settled(self):
        """Of all jobs, the given up ones left out; 0 while nobody answers."""
        try:
            jobs = self.daemon.items("/api/v1/jobs")
        except (OSError, KeyError, heapmarkd.http.client.HTTPException):
            return 0
        return sum(j["progress"]["steps_done"] - j["progress"]["steps_given_up"] for j in jobs)

    def breathe(self):
        """On a slow host kills come faster than steps end: a step that was lost ATTEMPTS times would
        be given up, rightly, and its job fail. Kill no more until one is settled."""
        until, before = time.monotonic() + PATIENCE, self.steps_settled()
        while self.steps_settled() <= before and time.monotonic() < until:
            if self.open_jobs() < 1:
                self.submit()
            time.sleep(0.05)

    def victim(self):
        family = heapmarkd.children(self.daemon.process.pid)
        runners = [p for p, name in family if name.startswith("heapmark-runne")]
        supervisors = [p for p, name in family if name.startswith("heapmark-super")]
        kind = self.random.choice(["heapmarkd", "supervisor", "supervisor", "runner", "runner"])
        if kind == "runner" and runners:
            return kind, self.random.choice(runners)
        if kind != "heapmarkd" and supervisors:
            return "supervisor", self.random.choice(supervisors)
        return "heapmarkd", self.daemon.process.pid

    def kill_one(self):
        time.sleep(self.random.uniform(0, 0.3))
        self.knobs_seen.update(f"{x}" for x in self.knobs()[:2])
        kind, pid = self.victim()
        try:
            os.kill(pid, signal.SIGKILL)
            self.killed[kind] += 1
        except ProcessLookupError:
            return
        if kind == "heapmarkd":
            self.daemon.process.wait()
            self.daemon.start()

    def test_nothing_acknowledged_is_lost(self):
        print(f"seed {SEED}")
        while sum(self.killed.values()) < KILLS:
            if self.open_jobs() < 2:
                self.submit()
            self.kill_one()
            if sum(self.killed.values()) % (ATTEMPTS // 2) == 0:
                self.breathe()
            if self.daemon.process.poll() is not None:
                self.daemon.start()
        for job in self.acknowledged:
            found = self.daemon.wait(job, 300)
            self.assertEqual(found["state"], "succeeded", f"{found}\n{self.daemon.log()}")
            if found["progress"]["steps_failed"]:
                trials = self.daemon.items(f"/api/v1/jobs/{job}/trials")
                bad = [t for t in trials if t["outcome"] not in ("ok", "lost", "not_run")]
                self.fail(f"{found}\n{bad or trials[-6:]}\n{self.daemon.log()}")
        print(f"{self.killed}, {len(self.acknowledged)} jobs")
        for kind, count in self.killed.items():
            self.assertGreater(count, 0, f"no {kind} was killed")
        self.assertEqual(self.daemon.stop(), 0, self.daemon.log())
        self.check_database()
        self.assertEqual(heapmarkd.runners_alive(), [])
        self.assertEqual(cgroups_left(), [])
        self.assertEqual(self.knobs(), self.knobs_before)
        self.assertIn("always", self.knobs_seen, "no kill came while a job had the THP mode")
        self.assertGreater(len(self.knobs_seen), 3, "no kill came while a job had reserved pages")

    def check_database(self):
        self.assertEqual(self.daemon.query("PRAGMA integrity_check"), [("ok",)])
        self.assertEqual(self.daemon.query("PRAGMA foreign_key_check"), [])
        doubled = self.daemon.query(
            "SELECT ring_id, count(*) FROM attempt WHERE state = 'accepted'"
            " GROUP BY ring_id HAVING count(*) > 1"
        )
        self.assertEqual(doubled, [])
        self.assertEqual(
            self.daemon.query("SELECT count(*) FROM attempt WHERE state = 'running'"), [(0,)]
        )
        steps = self.daemon.query(
            "SELECT j.uuid, j.steps_total, (SELECT count(*) FROM ring r JOIN attempt a"
            " ON a.ring_id = r.id WHERE r.job_id = j.id AND a.state = 'accepted') FROM job j"
        )
        self.assertEqual({s[0] for s in steps} - {s[0] for s in steps if s[1] == s[2]}, set())
        self.assertLessEqual(set(self.acknowledged), {s[0] for s in steps})


if __name__ == "__main__":
    if os.geteuid() != 0:
        heapmarkd.skip("killing supervisors of any uid needs root")
    unittest.main(verbosity=2)
