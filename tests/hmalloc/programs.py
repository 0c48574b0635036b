#!/usr/bin/env python3
"""Real programs on hmalloc by LD_PRELOAD, each with work that checks itself.

What a program writes is compared with a run on the C library. A witness (witness.c), preloaded too,
proves for every process whose malloc was in use, and that hmalloc's own figures agree at its end.
HEAPMARK_LONG=1 gives each program more to do; HMALLOC_* of the environment are handed on."""

import contextlib
import glob
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest

BUILD = os.environ["HEAPMARK_BUILD_DIR"]
LIBRARY = os.path.join(BUILD, "lib", "libhmalloc.so")
WITNESS = os.path.join(BUILD, "tests", "libhm_witness.so")
LONG = bool(os.environ.get("HEAPMARK_LONG"))
PATIENCE_S = 1500 if LONG else 120


def c_source(functions):
    """A C file that gives the optimiser loops, switches, calls and vectors to think about."""
    text = ["struct node { struct node *next; int key; double weight[16]; const char *name; };"]
    for i in range(functions):
        call = f"f{i - 1}(n->next, s)" if i else "k"
        text.append(
            f"int f{i}(struct node *n, int k) {{ int s = {i}, t[32] = {{{i}}}; for (; n; n = n->next) {{"
            f" switch (n->key % {5 + i % 9}) {{ case 0: s += k * {i}; break; case 1: s ^= n->key << {i % 13};"
            f" break; case 2: n->weight[{i % 16}] *= s; break; case 3: t[k & 31] += n->name[{i % 7}]; break;"
            f" default: s -= {call}; }} for (int j = 0; j < 16; j++) s += (int)(n->weight[j] * t[j * 2]);"
            f' if (s % 3 == 0) n->name = "name {i}"; }} return s + t[{i % 32}]; }}'
        )
    return "\n".join(text) + "\n"


SQL = """
pragma cache_size = -4000;
create table t(id integer primary key, a text, b real, c blob);
with recursive n(x) as (select 1 union all select x + 1 from n where x < {rows})
  insert into t select x, hex(x * 7919 % 10007), x * 0.5, zeroblob(x % 300) from n;
create index ta on t(a);
create index tb on t(b, a);
delete from t where id % 3 = 0;
update t set a = a || a, c = zeroblob(1000) where id % 5 = 0;
create virtual table words using fts5(body);
insert into words select a || ' ' || b from t where id % 7 = 0;
select count(*) from words where words match '1F*';
vacuum;
select count(*), sum(length(a)), sum(b), sum(length(c)) from t;
select a, count(*), group_concat(id) from t group by a order by 2 desc, 1 limit 50;
select x.id, y.id from t x join t y on x.a = y.a and x.id < y.id order by 1, 2 limit 100;
pragma integrity_check;
"""

NODE = """
const {Worker, isMainThread, parentPort, workerData} = require('worker_threads');
const crypto = require('crypto'), zlib = require('zlib');
const rounds = Number(process.argv[2]);
function work(n) {
    const hash = crypto.createHash('sha256'), map = new Map();
    for (let i = 0; i < 20000 * rounds; i++) {
        map.set('k' + (i * n % 7919), {a: [i, n], s: 'x'.repeat(i % 50)});
        if (i % 500 == 0) hash.update(JSON.stringify([...map.values()].slice(0, 50)));
    }
    for (let i = 0; i < 200 * rounds; i++) hash.update(Buffer.alloc(1000 * (i % 300) + 1, i));
    hash.update(zlib.gunzipSync(zlib.gzipSync(Buffer.alloc(3000000, n))));
    return hash.digest('hex');
}
if (isMainThread) {
    const out = [];
    let left = 4 * rounds;
    for (let n = 0; n < 4 * rounds; n++) {
        const worker = new Worker(__filename, {workerData: n + 1, argv: [rounds]});
        worker.on('message', m => { out[n] = m; });
        worker.on('exit', () => { if (--left == 0) console.log(out.join('\\n')); });
    }
} else parentPort.postMessage(work(workerData));
"""

JAVA = """
import java.nio.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.zip.*;

public class Load {
    static long work(int n) throws Exception {
        CRC32 sum = new CRC32();
        Deflater deflater = new Deflater();
        byte[] out = new byte[300000];
        for (int i = 0; i < 60; i++) {
            byte[] in = new byte[100000 + i * 100];
            Arrays.fill(in, (byte) (i * n));
            deflater.reset();
            deflater.setInput(in);
            deflater.finish();
            sum.update(out, 0, deflater.deflate(out));
            ByteBuffer direct = ByteBuffer.allocateDirect(1000 * i + 1);
            direct.put(0, (byte) n);
            sum.update(direct.get(0));
            Map<String, Integer> map = new TreeMap<>();
            for (int j = 0; j < 2000; j++) map.merge("k" + j % 97, j, Integer::sum);
            sum.update(map.toString().getBytes());
        }
        deflater.end();
        return sum.getValue();
    }

    public static void main(String[] args) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(8);
        List<Future<Long>> sums = new ArrayList<>();
        for (int n = 1; n <= Integer.parseInt(args[0]); n++) {
            final int k = n;
            sums.add(pool.submit(() -> work(k)));
        }
        for (Future<Long> sum : sums) System.out.println(sum.get());
        pool.shutdown();
        System.gc();
    }
}
"""


class Programs(unittest.TestCase):
    maxDiff = 2000

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="hm-programs-")
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        os.chmod(self.dir, 0o755)
        self.lines = os.path.join(self.dir, "witness")

    # ---- running ----

    def need(self, program, package):
        path = shutil.which(program)
        if not path:
            self.skipTest(f"{program} is not installed (Debian: {package})")
        return path

    def environment(self, preload):
        env = {
            "PATH": os.environ["PATH"],
            "HOME": self.dir,
            "LC_ALL": "C",
            "PYTHONHASHSEED": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_DATE": "2020-01-01T00:00:00Z",
            "GIT_COMMITTER_DATE": "2020-01-01T00:00:00Z",
        }
        if preload:
            with open(self.lines, "a"):
                os.chmod(self.lines, 0o666)
            env.update({k: v for k, v in os.environ.items() if k.startswith("HMALLOC_")})
            env.update(LD_PRELOAD=f"{LIBRARY} {WITNESS}", HM_WITNESS=self.lines)
        return env

    def run_one(self, command, preload, **kwargs):
        done = subprocess.run(command, env=self.environment(preload), capture_output=True,
                              timeout=PATIENCE_S, **kwargs)
        error = done.stderr.decode(errors="replace")
        self.assertEqual(done.returncode, 0, f"{command}: {error[-4000:]}")
        # The loader only warns when it cannot preload; hmalloc's complaints are one line each.
        self.assertNotIn("LD_PRELOAD", error)
        self.assertNotIn("hmalloc:", error)
        return done.stdout

    def prove(self, *programs):
        """hmalloc was the malloc of all of these, and in order when they ended."""
        with open(self.lines) as f:
            lines = [line.split() for line in f]
        begun = {line[2] for line in lines if line[0] == "begin"}
        ended = [line for line in lines if line[0] == "end"]
        for line in lines:
            if line[0] == "begin":
                self.assertEqual(line[3], "hmalloc", line)
        for _, pid, name, mapped, heaps, faults, check in ended:
            self.assertGreater(int(mapped), 0, name)
            self.assertGreater(int(heaps), 0, name)
            self.assertEqual((int(faults), int(check)), (0, 0), f"{name} {pid}")
        for name in programs:
            self.assertIn(name, begun)
            self.assertIn(name, {line[2] for line in ended})

    def compare(self, one, *programs):
        expected = one(False)
        self.assertTrue(expected)
        self.assertEqual(one(True), expected)
        self.prove(*programs)

    def file(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w") as f:
            f.write(textwrap.dedent(text))
        return path

    @contextlib.contextmanager
    def server(self, command, preload, **kwargs):
        log = open(os.path.join(self.dir, "log"), "wb")
        process = subprocess.Popen(command, env=self.environment(preload), stdout=log, stderr=log,
                                   **kwargs)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(60)
            log.close()

    def assert_mapped(self, pid, preload):
        with open(f"/proc/{pid}/maps") as f:
            self.assertEqual("libhmalloc.so" in f.read(), preload)

    # ---- compilers ----

    def compile(self, compiler, package, *inner):
        self.need(compiler, package)
        source = self.file("big.c", c_source(400 if LONG else 40))

        def one(preload):
            out = os.path.join(self.dir, "big.o")
            self.run_one([compiler, "-O2", "-g", "-c", source, "-o", out], preload)
            with open(out, "rb") as f:
                return f.read()

        self.compare(one, *inner)

    def test_gcc(self):
        self.compile("gcc", "gcc", "gcc", "cc1", "as")

    def test_clang(self):
        self.compile("clang", "clang", "clang")

    # ---- interpreters ----

    def test_python(self):
        tests = ["test_json", "test_thread", "test_re"]
        if LONG:
            tests += ["test_threading", "test_queue", "test_gc", "test_bytes", "test_dict", "test_list", "test_io", "test_ssl",
                      "test_multiprocessing_fork", "test_concurrent_futures", "test_sqlite3",
                      "test_ctypes", "test_zlib", "test_decimal", "test_asyncio"]
        has = subprocess.run([sys.executable, "-c", "import test.test_json"], capture_output=True)
        if has.returncode != 0:
            self.skipTest("python's own tests are not installed (Debian: libpython3.11-testsuite)")

        # Allocate by malloc, not by python's own pools.
        env_command = ["env", "PYTHONMALLOC=malloc", sys.executable, "-m", "test", "-q"]
        # Fails without preload too where something imports threading at start.
        env_command += ["--ignore", "test_import_from_another_thread", *tests]
        self.run_one(env_command, True, cwd=self.dir)
        self.prove(os.path.basename(sys.executable))

    def test_node(self):
        self.need("node", "nodejs")
        script = self.file("load.js", NODE)
        rounds = "5" if LONG else "1"
        self.compare(lambda preload: self.run_one(["node", script, rounds], preload), "node")

    def test_java(self):
        self.need("javac", "default-jdk-headless")
        source = self.file("Load.java", JAVA)
        subprocess.run(["javac", "-d", self.dir, source], check=True, capture_output=True)
        tasks = "200" if LONG else "8"
        command = ["java", "-Xmx256m", "-cp", self.dir, "Load", tasks]
        self.compare(lambda preload: self.run_one(command, preload), "java")

    # ---- data ----

    def test_sqlite(self):
        self.need("sqlite3", "sqlite3")
        sql = SQL.format(rows=1000000 if LONG else 30000).encode()

        def one(preload):
            path = os.path.join(self.dir, f"{preload}.db")
            out = self.run_one(["sqlite3", "-bail", path], preload, input=sql)
            self.assertTrue(out.endswith(b"ok\n"), out[-200:])
            return out

        self.compare(one, "sqlite3")

    def test_git(self):
        self.need("git", "git")
        files, commits = (300, 25) if LONG else (60, 6)

        def one(preload):
            repo = os.path.join(self.dir, f"repo-{preload}")
            os.mkdir(repo)
            git = ["git", "-C", repo, "-c", "user.name=n", "-c", "user.email=e@example.org",
                   "-c", "pack.threads=4", "-c", "gc.autoDetach=false"]
            self.run_one(git + ["init", "-q", "-b", "main"], preload)
            for commit in range(commits):
                for i in range(commit % 5, files, 1 + commit % 5):
                    with open(os.path.join(repo, f"file{i}"), "w") as f:
                        f.writelines(f"line {i * k % 97} {commit * k % 13}\n" for k in range(i * 5))
                self.run_one(git + ["add", "."], preload)
                self.run_one(git + ["commit", "-qm", f"number {commit}"], preload)
            self.run_one(git + ["gc", "-q", "--aggressive"], preload)
            self.run_one(git + ["fsck", "--full", "--strict"], preload)
            return self.run_one(git + ["log", "-p", "--format=%H %T"], preload)

        self.compare(one, "git")

    # ---- servers ----

    def redis_load(self, path, requests):
        """Fill a database under a benchmark, reload it from disk, return digest and counts."""
        def cli(*words, **kwargs):
            return subprocess.run(["redis-cli", "-s", path, *words], check=True, timeout=PATIENCE_S,
                                  capture_output=True, env=self.environment(False), **kwargs).stdout

        for _ in range(500):
            if os.path.exists(path):
                break
            time.sleep(0.02)
        keys = requests // 4
        lines = [f"SET key:{i} {'v' * (i % 700)}{i}" for i in range(keys)]
        lines += [f"RPUSH list:{i % 97} {i} {'w' * (i % 50)}" for i in range(keys)]
        lines += [f"ZADD sorted:{i % 31} {i * 7919 % 1000} member{i}" for i in range(keys)]
        lines += [f"HSET hash:{i % 53} field{i} {'x' * (i % 90)}{i}" for i in range(keys)]
        lines += [f"DEL key:{i}" for i in range(0, keys, 3)]
        lines += [f"APPEND key:{i} more" for i in range(1, keys, 7)]
        cli("--pipe", input=("\r\n".join(lines) + "\r\n").encode())
        digest = cli("DEBUG", "DIGEST")
        cli("SELECT", "9")
        subprocess.run(["redis-benchmark", "-q", "-s", path, "-n", str(requests), "-P", "16", "-r",
                        "10000", "--dbnum", "9", "-t",
                        "set,get,incr,lpush,rpop,sadd,hset,spop,zadd,lrange_100,mset"],
                       check=True, timeout=PATIENCE_S, capture_output=True,
                       env=self.environment(False))
        cli("-n", "9", "FLUSHDB")
        cli("BGREWRITEAOF")
        self.assertEqual(cli("DEBUG", "RELOAD"), b"OK\n")
        self.assertEqual(cli("DEBUG", "DIGEST"), digest)
        return digest, cli("DBSIZE")

    def test_redis(self):
        # The server is the same program as this one, under another name.
        program = self.need("redis-check-rdb", "redis-tools")
        name = os.path.join(self.dir, "redis-server")
        os.symlink(program, name)
        path = os.path.join(self.dir, "socket")
        self.assertLess(len(path), 100)

        def one(preload):
            command = [name, "--port", "0", "--unixsocket", path, "--save", "", "--dir", self.dir,
                       "--enable-debug-command", "yes", "--io-threads", "3", "--lazyfree-lazy-user-del",
                       "yes", "--dbfilename", f"{preload}.rdb"]
            with self.server(command, preload) as process:
                out = self.redis_load(path, 40000 if LONG else 4000)
                self.assert_mapped(process.pid, preload)
                process.terminate()
                self.assertEqual(process.wait(60), 0)
            return out

        self.compare(one, "redis-server")


    def test_postgres(self):
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
        if not found:
            self.skipTest("postgres is not installed (Debian: postgresql)")
        bin_dir = os.path.dirname(found[-1])
        self.postgres(bin_dir, *((30, 16, 3000) if LONG else (1, 8, 100)))

    def postgres(self, bin_dir, scale, clients, transactions):
        state, where = os.path.join(self.dir, "state"), ["-h", self.dir, "-U", "postgres"]
        os.mkdir(state)
        user = []
        if os.getuid() == 0:  # it refuses root
            entry = pwd.getpwnam("nobody")
            user = ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
            os.chown(state, entry.pw_uid, entry.pw_gid)
            os.chmod(self.dir, 0o777)

        def run(name, *words, preload=True):
            return self.run_one([*user, os.path.join(bin_dir, name), *words], preload)

        def ask(sql):
            return run("psql", *where, "-XAtc", sql, preload=False).decode().split()

        run("initdb", "-D", state, "-A", "trust", "-U", "postgres", "--no-sync", "--locale=C",
            "-E", "UTF8")
        server = [*user, os.path.join(bin_dir, "postgres"), "-D", state, "-k", self.dir, "-c",
                  "listen_addresses=", "-c", "fsync=off", "-c", "work_mem=1MB"]
        with self.server(server, True) as process:
            for _ in range(500):
                if os.path.exists(os.path.join(self.dir, ".s.PGSQL.5432.lock")) and subprocess.run(
                        [os.path.join(bin_dir, "pg_isready"), "-q", *where]).returncode == 0:
                    break
                time.sleep(0.05)
            self.assert_mapped(process.pid, True)
            run("pgbench", *where, "-i", "-q", "-s", str(scale), "postgres")
            run("pgbench", *where, "-c", str(clients), "-j", "2", "-t", str(transactions),
                "-M", "prepared", "postgres")
            sums = ask("select sum(abalance) from pgbench_accounts union all select sum(bbalance) from"
                       " pgbench_branches union all select sum(tbalance) from pgbench_tellers union"
                       " all select sum(delta) from pgbench_history")
            self.assertEqual(sums, [sums[0]] * 4)
            self.assertEqual(ask("select count(*) from pgbench_history"), [str(clients * transactions)])
            # A sort, a hash join and JSON: md5 over what can be known without the server.
            text = "".join(f"{i % 997}:{i}," for i in sorted(range(20000), key=lambda i: (i % 997, i)))
            self.assertEqual(
                ask("select md5(string_agg((j->>'k') || ':' || (j->>'i') || ',', '' order by"
                    " (j->>'k')::int, (j->>'i')::int)) from (select json_build_object('i', i, 'k', i"
                    " % 997) j from generate_series(0, 19999) i) s"),
                [hashlib.md5(text.encode()).hexdigest()])
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(60), 0)
        self.prove("initdb", "postgres", "pgbench")


if __name__ == "__main__":
    unittest.main(verbosity=2)
