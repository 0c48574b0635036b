"""Starts api_server in a directory of its own and speaks HTTP to it, politely or not."""

import gzip
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

SOURCE = os.environ.get("HEAPMARK_SOURCE_DIR", os.path.join(os.path.dirname(__file__), "../.."))
BUILD = os.environ.get("HEAPMARK_BUILD_DIR", os.path.join(SOURCE, "build/release"))
PROGRAM = os.path.join(BUILD, "tests/api_server")
PATIENCE = 30  # seconds until something that must happen has not: a bound, never a measurement

TWIN = """[allocator]
summary = {summary}
library = {library}
{package}
order = {order}
[symbols]
malloc = malloc
free = free
calloc = calloc
[option tidy]
summary = Keeps things tidy
env = TWIN_TIDY=1
"""


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.raw = status, headers, body
        coded = headers.get("Content-Encoding") == "gzip"
        self.body = gzip.decompress(body) if coded and body else body

    @property
    def json(self):
        return json.loads(self.body)


class Server:
    def __init__(self, *options, directory=None, expect_failure=False):
        self.home = tempfile.mkdtemp(prefix="heapmark-api-")
        self.directory = directory or os.path.join(self.home, "state")
        os.makedirs(self.directory, exist_ok=True)
        catalog = os.path.join(self.home, "catalog")
        os.makedirs(catalog)
        rows = [("glibc", "libc", "", 1), ("twin", "libc", "", 2), ("crashy", "libc", "", 3),
                ("missing", "libnothere.so.9", "package = libnothere9", 4),
                ("idle", "libc", "kind = baseline", 5),
                ("hollow", "libc", "kind = baseline\nflags = null", 6)]
        for name, library, package, order in rows:
            with open(os.path.join(catalog, name + ".ini"), "w") as f:
                f.write(TWIN.format(summary=name + " of the tests", library=library,
                                    package=package, order=order))
        self.log = open(os.path.join(self.home, "log"), "w+")
        self.process = subprocess.Popen(
            [PROGRAM, "--dir", self.directory, "--catalog", catalog, *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True)
        line = self.process.stdout.readline().split()
        if expect_failure:
            self.process.wait(PATIENCE)
            self.port = None
            return
        if not line:
            self.process.wait(PATIENCE)
            raise RuntimeError("api_server did not start: " + self.stderr())
        self.port = int(line[1])

    def stderr(self):
        self.log.flush()
        self.log.seek(0)
        return self.log.read()

    def stop(self, how=signal.SIGTERM):
        """Exit status. A sanitizer's report or an abort makes it other than 0."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            status = self.process.wait(PATIENCE)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
        return status

    def remove(self):
        self.log.close()
        shutil.rmtree(self.home, ignore_errors=True)

    # ---- polite ----

    def request(self, method, path, body=None, headers=None, unix=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port or 1, timeout=PATIENCE)
        if unix:
            connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.sock.settimeout(PATIENCE)
            connection.sock.connect(unix)
        headers = dict(headers or {})
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, body=body, headers=headers)
            reply = connection.getresponse()
            return Reply(reply.status, reply.headers, reply.read())
        finally:
            connection.close()

    def get(self, path, **headers):
        return self.request("GET", path, headers={k.replace("_", "-"): v
                                                  for k, v in headers.items()})

    def post(self, path, body=None, headers=None):
        return self.request("POST", path, body=body, headers=headers)

    def submit(self, job=None, **more):
        job = dict(job or JOB, **more)
        reply = self.post("/api/v1/jobs", job)
        if reply.status != 202:
            raise AssertionError(f"submit: {reply.status} {reply.body!r}")
        return reply.json["job"]["id"]

    def finish(self, uuid):
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            reply = self.get(f"/api/v1/jobs/{uuid}?wait=20")
            if reply.status != 200:
                raise AssertionError(f"waiting for {uuid}: {reply.status} {reply.body!r}")
            job = reply.json
            if job["state"] in ("succeeded", "failed", "cancelled", "lost"):
                return job
        raise AssertionError("the job does not end")

    # ---- impolite ----

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def raw(self, data, more=b""):
        """Send bytes, read until the end or `PATIENCE`; b"" when closed without an answer."""
        with self.connect() as s:
            s.sendall(data)
            if more:
                s.sendall(more)
            return read_all(s)


class Remote(Server):
    """A daemon that runs already: HEAPMARK_API_URL=http://127.0.0.1:PORT."""

    def __init__(self, url):
        self.port = int(url.rstrip("/").rsplit(":", 1)[1])

    def stop(self, how=signal.SIGTERM):
        return 0

    def stderr(self):
        return ""

    def remove(self):
        pass


def read_all(s):
    out = b""
    try:
        while True:
            piece = s.recv(65536)
            if not piece:
                return out
            out += piece
    except ConnectionResetError:
        return out


def read_head(s):
    out = b""
    while b"\r\n\r\n" not in out:
        piece = s.recv(1)
        if not piece:
            break
        out += piece
    return out


def status_of(answer):
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.") else None


JOB = {"allocators": ["glibc", "twin"], "repeat": {"rings": 2, "rotations": 4},
       "workloads": [{"workload": "table-churn", "params": {"live": 1000}, "slice_ops": 1000}]}


class ServerCase(unittest.TestCase):
    """One server for the class; its end must be clean."""

    OPTIONS = ()

    @classmethod
    def setUpClass(cls):
        cls.server = Server(*cls.OPTIONS)

    @classmethod
    def tearDownClass(cls):
        status = cls.server.stop()
        text = cls.server.stderr()
        cls.server.remove()
        if status != 0:
            raise AssertionError(f"api_server ended with {status}:\n{text[-4000:]}")

    def assertProblem(self, reply, status, slug, pointer=None, contains=()):
        self.assertEqual(reply.status, status, reply.body)
        self.assertEqual(reply.headers["Content-Type"], "application/problem+json")
        problem = reply.json
        self.assertEqual(problem["type"], "/problems/" + slug, problem)
        self.assertEqual(problem["status"], status)
        self.assertTrue(problem["request_id"])
        if pointer is not None:
            self.assertEqual(problem.get("pointer"), pointer, problem)
        for text in contains:
            self.assertIn(str(text), problem["detail"])
        return problem


def main():
    if not os.path.exists(PROGRAM):
        print(f"skipped: {PROGRAM} is not built")
        sys.exit(77)
    unittest.main(verbosity=2)
