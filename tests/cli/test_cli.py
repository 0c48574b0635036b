"""The heapmark command against a fake server: rendering, errors, exit codes, purity of --json."""
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import unittest

from fake import (BUILD, HEAPMARK, JOB_ID, OTHER_ID, FakeServer, Reply, cell, clean_environment,
                  free_port, group, heapmark, job, problem, summary)

JOBS = "/api/v1/jobs"
JOB = f"{JOBS}/{JOB_ID}"
CELLS_OK = Reply({"items": [cell("glibc", {})], "next": None})


def events(*rows, first=1):
    """(event, data) rows as a stream, with ids."""
    return "".join(f"id: {first + i}\nevent: {event}\ndata: {json.dumps(data)}\n\n"
                   for i, (event, data) in enumerate(rows))


def job_routes(final="succeeded", **extra):
    """A job that is submitted, streams, and ends."""
    routes = {
        ("POST", JOBS): Reply({"job": job("queued")}, 202),
        ("GET", JOB): [Reply(job("running")), Reply(job(final, **extra))],
        ("GET", f"{JOB}/events"): Reply(chunks=[
            ": hello\n\n", events(("state", {"state": "running"}),
                                  ("step", {"steps_done": 5, "steps_total": 10,
                                            "seconds_left": 75, "workload": "table-churn",
                                            "threads": 2, "steps_failed": 1}),
                                  ("end", {"state": final}))], content_type="text/event-stream"),
        ("GET", f"{JOB}/cells"): CELLS_OK,
        ("GET", f"{JOB}/results"): Reply({"job": job(final), "groups": reference_groups()}),
        ("GET", f"{JOB}/trials"): Reply({"items": [TRIAL], "next": None}),
        ("GET", "/api/v1/allocators"): Reply({"items": ALLOCATORS, "next": None}),
    }
    return routes


ALLOCATORS = [
    {"name": "glibc", "kind": "allocator", "available": True, "path": "/lib/libc.so.6",
     "builds": [{"version": "2.36"}]},
    {"name": "jemalloc", "kind": "allocator", "available": True, "path": "/lib/libjemalloc.so.2",
     "builds": []},
    {"name": "mimalloc", "kind": "allocator", "available": False, "builds": [],
     "reason": "mimalloc is not installed: install Debian package libmimalloc2.0"},
    {"name": "null", "kind": "baseline", "available": True, "path": "/x/null.so", "builds": []},
]
TRIAL = {"isolation": ["uid", "cgroup"], "isolation_level": "partial", "housekeeping": False,
         "discard_reason": "steal 7% of the ring"}


def throughput(glibc, jemalloc, null, threads, **je):
    apart = jemalloc / glibc > 1.01
    return [cell("glibc", {"pairs_per_s": summary(glibc, noise=0.004, standing="behind" if apart
                                                  else "tied")}, role="reference"),
            cell("jemalloc", {"pairs_per_s": summary(jemalloc, ratio=jemalloc / glibc,
                                                     standing="best" if apart else "tied", **je),
                              "frag_total": summary(0.12, unit="ratio", direction="lower"),
                              "heap_peak_bytes": summary(64 * 2**20, unit="bytes",
                                                         direction="lower")}),
            cell("null", {"pairs_per_s": summary(null, ratio=9.0, bound=True)})]


def reference_groups():
    chase = [cell("glibc", {"ns_per_access": summary(240, unit="ns", direction="lower",
                                                     noise=0.01)}, role="reference", pages="4k"),
             cell("glibc", {"ns_per_access": summary(160, unit="ns", direction="lower",
                                                     ratio=0.667)}, pages="thp"),
             cell("glibc", {}, pages="hugetlb-1g", ok=0, failed=3,
                  failure="pages-unavailable: reserve 1 GiB pages")]
    fork = [cell("glibc", {"fork_ns": summary(2.6e6, unit="ns", direction="lower")},
                 role="reference"),
            cell("jemalloc", {"fork_ns": summary(1.6e6, unit="ns", direction="lower", ratio=0.6)})]
    cow = [cell("glibc", {"cow_ns_per_write": summary(2500, unit="ns", direction="lower")},
                role="reference")]
    crashed = throughput(20e6, 30e6, 300e6, 2)
    crashed[1] = cell("jemalloc", {}, ok=0, failed=4,
                      failure="crashed: signal 11 after 40 of 410 turns")
    return [group("table-cold", 1, throughput(2e6, 2.01e6, 90e6, 1)),
            group("table-cold", 2, throughput(3e6, 3.9e6, 170e6, 2)),
            group("table-churn", 1, throughput(11e6, 15e6, 200e6, 1)),
            group("table-churn", 2, throughput(20e6, 28e6, 380e6, 2)),
            group("table-warm", 1, throughput(60e6, 61e6, 200e6, 1)),
            group("table-warm", 2, crashed),
            group("chase", 1, chase, axis="pages", params={"bytes": 268435456}),
            group("fork-latency", 1, fork), group("fork-cow", 1, cow)]


class Parsing(unittest.TestCase):
    BAD = [
        ([], "which command"), (["frob"], "no command"), (["list", "-x"], "no option -x"),
        (["list", "--frob"], "no option --frob"), (["list", "--state"], "needs a value"),
        (["list", "--state", "happy"], "not one of"), (["list", "--json=1"], "takes no value"),
        (["list", "surplus"], "usage: heapmark list"), (["show"], "usage: heapmark show"),
        (["show", "a", "b"], "usage: heapmark show"), (["show", "xyz"], "is not a job"),
        (["show", "../../tokens"], "is not a job"), (["list", "--limit", "0"], "--limit 0"),
        (["list", "--limit", "many"], "--limit many"), (["--server", "x", "list"], "not http://"),
        (["--server", "unix:run", "list"], "absolute path"),
        (["--server", "http://user@host", "list"], "not http://"),
        (["run", "reference", "--state-dir", "/tmp/x"], "is for --local"),
        (["--server", "http://127.0.0.1:1", "run", "reference", "--local"], "leave --server out"),
        (["run", "/nonexistent.json"], "cannot read"), (["run", "-"], "-:1:0:"),
        (["run", "reference", "--set", "x"], "not PATH=VALUE"),
        (["run", "reference", "--set", "preset.x=1"], "no such place"),
        (["run", "reference", "--set", "=1"], "not PATH=VALUE"),
        (["run", "reference", "--label", "x"], "not KEY=VALUE"),
        (["run", "reference", "--allocators", "a,,b"], "an empty name"),
        (["token", "frob"], "not create, list or revoke"), (["token", "create"], "create NAME"),
        (["token", "list", "x"], "token list"), (["--color", "pink", "list"], "not one of"),
        (["export", "--json", "--format", "csv"], "exclude each other"),
        (["watch", JOB_ID, "--timeout", "soon"], "--timeout soon"),
    ]

    def test_bad_command_lines(self):
        with FakeServer({("GET", JOB): Reply(job("running"))}) as server:
            for args, message in self.BAD:
                with self.subTest(args=args):
                    got = heapmark(*args, env={"HEAPMARK_SERVER": server.url})
                    self.assertEqual((got.returncode, got.stdout), (2, ""), got.stderr)
                    self.assertIn(message, got.stderr)
            self.assertEqual(server.seen("POST", JOBS), [])

    def test_help_and_version(self):
        for args in (["--help"], ["run", "--help"], ["--version"], ["show", "-h"]):
            got = heapmark(*args)
            self.assertEqual((got.returncode, got.stderr), (0, ""))
            self.assertTrue(got.stdout)
        self.assertIn("130", heapmark("--help").stdout)


class Bodies(unittest.TestCase):
    def submitted(self, *args, stdin=""):
        with FakeServer({("POST", JOBS): Reply({"job": job("queued")}, 202)}) as server:
            got = heapmark("submit", *args, server=server.url, stdin=stdin)
            self.assertEqual(got.returncode, 0, got.stderr)
            self.assertEqual(got.stdout, JOB_ID + "\n")
            self.assertEqual(len(server.requests), 1)
            return json.loads(server.requests[0][2]), server.requests[0][3]

    def test_bodies(self):
        cases = [
            (["reference"], {"preset": "reference"}),
            (["reference", "-p", "demo", "-n", "x y"],
             {"preset": "reference", "profile": "demo", "name": "x y"}),
            (["x", "--set", "repeat.rings=20", "--set", "seed=7"],
             {"preset": "x", "repeat": {"rings": 20}, "seed": 7}),
            (["x", "--set", "allocators=glibc,jemalloc"],
             {"preset": "x", "allocators": ["glibc", "jemalloc"]}),
            (["x", "--set", 'allocators=["a,b"]'], {"preset": "x", "allocators": ["a,b"]}),
            (["x", "--set", "name=1,2"], {"preset": "x", "name": [1, 2]}),
            (["x", "--allocators", "glibc,jemalloc+thp-off+b"],
             {"preset": "x", "allocators": ["glibc", {"name": "jemalloc",
                                                      "options": ["thp-off", "b"]}]}),
            (["x", "-l", "project=p", "-l", "sequence=12", "-l", "commit=12"],
             {"preset": "x", "labels": {"project": "p", "sequence": 12, "commit": "12"}}),
        ]
        for args, body in cases:
            with self.subTest(args=args):
                self.assertEqual(self.submitted(*args)[0], body)

    def test_file_and_stdin(self):
        document = {"workloads": [{"workload": "chase", "threads": 1}]}
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(document, file)
            file.flush()
            body, _ = self.submitted(file.name, "--set", "workloads.0.params.bytes=4096")
        document["workloads"][0]["params"] = {"bytes": 4096}
        self.assertEqual(body, document)
        self.assertEqual(self.submitted("-", stdin=json.dumps(document))[0], document)

    def test_bad_files(self):
        for text in ("", "{", "[]", '{"a":1,"a":2}', "\xff", '{"a":1} x'):
            got = heapmark("submit", "-", server="http://127.0.0.1:1", stdin=text)
            self.assertEqual(got.returncode, 2, got.stderr)

    def test_keys(self):
        first = self.submitted("x")[1]["Idempotency-Key"]
        second = self.submitted("x")[1]["Idempotency-Key"]
        self.assertRegex(first, "^[0-9a-f]{32}$")
        self.assertNotEqual(first, second)
        self.assertEqual(self.submitted("x", "--key", "mine")[1]["Idempotency-Key"], "mine")


class Errors(unittest.TestCase):
    def test_statuses(self):
        cases = [
            (problem(422, "Out of range", "0 is below 1", "/repeat/rings"), 2, "/repeat/rings"),
            (problem(400, "Malformed", "not JSON"), 2, "Malformed: not JSON"),
            (problem(401, "Unauthorized"), 4, "--token-file"),
            (problem(403, "Forbidden", "needs submit"), 4, "needs submit"),
            (problem(404, "Not found"), 2, "Not found"),
            (problem(409, "Conflict"), 1, "Conflict"),
            (problem(429, "Too many jobs"), 1, "Too many jobs"),
            (problem(507, "Disk full"), 1, "[request req-1]"),
            (Reply("<html>", 502, "text/html"), 1, "502"),
            (Reply("", 500), 1, "500"),
            (Reply("not json"), 1, "not a JSON object"),
            (Reply('{"a":1,"a":2}'), 1, "not a JSON object"),
            (Reply("[]"), 1, "not a JSON object"),
            (Reply("{}"), 1, "no id"),
            (Reply({"job": job("queued")}, cut=True), 5, "no answer"),
            (problem(422, "Evil \x1b[31m\r\nline"), 2, "Evil ?[31m??line"),
        ]
        for reply, code, message in cases:
            for flags in ([], ["--json"]):
                with self.subTest(message=message, flags=flags), \
                        FakeServer({("POST", JOBS): reply}) as server:
                    got = heapmark("submit", "reference", *flags, server=server.url)
                    self.assertEqual((got.returncode, got.stdout), (code, ""), got.stderr)
                    self.assertIn(message, got.stderr)

    def test_unreachable(self):
        for server in (f"http://127.0.0.1:{free_port()}", "unix:/nonexistent/socket"):
            got = heapmark("list", server=server)
            self.assertEqual((got.returncode, got.stdout), (5, ""))
            self.assertIn("no answer", got.stderr)

    def test_lists_without_items(self):
        for body in ({}, {"items": {}}, {"items": None}):
            with FakeServer({("GET", JOBS): Reply(body)}) as server:
                got = heapmark("list", server=server.url)
                self.assertEqual(got.returncode, 1)
                self.assertIn("no list of items", got.stderr)


class Tokens(unittest.TestCase):
    ROUTES = {("GET", JOBS): Reply({"items": [], "next": None})}

    def header(self, *args, env=None):
        with FakeServer(self.ROUTES) as server:
            got = heapmark("list", *args, server=server.url, env=env)
            sent = server.requests[0][3].get("Authorization") if server.requests else None
            return got, sent

    def test_sources(self):
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("hmk_file\n")
            file.flush()
            self.assertEqual(self.header("--token-file", file.name)[1], "Bearer hmk_file")
            got = self.header("--token-file", file.name, env={"HEAPMARK_TOKEN": "hmk_env"})
            self.assertEqual(got[1], "Bearer hmk_file")
        self.assertEqual(self.header(env={"HEAPMARK_TOKEN": "hmk_env"})[1], "Bearer hmk_env")
        self.assertIsNone(self.header()[1])

    def test_bad_tokens(self):
        got, _ = self.header("--token-file", "/nonexistent")
        self.assertEqual(got.returncode, 4)
        for text in ("two words", "line\nline", "x" * 5000, "hmk_\xe9"):
            got, sent = self.header(env={"HEAPMARK_TOKEN": text})
            self.assertEqual((got.returncode, sent), (4, None), text)

    def test_create_list_revoke(self):
        routes = {("POST", "/api/v1/tokens"): Reply({"name": "ci", "token": "hmk_new"}, 201),
                  ("GET", "/api/v1/tokens"): Reply({"items": [
                      {"name": "ci", "scopes": ["read", "submit"], "created": "2026-01-02T03:04"}],
                      "next": None}),
                  ("POST", "/api/v1/tokens/ci%2Fx/revoke"): Reply({"name": "ci/x"})}
        with FakeServer(routes) as server:
            got = heapmark("token", "create", "ci", "--scopes", "read", server=server.url)
            self.assertEqual((got.returncode, got.stdout), (0, "hmk_new\n"))
            self.assertEqual(json.loads(server.requests[0][2]), {"name": "ci", "scopes": ["read"]})
            got = heapmark("token", "list", server=server.url)
            self.assertIn("read,submit", got.stdout)
            got = heapmark("token", "revoke", "ci/x", server=server.url)
            self.assertEqual(got.returncode, 0, got.stderr)


class JobNames(unittest.TestCase):
    LIST = {("GET", JOBS): Reply({"items": [job(), job(id=OTHER_ID)], "next": None}),
            ("POST", f"{JOB}/cancel"): Reply(job("running"), 202),
            ("POST", f"{JOBS}/{OTHER_ID}/cancel"): Reply(job("cancelled"))}

    def test_found(self):
        for text, found in (("last", JOB_ID), ("11111111", JOB_ID), ("11112", OTHER_ID)):
            with FakeServer(self.LIST) as server:
                got = heapmark("cancel", text, server=server.url)
                self.assertEqual(got.returncode, 0, got.stderr)
                self.assertEqual(server.requests[-1][1], f"{JOBS}/{found}/cancel")

    def test_not_found(self):
        for text, message in (("1111", "more than one"), ("2222", "none of the newest"),
                              ("111", "at least 4"), ("ZZZZ", "is not a job")):
            with FakeServer(self.LIST) as server:
                got = heapmark("cancel", text, server=server.url)
                self.assertEqual(got.returncode, 2)
                self.assertIn(message, got.stderr)
        with FakeServer({("GET", JOBS): Reply({"items": [], "next": None})}) as server:
            self.assertIn("no job yet", heapmark("show", "last", server=server.url).stderr)


class Lists(unittest.TestCase):
    def test_pages_are_followed(self):
        routes = {("GET", f"{JOBS}?limit=3"): Reply({"items": [job(), job()], "next": "a&b"}),
                  ("GET", f"{JOBS}?limit=3&cursor=a%26b"): Reply({"items": [job(), job()],
                                                                 "next": "c"})}
        with FakeServer(routes) as server:
            got = heapmark("list", "--limit", "3", "--json", server=server.url)
            self.assertEqual(len(json.loads(got.stdout)["items"]), 3)
            self.assertEqual(len(server.requests), 2)

    def test_a_cursor_that_does_not_move_ends(self):
        routes = {("GET", JOBS): Reply({"items": [job()], "next": "same"})}
        with FakeServer(routes) as server:
            got = heapmark("list", "--limit", "100", "--json", server=server.url)
            self.assertEqual(got.returncode, 0)
            self.assertEqual(len(server.requests), 2)

    def test_filters_are_escaped(self):
        with FakeServer({("GET", JOBS): Reply({"items": [], "next": None})}) as server:
            heapmark("list", "--branch", "a/b&c=d e", "--state", "failed", server=server.url)
            self.assertEqual(server.requests[0][1],
                             f"{JOBS}?state=failed&branch=a%2Fb%26c%3Dd%20e&limit=20")

    def test_tables(self):
        workload = {"name": "chase", "family": "pages", "kind": "steady", "summary": "loads",
                    "params": [{"name": "bytes", "type": "size", "default": 268435456,
                                "min": 1048576, "max": 2**33, "unit": "bytes", "help": "how much"},
                               {"name": "mode", "type": "enum", "default": "a", "help": "which",
                                "choices": ["a", "b"]}],
                    "metrics": [{"name": "ns_per_access", "unit": "ns", "direction": "lower",
                                 "help": "time"}]}
        host = {"key": "k", "name": "box", "facts": {"kernel": "6.1", "cpus": 2},
                "topology": {"type": "machine", "index": 0, "cpus": "0-1", "size_bytes": 2**33,
                             "children": [{"type": "core", "index": 1, "cpus": "1"}]},
                "pages": {"thp": {"enabled": "madvise", "defrag": "never"},
                          "hugetlb": [{"size_bytes": 2097152, "total": 4, "free": 3,
                                       "reserved": 0}]},
                "cgroups": {"memory": {"version": 2}, "cpuset": {"version": None,
                                                                 "reason": "not mounted"}},
                "isolation": {"level": "partial", "bits": ["uid"]}, "housekeeping": False}
        routes = {("GET", "/api/v1/workloads/chase"): Reply(workload),
                  ("GET", "/api/v1/workloads"): Reply({"items": [workload], "next": None}),
                  ("GET", "/api/v1/allocators"): Reply({"items": ALLOCATORS, "next": None}),
                  ("GET", "/api/v1/presets"): Reply({"items": [{"name": "reference",
                                                                "title": "The table"}]}),
                  ("GET", "/api/v1/host"): Reply(host)}
        cases = [(["workloads"], ["chase", "steady"]),
                 (["workloads", "chase"], ["256 MiB", "1.00 MiB", "a|b", "ns_per_access"]),
                 (["allocators"], ["2.36", "unavailable: mimalloc is not installed"]),
                 (["presets"], ["The table"]),
                 (["host"], ["madvise", "3 free", "none: not mounted", "partial: uid", "core 1",
                             "none to spare"])]
        roomy = dict(routes)
        roomy[("GET", "/api/v1/host")] = Reply(dict(host, housekeeping_threads=15))
        with FakeServer(roomy) as server:
            self.assertIn("up to 15 threads", heapmark("host", server=server.url).stdout)
        with FakeServer(routes) as server:
            for args, words in cases:
                got = heapmark(*args, server=server.url)
                self.assertEqual(got.returncode, 0, got.stderr)
                for word in words:
                    self.assertIn(word, got.stdout)
                pure = heapmark(*args, "--json", server=server.url)
                json.loads(pure.stdout)


class Watching(unittest.TestCase):
    def test_final_states_and_codes(self):
        nothing = {("GET", f"{JOB}/cells"): Reply({"items": [cell("glibc", {}, ok=0)],
                                                   "next": None})}
        cases = [("succeeded", 0, {}), ("failed", 1, {}), ("cancelled", 1, {}), ("lost", 6, {}),
                 ("succeeded", 8, nothing)]
        for state, code, extra in cases:
            routes = job_routes(state, error={"code": "io", "message": "the \x1b reason"})
            routes.update(extra)
            with self.subTest(state=state, code=code), FakeServer(routes) as server:
                got = heapmark("watch", JOB_ID, "--json", server=server.url)
                self.assertEqual(got.returncode, code, got.stderr)
                self.assertEqual(json.loads(got.stdout)["state"], state)
                if state in ("failed", "lost"):
                    self.assertIn("the ? reason", got.stderr)

    def test_progress_goes_to_stderr(self):
        with FakeServer(job_routes()) as server:
            got = heapmark("watch", JOB_ID, server=server.url)
            self.assertEqual((got.returncode, got.stdout), (0, ""))
            self.assertIn("5/10  1:15 left  table-churn T=2  1 failed", got.stderr)
            quiet = heapmark("watch", JOB_ID, "--quiet", server=server.url)
            self.assertEqual((quiet.stdout, quiet.stderr), ("", ""))

    def test_finished_job_needs_no_stream(self):
        routes = job_routes()
        routes["GET", JOB] = Reply(job())
        with FakeServer(routes) as server:
            self.assertEqual(heapmark("watch", JOB_ID, server=server.url).returncode, 0)
            self.assertEqual(server.seen("GET", f"{JOB}/events"), [])

    def test_broken_stream_is_taken_up_after_the_last_event(self):
        routes = job_routes()
        step = ("step", {"steps_done": 2, "steps_total": 10})
        broken = events(step, first=41) + 'id: 42\nevent: step\ndata: {"steps_do'
        routes["GET", f"{JOB}/events"] = [
            Reply(chunks=[broken], content_type="text/event-stream"),
            Reply(chunks=[events(("end", {"state": "succeeded"}), first=43)],
                  content_type="text/event-stream")]
        routes["GET", JOB] = [Reply(job("running")), Reply(job("running")), Reply(job())]
        with FakeServer(routes) as server:
            got = heapmark("watch", JOB_ID, server=server.url)
            self.assertEqual(got.returncode, 0, got.stderr)
            streams = server.seen("GET", f"{JOB}/events")
            self.assertEqual([s[3].get("Last-Event-ID") for s in streams], [None, "42"])

    def test_streams_of_rubbish(self):
        for chunks in (["data: not json\n\n"], ["data: [1]\n\n"], [b"\xff\xfe\x00\n\n"],
                       ["data: " + "x" * 200000 + "\n\n"], ["\r\n\r\n"], []):
            routes = job_routes()
            routes["GET", f"{JOB}/events"] = Reply(chunks=chunks,
                                                   content_type="text/event-stream")
            routes["GET", JOB] = [Reply(job("running"))] * 3 + [Reply(job())]
            with self.subTest(chunks=chunks[:1] and chunks[0][:20]), FakeServer(routes) as server:
                got = heapmark("watch", JOB_ID, server=server.url)
                self.assertEqual(got.returncode, 0, got.stderr)

    def test_refused_stream_is_no_reason_to_retry(self):
        routes = job_routes()
        routes["GET", f"{JOB}/events"] = problem(401, "Unauthorized")
        with FakeServer(routes) as server:
            self.assertEqual(heapmark("watch", JOB_ID, server=server.url).returncode, 4)
            self.assertEqual(len(server.seen("GET", f"{JOB}/events")), 1)

    def start(self, server, *args):
        return subprocess.Popen([HEAPMARK, "--server", server.url, *args], text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env=clean_environment())

    def wait_for_step(self, process):
        for line in process.stderr:
            if "1/10" in line:
                return
        self.fail("the command ended before its first step")

    def hanging(self, gate):
        """A stream that says one thing and then nothing until the gate opens."""
        routes = job_routes()
        routes["GET", JOB] = Reply(job("running"))
        routes["GET", f"{JOB}/events"] = Reply(
            chunks=[events(("step", {"steps_done": 1, "steps_total": 10}))], gate=gate,
            content_type="text/event-stream")
        return routes

    def test_timeout_leaves_the_job_running(self):
        gate = threading.Event()
        with FakeServer(self.hanging(gate)) as server:
            got = heapmark("watch", JOB_ID, "--timeout", "1", server=server.url)
            gate.set()
            self.assertEqual(got.returncode, 7)
            self.assertIn(f"heapmark watch {JOB_ID}", got.stderr)

    def test_interrupt_leaves_the_job_running(self):
        gate = threading.Event()
        with FakeServer(self.hanging(gate)) as server:
            process = self.start(server, "run", "reference")
            self.wait_for_step(process)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
            gate.set()
            self.assertEqual((process.returncode, out), (130, ""))
            self.assertIn("goes on", err)
            self.assertEqual(server.seen("POST", f"{JOB}/cancel"), [])

    def test_server_that_goes_away(self):
        gate = threading.Event()
        with FakeServer(self.hanging(gate)) as server:
            process = self.start(server, "watch", JOB_ID)
            self.wait_for_step(process)
            server.routes["GET", f"{JOB}/events"] = [Reply("", 200, cut=True)]
            server.routes["GET", JOB] = [Reply("", 200, cut=True)]
            gate.set()
            _, err = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 5, err)


class Running(unittest.TestCase):
    def test_run(self):
        for state, code in (("succeeded", 0), ("failed", 1), ("lost", 6)):
            with FakeServer(job_routes(state)) as server:
                got = heapmark("run", "reference", server=server.url)
                self.assertEqual(got.returncode, code, got.stderr)
                self.assertIn("harness: null", got.stdout)
                pure = heapmark("run", "reference", "--json", server=server.url)
                self.assertEqual(json.loads(pure.stdout)["job"]["state"], state)

    def test_dry_run(self):
        plan = {"cells_count": 2, "steps": 20, "seconds_estimate": 95.2,
                "memory_bytes_estimate": 2**28,
                "cells": [{"workload": "chase", "threads": 1, "pages": "4k", "subject": "glibc"}]}
        with FakeServer({("POST", f"{JOBS}?dry_run=1"): Reply(plan)}) as server:
            got = heapmark("run", "reference", "--dry-run", server=server.url)
            self.assertIn("2 cells in 20 steps, about 1:35, 256 MiB", got.stdout)
            self.assertEqual(len(server.requests), 1)
            pure = heapmark("submit", "reference", "--dry-run", "--json", server=server.url)
            self.assertEqual(json.loads(pure.stdout), plan)


class Exporting(unittest.TestCase):
    def test_streams(self):
        routes = {("GET", "/api/v1/results"): Reply('{"a":1}\n{"a":2}\n',
                                                    content_type="application/x-ndjson")}
        with FakeServer(routes) as server, tempfile.TemporaryDirectory() as directory:
            got = heapmark("export", "--metric", "pairs_per_s", "--job", JOB_ID, "--format", "csv",
                           server=server.url)
            self.assertEqual(got.stdout, '{"a":1}\n{"a":2}\n')
            method, path, _, headers = server.requests[0]
            self.assertEqual(path, "/api/v1/results?format=csv&metric=pairs_per_s&job=" + JOB_ID)
            self.assertEqual(headers["Accept"], "text/csv")
            name = os.path.join(directory, "out")
            self.assertEqual(heapmark("export", "-o", name, server=server.url).returncode, 0)
            with open(name) as file:
                self.assertEqual(len(file.readlines()), 2)
            again = heapmark("export", "-o", name, server=server.url)
            self.assertEqual(again.returncode, 2)
            self.assertIn("File exists", again.stderr)

    def test_half_an_export_is_removed(self):
        for reply, code in ((Reply('{"a":1}\n', cut=True), 5), (problem(401, "No"), 4)):
            with FakeServer({("GET", "/api/v1/results"): reply}) as server, \
                    tempfile.TemporaryDirectory() as directory:
                name = os.path.join(directory, "out")
                got = heapmark("export", "-o", name, server=server.url)
                self.assertEqual(got.returncode, code)
                self.assertFalse(os.path.exists(name))

    def test_full_disk(self):
        with FakeServer({("GET", "/api/v1/results"): Reply("x" * 100000)}) as server:
            with open("/dev/full", "w") as full:
                got = subprocess.run([HEAPMARK, "--server", server.url, "export"], stdout=full,
                                     stderr=subprocess.PIPE, text=True, env=clean_environment())
            self.assertEqual(got.returncode, 1)
            self.assertIn("No space left", got.stderr)


class Local(unittest.TestCase):
    """--local with a stand-in for heapmarkd beside a copy of the command."""

    STAND_IN = """#!/usr/bin/env python3
import os, signal, socket, sys, time
settings = dict(a.split("=", 1) for a in sys.argv[1:] if "=" in a)
open(os.environ["STAND_IN_PID"], "w").write(str(os.getpid()))
mode = os.environ.get("STAND_IN_MODE", "")
if mode == "die":
    sys.exit("the port is busy")
if mode == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.makedirs(settings["store.directory"], exist_ok=True)
path = settings["server.listen"][len("unix:"):]
s = socket.socket(socket.AF_UNIX)
s.bind(path)
s.listen()
while True:
    c, _ = s.accept()
    line = c.recv(65536).split(b" ")
    ready = line[1] == b"/readyz"
    body = b"{}" if ready else b'{"title": "Refused"}'
    status = b"200 OK" if ready else b"422 No"
    c.sendall(b"HTTP/1.1 " + status + b"\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n"
              % len(body) + body)
    if mode == "hang" and not ready:
        time.sleep(60)
    c.close()
"""

    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.bin = os.path.join(self.directory.name, "heapmark")
        with open(HEAPMARK, "rb") as source, open(self.bin, "wb") as copy:
            copy.write(source.read())
        daemon = os.path.join(self.directory.name, "heapmarkd")
        with open(daemon, "w") as file:
            file.write(self.STAND_IN)
        for name in (self.bin, daemon):
            os.chmod(name, stat.S_IRWXU)
        self.pid_file = os.path.join(self.directory.name, "pid")
        self.before = self.temporary()

    @staticmethod
    def temporary():
        return {n for n in os.listdir("/tmp") if re.fullmatch("heapmark-[A-Za-z0-9]{6}", n)}

    def run_local(self, *args, mode=""):
        env = clean_environment(STAND_IN_PID=self.pid_file, STAND_IN_MODE=mode)
        return subprocess.Popen([self.bin, "run", "reference", "--local", *args], text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)

    def assert_gone(self, deadline=30):
        with open(self.pid_file) as file:
            pid = int(file.read())
        for _ in range(deadline * 20):
            if not os.path.exists(f"/proc/{pid}") and not self.temporary() - self.before:
                return
            threading.Event().wait(0.05)
        self.fail(f"left behind: process {pid}, {self.temporary() - self.before}")

    def test_stopped_and_removed_after_the_job(self):
        state = os.path.join(self.directory.name, "state")
        process = self.run_local("--state-dir", state)
        _, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 2)
        self.assertIn("Refused", err)
        self.assert_gone()
        self.assertTrue(os.path.isdir(state))

    def test_a_daemon_that_does_not_start(self):
        process = self.run_local(mode="die")
        _, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 5)
        self.assertIn("the port is busy", err)
        self.assert_gone()

    def test_no_daemon_there(self):
        os.remove(os.path.join(self.directory.name, "heapmarkd"))
        process = self.run_local()
        _, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 1)
        self.assertIn("cannot execute", err)

    def test_killed(self):
        process = self.run_local(mode="hang")
        while not os.path.exists(self.pid_file) or not os.path.getsize(self.pid_file):
            threading.Event().wait(0.02)
        process.kill()
        process.communicate(timeout=60)
        self.assert_gone()


class Generated(unittest.TestCase):
    def test_every_command_has_help_a_manual_entry_and_completions(self):
        commands = re.findall(r"^  (\w+) {2,}", heapmark("--help").stdout.split("Options")[0], re.M)
        self.assertGreaterEqual(len(commands), 12)
        share = os.path.join(BUILD, "docs")
        with open(os.path.join(share, "heapmark.1")) as file:
            manual = file.read()
        with open(os.path.join(share, "heapmark.bash")) as file:
            bash = file.read()
        with open(os.path.join(share, "_heapmark")) as file:
            zsh = file.read()
        for command in commands:
            self.assertIn(f".B heapmark {command}", manual)
            for text in (bash, zsh):
                self.assertRegex(text, rf"\b{command}\b")
            for option in re.findall(r"--([a-z-]+)", heapmark(command, "--help").stdout):
                self.assertIn("\\-\\-" + option.replace("-", "\\-"), manual)
                for text in (bash, zsh):
                    self.assertIn("--" + option, text)

    def complete(self, *words):
        script = os.path.join(BUILD, "docs", "heapmark.bash")
        program = (f'source {script}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _heapmark; '
                   'printf "%s\\n" "${COMPREPLY[@]}"')
        out = subprocess.run(["bash", "-c", program, "bash", "heapmark", *words],
                             capture_output=True, text=True, check=True)
        return set(out.stdout.split())

    def test_bash_completes(self):
        self.assertIn("allocators", self.complete("a"))
        self.assertIn("run", self.complete("--server", "http://x", "r"))
        self.assertEqual(self.complete("list", "--sta"), {"--state"})
        self.assertEqual(self.complete("list", "--state", "s"), {"succeeded"})
        self.assertEqual(self.complete("token", "re"), {"revoke"})
        self.assertNotIn("--local", self.complete("show", "--"))


class Dev(unittest.TestCase):
    def test_a_failed_configuration_is_shown_and_leaves_nothing_in_tmp(self):
        source = os.environ.get("HEAPMARK_SOURCE_DIR", ".")
        with tempfile.TemporaryDirectory() as directory:
            tree, programs = os.path.join(directory, "tree"), os.path.join(directory, "bin")
            os.mkdir(tree)
            os.mkdir(programs)
            shutil.copy(os.path.join(source, "dev"), tree)
            for name, body in (("cmake", "echo the stub failed >&2; exit 3"),
                               ("dpkg-query", "echo installed")):
                path = os.path.join(programs, name)
                with open(path, "w", encoding="utf-8") as f:
                    f.write(f"#!/bin/sh\n{body}\n")
                os.chmod(path, 0o755)
            env = dict(os.environ, PATH=f"{programs}:{os.environ['PATH']}", HEAPMARK_NO_INSTALL="1")
            got = subprocess.run(["./dev", "build"], cwd=tree, env=env, capture_output=True,
                                 text=True, timeout=60)
            self.assertEqual(got.returncode, 1, got.stderr)
            self.assertIn("the stub failed", got.stderr)
            self.assertIn("could not configure the release preset", got.stderr)
            with open(os.path.join(tree, "build/release/configure.log"), encoding="utf-8") as f:
                self.assertEqual(f.read(), "the stub failed\n")


if __name__ == "__main__":
    unittest.main()
