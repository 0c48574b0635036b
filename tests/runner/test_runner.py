"""heapmark-runner as the supervisor uses it: real processes, real allocators, every lie and
every way to die. mini_supervisor plays the supervisor and reports as JSON."""
import json
import os
import signal
import subprocess
import sys
import time
import unittest

BUILD = os.environ["HEAPMARK_BUILD_DIR"]
RUNNER = os.path.join(BUILD, "bin", "heapmark-runner")
MINI = os.path.join(BUILD, "tests", "mini_supervisor")
VICTIMS = os.path.join(BUILD, "tests", "victims")
DEBIAN = "/usr/lib/x86_64-linux-gnu"
BUILD_PHASE, WARM, MEASURE, SETTLE, RUN = range(5)
FINISHED, FAILED = 4, 5
DROPPED = 0xFFFFFFFF
CPUS = sorted(os.sched_getaffinity(0))

GLIBC = "usable=malloc_usable_size,adapter=glibc"


def victim(name):
    return f"lib={VICTIMS}/libvictim_{name}.so"


def good(extra=""):
    return victim("good") + ",usable=malloc_usable_size" + extra


def in_tree(name):
    return f"lib={BUILD}/lib/lib{name}.so"


REAL = {
    "glibc": GLIBC,
    "jemalloc": f"lib={DEBIAN}/libjemalloc.so.2,usable=malloc_usable_size,adapter=jemalloc",
    "mimalloc": f"lib={DEBIAN}/libmimalloc.so.2.0,usable=malloc_usable_size,adapter=mimalloc",
    "tcmalloc": f"lib={DEBIAN}/libtcmalloc_minimal.so.4,prefix=tc_,usable=tc_malloc_size,"
                "adapter=tcmalloc",
    "tbb": f"lib={DEBIAN}/libtbbmalloc.so.2,prefix=scalable_,usable=scalable_msize",
    "null": in_tree("hm_null") + ",flags=1",
    "bump": in_tree("hm_bump") + ",flags=2",
    "lifo": in_tree("hm_lifo"),
    "first fit": in_tree("hm_classic_first"),
    "buddy": in_tree("hm_classic_buddy") + ",usable=malloc_usable_size,adapter=classic",
    "slub": in_tree("hm_classic_slub") + ",usable=malloc_usable_size,adapter=classic",
    "control": good(),
}


def library_of(subject):
    for pair in subject.split(","):
        if pair.startswith("lib="):
            return pair[4:]
    return None


def present(name):
    library = library_of(REAL[name])
    return library is None or os.path.exists(library)


def command(subjects, workload="table-churn", **options):
    args = [MINI, "--runner", RUNNER, "--workload", workload,
            "--cpu0", str(CPUS[0]), "--cpu1", str(CPUS[-1])]
    params = options.pop("params", {"live": 2000})
    for key, value in params.items():
        args += ["--param", f"{key}={value}"]
    for key, value in options.items():
        args += ["--" + key.replace("_", "-"), str(value)]
    for subject in subjects:
        args += ["--subject", subject]
    return args


def run(subjects, workload="table-churn", **options):
    done = subprocess.run(command(subjects, workload, **options), capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    result["log"] = done.stderr
    return result


class RunnerTest(unittest.TestCase):
    def assert_finished(self, runner, rotations=6):
        self.assertEqual((runner["failure"], runner["message"]), ("none", ""))
        self.assertEqual((runner["exit"], runner["signal"], runner["state"]), (0, 0, FINISHED))
        self.assertEqual(len(runner["slices"]), rotations)

    def assert_failed(self, runner, failure, message=""):
        self.assertEqual(runner["failure"], failure, runner["message"])
        self.assertEqual((runner["exit"], runner["state"]), (10, FAILED))
        self.assertIn(message, runner["message"])
        self.assertEqual(runner["done"], DROPPED)

    def assert_turns_disjoint(self, result):
        """In the order of the plan, no slice starts before the one before it has ended."""
        before = 0
        for owner, phase, rotation in result["turns"]:
            slices = result["runners"][owner]["slices"]
            if phase != MEASURE or rotation >= len(slices) or slices[rotation][1] == 0:
                continue
            start, end = slices[rotation][:2]
            self.assertLessEqual(before, start)
            self.assertLess(start, end)
            before = end


class HappyRing(RunnerTest):
    def test_ring_of_three(self):
        for threads in (1, 2):
            for remote in (0, 1, 50):
                with self.subTest(threads=threads, remote=remote):
                    result = run([GLIBC, GLIBC, good()], threads=threads,
                                 params={"live": 2000, "remote_pct": remote})
                    for runner in result["runners"]:
                        self.assert_finished(runner)
                        for _, _, ops, _, _ in runner["slices"]:
                            self.assertEqual(ops, 2000)
                    self.assert_turns_disjoint(result)

    def test_long_ring(self):
        """Many handovers: a lost wake-up would stop it."""
        result = run([good(), GLIBC, good()], rotations=2000, slice_ops=50, replay_ops=10,
                     params={"live": 100})
        for runner in result["runners"]:
            self.assert_finished(runner, 2000)
        self.assert_turns_disjoint(result)

    def test_every_allocator(self):
        for name, subject in REAL.items():
            for workload in ("table-churn", "table-warm", "table-cold"):
                for threads in (1, 2):
                    with self.subTest(allocator=name, workload=workload, threads=threads):
                        if not present(name):
                            self.skipTest("not installed")
                        self.one(subject, workload, threads)

    def one(self, subject, workload, threads):
        result = run([subject], workload, threads=threads, params={"live": 3000})
        runner = result["runners"][0]
        self.assert_finished(runner, 0 if workload == "table-cold" else 6)
        live = runner["metrics"]["live_bytes"]
        self.assertTrue(threads * 3000 * 450 < live < threads * 3000 * 590, live)
        if "flags=1" not in subject:
            self.assertGreater(runner["metrics"]["heap_peak_bytes"], live * 0.95)
        library = library_of(subject)
        if library:
            self.assertEqual(runner["inode"], os.stat(library).st_ino)
        if "adapter=" in subject:
            self.assertNotEqual(runner["version"], "")

    def test_touch_and_sizes(self):
        for touch in ("none", "ends", "full"):
            for sizes in ((1, 1), (1, 16), (16, 1024), (100000, 200000)):
                for threads in (1, 2):
                    with self.subTest(touch=touch, sizes=sizes, threads=threads):
                        result = run([good(), GLIBC], threads=threads, rotations=2, params={
                            "live": 200, "touch": touch, "size_min_bytes": sizes[0],
                            "size_max_bytes": sizes[1]})
                        for runner in result["runners"]:
                            self.assert_finished(runner, 2)

    def test_one_and_two_threads_share_a_ring(self):
        result = run([good(",threads=1"), good(",threads=2"), GLIBC + ",threads=1"])
        for runner in result["runners"]:
            self.assert_finished(runner)
        ratio = result["runners"][1]["metrics"]["live_bytes"] / \
            result["runners"][0]["metrics"]["live_bytes"]
        self.assertTrue(1.9 < ratio < 2.1, ratio)

    def test_more_threads_than_cpus(self):
        """The barrier spins first; then somebody must be let run."""
        for workload, rotations in (("table-churn", 6), ("table-cold", 0)):
            result = run([good()], workload, threads=12, params={"live": 500})
            self.assert_finished(result["runners"][0], rotations)

    def test_tape_of_more_threads(self):
        self.assert_finished(run([good()], tape_threads=7)["runners"][0])
        self.assert_finished(run([good()], tape_threads=7, threads=2)["runners"][0])

    def test_tape_goes_round(self):
        """More operations than the tape has entries: the audit still knows every size."""
        result = run([good()], warm_ops=2_500_000, params={"live": 1000, "touch": "full"})
        self.assert_finished(result["runners"][0])
        result = run([good()], threads=2, warm_ops=1_500_000,
                     params={"live": 1000, "touch": "full", "remote_pct": 50})
        self.assert_finished(result["runners"][0])

    def test_without_batch_and_replay(self):
        result = run([good(), good()], batch=0, replay_ops=0, warm_ops=0)
        for runner in result["runners"]:
            self.assert_finished(runner)

    def test_same_work_for_everybody(self):
        """The control's usable size is the requested one: every runner holds the same bytes."""
        result = run([good(), GLIBC, good()])
        live = {runner["metrics"]["live_bytes"] for runner in result["runners"]}
        self.assertEqual(len(live), 1)
        self.assertEqual(result["runners"][0]["metrics"]["frag_internal"], 0)
        self.assertGreater(result["runners"][1]["metrics"]["frag_internal"], 0)

    def test_background_thread_is_seen(self):
        """Long enough: the kernel books the time of a thread on another CPU tick by tick."""
        result = run([good(), victim("spin")], rotations=600, slice_ops=20000)
        quiet, spinning = (r["metrics"]["cpu_outside_ratio"] for r in result["runners"])
        self.assertGreater(spinning, 0.01)
        self.assertLess(quiet, spinning / 4)

    def test_negative_waste_is_reported(self):
        """Only the ends of large blocks are written: the heap is smaller than what was asked for.
        Leaving such values out would leave only the errors to the other side."""
        params = {"live": 200, "size_min_bytes": 100000, "size_max_bytes": 200000}
        for workload in ("table-churn", "table-warm"):
            got = run([good()], workload, params=params)["runners"][0]["metrics"]
            for name in ("frag_total", "frag_external", "frag_peak"):
                self.assertLess(got[name], 0)
            self.assertAlmostEqual(got["frag_total"], 1 - got["live_bytes"] / got["heap_bytes"])
            self.assertEqual(got["frag_internal"], 0)

    def test_counters_say_why_they_are_absent(self):
        """A counter this machine does not have is no zero and no silence."""
        got = run([GLIBC], "chase", params={"bytes": 1 << 20})["runners"][0]
        self.assert_finished(got)
        name = "dtlb_misses_per_access"
        self.assertNotEqual(name in got["metrics"], name in got["absent"])
        if name in got["absent"]:
            self.assertRegex(got["absent"][name], "does not count them: .+")

    def test_start_skew(self):
        """Where threads can start apart it is said how far; there only."""
        for workload in ("table-churn", "table-warm"):
            for threads in (2, 12):
                got = run([good()], workload, threads=threads)["runners"][0]["metrics"]
                self.assertGreaterEqual(got["start_skew_ratio"], 0)
                self.assertLess(got["start_skew_ratio"], 1)
            got = run([good()], workload, threads=1)["runners"][0]["metrics"]
            self.assertNotIn("start_skew_ratio", got)

    def test_gate_says_leave(self):
        for runner in run([good(), good()], gate=2)["runners"]:
            self.assertEqual((runner["exit"], runner["state"]), (0, 1))


ALLOCATED, COMMITTED, MAPPED = (f"allocator_{figure}_bytes"
                                for figure in ("allocated", "committed", "mapped"))
FREED = [f"allocator_{figure}_after_free_bytes" for figure in ("allocated", "committed", "mapped")]
PURGED = "heap_after_purge_bytes"
TOLD = [ALLOCATED, COMMITTED, MAPPED, *FREED, PURGED]


class AllocatorsOwnWord(RunnerTest):
    """Statistics and purge calls of the allocators: what they say, and why they say nothing."""

    def figures(self, subject, workload="table-churn", live=20000, threads=1):
        runner = run([subject], workload, threads=threads, params={"live": live})["runners"][0]
        self.assert_finished(runner, 6 if workload == "table-churn" else 0)
        for name in TOLD:
            self.assertNotEqual(name in runner["metrics"], name in runner["absent"], name)
        return runner["metrics"], runner["absent"]

    def test_allocated_is_near_what_lives(self):
        for name in ("glibc", "jemalloc", "tcmalloc"):
            for workload in ("table-churn", "table-cold"):
                for threads in (1, 2):
                    with self.subTest(allocator=name, workload=workload, threads=threads):
                        if not present(name):
                            self.skipTest("not installed")
                        got, _ = self.figures(REAL[name], workload, threads=threads)
                        live = got["live_bytes"]
                        self.assertTrue(live <= got[ALLOCATED] < 1.35 * live,
                                        (live, got[ALLOCATED]))
                        self.assertGreaterEqual(got[MAPPED], got[ALLOCATED])
                        self.assertLess(got[FREED[0]], live / 4)
                        self.assertLess(got[PURGED], got["heap_peak_bytes"])

    def test_purge_gives_back(self):
        """glibc keeps its heap below the last block; its trim call does not."""
        got, _ = self.figures(GLIBC, "table-cold", live=100000)
        self.assertLessEqual(got[PURGED], got["heap_after_free_bytes"] + (1 << 20))
        self.assertLess(got[PURGED], got["heap_peak_bytes"] / 10)

    def test_what_is_not_told_has_a_reason(self):
        cases = [("mimalloc", REAL["mimalloc"], {COMMITTED, FREED[1], PURGED}, "does not tell"),
                 ("tbb", REAL["tbb"] + ",adapter=tbb", {PURGED}, "has no call"),
                 ("control", good(), set(), "knows no call"),
                 ("control", good(",adapter=jemalloc"), set(), "lacks the symbol"),
                 ("null", REAL["null"], set(), "knows no call")]
        for name, subject, told, reason in cases:
            with self.subTest(allocator=name, reason=reason):
                if not present(name):
                    self.skipTest("not installed")
                got, absent = self.figures(subject, live=2000)
                self.assertEqual({n for n in TOLD if n in got}, told)
                for why in absent.values():
                    self.assertIn(reason, why)

    def test_a_lie_is_not_believed(self):
        got, absent = self.figures(victim("stats_lie") + ",adapter=classic", live=2000)
        self.assertIn("not believed", absent[ALLOCATED])
        self.assertEqual(got[MAPPED], 4096)
        self.assertIn("lacks the symbol", absent[PURGED])

    def test_the_call_does_not_disturb_the_heap_figures(self):
        """A statistics call that takes 64 MiB: no figure of the steady state may have them."""
        plain, _ = self.figures(good(), live=2000)
        got, _ = self.figures(victim("stats_greedy") + ",adapter=classic", live=2000)
        for name in ("heap_bytes", "heap_peak_bytes"):
            self.assertLess(abs(got[name] - plain[name]), 1 << 20, name)

    def test_a_crash_is_the_allocators(self):
        """After every slice, so the others of the ring have theirs and finish."""
        result = run([good(), victim("stats_crash") + ",adapter=classic", good()])
        self.assert_finished(result["runners"][0])
        self.assert_finished(result["runners"][2])
        self.assertEqual(result["runners"][1]["signal"], signal.SIGSEGV)


class Identity(RunnerTest):
    def test_another_inode(self):
        result = run([good(",inode_add=1"), good()])
        self.assert_failed(result["runners"][0], "identity", "is not the hashed one")
        self.assert_finished(result["runners"][1])

    def test_library_without_malloc(self):
        result = run([victim("empty")])
        self.assert_failed(result["runners"][0], "identity", "malloc lives in")

    def test_malloc_that_is_the_c_librarys(self):
        result = run([victim("alias")])
        self.assert_failed(result["runners"][0], "identity", "malloc lives in")

    def test_missing_symbols(self):
        result = run([good(",calloc=victim_calloc")])
        self.assert_failed(result["runners"][0], "load", "no symbol victim_calloc")
        result = run([victim("lost_free")])
        self.assert_failed(result["runners"][0], "identity", "free lives in")
        result = run([good(",malloc=no_such_symbol")])
        self.assert_failed(result["runners"][0], "load", "no_such_symbol")

    def test_not_a_library(self):
        result = run([f"lib={__file__}"])
        self.assert_failed(result["runners"][0], "load")

    def test_c_library_reports_its_file(self):
        runner = run([GLIBC])["runners"][0]
        self.assertEqual(runner["inode"], os.stat(f"{DEBIAN}/libc.so.6").st_ino)


class Lies(RunnerTest):
    def test_plans(self):
        names = subprocess.run(command([good()], corrupt="list"), capture_output=True, text=True,
                               check=True).stdout.split()
        self.assertGreaterEqual(len(names), 25)
        for name in names + ["page-small", "gate-unsealed", "plan-unsealed", "tape-unsealed"]:
            with self.subTest(lie=name):
                runner = run([good()], corrupt=name)["runners"][0]
                self.assert_failed(runner, "protocol")

    def test_gate_out_of_range(self):
        self.assert_failed(run([good()], gate=3)["runners"][0], "protocol", "the gate says 3")

    def test_index_of_nobody(self):
        self.assert_failed(run([good()], index_add=1)["runners"][0], "protocol", "runner 1 of 1")
        runner = run([good()], index_add=3)["runners"][0]
        self.assertEqual((runner["exit"], runner["state"]), (11, 0))

    def test_usage(self):
        for args in ([], ["x"], ["-1"], ["00"], ["3"], ["0", "1"], [""]):
            with self.subTest(args=args):
                done = subprocess.run([RUNNER] + args, capture_output=True, timeout=20)
                self.assertEqual(done.returncode, 11)

    def test_no_descriptors(self):
        done = subprocess.run([RUNNER, "0"], capture_output=True, timeout=20)
        self.assertEqual(done.returncode, 10)
        self.assertIn(b"descriptor 5", done.stderr)

    def test_cpus(self):
        for cpu in (1000, 65535):
            with self.subTest(cpu=cpu):
                runner = run([good()], cpu0=cpu)["runners"][0]
                if cpu < (os.cpu_count() or 0):
                    self.skipTest("such a CPU exists")
                self.assert_failed(runner, "pin", f"CPU {cpu}")
        runner = run([good()], cpu1=900, threads=2)["runners"][0]
        self.assert_failed(runner, "pin", "thread 1")

    def test_intruder(self):
        """Nothing a runner loads can write where the ring does not want it to."""
        result = run([victim("intruder"), good()])
        for runner in result["runners"]:
            self.assert_finished(runner)
        self.assertNotIn("INTRUDED", result["log"])
        attempts = int(result["log"].split("attempts: ")[1].split()[0])
        self.assertGreater(attempts, 5)


class Pages(RunnerTest):
    def test_hugetlb_is_never_silently_4k(self):
        for pages in ("hugetlb-2m", "hugetlb-1g"):
            with self.subTest(pages=pages):
                result = run([GLIBC + f",pages={pages}", GLIBC])
                self.assert_failed(result["runners"][0], "pages_unavailable", "hugetlb")
                self.assert_finished(result["runners"][1])

    def test_thp_is_never_silently_4k(self):
        """Whatever the host's knob says, and whoever else turns it meanwhile."""
        for name in ("good", "huge"):
            with self.subTest(victim=name):
                runner = run([victim(name) + ",pages=thp"], params={"live": 50000})["runners"][0]
                if runner["failure"] == "none":
                    self.assert_finished(runner)
                    self.assertGreater(runner["metrics"]["huge_bytes"], 0)
                else:
                    self.assert_failed(runner, "pages_unavailable", "transparent_hugepage")

    def test_one_huge_page_is_not_thp(self):
        runner = run([victim("one_huge") + ",pages=thp"], params={"live": 50000})["runners"][0]
        self.assert_failed(runner, "pages_unavailable", "half is needed")

    def test_4k_is_4k(self):
        """An allocator that asks for huge pages by itself does not get them."""
        runner = run([victim("huge") + ",pages=4k"], params={"live": 50000})["runners"][0]
        self.assert_finished(runner)

    def test_unknown_page_mode(self):
        self.assert_failed(run([GLIBC + ",pages=16k"])["runners"][0], "protocol")


class BrokenAllocators(RunnerTest):
    CASES = [
        ("overlap", "verify", ""),  # or its usable size: the header is overwritten as well
        ("misaligned", "verify", "not aligned"),
        ("null", "enomem", "returned NULL"),
        ("scribble", "verify", "does not hold what was written"),
        ("short", "verify", "usable size"),
        ("tail", "verify", "does not hold what was written"),
    ]

    def test_they_fail_and_the_ring_goes_on(self):
        for name, failure, message in self.CASES:
            for threads in (1, 2):
                with self.subTest(victim=name, threads=threads):
                    broken = victim(name) + ",usable=malloc_usable_size"
                    result = run([good(), broken, GLIBC], threads=threads)
                    self.assert_failed(result["runners"][1], failure, message)
                    self.assert_finished(result["runners"][0])
                    self.assert_finished(result["runners"][2])
                    self.assert_turns_disjoint(result)

    def test_cold_finds_them_too(self):
        for name, failure, message in self.CASES:
            for threads in (1, 2):
                with self.subTest(victim=name, threads=threads):
                    broken = victim(name) + ",usable=malloc_usable_size"
                    result = run([broken], "table-cold", threads=threads, params={"live": 7000})
                    self.assert_failed(result["runners"][0], failure, message)

    def test_full_touch_finds_overlap(self):
        for name in ("overlap", "tail", "scribble"):
            with self.subTest(victim=name):
                result = run([victim(name)], "table-warm",
                             params={"live": 2000, "touch": "full"})
                self.assert_failed(result["runners"][0], "verify")

    def test_crash(self):
        for threads in (1, 2):
            result = run([good(), victim("crash"), good()], threads=threads)
            self.assertEqual(result["runners"][1]["signal"], signal.SIGSEGV)
            self.assert_finished(result["runners"][0])
            self.assert_finished(result["runners"][2])

    def test_hang(self):
        for threads in (1, 2):
            result = run([good(), victim("hang"), good()], threads=threads, stall_ms=3000)
            self.assertTrue(result["runners"][1]["timed_out"])
            self.assert_finished(result["runners"][0])
            self.assert_finished(result["runners"][2])
            self.assert_turns_disjoint(result)


class Dropped(RunnerTest):
    def test_killed_at_any_turn(self):
        """Whoever is killed, whenever: the others go on and their slices never overlap."""
        for who in range(3):
            for turn in (1, 5, 14, 17, 20, 26, 33, 38):
                with self.subTest(who=who, turn=turn):
                    result = run([good(), good(), GLIBC], drop_runner=who, drop_turn=turn,
                                 rotations=10, slice_ops=20000)
                    for i, runner in enumerate(result["runners"]):
                        if i != who or runner["signal"] == 0:
                            self.assert_finished(runner, 10)
                        else:
                            self.assertEqual(runner["signal"], signal.SIGKILL)
                    self.assert_turns_disjoint(result)

    def test_two_of_three_fail(self):
        result = run([victim("null"), good(), victim("crash")])
        self.assert_failed(result["runners"][0], "enomem")
        self.assertEqual(result["runners"][2]["signal"], signal.SIGSEGV)
        self.assert_finished(result["runners"][1])

    def test_fails_before_its_first_turn(self):
        for i in range(3):
            subjects = [good(), good(), good()]
            subjects[i] = victim("empty")
            result = run(subjects)
            for k, runner in enumerate(result["runners"]):
                if k == i:
                    self.assert_failed(runner, "identity")
                else:
                    self.assert_finished(runner)

    def test_runners_die_with_their_supervisor(self):
        process = subprocess.Popen(
            command([victim("hang"), good()], stall_ms=60000), stdout=subprocess.DEVNULL)
        children = f"/proc/{process.pid}/task/{process.pid}/children"
        runners = []
        deadline = time.monotonic() + 30
        while len(runners) < 2 and time.monotonic() < deadline:
            with open(children) as f:
                runners = f.read().split()
            runners = [pid for pid in runners if self.name(pid) == "heapmark-runner"]
            time.sleep(0.01)
        self.assertEqual(len(runners), 2)
        process.kill()
        process.wait()
        while any(self.name(pid) == "heapmark-runner" for pid in runners):
            self.assertLess(time.monotonic(), deadline, "runners outlive their supervisor")
            time.sleep(0.01)

    @staticmethod
    def name(pid):
        try:
            with open(f"/proc/{pid}/stat") as f:
                text = f.read()
        except OSError:
            return None
        return None if ") Z" in text else text[text.index("(") + 1:text.rindex(")")]


if __name__ == "__main__":
    sys.exit(unittest.main())
