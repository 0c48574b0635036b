"""./dev demo from end to end, with a job cut down to seconds: what a newcomer gets to see. As root
also as a user without rights. And the reference preset's identities: what was measured is the file
on disk."""
import hashlib
import json
import os
import re
import shutil
import subprocess
import unittest
from pathlib import Path

SOURCE = Path(os.environ.get("HEAPMARK_SOURCE_DIR", ".")).absolute()
BUILD = Path(os.environ.get("HEAPMARK_BUILD_DIR", SOURCE / "build/release"))
from fake import clean_environment  # noqa: E402

ALLOCATORS = ["glibc", "jemalloc", "tcmalloc", "mimalloc", "hmalloc"]
WORKLOADS = [
    {"workload": "table-cold", "threads": [1], "repeats": 6},
    {"workload": "table-churn", "params": {"remote_pct": 1, "live": 2000}, "threads": [1, 2]},
    {"workload": "table-warm", "params": {"live": 2000}, "threads": [1]},
    {"workload": "chase", "params": {"bytes": "8MiB"}, "pages": ["4k", "thp", "hugetlb-2m"],
     "repeats": 2},
    {"workload": "fork-latency", "pages": ["4k", "thp"], "repeats": 2},
    {"workload": "fork-cow", "repeats": 2},
]

def short(workloads):
    return ["--set", "workloads=" + json.dumps(workloads), "--set", "repeat.rings=6",
            "--set", "repeat.rotations=4"]


# Asked for by name they are refused to who may not reserve any; the preset leaves them out.
UNPRIVILEGED = [dict(w, pages=w["pages"][:2]) if w["workload"] == "chase" else w for w in WORKLOADS]
AS_NOBODY = """set -e
build=$1
mount -t tmpfs none /mnt
mkdir /mnt/upper /mnt/work
mount -t overlay overlay -o "lowerdir=$0,upperdir=/mnt/upper,workdir=/mnt/work" "$0"
chown nobody "$0/build" "$build"
find "$build" -maxdepth 1 -type f -exec chown nobody {} +
shift
exec setpriv --reuid=nobody --regid=nogroup --clear-groups "$@"
"""
INTERVAL = r"[0-9.,]+ \[[0-9.,]+–[0-9.,]+\]"


def section(text, title):
    """A table's lines below its title."""
    found = re.search(rf"(?m)^{title}.*\n((?:.+\n)+)", text)
    return found.group(1).splitlines() if found else []


def row(lines, *words):
    """What stands behind the words at the start of a line."""
    for line in lines:
        if line.split()[:len(words)] == list(words):
            return line.split(maxsplit=len(words))[-1]
    raise AssertionError(f"no row {words} in\n" + "\n".join(lines))


class Demo(unittest.TestCase):
    def demo(self, *before, workloads=WORKLOADS):
        """What it wrote. `before`: a command that ends by executing what follows it."""
        command = [*before, str(SOURCE / "dev"), "demo", "--preset", BUILD.name, "--",
                   *short(workloads)]
        got = subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=240,
                             env=clean_environment(HEAPMARK_NO_INSTALL="1"), check=False)
        self.assertEqual(got.returncode, 0, got.stderr[-4000:])
        return got.stdout, got.stderr

    def check(self, out, err, huge=True):
        table = section(out, "Throughput, fragmentation, memory and scaling")
        for name in ALLOCATORS:
            self.assertGreaterEqual(len(re.findall(INTERVAL, row(table, name))), 4, out)
        self.assertRegex(row(table, "harness:", "null"), INTERVAL)
        pages = section(out, "Huge pages")
        self.assertRegex(row(pages, "4k"), r"^[0-9.]+ n=2 ")
        if huge:
            self.assertIn("8.00 MiB", row(pages, "thp"))
            self.assertIn("8.00 MiB", row(pages, "hugetlb-2m"))
        forks = section(out, "fork and copy on write")
        for name in ALLOCATORS:
            self.assertRegex(row(forks, name, "4k"), r"^[0-9.]+ [µmn]s n=2 .*1\.00 n=2")
        self.assertRegex(out, r"A/A noise")
        self.assertRegex(err, r"The page was http://127\.0\.0\.1:\d+/ ")
        return Path(re.search(r"(?m)^  (/\S*/demo-\S+)$", err).group(1))

    def test_demo(self):
        out, err = self.demo()
        state = self.check(out, err)
        self.addCleanup(shutil.rmtree, state, ignore_errors=True)
        self.assertTrue((state / "heapmark.db").exists())
        self.assertIn("Isolation reached: partial", out)
        self.assert_ended(state)

    def assert_ended(self, state):
        """No daemon of that demo is left."""
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                self.assertNotIn(str(state), process.read_text(errors="replace"), process)
            except OSError:
                continue

    @unittest.skipIf(os.geteuid() != 0, "becoming another user needs root")
    def test_demo_of_a_user_without_rights(self):
        """Over the checkout lies, for this demo alone, a layer whose build belongs to them."""
        for folder in (SOURCE, *SOURCE.parents):
            if not folder.stat().st_mode & 1:
                self.skipTest(f"others cannot enter {folder}")
        out, err = self.demo("unshare", "-m", "sh", "-c", AS_NOBODY, str(SOURCE), str(BUILD),
                             workloads=UNPRIVILEGED)
        state = self.check(out, err, huge=False)
        self.assert_ended(state)
        self.assertFalse(state.exists())
        self.assertNotIn("cgroup_memory", out)


if __name__ == "__main__":
    unittest.main(verbosity=2)
