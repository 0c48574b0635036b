"""A job across faults of what holds its results: summaries the store refuses, and a kill of the
daemon after a cell was found hopeless. Needs root."""

import contextlib
import os
import shutil
import sqlite3
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
sys.path.insert(0, os.path.dirname(__file__))
import heapmarkd  # noqa: E402
from test_daemon import BUILD, CATALOG, Daemon, job  # noqa: E402

REFUSING = (
    "CREATE TRIGGER refuse BEFORE INSERT ON summary"
    " BEGIN SELECT RAISE(ABORT, 'refused by the test'); END"
)
SEEDS = 20  # orders of steps tried until the daemon is killed between the right two


class Resume(unittest.TestCase):
    def setUp(self):
        self.d = Daemon()
        self.addCleanup(self.d.remove)
        self.library = os.path.join(self.d.directory, "libgone.so")
        with open(os.path.join(self.d.catalog, "gone.ini"), "w") as f:
            f.write(CATALOG.format(name="gone", library=self.library, package=""))
        self.library_put()
        self.d.start()

    def library_put(self):
        shutil.copy(os.path.join(BUILD, "lib", "libhm_lifo.so"), self.library)

    def alter(self, sql):
        """Behind the daemon's back; its statements see a change of the schema."""
        with contextlib.closing(sqlite3.connect(self.d.database, timeout=20)) as connection:
            with connection:
                connection.execute(sql)

    def test_results_that_cannot_be_summarised_fail_the_job(self):
        self.alter(REFUSING)
        bad = self.d.wait(self.d.submit(heapmarkd.small_job()))
        self.assertEqual(bad["state"], "failed", self.d.log())
        self.assertIn("its results cannot be summarised", bad["error"]["message"])
        self.assertIn("refused by the test", bad["error"]["message"])
        self.assertIn("cannot summarise", self.d.log())
        self.assertEqual(bad["progress"]["steps_done"], bad["progress"]["steps_total"])
        for cell in self.d.items(f"/api/v1/jobs/{bad['id']}/cells"):
            self.assertGreater(cell["trials"]["ok"], 0, "what was measured stays")
            self.assertEqual(cell["summaries"], {})
        self.alter("DROP TRIGGER refuse")
        good = self.d.wait(self.d.submit(heapmarkd.small_job()))
        self.assertEqual(good["state"], "succeeded", good)
        self.assertEqual(self.d.stop(), 0)
        self.assertEqual(self.d.query("PRAGMA integrity_check"), [("ok",)])

    def without_library(self, seed):
        """A job whose allocator went away after it was accepted; every ring takes a while."""
        self.library_put()
        before = self.d.submit(job("evil-nap", rings=100, slice_ops=20000))
        made = job("gone", "evil-nap", rings=1, slice_ops=2000, seed=seed, reference="evil-nap")
        found = self.d.submit(made)
        os.unlink(self.library)
        self.d.request("POST", f"/api/v1/jobs/{before}/cancel", "")
        self.d.wait(before)
        return found

    def settled_first(self, found):
        """Whether the missing allocator's only step was done with others left to do."""
        while True:
            now = self.d.get(f"/api/v1/jobs/{found}").json
            if now["state"] not in ("queued", "claimed", "running"):
                return False
            if self.d.cells(found)["gone"]["last_failure"]:
                return now["progress"]["steps_done"] + 1 < now["progress"]["steps_total"]

    def test_a_hopeless_cell_stays_so(self):
        for seed in range(1, SEEDS):
            found = self.without_library(seed)
            if self.settled_first(found):
                break
            self.d.wait(found)
        else:
            self.fail("the missing allocator came last every time")
        self.d.kill()
        before = self.attempts(found)
        self.library_put()  # measured again it would have a result
        self.d.start()
        ended = self.d.wait(found)
        self.assertEqual(ended["state"], "succeeded", f"{ended}\n{self.d.log()}")
        cells = self.d.cells(found)
        self.assertIn("unavailable", cells["gone"]["last_failure"])
        self.assertEqual(cells["gone"]["summaries"], {})
        for name in ("glibc", "lifo", "evil-nap"):
            self.assertGreater(cells[name]["trials"]["ok"], 0, name)
        self.assertEqual(self.d.stop(), 0)
        self.assertEqual(self.attempts(found), before, "the missing allocator was tried again")

    def attempts(self, found):
        """Of the missing allocator: how each ended."""
        return self.d.query(
            "SELECT a.id, a.state FROM attempt a JOIN ring r ON r.id = a.ring_id"
            " JOIN job j ON j.id = r.job_id WHERE j.uuid = ? AND a.state = 'failed' ORDER BY a.id",
            found,
        )


if __name__ == "__main__":
    if os.geteuid() != 0:
        heapmarkd.skip("cgroups and pages of runners need root")
    unittest.main(verbosity=2)
