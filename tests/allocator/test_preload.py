#!/usr/bin/env python3
"""Real programs on our allocators by LD_PRELOAD: the same bytes come out as on the C library."""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest

LIB = os.path.join(os.environ["HEAPMARK_BUILD_DIR"], "lib")
CLASSIC = ["hm_classic_first", "hm_classic_next", "hm_classic_best", "hm_classic_buddy",
           "hm_classic_slub"]
ALL = CLASSIC + ["hm_lifo", "hm_bump"]

PYTHON = r"""
import ctypes, hashlib, json, os, re, subprocess, sys, threading

sums = [None] * 4
def work(n):
    h = hashlib.sha256()
    for i in range(40):
        text = json.dumps({str(k): list(range(k % 50)) for k in range(i * 3)})
        words = re.findall(r"[0-9]+", text)
        h.update("".join(sorted(words)).encode())
        h.update(bytearray(i * 50000)[::7])
    sums[n] = h.hexdigest()
threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
print(sums)
for i in range(3):
    pid = os.fork()
    if pid == 0:
        os._exit(len([object() for k in range(10000)]) == 10000)
    print(os.waitpid(pid, 0)[1] >> 8)
print(subprocess.run(["/bin/echo", "child"], capture_output=True).stdout)
maps = open("/proc/self/maps").read()
name = sys.argv[1]
assert not name or "/lib" + name + ".so" in maps, "not preloaded"
if "classic" in name:
    assert ctypes.CDLL(None).classic_check() == 0
"""

SQL = """
create table t(id integer primary key, a text, b real);
with recursive c(x) as (select 1 union all select x + 1 from c where x < 30000)
  insert into t select x, hex(x * 7919 % 10007), x * 0.5 from c;
create index i on t(a);
delete from t where id % 3 = 0;
update t set a = a || a where id % 5 = 0;
vacuum;
select count(*), sum(length(a)), sum(b) from t;
select a, count(*) from t group by a order by 2 desc, 1 limit 20;
pragma integrity_check;
"""


def source_text():
    """A C file that gives the optimiser something to hold in memory."""
    lines = ["struct node { struct node *next; int key; double weight[8]; };"]
    for i in range(80):
        lines.append(
            f"int f{i}(struct node *n, int k) {{ int s = {i}; for (; n; n = n->next) {{"
            f" switch (n->key % 7) {{ case 0: s += k * {i}; break; case 1: s ^= n->key << {i % 13};"
            f" break; case 2: n->weight[{i % 8}] *= s; break; default: s -= {'f%d(n->next, s)' % (i - 1) if i else 'k'};"
            " } for (int j = 0; j < 8; j++) s += (int)n->weight[j] * j; } return s; }"
        )
    return "\n".join(lines) + "\n"


class Preload(unittest.TestCase):
    maxDiff = 2000

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="hm-preload-")
        self.addCleanup(shutil.rmtree, self.dir)

    def run_with(self, library, command, **kwargs):
        env = {
            "PATH": os.environ["PATH"],
            "HOME": self.dir,
            "LC_ALL": "C",
            "PYTHONHASHSEED": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_DATE": "2020-01-01T00:00:00Z",
            "GIT_COMMITTER_DATE": "2020-01-01T00:00:00Z",
        }
        if library:
            path = os.path.join(LIB, f"lib{library}.so")
            self.assertTrue(os.path.exists(path), path)
            env["LD_PRELOAD"] = path
        done = subprocess.run(command, env=env, capture_output=True, timeout=100, **kwargs)
        self.assertEqual(done.returncode, 0, f"{library}: {command}: {done.stderr.decode()}")
        # The loader only warns when it cannot preload: silence is part of the proof.
        self.assertNotIn(b"LD_PRELOAD", done.stderr)
        return done

    def compare(self, libraries, program, one):
        if not shutil.which(program):
            self.skipTest(f"{program} is not installed")
        expected = one("")
        self.assertTrue(expected)
        for library in libraries:
            with self.subTest(library=library):
                self.assertEqual(one(library), expected)

    def test_python(self):
        def one(library):
            return self.run_with(library, [sys.executable, "-c", PYTHON, library]).stdout

        self.compare(ALL, sys.executable, one)

    def test_sqlite(self):
        def one(library):
            path = os.path.join(self.dir, f"{library}.db")
            return self.run_with(library, ["sqlite3", path], input=SQL.encode()).stdout

        self.compare(ALL, "sqlite3", one)

    def test_compiler(self):
        source = os.path.join(self.dir, "big.c")
        with open(source, "w") as f:
            f.write(source_text())

        def one(library):
            out = os.path.join(self.dir, "big.o")
            self.run_with(library, ["gcc", "-O2", "-c", source, "-o", out])
            with open(out, "rb") as f:
                return f.read()

        self.compare(CLASSIC, "gcc", one)

    def test_git(self):
        def one(library):
            repo = os.path.join(self.dir, f"repo-{library}")
            os.mkdir(repo)
            for i in range(200):
                with open(os.path.join(repo, f"file{i}"), "w") as f:
                    f.write("".join(f"line {i * k % 97}\n" for k in range(i * 5)))
            git = ["git", "-C", repo, "-c", "user.name=n", "-c", "user.email=e@example.org"]
            for args in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "one"],
                         ["rm", "-q", "file7"], ["commit", "-qm", "two"], ["gc", "-q"],
                         ["fsck", "--full"]):
                self.run_with(library, git + args)
            return self.run_with(library, git + ["log", "-p", "--format=%H %T"]).stdout

        self.compare(CLASSIC + ["hm_lifo"], "git", one)


if __name__ == "__main__":
    unittest.main(verbosity=2)
