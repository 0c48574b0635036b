"""chase: every page mode is honoured and proved, or the trial fails and says what to do."""
import contextlib
import os
import unittest

from harness import Knob, MIB, WorkloadTest, read, run

THP = "/sys/kernel/mm/transparent_hugepage/"
POOL = "/sys/kernel/mm/hugepages/hugepages-{}kB/"
SMALL = {"bytes": "32MiB"}


def thp(mode):
    return Knob(THP + "enabled", mode)


def pool(kib, pages):
    return Knob(POOL.format(kib) + "nr_hugepages", pages)


@contextlib.contextmanager
def reserved(kib, pages):
    """`pages` huge pages, or a skip when the host has not enough memory in one piece."""
    with pool(kib, pages):
        have = int(read(POOL.format(kib) + "free_hugepages"))
        if have < pages:
            raise unittest.SkipTest(f"{have} of {pages} pages of {kib} KiB could be reserved")
        yield


class Modes(WorkloadTest):
    def check(self, runner, huge_bytes, heap_bytes):
        self.assert_finished(runner)
        metrics = runner["metrics"]
        self.assertEqual(metrics["huge_bytes"], huge_bytes)
        self.assertAlmostEqual(metrics["heap_bytes"], heap_bytes, delta=MIB)
        self.assertGreater(metrics["first_touch_ns_per_page"], 0)
        self.assertEqual(metrics["minor_faults"], 0)
        self.assertEqual(len(runner["slices"]), 6)
        for start, end, ops, _, _ in runner["slices"]:
            self.assertEqual(ops, 2000)
            self.assertLess(start, end)

    def test_4k_even_where_thp_is_always(self):
        with thp("always"):
            for runner in run("chase", ["pages=4k", "pages=4k"], SMALL):
                self.check(runner, 0, 32 * MIB)

    def test_thp(self):
        with thp("madvise"):
            small, huge = run("chase", ["pages=4k", "pages=thp"], SMALL)
            self.check(small, 0, 32 * MIB)
            self.assertGreaterEqual(huge["metrics"]["huge_bytes"], 32 * MIB * 0.95)
            self.check(huge, huge["metrics"]["huge_bytes"], 32 * MIB)

    def test_thp_of_less_than_a_page(self):
        with thp("madvise"):
            runner, = run("chase", ["pages=thp"], {"bytes": "1MiB"})
            self.check(runner, 2 * MIB, 2 * MIB)

    def test_hugetlb_2m(self):
        with reserved(2048, 16):
            runner, = run("chase", ["pages=hugetlb-2m"], SMALL)
            self.check(runner, 32 * MIB, 32 * MIB)

    def test_hugetlb_1g(self):
        if not os.path.isdir(POOL.format(1048576)):
            self.skipTest("this host has no 1 GiB pages")
        with reserved(1048576, 1):
            runner, = run("chase", ["pages=hugetlb-1g"], SMALL)
            self.check(runner, 1024 * MIB, 1024 * MIB)

    def test_two_threads_and_odd_sizes(self):
        for size in (MIB, MIB + 64, 3 * MIB + 4095):
            for parts in (1, 3, 16):
                with self.subTest(size=size, parts=parts):
                    runner, = run("chase", ["pages=4k"], {"bytes": size}, threads=2,
                                  build_parts=parts)
                    self.assert_finished(runner)


class Unavailable(WorkloadTest):
    def test_nothing_reserved(self):
        for kib, mode, size in ((2048, "hugetlb-2m", "2 MiB"), (1048576, "hugetlb-1g", "1 GiB")):
            with self.subTest(mode=mode):
                with contextlib.ExitStack() as stack:
                    if os.path.isdir(POOL.format(kib)):
                        stack.enter_context(pool(kib, 0))
                    runner, = run("chase", [f"pages={mode}"], SMALL)
                    self.assert_failed(runner, "pages_unavailable", f"huge pages of {size}")
                    self.assertIn(f"hugepages-{kib}kB/nr_hugepages", runner["message"])
                    self.assertEqual(runner["slices"], [])

    def test_too_few_reserved(self):
        with reserved(2048, 15):
            runner, = run("chase", ["pages=hugetlb-2m"], SMALL)
            self.assert_failed(runner, "pages_unavailable", "16 huge pages")

    def test_the_other_runner_goes_on(self):
        with pool(2048, 0):
            good, bad = run("chase", ["pages=4k", "pages=hugetlb-2m"], SMALL)
            self.assert_finished(good)
            self.assert_failed(bad, "pages_unavailable", "needed")

    def test_thp_never(self):
        with thp("never"):
            good, bad = run("chase", ["pages=4k", "pages=thp"], SMALL)
            self.assert_finished(good)
            self.assert_failed(bad, "pages_unavailable", "off on this host")
            self.assertIn(THP + "enabled", bad["message"])
            self.assertEqual(bad["slices"], [])

    def test_thp_size_never(self):
        with thp("always"), Knob(THP + "hugepages-2048kB/enabled", "never"):
            bad, = run("chase", ["pages=thp"], SMALL)
            self.assert_failed(bad, "pages_unavailable", "off on this host")

    def test_no_memory(self):
        """An address space limit below the buffer: refused by mmap, reported, not a crash."""
        runner, = run("chase", ["pages=4k"], {"bytes": "1GiB"},
                      prefix=["prlimit", f"--as={600 * MIB}"])
        self.assert_failed(runner, "system", "1073741824 bytes" if "mmap" in runner["message"]
                           else "no address space")


if __name__ == "__main__":
    unittest.main()
