"""A real heapmarkd for tests: start it on a free port, talk to it, kill it, look at its database.

Needs HEAPMARK_BUILD_DIR. Everything is kept below one temporary directory."""

import http.client
import json
import os
import signal
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time

BUILD = os.environ.get("HEAPMARK_BUILD_DIR", "build/release")
SKIP = 77


def skip(why):
    print("skipped:", why)
    sys.exit(SKIP)


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)


class Heapmarkd:
    """One daemon process and its state directory, which outlives the process."""

    def __init__(self, settings=(), directory=None, user=None, prefix=()):
        """`prefix`: a command that ends by executing what follows it, as setpriv(1) does."""
        self.directory = directory or tempfile.mkdtemp(prefix="heapmark-test-")
        self.settings = list(settings)
        self.user = user
        self.prefix = list(prefix)
        self.process = None
        self.port = None
        self.log_path = os.path.join(self.directory, "log")
        if user:
            shutil.chown(self.directory, user)

    def command(self):
        state = os.path.join(self.directory, "state")
        sets = [
            "server.listen=127.0.0.1:0",
            f"store.directory={state}",
            f"supervisor.directory={os.path.join(self.directory, 'supervisor')}",
            "store.low_water=16MiB",
        ] + self.settings
        command = self.prefix + [os.path.join(BUILD, "bin", "heapmarkd")]
        command += ["--port-file", self.port_file]
        for s in sets:
            command += ["--set", s]
        return command

    @property
    def port_file(self):
        return os.path.join(self.directory, "port")

    @property
    def database(self):
        return os.path.join(self.directory, "state", "heapmark.db")

    def start(self, wait=20.0):
        if os.path.exists(self.port_file):
            os.unlink(self.port_file)
        log = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL, user=self.user
        )
        log.close()
        end = time.monotonic() + wait
        while not os.path.exists(self.port_file):
            if self.process.poll() is not None:
                raise RuntimeError(f"heapmarkd ended with {self.process.returncode}:\n{self.log()}")
            if time.monotonic() > end:
                self.on_stuck()
                self.kill()
                raise RuntimeError(f"heapmarkd did not start:\n{self.log()}")
            time.sleep(0.01)
        with open(self.port_file) as f:
            self.port = int(f.read())
        return self

    def on_stuck(self):
        """For a debugger: it neither answers nor ends."""

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()[-8000:]

    def stop(self, wait=60.0):
        """TERM and the exit status."""
        if not self.process:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(wait)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError(f"heapmarkd did not stop:\n{self.log()}")
        self.process = None
        return status

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process = None

    def remove(self):
        """Kill it, let its supervisor give the host back, forget its files."""
        self.kill()
        end = time.monotonic() + 30
        while self.supervisors() and time.monotonic() < end:
            time.sleep(0.02)
        shutil.rmtree(self.directory, ignore_errors=True)

    def supervisors(self):
        """Supervisors of this state directory, also of a daemon that is gone."""
        mark = f"--state-dir={os.path.join(self.directory, 'supervisor')}"
        found = []
        for p in os.listdir("/proc"):
            if not p.isdigit():
                continue
            try:
                with open(f"/proc/{p}/cmdline") as f:
                    if mark in f.read().split("\0"):
                        found.append(int(p))
            except OSError:
                continue
        return found

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        try:
            self.stop()
        finally:
            self.remove()

    def request(self, method, path, body=None, headers=None, timeout=70.0):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        headers = dict(headers or {})
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, body, headers)
            reply = connection.getresponse()
            return Reply(reply.status, dict(reply.getheaders()), reply.read())
        finally:
            connection.close()

    def get(self, path, **kw):
        return self.request("GET", path, **kw)

    def submit(self, job, **kw):
        reply = self.request("POST", "/api/v1/jobs", job, **kw)
        if reply.status != 202:
            raise RuntimeError(f"POST /jobs: {reply.status} {reply.body!r}")
        return reply.json["job"]["id"]

    def wait(self, job, seconds=120.0):
        """The job once it is in a final state."""
        end = time.monotonic() + seconds
        while True:
            reply = self.get(f"/api/v1/jobs/{job}?wait=10")
            if reply.status != 200:
                raise RuntimeError(f"job {job}: {reply.status} {reply.body!r}\n{self.log()}")
            found = reply.json
            if found["state"] in ("succeeded", "failed", "cancelled", "lost"):
                return found
            if time.monotonic() > end:
                raise RuntimeError(f"job {job} is still {found['state']}: {found}\n{self.log()}")

    def items(self, path):
        """Every item of a list, page by page."""
        found, cursor = [], None
        while True:
            page = path + (f"{'&' if '?' in path else '?'}cursor={cursor}" if cursor else "")
            reply = self.get(page).json
            found += reply["items"]
            cursor = reply.get("next")
            if not cursor:
                return found

    def query(self, sql, *parameters):
        """Straight from the file; only while the daemon does not run."""
        connection = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)
        try:
            return connection.execute(sql, parameters).fetchall()
        finally:
            connection.close()


def children(pid):
    """Every descendant of a process: (pid, name)."""
    found, todo = [], [pid]
    while todo:
        parent = todo.pop()
        try:
            tasks = os.listdir(f"/proc/{parent}/task")
        except OSError:
            continue
        for task in tasks:
            try:
                with open(f"/proc/{parent}/task/{task}/children") as f:
                    pids = [int(p) for p in f.read().split()]
            except OSError:
                continue
            for p in pids:
                try:
                    with open(f"/proc/{p}/comm") as f:
                        found.append((p, f.read().strip()))
                except OSError:
                    continue
                todo.append(p)
    return found


def runners_alive():
    """Every living heapmark-runner of this build."""
    runner = os.path.realpath(os.path.join(BUILD, "bin", "heapmark-runner"))
    found = []
    for p in os.listdir("/proc"):
        if not p.isdigit():
            continue
        try:
            if os.readlink(f"/proc/{p}/exe") == runner:
                found.append(int(p))
        except OSError:
            continue
    return found


def small_job(**changes):
    """A job of a second or two."""
    job = {
        "allocators": ["glibc", "bump", "lifo"],
        "reference": "glibc",
        "workloads": [
            {
                "workload": "table-churn",
                "params": {"live": 500, "remote_pct": 0},
                "threads": 1,
            }
        ],
        "repeat": {"rings": 3, "rotations": 4, "slice_ops": 500, "warm_pct": 10},
    }
    job.update(changes)
    return job
