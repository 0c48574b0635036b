"""What goes wrong on a host, end to end over HTTP: a real heapmarkd, its supervisor and runners.

Allocators that crash, hang, flood, lie and take all memory in the middle of a job
(victims/evil.c); a full disk, a state directory that cannot be used, no cgroups, no root; restart,
cancel and TERM of a daemon that is measuring; and what an idle one costs. Needs root."""

import contextlib
import csv
import http.client
import io
import json
import os
import re
import signal
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import heapmarkd  # noqa: E402

BUILD = os.path.abspath(heapmarkd.BUILD)
GROUP = f"heapmark-fault-{os.getpid()}"
EVIL = """crash exit hang spin flood chatter scribble done stamps confess eat fork null early nap
busy liar"""
MIB = 1 << 20
TURN_MS = 1500

CATALOG = """[allocator]
summary = Misbehaves on purpose: {name}
library = {library}
{package}
[symbols]
malloc = malloc
free = free
"""


def catalog_make(directory):
    os.mkdir(directory)
    for name in EVIL.split():
        library = os.path.join(BUILD, "tests", "victims", f"libevil_{name}.so")
        with open(os.path.join(directory, f"evil-{name}.ini"), "w") as f:
            f.write(CATALOG.format(name=name, library=library, package=""))
    with open(os.path.join(directory, "absent.ini"), "w") as f:
        f.write(CATALOG.format(name="x", library="libabsent.so.7", package="package = libabsent7"))


class Daemon(heapmarkd.Heapmarkd):
    """With an administrator's catalogue of evil allocators, and names nobody else here uses."""

    def __init__(self, settings=(), **kw):
        super().__init__(directory=tempfile.mkdtemp(prefix="heapmark-fault-"), **kw)
        self.catalog = os.path.join(self.directory, "catalog")
        catalog_make(self.catalog)
        self.settings = [
            f"supervisor.catalog_dirs={BUILD}/share/heapmark/catalog,{self.catalog}",
            f"supervisor.cgroup_name={GROUP}",
            "supervisor.uids=62100-62107",
            "scheduler.steal_ratio_max=1",
        ] + list(settings)

    @property
    def state(self):
        return os.path.join(self.directory, "state")

    def cells(self, job):
        return {c["allocator"]: c for c in self.items(f"/api/v1/jobs/{job}/cells")}

    def trials(self, job):
        return self.items(f"/api/v1/jobs/{job}/trials")

    def steps_done(self, job, count, seconds=30):
        """Wait until so many steps are done."""
        end = time.monotonic() + seconds
        while self.get(f"/api/v1/jobs/{job}").json["progress"]["steps_done"] < count:
            if time.monotonic() > end:
                raise RuntimeError(f"job {job} does not get on\n{self.log()}")
            time.sleep(0.02)

    def measuring(self, job, seconds=30):
        """Wait until runners of the job are at work."""
        end = time.monotonic() + seconds
        while not runners_of(self):
            if time.monotonic() > end:
                raise RuntimeError(f"no runner of {job}\n{self.log()}")
            time.sleep(0.01)

    def wait_log(self, text, seconds=30):
        end = time.monotonic() + seconds
        while text not in self.log():
            if time.monotonic() > end:
                raise RuntimeError(f"no {text!r} in the log:\n{self.log()}")
            time.sleep(0.05)


def job(*allocators, rings=2, slice_ops=500, rotations=4, **changes):
    made = heapmarkd.small_job(
        allocators=["glibc", "lifo", *allocators],
        repeat={"rings": rings, "rotations": rotations, "slice_ops": slice_ops, "warm_pct": 10},
        **changes,
    )
    return made


def runners_of(daemon):
    return [p for p, n in heapmarkd.children(daemon.process.pid) if n.startswith("heapmark-runne")]


def processes_called(name):
    found = []
    for p in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{p}/comm") as f:
            if f.read().strip() == name:
                found.append(int(p))
    return found


def cgroups_left():
    return [
        os.path.join(root, d)
        for root, dirs, _ in os.walk("/sys/fs/cgroup")
        for d in dirs
        if d == GROUP or f"/{GROUP}" in root
    ]


def in_mounts(script):
    """A prefix: a mount namespace of its own, changed by a script."""
    return ["unshare", "-m", "sh", "-c", script + ' && exec "$@"', "sh"]


class Case(unittest.TestCase):
    maxDiff = None

    @contextlib.contextmanager
    def daemon(self, settings=(), start=True, **kw):
        d = Daemon(settings, **kw)
        try:
            yield d.start() if start else d
        finally:
            d.remove()

    def refused(self, d, body, status, field, *words):
        reply = d.request("POST", "/api/v1/jobs", body)
        self.assertEqual(reply.status, status, reply.body)
        self.assertEqual(reply.headers["Content-Type"], "application/problem+json")
        text = reply.json["detail"]
        self.assertEqual([w for w in words if w not in text], [], reply.json)
        if field is not None:
            self.assertIn(field, json.dumps(reply.json))
        return reply

    def nothing_left(self, d):
        """After a job: no runner, no process of a runner, no cgroup of a trial."""
        self.assertEqual(runners_of(d), [])
        self.assertEqual(processes_called("evil-left"), [])
        self.assertEqual([c for c in cgroups_left() if not c.endswith(GROUP)], [])

    def sound(self, d):
        """A daemon that has stopped: a sound database, nothing running in it, nothing left."""
        self.assertEqual(d.query("PRAGMA integrity_check"), [("ok",)])
        self.assertEqual(d.query("PRAGMA foreign_key_check"), [])
        self.assertEqual(
            d.query("SELECT count(*) FROM attempt WHERE state = 'running'"), [(0,)], d.log()
        )
        self.assertEqual(cgroups_left(), [])


# name, outcome, signal, words in the cell's last failure, whether it got part of the way: of a
# liar only what the supervisor saw before the lie is believed, which may be nothing
MISDEEDS = [
    ("crash", "crashed", signal.SIGSEGV, ["signal 11"], True),
    ("exit", "exited", 0, [], True),
    ("hang", "turn_timeout", signal.SIGKILL, [], True),
    ("spin", "turn_timeout", signal.SIGKILL, [], True),
    ("flood", "turn_timeout", signal.SIGKILL, [], True),
    ("scribble", "protocol", signal.SIGKILL, [], False),
    ("done", "protocol", signal.SIGKILL, [], False),
    ("stamps", "protocol", 0, ["not believed"], False),
    ("confess", "failed", 0, [], False),
    ("eat", "oom", signal.SIGKILL, ["signal 9"], True),
    ("null", "failed", 0, [], True),
    ("early", "crashed", signal.SIGSEGV, ["signal 11"], False),
    ("chatter", "ok", 0, [], False),
    ("fork", "ok", 0, [], False),
    ("liar", "ok", 0, [], False),
]


class Runners(Case):
    """One job with every misdeed in it: each cell says what happened, and all the others go on."""

    @classmethod
    def setUpClass(cls):
        cls.d = Daemon().start()
        cls.addClassCleanup(cls.d.remove)
        names = [f"evil-{m[0]}" for m in MISDEEDS]
        cls.id = cls.d.submit(
            job(*names, limits={"turn_ms": TURN_MS, "wall_s": 60, "memory_bytes": "64MiB"})
        )
        cls.job = cls.d.wait(cls.id)
        cls.cells = cls.d.cells(cls.id)
        cls.trials = cls.d.trials(cls.id)

    def test_each_says_what_happened(self):
        for name, outcome, signal_number, words, partly in MISDEEDS:
            with self.subTest(name):
                cell = self.cells[f"evil-{name}"]
                mine = [t for t in self.trials if t["cell"] == cell["index"]]
                self.assertEqual(len(mine), 2)
                for t in mine:
                    self.assertEqual(t["outcome"], outcome, t)
                    self.assertEqual(t["signal"] or 0, signal_number, t)
                    if partly:
                        self.assertGreater(t["turns_done"], 0, t)
                        self.assertLess(t["turns_done"], t["turns_total"], t)
                if outcome == "ok":
                    self.assertEqual((cell["trials"]["ok"], cell["trials"]["failed"]), (2, 0))
                    self.assertEqual(cell["last_failure"], "")
                    continue
                self.assertEqual((cell["trials"]["ok"], cell["trials"]["failed"]), (0, 2))
                self.assertEqual(cell["summaries"], {})
                text = cell["last_failure"]
                self.assertEqual([w for w in words + [outcome] if w not in text], [], text)
                self.assertRegex(text, f"{mine[-1]['turns_done']} of {mine[-1]['turns_total']}")

    def test_exit_status(self):
        cell = self.cells["evil-exit"]["index"]
        self.assertEqual({t["exit_status"] for t in self.trials if t["cell"] == cell}, {3})

    def test_no_memory(self):
        cell = self.cells["evil-null"]["index"]
        self.assertEqual({t["failure"] for t in self.trials if t["cell"] == cell}, {"enomem"})

    def test_the_rest_of_each_ring_went_on(self):
        for t in self.trials:
            if t["role"] != "subject":
                self.assertEqual(t["outcome"], "ok", t)
                self.assertEqual(t["turns_done"], t["turns_total"])
        for name in ("glibc", "lifo"):
            self.assertEqual(self.cells[name]["trials"]["failed"], 0)
            self.assertGreater(self.cells[name]["trials"]["ok"], 0)
            self.assertGreater(self.cells[name]["summaries"]["pairs_per_s"]["value"], 0)

    def test_job_says_which_is_the_first(self):
        self.assertEqual(self.job["state"], "failed")
        broken = sum(m[1] != "ok" for m in MISDEEDS)
        text = self.job["error"]["message"]
        self.assertIn(f"{broken} of {len(MISDEEDS) + 2} cells have no result", text)
        self.assertRegex(text, r"evil-crash on table-churn, 1 threads: .*signal 11 after \d+ of \d+")
        progress = self.job["progress"]
        self.assertEqual(progress["steps_done"], progress["steps_total"])
        self.assertEqual(progress["steps_failed"], 2 * broken)

    def test_words_of_runners_are_harmless(self):
        """Bounded and printable, whatever they write."""
        shouted = 0
        for t in self.trials:
            self.assertLessEqual(len(t["log"]), 4096)
            self.assertLess(len(t["message"]), 256)
            self.assertNotRegex(t["log"].replace("\n", "") + t["message"], r"[^\x20-\x7e]")
            shouted += "\\x1b" in t["log"]
        self.assertGreaterEqual(shouted, 4)  # flood and chatter, twice each
        confessed = self.cells["evil-confess"]["index"]
        mine = [t for t in self.trials if t["cell"] == confessed]
        self.assertEqual({t["failure"] for t in mine}, {"protocol"})
        self.assertIn('"},\\x1b[2J<b>', mine[0]["message"])

    def test_no_figure_beyond_the_workloads_is_believed(self):
        """Of evil-liar, which reports metrics of others, of the supervisor and of slices."""
        liar, honest = (self.cells[x]["summaries"] for x in ("evil-liar", "lifo"))
        self.assertEqual(set(liar) - set(honest), set())
        self.assertEqual([m for m, s in liar.items() if (s["value"] or 0) > 1e200], [])
        for metric in ("pairs_per_s", "cpu_user_us"):  # sent as vectors, too
            self.assertIsNotNone(liar[metric]["value"])
        mine = [t for t in self.trials if t["cell"] == self.cells["evil-liar"]["index"]]
        self.assertNotIn("a lie", json.dumps(mine))

    def test_nothing_is_left(self):
        self.nothing_left(self.d)
        self.assertEqual(self.d.get("/readyz").status, 200)
        self.assertEqual(self.d.wait(self.d.submit(job()))["state"], "succeeded")


class Repeated(Case):
    def test_broken_allocator_is_not_tried_for_ever(self):
        with self.daemon() as d:
            found = d.submit(job("evil-crash", rings=8))
            self.assertEqual(d.wait(found)["state"], "failed")
            cells = d.cells(found)
            self.assertEqual(cells["evil-crash"]["trials"]["failed"], 3)
            self.assertEqual(cells["lifo"]["trials"]["ok"], 8)
            self.assertEqual(d.stop(), 0)
            self.sound(d)

    def test_broken_reference_ends_the_job(self):
        with self.daemon() as d:
            found = d.submit(job("evil-crash", rings=8, reference="evil-crash"))
            ended = d.wait(found)
            self.assertEqual(ended["state"], "failed")
            self.assertIn("signal 11", ended["error"]["message"])
            self.assertLess(len(d.trials(found)), 12, "rings nobody can compare with are run")
            self.nothing_left(d)


class Outside(Case):
    def test_who_works_beside_its_turns_is_measured_alone(self):
        """A thread of its own, as a purger's: its cell is run again as trials, and says so."""
        with self.daemon() as d:
            found = d.submit(job("evil-busy", rings=3, rotations=200, slice_ops=5000))
            ended = d.wait(found, 120)
            self.assertEqual(ended["state"], "succeeded", ended["error"])
            cells = d.cells(found)
            busy = cells["evil-busy"]["summaries"]
            self.assertEqual(busy["pairs_per_s"]["measured"], "solo", busy)
            self.assertEqual(busy["pairs_per_s"]["count"], 3)
            self.assertGreater(busy["pairs_per_s"]["ratio"], 0)
            self.assertEqual(busy["cpu_outside_ratio"]["measured"], "ring")
            self.assertGreater(busy["cpu_outside_ratio"]["value"], 0.005)
            alone = [t for t in d.trials(found) if t["position"] >= 2]
            self.assertEqual(
                sorted((t["repetition"], t["role"]) for t in alone),
                sorted((r, x) for r in range(3) for x in ("reference", "control", "subject")),
            )
            for name in ("glibc", "lifo"):
                rate = cells[name]["summaries"]["pairs_per_s"]
                self.assertEqual(rate["measured"], "ring", cells[name]["summaries"])
            progress = ended["progress"]
            self.assertEqual(progress["steps_total"], 3 * 2 + 3 * 3)
            self.assertEqual(progress["steps_done"], progress["steps_total"])
            self.nothing_left(d)


class Crowded(Case):
    def test_streams_pause_while_a_ring_leaves_the_daemon_no_cpu(self):
        with self.daemon() as d:
            host = d.get("/api/v1/host").json
            threads = max(p["threads"] for p in host["placements"] if not p["reason"])
            if host["housekeeping_threads"] >= threads:
                self.skipTest("this host always has a CPU for housekeeping")
            churn = {"workload": "table-churn", "params": {"live": 500}, "threads": threads}
            found = d.submit(job("evil-nap", rings=2, rotations=20, slice_ops=20000,
                                 reference="evil-nap", workloads=[churn]))
            d.measuring(found)
            connection = http.client.HTTPConnection("127.0.0.1", d.port, timeout=30)
            self.addCleanup(connection.close)
            connection.request("GET", f"/api/v1/jobs/{found}/events")
            stream = connection.getresponse()
            stream.fp.raw._sock.settimeout(1)
            with self.assertRaises(TimeoutError):  # that it runs is an event of before
                stream.read(1)
            self.assertTrue(runners_of(d), "the ring was over too soon to tell")
            self.assertEqual(d.get(f"/api/v1/jobs/{found}").json["progress"]["steps_done"], 0)
            d.request("POST", f"/api/v1/jobs/{found}/cancel")
            self.assertEqual(d.wait(found)["state"], "cancelled")
            connection.close()
            connection.request("GET", f"/api/v1/jobs/{found}/events")
            self.assertIn(b"event: end", connection.getresponse().read())
            self.nothing_left(d)


class BadJobs(Case):
    """What a job may not ask of this host, each with field, value and bounds."""

    @classmethod
    def setUpClass(cls):
        cls.d = Daemon().start()
        cls.addClassCleanup(cls.d.remove)

    def test_unavailable_allocator_names_its_package(self):
        self.refused(self.d, job("absent"), 422, "/allocators/2", "absent", "libabsent7")

    def test_more_threads_than_cpus(self):
        cpus = len(os.sched_getaffinity(0))
        entry = {"workload": "table-churn", "threads": cpus + 1}
        body = job(workloads=[entry])
        self.refused(self.d, body, 422, "/workloads/0/threads", f"{cpus + 1}", f"1 to {cpus}")

    def test_exploding_matrix(self):
        entry = {
            "workload": "table-churn",
            "params": {"live": list(range(100, 132)), "remote_pct": list(range(32))},
            "threads": 1,
        }
        reply = self.refused(self.d, job(workloads=[entry] * 8), 422, "/workloads")
        self.assertIn(str(32 * 32 * 8 * 2), reply.json["detail"])
        self.assertRegex(reply.json["detail"], r"at most \d+")

    def test_memory_limit_below_the_need(self):
        entry = {"workload": "table-churn", "params": {"live": 1000000}, "threads": 1}
        body = job(workloads=[entry], limits={"memory_bytes": "16MiB"})
        self.refused(self.d, body, 422, "/limits/memory_bytes", "16 MiB", "table-churn")

    def test_memory_limit_reached_while_running(self):
        """bump never reuses a block: it outgrows what its live blocks need."""
        body = job("bump", slice_ops=20000, limits={"memory_bytes": "24MiB"})
        found = self.d.submit(body)
        self.assertEqual(self.d.wait(found)["state"], "failed")
        cells = self.d.cells(found)
        self.assertIn("oom: signal 9", cells["bump"]["last_failure"])
        self.assertGreater(cells["lifo"]["trials"]["ok"], 0)
        self.nothing_left(self.d)


class Host(Case):
    """Starts that cannot work end at once and say why; starts that can, say what is missing."""

    def start_fails(self, d, *words):
        with self.assertRaises(RuntimeError) as caught:
            d.start()
        text = str(caught.exception)
        self.assertIn("heapmarkd ended with 1", text)
        self.assertEqual([w for w in words if w not in text], [], text)
        self.assertEqual(heapmarkd.children(os.getpid()), self.before, "a supervisor is left")

    def setUp(self):
        self.before = heapmarkd.children(os.getpid())

    def test_busy_port(self):
        with self.daemon() as d:
            self.before = heapmarkd.children(os.getpid())
            listen = [f"server.listen=127.0.0.1:{d.port}"]
            with self.daemon(listen, start=False) as other:
                self.start_fails(other, str(d.port), "in use")
            self.assertEqual(d.get("/readyz").status, 200)

    def test_second_daemon_on_a_state_directory(self):
        with self.daemon() as d:
            self.before = heapmarkd.children(os.getpid())
            with self.daemon([f"store.directory={d.state}"], start=False) as other:
                self.start_fails(other, d.state, str(d.process.pid))
            self.assertEqual(d.wait(d.submit(job(rings=1)))["state"], "succeeded")
            self.assertEqual(d.stop(), 0)
            self.sound(d)

    def test_newer_schema(self):
        with self.daemon() as d:
            self.assertEqual(d.stop(), 0)
            connection = sqlite3.connect(d.database)
            connection.execute("PRAGMA user_version = 9999")
            connection.commit()
            connection.close()
            self.start_fails(d, "9999", "newer")
            self.assertEqual(d.query("PRAGMA user_version"), [(9999,)])

    def test_read_only_state_directory(self):
        with self.daemon(start=False) as d:
            os.mkdir(d.state)
            d.prefix = in_mounts(
                f"mount -t tmpfs none {d.state} && mount -o remount,ro {d.state}"
            )
            self.start_fails(d, d.state, "Read-only file system")

    def test_not_root(self):
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        with self.daemon(["supervisor.uids=none"], start=False, prefix=nobody) as d:
            for root, dirs, files in os.walk(d.directory):
                for name in [root] + [os.path.join(root, n) for n in dirs + files]:
                    os.chown(name, 65534, 65534)
            log = os.open(d.log_path, os.O_CREAT | os.O_WRONLY)
            os.close(log)
            d.start()
            found = d.submit(job("evil-crash"))
            d.wait(found)
            for t in d.trials(found):
                self.assertNotIn("uid", t["isolation"])
                self.assertNotIn("cgroup_memory", t["isolation"])
                self.assertIn("no_new_privs", t["isolation"])
            level = d.get("/api/v1/host").json["isolation"]["level"]
            self.assertEqual({t["isolation_level"] for t in d.trials(found)}, {level})
            self.assertNotEqual(level, "full")
            self.assertGreater(d.cells(found)["lifo"]["trials"]["ok"], 0)
            self.assertIn("signal 11", d.cells(found)["evil-crash"]["last_failure"])
            self.assertEqual(runners_of(d), [])
            body = job(limits={"memory_bytes": "64MiB"})
            self.no_limit_possible(d, body)

    def test_no_cgroups(self):
        with self.daemon(prefix=in_mounts("mount -t tmpfs none /sys/fs/cgroup")) as d:
            found = d.submit(job("evil-fork"))
            self.assertEqual(d.wait(found)["state"], "succeeded")
            for t in d.trials(found):
                self.assertEqual([b for b in t["isolation"] if b.startswith("cgroup")], [])
                self.assertIn("uid", t["isolation"])
            self.assertEqual(processes_called("evil-left"), [])
            self.assertEqual(runners_of(d), [])
            self.no_limit_possible(d, job(limits={"memory_bytes": "64MiB"}))

    def no_limit_possible(self, d, body):
        """A memory limit nobody can enforce is refused or fails by name, never dropped."""
        reply = d.request("POST", "/api/v1/jobs", body)
        if reply.status == 422:
            self.assertIn("memory", reply.json["detail"])
            return
        ended = d.wait(reply.json["job"]["id"])
        self.assertEqual(ended["state"], "failed", ended)
        self.assertIn("memory", ended["error"]["message"])

    def test_giant_pages_on_a_host_without(self):
        hide = in_mounts("mount -t tmpfs none /sys/kernel/mm/hugepages")
        with self.daemon(prefix=hide) as d:
            entry = {"workload": "chase", "params": {"bytes": "1MiB"}, "pages": ["hugetlb-1g"]}
            body = {"allocators": ["glibc"], "workloads": [entry]}
            self.refused(d, body, 422, "/workloads/0/pages", "hugetlb-1g", "no pages of that size")


class FullDisk(Case):
    def fill(self, path):
        """Every byte, as root: nothing is reserved on a tmpfs."""
        with open(path, "wb", buffering=0) as f, contextlib.suppress(OSError):
            for size in (MIB, 4096):
                with contextlib.suppress(OSError):
                    while True:
                        f.write(b"\0" * size)

    def test_full_while_a_job_runs(self):
        with self.daemon(["store.low_water=1MiB"], start=False) as d:
            os.mkdir(d.state)
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "none", d.state], check=True)
            try:
                self.full_and_free(d.start())
            finally:
                d.kill()
                subprocess.run(["umount", d.state], check=True)

    def full_and_free(self, d):
        filler = os.path.join(d.state, "filler")
        # Slices enough that results do not fit into what is allocated already.
        found = d.submit(job(rings=30, rotations=1000, slice_ops=100))
        d.steps_done(found, 1)
        self.fill(filler)
        self.refused(d, job(), 507, None, "free")
        self.assertNotEqual(d.get("/readyz").status, 200)
        d.wait_log("disk is full")
        self.assertEqual(d.get(f"/api/v1/jobs/{found}").json["state"], "running")
        os.unlink(filler)
        ended = d.wait(found)
        self.assertEqual(ended["state"], "succeeded", d.log())
        self.assertEqual(ended["progress"]["steps_done"], 30)
        self.assertEqual(d.get("/readyz").status, 200)
        self.assertEqual(d.wait(d.submit(job()))["state"], "succeeded")
        cells = d.cells(found)
        self.assertEqual(cells["lifo"]["trials"]["ok"], 30)
        self.assertEqual(d.stop(), 0)
        self.sound(d)


class Life(Case):
    """A daemon that is killed, told to cancel or told to stop while it measures."""

    def test_restart_measures_only_what_is_missing(self):
        with self.daemon() as d:
            found = d.submit(job("evil-nap", rings=5, slice_ops=200))
            d.steps_done(found, 3)
            d.kill()
            before = self.accepted(d)
            self.assertGreaterEqual(len(before), 3)
            d.start()
            ended = d.wait(found)
            self.assertEqual(ended["state"], "succeeded")
            self.assertEqual(ended["progress"]["steps_done"], 10)
            for cell in d.cells(found).values():
                self.assertGreaterEqual(cell["trials"]["ok"], 5)
            self.assertEqual(d.stop(), 0)
            after = self.accepted(d)
            self.assertEqual(len(after), 10)
            self.assertEqual(after[: len(before)], before, "a finished ring was measured again")
            self.sound(d)

    def accepted(self, d):
        return d.query("SELECT id, uuid FROM attempt WHERE state = 'accepted' ORDER BY id")

    def test_cancel_of_a_running_job(self):
        with self.daemon() as d:
            found = d.submit(job("evil-nap", rings=100, slice_ops=20000))
            waiting = d.submit(job(rings=1))
            d.measuring(found)
            reply = d.request("POST", f"/api/v1/jobs/{found}/cancel", "")
            self.assertIn(reply.status, (200, 202))
            self.assertEqual(d.wait(found)["state"], "cancelled")
            self.assertEqual(d.wait(waiting)["state"], "succeeded")
            self.nothing_left(d)
            again = d.request("POST", f"/api/v1/jobs/{found}/cancel", "")
            self.assertEqual(d.get(f"/api/v1/jobs/{found}").json["state"], "cancelled")
            self.assertLess(again.status, 500)
            self.assertEqual(d.stop(), 0)
            self.sound(d)

    def state_of(self, d, found):
        return d.query("SELECT state FROM job WHERE uuid = ?", found)[0][0]

    def test_term_lets_the_ring_end(self):
        with self.daemon() as d:
            # A ring of about two seconds.
            found = d.submit(job("evil-nap", rings=20, slice_ops=8000, reference="evil-nap"))
            d.measuring(found)
            self.assertEqual(d.stop(), 0)
            self.assertEqual(
                d.query("SELECT state, count(*) FROM attempt GROUP BY state"), [("accepted", 1)]
            )
            self.assertEqual(self.state_of(d, found), "queued")
            self.sound(d)

    def test_second_term_breaks_it_off(self):
        with self.daemon() as d:
            # A ring of a minute; without a second TERM it would be let run for 20 seconds.
            limits = {"turn_ms": 100000}
            found = d.submit(job("evil-nap", rings=1, slice_ops=200000, limits=limits))
            d.measuring(found)
            d.process.send_signal(signal.SIGTERM)
            reply = d.request("POST", "/api/v1/jobs", job())
            self.assertEqual(reply.status, 503, reply.body)
            self.assertIsNone(d.process.poll())
            self.assertEqual(d.stop(), 0)
            states = d.query("SELECT state, count(*) FROM attempt GROUP BY state")
            self.assertEqual(states, [("lost", 1)])
            self.assertEqual(self.state_of(d, found), "queued")
            self.sound(d)


class Replies(Case):
    """One good job, followed and read in every way; then the daemon at rest."""

    @classmethod
    def setUpClass(cls):
        cls.d = Daemon().start()
        cls.addClassCleanup(cls.d.remove)
        cls.id = cls.d.submit(job("evil-nap", "bump", rings=3, slice_ops=200))
        cls.events = cls.follow()
        cls.job = cls.d.get(f"/api/v1/jobs/{cls.id}?wait=20").json
        cls.cells = cls.d.cells(cls.id)

    @classmethod
    def follow(cls):
        """Every event of the job until the server ends the stream."""
        connection = http.client.HTTPConnection("127.0.0.1", cls.d.port, timeout=30)
        try:
            connection.request("GET", f"/api/v1/jobs/{cls.id}/events")
            reply = connection.getresponse()
            assert reply.status == 200, reply.read()
            text = reply.read().decode()
        finally:
            connection.close()
        events = []
        for block in re.split(r"\n\n", text):
            lines = [x.split(": ", 1) for x in block.splitlines() if x and x[0] not in ":r"]
            if lines:
                events.append(dict(lines))
        return events

    def test_events(self):
        kinds = [e["event"] for e in self.events]
        self.assertEqual(kinds[-1], "end")
        self.assertEqual(kinds.count("end"), 1)
        self.assertEqual(kinds.count("step"), 9)
        ids = [int(e["id"]) for e in self.events]
        self.assertEqual(ids, sorted(set(ids)))
        steps = [json.loads(e["data"]) for e in self.events if e["event"] == "step"]
        self.assertEqual([s["steps_done"] for s in steps], list(range(1, 10)))
        self.assertEqual(json.loads(self.events[-1]["data"]), {"state": "succeeded"})

    def test_wait_answers_when_the_job_ends(self):
        found = self.d.submit(job("evil-nap", rings=2, slice_ops=200))
        self.assertEqual(self.d.get(f"/api/v1/jobs/{found}?wait=30").json["state"], "succeeded")

    def test_wait_answers_when_it_does_not(self):
        found = self.d.submit(job("evil-nap", rings=100, slice_ops=20000))
        self.assertIn(
            self.d.get(f"/api/v1/jobs/{found}?wait=1").json["state"], ("queued", "claimed", "running")
        )
        self.d.request("POST", f"/api/v1/jobs/{found}/cancel", "")
        self.assertEqual(self.d.wait(found)["state"], "cancelled")

    def wanted(self):
        """(allocator, metric): value, for every cell."""
        self.assertEqual(set(self.cells), {"glibc", "lifo", "bump", "evil-nap"})
        for cell in self.cells.values():
            self.assertIn("pairs_per_s", cell["summaries"])
        return {
            (name, metric): s["value"]
            for name, c in self.cells.items()
            for metric, s in c["summaries"].items()
        }

    def test_results_hold_every_cell(self):
        groups = self.d.get(f"/api/v1/jobs/{self.id}/results").json["groups"]
        self.assertEqual([c["allocator"] for g in groups for c in g["cells"]], list(self.cells))
        rows = self.d.items(f"/api/v1/results?job={self.id}&limit=50")
        found = {(r["allocator"], r["metric"]): r["value"] for r in rows}
        self.assertEqual(found, self.wanted())
        self.assertEqual(len(rows), len(found))

    def test_exports_hold_every_cell(self):
        text = self.d.get(f"/api/v1/results?job={self.id}&format=ndjson").body.decode()
        rows = [json.loads(line) for line in text.splitlines()]
        self.assertEqual({(r["allocator"], r["metric"]): r["value"] for r in rows}, self.wanted())
        text = self.d.get(f"/api/v1/results?job={self.id}&format=csv").body.decode()
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        values = {(r["allocator"], r["metric"]): float(r["value"]) if r["value"] else None
                  for r in rows}
        self.assertEqual(values, self.wanted())
        self.assertEqual([r for r in rows if not r["value"] and not r["reason"]], [])

    def test_pages_take_what_their_addresses_say(self):
        for page in ("/?state=succeeded&project=x", f"/job?id={self.id}", f"/submit?clone={self.id}",
                     "/submit?preset=reference", "/host", "/allocators"):
            reply = self.d.get(page)
            self.assertEqual(reply.status, 200, page)
            self.assertIn("text/html", reply.headers["Content-Type"])

    def test_idle_daemon(self):
        """A count, not a time: how often anybody of ours woke up in five seconds."""
        family = [self.d.process.pid] + [p for p, _ in heapmarkd.children(self.d.process.pid)]
        self.assertEqual(len(family), 3, "daemon, guardian and worker")
        time.sleep(1)
        before = sum(map(wakeups, family))
        time.sleep(5)
        woken = sum(map(wakeups, family)) - before
        rss = [memory_kib(p) for p in family]
        print(f"idle: {woken} wake-ups in 5 s, RSS {rss} KiB (daemon, guardian, worker)")
        self.assertLessEqual(woken, 5)
        if is_plain_release():
            self.assertLessEqual(rss[0], 16 * 1024)


def status_of(path, key):
    with open(path) as f:
        return int(re.search(rf"^{key}:\s+(\d+)", f.read(), re.M).group(1))


def wakeups(pid):
    return sum(
        status_of(f"/proc/{pid}/task/{t}/status", "voluntary_ctxt_switches")
        for t in os.listdir(f"/proc/{pid}/task")
    )


def memory_kib(pid):
    return status_of(f"/proc/{pid}/status", "VmRSS")


def is_plain_release():
    with open(os.path.join(BUILD, "CMakeCache.txt")) as f:
        cache = dict(re.findall(r"^(\w+):\w+=(.*)$", f.read(), re.M))
    return cache.get("CMAKE_BUILD_TYPE") == "Release" and not cache.get("HEAPMARK_SANITIZE")


class Local(Case):
    """heapmark run --local: the exit status says whether every cell has a result."""

    def run_local(self, body):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
            json.dump(body, f)
            f.flush()
            command = [os.path.join(BUILD, "bin", "heapmark"), "run", f.name, "--local", "--json"]
            return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def test_exit_status(self):
        small = {"rings": 2, "rotations": 4, "slice_ops": 20000, "warm_pct": 10}
        body = heapmarkd.small_job(allocators=["glibc", "bump"], repeat=small)
        good = self.run_local(body)
        self.assertEqual(good.returncode, 0, good.stderr)
        body["limits"] = {"memory_bytes": "24MiB"}
        bad = self.run_local(body)
        self.assertEqual(bad.returncode, 1, bad.stderr)
        self.assertIn("bump on table-churn", bad.stderr)
        self.assertIn("signal 9", bad.stderr)
        self.assertIn("glibc", bad.stdout, "what was measured is shown all the same")
        body["allocators"] = ["glibc", "none-such"]
        unknown = self.run_local(body)
        self.assertEqual(unknown.returncode, 2, unknown.stderr)
        self.assertIn("none-such", unknown.stderr)


if __name__ == "__main__":
    if os.geteuid() != 0:
        heapmarkd.skip("cgroups, mounts and uids of runners need root")
    for tool in ("unshare", "setpriv"):
        if not shutil.which(tool):
            heapmarkd.skip(f"{tool} is not installed")
    unittest.main(verbosity=2)
