"""fork-latency and fork-cow with every allocator installed, and with allocators whose fork
handlers are wrong."""
import shutil
import tempfile
import unittest

from harness import Knob, MIB, RUNNER, VICTIMS, WorkloadTest, installed, run

THP = "/sys/kernel/mm/transparent_hugepage/enabled"
HEAP = {"rss_bytes": "4MiB"}


def forker(mode):
    return f"lib={VICTIMS}/libvictim_forker_{mode}.so"


class Latency(WorkloadTest):
    def check(self, runner, calls):
        self.assert_finished(runner)
        m = runner["metrics"]
        self.assertGreater(m["fork_ns"], 0)
        self.assertGreaterEqual(m["fork_wait_ns"], m["fork_ns"] * 0.5)
        self.assertGreaterEqual(m["fork_max_ns"], m["fork_ns"])
        self.assertIn("fork_calls_ns", m)
        self.assertEqual("fork_p99_ns" in m, calls >= 100)
        if calls >= 100:
            self.assertLessEqual(m["fork_p99_ns"], m["fork_max_ns"])
            self.assertGreaterEqual(m["fork_p99_ns"], m["fork_ns"])
        return m

    def test_every_allocator(self):
        for name, subject in installed():
            for method in ("fork", "vfork", "posix_spawn"):
                with self.subTest(allocator=name, method=method):
                    runner, = run("fork-latency", [subject], {**HEAP, "method": method,
                                                              "calls": 5})
                    m = self.check(runner, 5)
                    self.assertGreaterEqual(m["heap_bytes"], 4 * MIB)
                    self.assertEqual(m["huge_bytes"], 0)

    def test_count_decides_about_p99(self):
        for calls in (1, 99, 100, 101):
            with self.subTest(calls=calls):
                runner, = run("fork-latency", ["prefix="], {"rss_bytes": "1MiB", "calls": calls})
                self.check(runner, calls)

    def test_block_sizes(self):
        for block in (64, 100, 4095, 1 * MIB, 4 * MIB):
            with self.subTest(block=block):
                runner, = run("fork-latency", ["prefix="], {**HEAP, "block_bytes": block,
                                                            "calls": 3})
                self.check(runner, 3)

    def test_null_allocator_costs_little_but_runs(self):
        null = f"lib={VICTIMS}/../../lib/libhm_null.so,flags=1"
        runner, = run("fork-latency", [null], {**HEAP, "calls": 3})
        self.assertLess(self.check(runner, 3)["heap_bytes"], MIB)

    def test_thp(self):
        with Knob(THP, "always"):
            runner, = run("fork-latency", [forker("good") + ",pages=thp"], {**HEAP, "calls": 3})
            self.assertGreaterEqual(self.check(runner, 3)["huge_bytes"], 2 * MIB)

    def test_thp_of_every_allocator_is_mostly_huge_or_refused(self):
        with Knob(THP, "always"):
            for name, subject in installed():
                with self.subTest(allocator=name):
                    runner, = run("fork-latency", [subject + ",pages=thp"],
                                  {"rss_bytes": "32MiB", "calls": 3})
                    if runner["failure"] == "none":
                        m = self.check(runner, 3)
                        self.assertGreaterEqual(m["huge_bytes"], m["heap_bytes"] / 2)
                    else:
                        self.assert_failed(runner, "pages_unavailable", "heap bytes")

    def test_thp_off(self):
        with Knob(THP, "never"):
            for workload in ("fork-latency", "fork-cow"):
                runner, = run(workload, [forker("good") + ",pages=thp"], HEAP)
                self.assert_failed(runner, "pages_unavailable", "off on this host")

    def test_4k_where_thp_is_always(self):
        with Knob(THP, "always"):
            for workload in ("fork-latency", "fork-cow"):
                runner, = run(workload, [forker("good") + ",pages=4k"], HEAP)
                self.assert_finished(runner)
                self.assertEqual(runner["metrics"]["huge_bytes"], 0)


class Cow(WorkloadTest):
    def check(self, runner, writes=None):
        self.assert_finished(runner)
        m = runner["metrics"]
        self.assertGreater(m["cow_ns_per_write"], 0)
        self.assertGreater(m["cow_base_ns_per_write"], 0)
        # One page of 4 KiB a write, give or take a page or two of the harness's own.
        slack = 6 * 4096 / max(m["private_dirty_bytes"], 4096)
        self.assertAlmostEqual(m["cow_amplification"], 1, delta=slack)
        written = m["private_dirty_bytes"] / 4096 / m["cow_amplification"]
        self.assertGreaterEqual(m["minor_faults"], written - 6)
        if writes:
            self.assertAlmostEqual(written, writes, delta=0.5)
        return m

    def test_every_allocator_both_writers(self):
        for name, subject in installed():
            for writer in ("parent", "child"):
                with self.subTest(allocator=name, writer=writer):
                    runner, = run("fork-cow", [subject], {**HEAP, "writer": writer})
                    self.check(runner)

    def test_strides_and_fractions(self):
        for stride, percent, writes in (("4KiB", 100, 1024), ("64KiB", 100, 64), ("4KiB", 50, 512),
                                        ("2MiB", 100, 2), ("4KiB", 1, 10)):
            with self.subTest(stride=stride, percent=percent):
                runner, = run("fork-cow", [forker("good")],
                              {**HEAP, "stride_bytes": stride, "fraction_pct": percent})
                self.check(runner, writes)

    def test_thp_splits_and_says_so(self):
        """A write into a huge page copies 4 KiB and costs the writer its huge mapping."""
        with Knob(THP, "always"):
            for writer in ("parent", "child"):
                with self.subTest(writer=writer):
                    runner, = run("fork-cow", [forker("good") + ",pages=thp"],
                                  {"rss_bytes": "16MiB", "writer": writer, "fraction_pct": 100,
                                   "stride_bytes": "64KiB"})
                    self.assert_finished(runner)
                    m = runner["metrics"]
                    self.assertGreaterEqual(m["huge_bytes"], 2 * MIB)
                    self.assertGreaterEqual(m["huge_lost_bytes"], 2 * MIB)
                    self.assertLessEqual(m["huge_lost_bytes"], m["huge_bytes"])

    def test_null_allocator_runs(self):
        null = f"lib={VICTIMS}/../../lib/libhm_null.so,flags=1"
        for writer in ("parent", "child"):
            runner, = run("fork-cow", [null], {**HEAP, "writer": writer})
            self.assert_finished(runner)


class Broken(WorkloadTest):
    def test_child_dies(self):
        for workload in ("fork-latency", "fork-cow"):
            with self.subTest(workload=workload):
                runner, = run(workload, [forker("crash")], HEAP)
                self.assert_failed(runner, "system", "died by signal 6")

    def test_child_hangs(self):
        """The supervisor's time is up: the runner is killed, its child with it."""
        for workload in ("fork-latency", "fork-cow"):
            with self.subTest(workload=workload):
                runner, = run(workload, [forker("hang")], HEAP, stall_ms=1500)
                self.assertTrue(runner["timed_out"])
                self.assertEqual(runner["signal"], 9)

    def test_child_sees_other_contents(self):
        runner, = run("fork-cow", [forker("child")], HEAP)
        self.assert_failed(runner, "verify", "find the old values")

    def test_parent_sees_other_contents(self):
        for writer in ("parent", "child"):
            with self.subTest(writer=writer):
                runner, = run("fork-cow", [forker("parent")], {**HEAP, "writer": writer})
                self.assert_failed(runner, "verify", "does not")
        runner, = run("fork-latency", [forker("parent")], HEAP)
        self.assert_failed(runner, "verify", "does not hold what was written")

    def test_allocator_gives_up(self):
        runner, = run("fork-latency", [forker("good")], {"rss_bytes": "2GiB"})
        self.assert_failed(runner, "enomem", "returned NULL at block")

    def test_fork_is_refused(self):
        """A limit on processes (not for root, who has none)."""
        runner, = run("fork-latency", ["prefix="], HEAP,
                      prefix=["setpriv", "--reuid=64999", "--clear-groups", "prlimit",
                              "--nproc=2"])
        self.assert_failed(runner, "system", "fork: Resource temporarily unavailable")

    def test_program_to_spawn_is_missing(self):
        with tempfile.TemporaryDirectory() as directory:
            alone = shutil.copy(RUNNER, directory)
            runner, = run("fork-latency", ["prefix="], {**HEAP, "method": "posix_spawn"},
                          runner=alone)
            self.assert_failed(runner, "system", "posix_spawn: No such file")

    def test_overlapping_blocks(self):
        victim = f"lib={VICTIMS}/libvictim_overlap.so"
        runner, = run("fork-latency", [victim], {"rss_bytes": "32MiB", "calls": 1})
        self.assert_failed(runner, "verify", "overlaps another")


if __name__ == "__main__":
    unittest.main()
