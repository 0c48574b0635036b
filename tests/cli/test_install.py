"""`cmake --install --prefix /usr` into a DESTDIR, as a package is made: everything is in its place
and what is installed works there. The reference preset, measured by the installed programs at a
short profile: every allocator's identity is that of a library file on disk."""
import contextlib
import hashlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import tempfile
import unittest
from pathlib import Path

SOURCE = Path(os.environ.get("HEAPMARK_SOURCE_DIR", "."))
BUILD = Path(os.environ.get("HEAPMARK_BUILD_DIR", SOURCE / "build/release"))
from fake import clean_environment  # noqa: E402

DEBIAN = Path("/usr/lib/x86_64-linux-gnu")
FILES = """bin/heapmark sbin/heapmarkd libexec/heapmark/heapmark-supervisor
libexec/heapmark/heapmark-runner libexec/heapmark/heapmark-nothing
lib/heapmark/libhm_null.so lib/heapmark/libhm_classic_best.so lib/heapmark/libhmalloc.so
lib/libhmalloc.so lib/libhmalloc.so.1 lib/libhmalloc.a include/hmalloc.h lib/pkgconfig/hmalloc.pc
share/heapmark/catalog/glibc.ini share/heapmark/catalog/null.ini
share/man/man1/heapmark.1 share/man/man5/heapmark.conf.5 share/man/man8/heapmarkd.8
share/bash-completion/completions/heapmark share/zsh/site-functions/_heapmark
share/doc/heapmark/README.md share/doc/heapmark/LICENSE share/doc/heapmark/CHANGELOG.md
share/doc/heapmark/examples/heapmark.conf lib/systemd/system/heapmark.service
lib/sysusers.d/heapmark.conf lib/tmpfiles.d/heapmark.conf""".split()
TABLES = [
    {"workload": "table-cold", "threads": [1], "repeats": 2},
    {"workload": "table-churn", "params": {"remote_pct": 1, "live": 2000}, "threads": [1]},
    {"workload": "table-warm", "params": {"live": 2000}, "threads": [1]},
]
SHORT = ["--profile", "demo", "--set", "workloads=" + json.dumps(TABLES),
         "--set", "repeat.rings=2", "--set", "repeat.rotations=4"]


def sha256_of(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = Path(tempfile.mkdtemp(prefix="heapmark-install-"))
        cls.addClassCleanup(shutil.rmtree, cls.root)
        cls.root.chmod(0o755)
        cls.usr = cls.root / "usr"
        subprocess.run(["cmake", "--install", str(BUILD), "--prefix", "/usr"], check=True,
                       capture_output=True, env=dict(os.environ, DESTDIR=str(cls.root)))

    def run_installed(self, program, *args, timeout=20):
        return subprocess.run([str(self.usr / program), *args], capture_output=True, text=True,
                              timeout=timeout, cwd="/", env=clean_environment(), check=False)

    def test_layout(self):
        found = {str(p.relative_to(self.root)) for p in self.root.rglob("*") if p.is_file()}
        self.assertEqual({f"usr/{f}" for f in FILES} - found, set())
        strangers = {f for f in found if not re.match(
            r"usr/(s?bin|lib|libexec/heapmark|lib/heapmark|share|include)/", f) or "/local/" in f}
        self.assertEqual(strangers, set())
        self.assertEqual({f for f in found if f.endswith((".a", ".h", ".o"))},
                         {"usr/lib/libhmalloc.a", "usr/include/hmalloc.h"})

    def test_programs_start(self):
        version = (SOURCE / "VERSION").read_text().strip()
        for program in ("bin/heapmark", "sbin/heapmarkd"):
            got = self.run_installed(program, "--version")
            self.assertEqual(got.returncode, 0, got.stderr)
            self.assertIn(version, got.stdout)

    def test_service_starts_what_is_installed(self):
        text = (self.usr / "lib/systemd/system/heapmark.service").read_text()
        program = re.search(r"(?m)^ExecStart=(\S+)", text).group(1)
        self.assertEqual(program, "/usr/sbin/heapmarkd")
        self.assertNotIn("@", text)

    def test_manuals_and_completions_read(self):
        for page in self.usr.glob("share/man/man*/*"):
            self.assertIn(".TH", page.read_text(), page)
        script = str(self.usr / "share/bash-completion/completions/heapmark")
        got = subprocess.run(["bash", "-c", f'source "{script}" && complete -p heapmark'],
                             capture_output=True, text=True, check=False)
        self.assertEqual(got.returncode, 0, got.stderr)

    def libraries(self):
        """Where each allocator of the reference preset lives."""
        return {
            "glibc": DEBIAN / "libc.so.6",
            "jemalloc": DEBIAN / "libjemalloc.so.2",
            "tcmalloc": DEBIAN / "libtcmalloc_minimal.so.4",
            "mimalloc": DEBIAN / "libmimalloc.so.2.0",
            "hmalloc": self.usr / "lib/heapmark/libhmalloc.so",
            "null": self.usr / "lib/heapmark/libhm_null.so",
        }

    def test_reference_measures_the_files_on_disk(self):
        state = self.root / "state"
        got = self.run_installed("bin/heapmark", "run", "reference", "--local", "--json",
                                 "--state-dir", str(state), *SHORT, timeout=150)
        self.assertEqual(got.returncode, 0, got.stderr[-3000:])
        groups = json.loads(got.stdout)["groups"]
        self.assertEqual(sorted(g["workload"] for g in groups), [w["workload"] for w in sorted(
            TABLES, key=lambda w: w["workload"])])
        for group in groups:
            cells = {c["allocator"]: c for c in group["cells"]}
            self.assertEqual(set(cells), set(self.libraries()))
            for name, library in self.libraries().items():
                with self.subTest(workload=group["workload"], allocator=name):
                    self.assertEqual(cells[name]["trials"]["failed"], 0)
                    self.assertGreater(cells[name]["trials"]["ok"], 0)
                    self.assertGreater(cells[name]["summaries"]["pairs_per_s"]["value"], 0)
        self.assertEqual(self.identities(state), {
            name: {sha256_of(library)} for name, library in self.libraries().items()})

    def identities(self, state):
        """Of each allocator: the digests its trials proved; the results do not repeat them."""
        query = ("SELECT c.allocator, b.sha256 FROM trial t JOIN cell c ON c.id = t.cell_id"
                 " LEFT JOIN subject s ON s.id = t.subject_id LEFT JOIN build b ON b.id = s.build_id")
        found = {}
        with contextlib.closing(sqlite3.connect(state / "heapmark.db")) as connection:
            for name, sha256 in connection.execute(query):
                found.setdefault(name, set()).add(sha256)
        return found


if __name__ == "__main__":
    unittest.main(verbosity=2)
