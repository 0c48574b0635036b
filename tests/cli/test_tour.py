"""The README's tour, block by block, and the heapmark command, both against a real heapmarkd."""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SOURCE = Path(os.environ.get("HEAPMARK_SOURCE_DIR", "."))
sys.path.insert(0, str(SOURCE / "tests" / "lib"))
from fake import HEAPMARK, clean_environment, heapmark  # noqa: E402
from heapmarkd import Heapmarkd, children  # noqa: E402



def tiny_file(directory, **extra):
    job = {"workloads": [{"workload": "table-churn", "threads": [1], "params": {"live": 2000}}],
           "allocators": ["glibc", "null"],
           "repeat": {"rings": 2, "rotations": 4, "slice_ops": 1000}}
    job.update(extra)
    path = os.path.join(directory, "job.json")
    with open(path, "w") as file:
        json.dump(job, file)
    return path


class Tour(unittest.TestCase):
    def test_blocks(self):
        if not shutil.which("curl"):
            print("skipped: curl is not installed")
            sys.exit(77)
        text = (SOURCE / "README.md").read_text()
        tour = text[text.index("<!-- tour:"):text.index("<!-- end of tour -->")]
        blocks = re.findall(r"^```sh\n(.*?)^```", tour, re.M | re.S)
        self.assertEqual(len(blocks), 5)
        with Heapmarkd() as daemon:
            script = "\necho; echo ==== \n".join(["set -eu"] + blocks)
            got = subprocess.run(["bash", "-c", script], capture_output=True, text=True,
                                 timeout=120,
                                 env=clean_environment(SERVER=f"http://127.0.0.1:{daemon.port}"))
            self.assertEqual(got.returncode, 0, got.stderr)
        replies = [part.strip() for part in got.stdout.split("====")][1:]
        self.assertEqual(len(replies), 5)
        self.assertIn("sqlite", replies[0])
        self.assertIn('"glibc"', replies[0])
        plan = json.loads(replies[1])
        self.assertEqual(plan["cells_count"], 2)
        self.assertEqual(json.loads(replies[2])["state"], "succeeded")
        results = replies[3].split("\n", 1)
        self.assertIn("pairs_per_s", results[0])
        self.assertIn("table-churn", replies[3])
        problem = json.loads(replies[4])
        self.assertEqual(problem["status"], 422)
        self.assertEqual(problem["pointer"], "/repeat/rings")


class Command(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="heapmark-test-")
        cls.addClassCleanup(shutil.rmtree, cls.directory)
        cls.socket = os.path.join(cls.directory, "socket")
        cls.daemon = Heapmarkd([f"server.listen=127.0.0.1:0 unix:{cls.socket}"]).start()
        cls.addClassCleanup(cls.daemon.remove)
        cls.addClassCleanup(cls.daemon.stop)
        cls.url = f"http://127.0.0.1:{cls.daemon.port}"
        cls.job = tiny_file(cls.directory, name="end to end")

    def heapmark(self, *args, code=0, **kw):
        got = heapmark(*args, server=self.url, timeout=150, **kw)
        self.assertEqual(got.returncode, code, got.stdout + got.stderr)
        return got

    def test_run_and_everything_after_it(self):
        got = self.heapmark("run", self.job)
        self.assertRegex(got.stdout, r"(?m)^glibc +1 +[0-9.]+ ")
        self.assertRegex(got.stdout, r"(?m)^harness: null ")
        self.assertIn("Isolation reached: ", got.stdout)
        listed = json.loads(self.heapmark("list", "--json").stdout)["items"]
        job = next(j for j in listed if j["name"] == "end to end")
        self.assertEqual(job["state"], "succeeded")
        for name in (job["id"], job["id"][:12]):
            self.assertIn("glibc", self.heapmark("show", name).stdout)
        self.assertEqual(json.loads(self.heapmark("watch", job["id"], "--json").stdout)["id"],
                         job["id"])
        rows = self.heapmark("export", "--job", job["id"]).stdout.splitlines()
        self.assertGreater(len(rows), 4)
        for row in rows:
            self.assertEqual(json.loads(row)["workload"], "table-churn")
        table = self.heapmark("export", "--job", job["id"], "--format", "csv").stdout
        self.assertEqual(len(table.splitlines()), len(rows) + 1)
        self.heapmark("cancel", job["id"])

    def test_json_is_pure(self):
        for args in (["list"], ["presets"], ["allocators"], ["allocators", "glibc"], ["workloads"],
                     ["workloads", "chase"], ["host"],
                     ["submit", self.job, "--dry-run"]):
            with self.subTest(args=args):
                json.loads(self.heapmark(*args, "--json").stdout)
                self.assertTrue(self.heapmark(*args).stdout.strip())

    def test_refusals(self):
        cases = [(["submit", "nonsense"], "nonsense"),
                 (["submit", self.job, "--allocators", "nonesuch"], "nonesuch"),
                 (["submit", self.job, "--set", "workloads.0.threads=[4096]"], "threads"),
                 (["submit", self.job, "--set", "surplus=1"], "surplus"),
                 (["show", "00000000-0000-4000-8000-000000000000"], ""),
                 (["allocators", "nonesuch"], "nonesuch"), (["workloads", "../jobs"], "")]
        for args, word in cases:
            with self.subTest(args=args):
                got = self.heapmark(*args, code=2)
                self.assertEqual(got.stdout, "")
                self.assertIn(word, got.stderr)

    def test_tokens(self):
        def owner(*args):
            got = heapmark("token", *args, server=f"unix:{self.socket}")
            self.assertEqual(got.returncode, 0, got.stderr)
            return got.stdout
        self.heapmark("token", "list", code=4)  # loopback is not enough
        token = owner("create", "ci", "--scopes", "read").strip()
        self.assertRegex(token, r"^hmk_\w{20,}$")
        self.assertIn("ci", owner("list"))
        self.assertIn("ci", [t["name"] for t in json.loads(owner("list", "--json"))["items"]])
        self.heapmark("list", env={"HEAPMARK_TOKEN": token})
        self.heapmark("submit", self.job, env={"HEAPMARK_TOKEN": token}, code=4)
        owner("revoke", "ci")
        self.heapmark("list", env={"HEAPMARK_TOKEN": token}, code=4)

    def test_submit_is_idempotent_by_key(self):
        first = self.heapmark("submit", self.job, "--key", "k1").stdout
        self.assertEqual(self.heapmark("submit", self.job, "--key", "k1").stdout, first)
        self.heapmark("cancel", first.strip())
        self.heapmark("watch", first.strip(), code=1)


class Local(unittest.TestCase):
    def test_run_local(self):
        with tempfile.TemporaryDirectory() as directory:
            state = os.path.join(directory, "state")
            got = heapmark("run", tiny_file(directory), "--local", "--state-dir", state, "--json",
                           timeout=150)
            self.assertEqual(got.returncode, 0, got.stderr)
            cells = json.loads(got.stdout)["groups"][0]["cells"]
            self.assertEqual({c["subject"] for c in cells}, {"glibc", "null"})
            self.assertTrue(os.path.exists(os.path.join(state, "heapmark.db")))

    def test_interrupt_cancels_the_job(self):
        with tempfile.TemporaryDirectory() as directory:
            path = tiny_file(directory, repeat={"rings": 500, "rotations": 100})
            process = subprocess.Popen([HEAPMARK, "run", path, "--local"], text=True,
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                       env=clean_environment())
            for line in process.stderr:
                if "/" in line:
                    break
            family = children(process.pid)
            self.assertIn("heapmarkd", [name for _, name in family])
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=100)
            self.assertEqual(process.returncode, 130, err)
            self.assertIn("cancelling the job", err)
            for pid, _ in family:
                self.assertFalse(os.path.exists(f"/proc/{pid}"))


if __name__ == "__main__":
    unittest.main()
