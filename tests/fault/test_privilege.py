"""heapmarkd started as root with server.user: it gives root up for good, measures all the same, and
leaves with its own status when the supervisor it can no longer start again is gone."""

import os
import pwd
import signal
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import heapmarkd  # noqa: E402

USER = "nobody"
SUPERVISOR_LOST = 4


def status_of(pid, field):
    with open(f"/proc/{pid}/status") as f:
        return next(line.split()[1:] for line in f if line.startswith(field + ":"))


class Privilege(unittest.TestCase):
    def setUp(self):
        self.daemon = heapmarkd.Heapmarkd([f"server.user={USER}", "log.level=warning"])
        os.chmod(self.daemon.directory, 0o755)
        # Not in the daemon's own directory: root's settings are not that user's to replace.
        self.port_directory = os.path.join(self.daemon.directory, "port.d")
        os.mkdir(self.port_directory)
        os.chown(self.port_directory, pwd.getpwnam(USER).pw_uid, -1)
        type(self.daemon).port_file = property(lambda d: os.path.join(d.directory, "port.d", "port"))
        self.daemon.start()

    def tearDown(self):
        self.daemon.remove()

    def supervisor(self):
        return next(p for p, name in heapmarkd.children(self.daemon.process.pid)
                    if name.startswith("heapmark-super"))

    def test_root_is_given_up_and_jobs_run(self):
        uid = str(pwd.getpwnam(USER).pw_uid)
        pid = self.daemon.process.pid
        self.assertEqual(status_of(pid, "Uid"), [uid] * 4)
        self.assertEqual(status_of(pid, "NoNewPrivs"), ["1"])
        self.assertEqual(status_of(pid, "CapEff"), ["0" * 16])
        self.assertEqual(status_of(self.supervisor(), "Uid")[0], "0")
        self.assertEqual(os.stat(self.daemon.database).st_uid, int(uid))
        job = self.daemon.wait(self.daemon.submit(heapmarkd.small_job()))
        self.assertEqual(job["state"], "succeeded", job)
        trial = self.daemon.items(f"/api/v1/jobs/{job['id']}/trials")[0]
        self.assertIn("uid", trial["isolation"])
        self.assertEqual(self.daemon.stop(), 0, self.daemon.log())

    def test_lost_supervisor_ends_the_daemon(self):
        os.kill(self.supervisor(), signal.SIGKILL)
        self.assertEqual(self.daemon.process.wait(60), SUPERVISOR_LOST, self.daemon.log())
        # The next start finds everything as it was left.
        self.daemon.process = None
        self.daemon.start()
        job = self.daemon.wait(self.daemon.submit(heapmarkd.small_job()))
        self.assertEqual(job["state"], "succeeded", job)


if __name__ == "__main__":
    if os.geteuid() != 0:
        heapmarkd.skip("giving root up needs root")
    unittest.main(verbosity=2)
