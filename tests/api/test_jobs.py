"""Jobs: what is refused, submitting, idempotency, lists, results, exports, cancelling."""

import concurrent.futures
import csv
import io
import json
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import JOB, PATIENCE, Server, ServerCase, main  # noqa: E402

XSS = "<script>alert('x')</script>\"'&\u2028"
JSON = {"Content-Type": "application/json"}


def changed(**more):
    return dict(JOB, **more)


def entry(**more):
    return changed(workloads=[dict(JOB["workloads"][0], **more)])


def standings_of(rows):
    """Of a reference and one subject, both with values enough to be judged."""
    low, high = rows[1]["ratio_low"], rows[1]["ratio_high"]
    if rows[0]["direction"] == "neutral" or rows[0]["value"] is None:
        return [None, None]
    if None in (low, high):
        return [None, "unsure"]
    if low <= 1 <= high:
        return ["tied", "tied"]
    return ["best", "behind"] if (low > 1) == (rows[0]["direction"] == "lower") else ["behind",
                                                                                     "best"]


class Refused(ServerCase):
    def test_not_json(self):
        cases = ["", " ", "{", "}", "nul", "{'a':1}", '{"a":1,}', '{"a":01}', '{"name":"\x01"}',
                 '{"name":"x"} {}', '{"name":"\\ud800"}', "\ufeff{}", '{"name":NaN}', "[" * 20000,
                 '{"a":' * 9000, "[" * 30000 + "]" * 30000, '{"name":"x"']
        for text in cases:
            with self.subTest(text[:30]):
                reply = self.server.post("/api/v1/jobs", text.encode(), JSON)
                self.assertProblem(reply, 400, "malformed")
        for data in (b'{"name":"\xff"}', b'{"name":"\xc0\xaf"}', b'{"name":"a\0b"}', b"\0"):
            with self.subTest(data):
                self.assertProblem(self.server.post("/api/v1/jobs", data, JSON), 400, "malformed")

    def test_duplicate_keys(self):
        for text in ('{"name":"a","name":"b"}', '{"labels":{"tag":"a","tag":"b"}}'):
            self.assertProblem(self.server.post("/api/v1/jobs", text, JSON), 400, "malformed")

    def test_not_an_object(self):
        for text in ("[]", '"x"', "1", "null", "true"):
            with self.subTest(text):
                reply = self.server.post("/api/v1/jobs", text, JSON)
                self.assertEqual(reply.status in (400, 422), True, reply.body)

    def check(self, job, slug, pointer, *contains, status=422):
        reply = self.server.post("/api/v1/jobs", job)
        return self.assertProblem(reply, status, slug, pointer, contains)

    def test_unknown_names(self):
        self.check(changed(nonsense=1), "unknown-name", "/nonsense")
        self.check(entry(workload="none"), "unknown-name", "/workloads/0/workload", "none")
        self.check(entry(params={"nonsense": 1}), "unknown-name", "/workloads/0/params/nonsense")
        self.check(changed(allocators=["glibc", "none"]), "unknown-name", "/allocators/1", "none")
        self.check({"preset": "none"}, "unknown-name", "/preset", "none")
        self.check(changed(labels={"nonsense": "x"}), "unknown-name", "/labels/nonsense")
        self.check(changed(placement="none"), "unknown-name", "/placement")

    def test_unavailable(self):
        problem = self.check(changed(allocators=["glibc", "missing"]), "unavailable",
                             "/allocators/1", "libnothere9")
        self.assertIn("install", problem["detail"])
        self.check(changed(workloads=[{"workload": "chase", "pages": "hugetlb-1g"}]),
                   "unavailable", None, "1g")

    def test_out_of_range(self):
        """The reply names field, value and bounds."""
        rows = {w["name"]: w for w in self.server.get("/api/v1/workloads").json["items"]}
        tried = 0
        for name, workload in rows.items():
            for row in workload["params"]:
                if row["type"] not in ("integer", "size", "number"):
                    continue
                for value in (row["min"] - 1, row["max"] + 1):
                    if value < 0 or value > 2 ** 62:
                        continue
                    with self.subTest(f"{name} {row['name']} {value}"):
                        job = changed(workloads=[{"workload": name,
                                                  "params": {row["name"]: value}}])
                        problem = self.check(job, "out-of-range", None, row["name"], value)
                        self.assertTrue(problem["pointer"].startswith(
                            f"/workloads/0/params/{row['name']}"), problem)
                        bound = row["max"] if value > row["max"] else row["min"]
                        self.assertIn(str(bound), problem["detail"])
                        tried += 1
        self.assertGreater(tried, 5)

    def test_more_threads_than_cpus(self):
        self.check(entry(threads=3), "out-of-range", None, "3", "2")

    def test_exploding_matrix(self):
        many = list(range(1, 32))
        job = {"allocators": ["glibc", "twin"],
               "workloads": [{"workload": "table-churn",
                              "params": {"live": [1000 + i for i in many],
                                         "remote_pct": many}, "threads": [1, 2]}] * 4}
        problem = self.check(job, "too-large", None, "4096")
        self.assertRegex(problem["detail"], r"\d{4,}")
        self.assertEqual(self.server.get("/api/v1/jobs").json["items"], [])

    def test_wrong_types(self):
        for job in (changed(name=1), changed(name=["x"]), changed(seed="x"), changed(seed=-1),
                    changed(seed=1.5), changed(labels=[]), changed(workloads="x"),
                    changed(workloads=[]), changed(allocators=[]), changed(allocators=[1]),
                    changed(repeat=[]), changed(limits={"wall_s": "x"}), entry(params=[]),
                    entry(params={"live": "many"}), entry(threads=0), entry(threads=-1),
                    entry(threads="most"), entry(pages="8k"), changed(name="x" * 200),
                    changed(labels={"commit": "x" * 300}),
                    changed(labels={"time": "yesterday"}), {}, {"allocators": ["glibc"]}):
            with self.subTest(json.dumps(job)[:90]):
                reply = self.server.post("/api/v1/jobs", job)
                self.assertEqual(reply.status, 422, reply.body)
                self.assertIn("pointer", reply.json)

    @classmethod
    def tearDownClass(cls):
        stored = cls.server.get("/api/v1/jobs").json["items"]
        super().tearDownClass()
        assert stored == [], "a refused job was stored"


class Jobs(ServerCase):
    OPTIONS = ("--crash", "crashy")

    def test_dry_run(self):
        before = len(self.server.get("/api/v1/jobs").json["items"])
        reply = self.server.post("/api/v1/jobs?dry_run=1", entry(threads=[1, "max"]))
        self.assertEqual(reply.status, 200)
        plan = reply.json
        self.assertEqual(plan["cells_count"], 4)
        self.assertEqual([c["threads"] for c in plan["cells"]], [1, 1, 2, 2])
        self.assertGreater(plan["seconds_estimate"], 0)
        self.assertGreater(plan["memory_bytes_estimate"], 0)
        self.assertEqual(len(self.server.get("/api/v1/jobs").json["items"]), before)
        again = self.server.post("/api/v1/jobs?dry_run=1", plan["spec"])
        self.assertEqual(again.json["cells"], plan["cells"])
        self.assertEqual(self.server.post("/api/v1/jobs?dry_run=2", JOB).status, 422)

    def test_net_of_the_harness(self):
        """Beside ns_per_pair, where a null allocator says what the harness takes."""
        for names, known in ((["glibc", "twin", "hollow"], True), (["glibc", "twin"], False)):
            uuid = self.server.submit(JOB, allocators=names)
            self.server.finish(uuid)
            group = self.server.get(f"/api/v1/jobs/{uuid}/results").json["groups"][0]
            for cell in group["cells"]:
                for name, s in cell["summaries"].items():
                    with self.subTest(cell["allocator"], metric=name):
                        if name != "ns_per_pair" or not known:
                            self.assertIsNone(s["net"])
                            continue
                        net = s["value"] * (1 - s["null_share"])
                        self.assertAlmostEqual(s["net"], net, delta=1e-6 * s["value"])
                        if cell["allocator"] == "glibc":
                            self.assertGreater(s["net"], 0)
                            self.assertLess(s["net"], s["value"])
                        if cell["allocator"] == "hollow":
                            self.assertEqual(s["net"], 0)  # all of it is harness

    def test_life_of_a_job(self):
        reply = self.server.post("/api/v1/jobs", changed(
            name="life", repeat={"rings": 6, "rotations": 40}, labels={"project": "p", "commit": "c1", "branch": "b", "sequence": 7,
                                 "time": "2026-01-02T03:04:05Z"}))
        self.assertEqual(reply.status, 202)
        uuid = reply.json["job"]["id"]
        self.assertEqual(reply.headers["Location"], f"/api/v1/jobs/{uuid}")
        self.assertTrue(reply.headers["Retry-After"])
        job = self.server.finish(uuid)
        self.assertEqual(job["state"], "succeeded", job)
        self.assertEqual(job["progress"]["steps_done"], job["progress"]["steps_total"])
        self.assertEqual(job["labels"]["commit"], "c1")
        self.assertEqual(job["labels"]["time"], "2026-01-02T03:04:05.000Z")
        self.assertNotEqual(job["spec"]["seed"], 0)
        results = self.server.get(f"/api/v1/jobs/{uuid}/results").json
        self.assertEqual(results["job"]["id"], uuid)
        cells = results["groups"][0]["cells"]
        self.assertEqual([c["subject"] for c in cells], ["glibc", "twin"])
        self.assertEqual([c["role"] for c in cells], ["reference", "subject"])
        self.assertIsInstance(cells[1]["summaries"]["heap_bytes"]["ratio"], (int, float))
        for name, rows in ((n, [c["summaries"][n] for c in cells]) for n in cells[0]["summaries"]):
            standings = [row["standing"] for row in rows]
            with self.subTest(name, rows=rows):
                self.assertEqual(standings, standings_of(rows))
        listed = self.server.get(f"/api/v1/jobs/{uuid}/cells").json["items"]
        self.assertEqual(listed, cells)
        trials = self.server.get(f"/api/v1/jobs/{uuid}/trials?slices=1").json["items"]
        self.assertEqual(len(trials), 18)  # six rings of reference, reference again, subject
        for t in trials:
            self.assertEqual((t["outcome"], t["failure"]), ("ok", None))
            self.assertEqual(len(t["slices"]), 40)
            self.assertIn("pairs_per_s", t["values"])
        only = self.server.get(f"/api/v1/jobs/{uuid}/trials?cell=1").json["items"]
        self.assertEqual({t["cell"] for t in only}, {1})
        self.assertEqual(len(only), 6)
        self.assertNotIn("slices", only[0])

    def test_baselines_and_one_alone_have_no_standing(self):
        for names, standing in ((["glibc", "twin", "idle"], True), (["glibc", "idle"], False)):
            reply = self.server.post("/api/v1/jobs", changed(
                allocators=names, repeat={"rings": 6, "rotations": 40}))
            uuid = reply.json["job"]["id"]
            self.assertEqual(self.server.finish(uuid)["state"], "succeeded")
            cells = self.server.get(f"/api/v1/jobs/{uuid}/cells").json["items"]
            by_name = {c["allocator"]: c["summaries"]["heap_bytes"]["standing"] for c in cells}
            self.assertIsNone(by_name["idle"])
            self.assertEqual(by_name["glibc"] is not None, standing)

    def test_failures_are_told(self):
        uuid = self.server.submit(changed(allocators=["glibc", "crashy"], name=XSS,
                                          labels={"branch": XSS}))
        job = self.server.finish(uuid)
        self.assertEqual((job["name"], job["labels"]["branch"]), (XSS, XSS))
        cells = self.server.get(f"/api/v1/jobs/{uuid}/cells").json["items"]
        self.assertGreater(cells[1]["trials"]["failed"], 0)
        self.assertIn("11", cells[1]["last_failure"])
        self.assertIn("<script>", cells[1]["last_failure"])
        self.assertGreater(cells[0]["trials"]["ok"], 0)
        trials = self.server.get(f"/api/v1/jobs/{uuid}/trials?cell=1").json["items"]
        self.assertEqual(trials[0]["outcome"], "crashed")
        self.assertEqual(trials[0]["signal"], 11)
        self.assertIn("onerror", trials[0]["log"])

    def test_markup_survives_as_text(self):
        uuid = self.server.submit(changed(name=XSS, labels={"tag": XSS}))
        reply = self.server.get(f"/api/v1/jobs/{uuid}")
        self.assertEqual(reply.headers["Content-Type"], "application/json")
        self.assertEqual(reply.json["name"], XSS)
        self.assertEqual(reply.json["labels"]["tag"], XSS)
        self.server.finish(uuid)

    def test_csv_injection(self):
        nasty = ["=1+1", "+1", "-1", "@x", "a,b", 'a"b']
        for branch in nasty:
            self.server.finish(self.server.submit(changed(labels={"project": "csv",
                                                                  "branch": branch})))
        reply = self.server.get("/api/v1/results?project=csv&format=csv")
        self.assertTrue(reply.headers["Content-Type"].startswith("text/csv"))
        self.assertIn("attachment", reply.headers["Content-Disposition"])
        rows = list(csv.DictReader(io.StringIO(reply.body.decode(), newline="")))
        seen = {r["branch"] for r in rows}
        self.assertEqual(seen, {"'=1+1", "'+1", "'-1", "'@x", "a,b", 'a"b'})
        lines = self.server.get("/api/v1/results?project=csv&format=ndjson").body.splitlines()
        self.assertEqual(len(lines), len(rows))
        self.assertEqual({json.loads(x)["branch"] for x in lines}, set(nasty))
        by_accept = self.server.get("/api/v1/results?project=csv", Accept="application/x-ndjson")
        self.assertEqual(by_accept.body.splitlines(), lines)
        packed = self.server.get("/api/v1/results?project=csv&format=ndjson",
                                 Accept_Encoding="gzip")
        self.assertEqual(packed.headers["Content-Encoding"], "gzip")
        self.assertEqual(packed.body.splitlines(), lines)
        items, path = [], "/api/v1/results?project=csv&limit=7"
        while path:
            page = self.server.get(path)
            items += page.json["items"]
            link = page.headers["Link"]
            path = link[1:link.index(">")] if link else None
            self.assertEqual(bool(link), page.json["next"] is not None)
        self.assertEqual(items, [json.loads(x) for x in lines])

    def test_csv_says_what_json_says(self):
        trials = {"workload": "table-cold", "params": {"live": 1000}}
        uuid = self.server.submit(changed(workloads=[JOB["workloads"][0], trials]))
        self.server.finish(uuid)
        base = f"/api/v1/results?job={uuid}&format="
        text = self.server.get(base + "csv").body.decode()
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        items = [json.loads(x) for x in self.server.get(base + "ndjson").body.splitlines()]
        self.assertEqual(len(rows), len(items))
        self.assertGreater(len(rows), 5)
        for row, item in zip(rows, items):
            del item["subject"]  # allocator and options in one word
            self.assertEqual(set(row), set(item))
            self.assertEqual(row.pop("options"), ",".join(item.pop("options")))
            item["reason"] = item["reason"] and item["reason"].replace("=no", "'=no", 1)
            for name, value in item.items():
                said = row[name]
                if value is None:
                    self.assertEqual(said, "", name)
                elif isinstance(value, bool):
                    self.assertEqual(said, "true" if value else "false", name)
                elif isinstance(value, (int, float)):
                    self.assertEqual(float(said), value, name)
                else:
                    self.assertEqual(said, value, name)
        self.assertEqual({r["measured"] for r in rows if r["value"]}, {"ring", "trial"})

    def test_filters(self):
        self.server.finish(self.server.submit(changed(labels={"project": "f", "commit": "c9"})))
        base = "/api/v1/results?project=f"
        everything = self.server.get(base + "&limit=200").json["items"]
        self.assertGreater(len(everything), 5)
        for name, value in (("allocator", "twin"), ("metric", "pairs_per_s"), ("commit", "c9"),
                            ("workload", "table-churn"), ("threads", "1"), ("pages", "4k"),
                            ("host_key", "testhost"), ("since", "2020-01-01"),
                            ("until", "2100-01-01T00:00:00Z"), ("job", everything[0]["job"])):
            with self.subTest(name):
                items = self.server.get(f"{base}&limit=200&{name}={value}").json["items"]
                self.assertTrue(items)
                if name in items[0]:
                    self.assertEqual({str(i[name]) for i in items}, {value})
        for name, value in (("allocator", "none"), ("threads", "2"), ("pages", "thp"),
                            ("until", "2020-01-01"), ("host_key", "' OR 1=1 --")):
            with self.subTest(name):
                from urllib.parse import quote
                reply = self.server.get(f"{base}&{name}={quote(value)}")
                self.assertEqual(reply.json["items"], [])

    def test_series(self):
        for _ in range(2):
            self.server.finish(self.server.submit())
        items = self.server.get("/api/v1/series?metric=pairs_per_s&allocator=twin").json["items"]
        items.sort(key=lambda s: -s["points"])  # other tests measure by other protocols
        points = self.server.get(f"/api/v1/series/{items[0]['id']}/points").json["items"]
        self.assertGreaterEqual(len(points), 2)
        self.assertEqual(len(points), items[0]["points"])
        self.assertEqual([p["time"] for p in points], sorted(p["time"] for p in points))
        path = f"/api/v1/series/{items[0]['id']}/points"
        none = self.server.get(path + "?until=2000-01-01")
        self.assertEqual((none.status, none.json["items"]), (200, []))
        for unknown in ("999999999", "0", "-1", "x", "9223372036854775808"):
            self.assertEqual(self.server.get(f"/api/v1/series/{unknown}/points").status, 404,
                             unknown)
        first = self.server.get(f"/api/v1/series/{items[0]['id']}/points?limit=1").json["items"]
        self.assertEqual(first, points[:1])

    def test_idempotency(self):
        key = {"Idempotency-Key": "k1"}
        first = self.server.post("/api/v1/jobs", JOB, key)
        again = self.server.post("/api/v1/jobs", JOB, key)
        self.assertEqual((first.status, again.status), (202, 202))
        self.assertEqual(first.json["job"]["id"], again.json["job"]["id"])
        self.assertIsNone(first.headers["Idempotency-Replayed"])
        self.assertEqual(again.headers["Idempotency-Replayed"], "true")
        self.assertProblem(self.server.post("/api/v1/jobs", changed(name="other"), key), 422,
                           "invalid")
        for bad in ("", "x" * 129):
            reply = self.server.post("/api/v1/jobs", JOB, {"Idempotency-Key": bad})
            self.assertProblem(reply, 422, "out-of-range")
        self.server.finish(first.json["job"]["id"])

    def test_idempotency_at_once(self):
        key = {"Idempotency-Key": "k-concurrent"}
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            replies = list(pool.map(lambda _: self.server.post("/api/v1/jobs", JOB, key),
                                    range(24)))
        self.assertEqual({r.status for r in replies}, {202})
        self.assertEqual(len({r.json["job"]["id"] for r in replies}), 1)
        replayed = [r.headers["Idempotency-Replayed"] for r in replies]
        self.assertEqual(replayed.count(None), 1)

    def test_pages_stay_stable(self):
        ids = [self.server.submit(changed(labels={"project": "pages"})) for _ in range(7)]
        seen, path = [], "/api/v1/jobs?project=pages&limit=2"
        while path:
            page = self.server.get(path)
            seen += [j["id"] for j in page.json["items"]]
            self.server.submit(changed(labels={"project": "pages"}))  # newer: not on later pages
            link = page.headers["Link"]
            self.assertEqual(bool(link), page.json["next"] is not None)
            path = link[1:link.index(">")] if link else None
        self.assertEqual(seen, ids[::-1])

    def test_etag_of_a_job(self):
        uuid = self.server.submit()
        self.server.finish(uuid)
        reply = self.server.get(f"/api/v1/jobs/{uuid}")
        again = self.server.get(f"/api/v1/jobs/{uuid}", If_None_Match=reply.headers["ETag"])
        self.assertEqual((again.status, again.body), (304, b""))
        waited = self.server.get(f"/api/v1/jobs/{uuid}?wait=60",
                                 If_None_Match=reply.headers["ETag"])
        self.assertEqual(waited.status, 304)

    def test_lists_by_state(self):
        self.server.finish(self.server.submit(changed(labels={"project": "states"})))
        done = self.server.get("/api/v1/jobs?project=states&state=succeeded").json["items"]
        self.assertEqual(len(done), 1)
        self.assertEqual(self.server.get("/api/v1/jobs?project=states&state=lost").json["items"],
                         [])


class Slow(ServerCase):
    OPTIONS = ("--step-ms", "60000", "--queued", "3")

    def test_cancel_and_queue(self):
        running = self.server.submit()
        waiting = [self.server.submit() for _ in range(3)]
        while self.server.get(f"/api/v1/jobs/{running}").json["state"] == "queued":
            pass
        # The running one may have been counted while it was queued; the queue is full now.
        extra = None
        for _ in range(2):
            reply = self.server.post("/api/v1/jobs", JOB)
            if reply.status == 202:
                extra = reply.json["job"]["id"]
                waiting.append(extra)
        self.assertProblem(reply, 429, "limit", contains=["3"])
        self.assertTrue(reply.headers["Retry-After"])
        for uuid in waiting:
            reply = self.server.post(f"/api/v1/jobs/{uuid}/cancel")
            self.assertEqual((reply.status, reply.json["state"]), (200, "cancelled"))
            again = self.server.post(f"/api/v1/jobs/{uuid}/cancel")
            self.assertEqual((again.status, again.json), (200, reply.json))
        first = self.server.post(f"/api/v1/jobs/{running}/cancel")
        self.assertIn(first.status, (200, 202))
        self.assertTrue(first.json["cancel_requested"])
        job = self.server.finish(running)
        self.assertEqual(job["state"], "cancelled")
        again = self.server.post(f"/api/v1/jobs/{running}/cancel")
        self.assertEqual((again.status, again.json["state"]), (200, "cancelled"))
        for path in ("none", "00000000-0000-4000-8000-000000000000"):
            self.assertProblem(self.server.post(f"/api/v1/jobs/{path}/cancel"), 404, "not-found")

    def test_wait_is_bounded(self):
        uuid = self.server.submit()
        reply = self.server.get(f"/api/v1/jobs/{uuid}?wait=1")
        self.assertIn(reply.json["state"], ("queued", "claimed", "running"))
        self.assertProblem(self.server.get(f"/api/v1/jobs/{uuid}?wait=61"), 422, "out-of-range",
                           "?wait")
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            waits = [pool.submit(self.server.get, f"/api/v1/jobs/{uuid}?wait=60")
                     for _ in range(8)]
            while "heapmark_http_waiting_requests 8" not in \
                    self.server.get("/metrics").body.decode():
                pass
            self.server.post(f"/api/v1/jobs/{uuid}/cancel")
            self.assertEqual({w.result().json["state"] for w in waits}, {"cancelled"})


class Reasons(ServerCase):
    def test_null_has_its_reason_everywhere(self):
        name, why = "heap_after_purge_bytes", '=no, "call"'
        uuid = self.server.submit(repeat={"warm_pct": 50})
        self.server.finish(uuid)
        path = f"/api/v1/jobs/{uuid}"
        for trial in self.server.get(path + "/trials").json["items"]:
            self.assertIsNone(trial["values"][name])
            self.assertEqual(trial["reasons"], {name: why})
        for cell in self.server.get(path + "/cells").json["items"]:
            row = cell["summaries"][name]
            self.assertEqual((row["value"], row["count"], row["steady"], row["reason"]),
                             (None, 0, None, why))
            heap = cell["summaries"]["heap_bytes"]
            self.assertEqual((heap["steady"], heap["value"] is None), (False, False))
            self.assertIn("50%", heap["reason"])
            self.assertEqual(cell["summaries"]["pairs_per_s"]["steady"], True)
        query = f"/api/v1/results?job={uuid}&metric={name}&format="
        lines = self.server.get(query + "ndjson").body.decode().splitlines()
        self.assertEqual({json.loads(line)["reason"] for line in lines}, {why})
        rows = list(csv.DictReader(io.StringIO(self.server.get(query + "csv").body.decode())))
        self.assertEqual(len(rows), len(lines))
        self.assertEqual({(r["value"], r["steady"], r["reason"]) for r in rows},
                         {("", "", "'" + why)})
        series = self.server.get(f"/api/v1/series?metric={name}").json["items"]
        self.assertEqual(series, [])


class Waiting(ServerCase):
    """Whatever happens to a job while somebody waits for it, the answer is the job."""

    OPTIONS = ("--step-ms", "3", "--queued", "500", "--events", "8", "--tick-ms", "20")
    SECONDS = 2.0

    def waiter(self, jobs, until, replies):
        """Waits for the youngest job: queued, just claimed, running, cancelled or over."""
        turn = 0
        while time.monotonic() < until:
            turn += 1
            uuid = jobs[-1 - turn % min(3, len(jobs))]
            replies.append((uuid, self.server.get(f"/api/v1/jobs/{uuid}?wait={1 + turn % 10}")))

    def submitter(self, jobs, until):
        while time.monotonic() < until:
            reply = self.server.post("/api/v1/jobs", JOB)
            if reply.status != 202:  # the queue is full
                continue
            jobs.append(reply.json["job"]["id"])
            time.sleep(0.02)
            if len(jobs) % 3:
                self.server.post(f"/api/v1/jobs/{jobs[-1 - len(jobs) % 2]}/cancel")

    def test_cancelled_before_it_began(self):
        """No scheduler sees that end: the one who asked for it must tell those who wait."""
        running = self.server.submit(repeat={"rings": 900, "rotations": 2})
        queued = self.server.submit()
        begin = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            wait = pool.submit(self.server.get, f"/api/v1/jobs/{queued}?wait=60")
            while "heapmark_http_waiting_requests 1" not in \
                    self.server.get("/metrics").body.decode():
                pass
            self.server.post(f"/api/v1/jobs/{queued}/cancel")
            self.assertEqual(wait.result().json["state"], "cancelled")
        self.assertLess(time.monotonic() - begin, PATIENCE)
        self.server.post(f"/api/v1/jobs/{running}/cancel")

    def test_every_answer_is_the_job(self):
        """More waiters than places to wait, short jobs, cancellations at every moment."""
        jobs, replies = [self.server.submit()], []
        until = time.monotonic() + self.SECONDS
        with concurrent.futures.ThreadPoolExecutor(14) as pool:
            runs = [pool.submit(self.waiter, jobs, until, replies) for _ in range(12)]
            runs += [pool.submit(self.submitter, jobs, until) for _ in range(2)]
            concurrent.futures.wait(runs[12:])
            for uuid in jobs:
                self.server.post(f"/api/v1/jobs/{uuid}/cancel")
            for run in runs:
                run.result()
        self.assertGreater(len(replies), 20)
        for uuid, reply in replies:
            self.assertEqual(reply.status, 200, reply.body)
            self.assertEqual(reply.json["id"], uuid)
            self.assertIn(reply.json["state"], ("queued", "claimed", "running", "succeeded",
                                                "failed", "cancelled", "lost"))


class FullDisk(ServerCase):
    """The low-water mark is above what any disk has: as if the disk were full."""

    OPTIONS = ("--low-water", str(1 << 60))

    def test_507(self):
        self.assertProblem(self.server.post("/api/v1/jobs", JOB), 507, "no-space")
        self.assertEqual(self.server.get("/api/v1/jobs").json["items"], [])
        ready = self.server.get("/readyz")
        self.assertEqual((ready.status, ready.json["ready"]), (503, False))
        self.assertTrue(ready.json["reason"])
        self.assertEqual(self.server.get("/healthz").status, 200)
        self.assertEqual(self.server.post("/api/v1/jobs?dry_run=1", JOB).status, 200)


class Durable(unittest.TestCase):
    def test_202_survives_a_kill(self):
        server = Server("--step-ms", "60000")
        uuid = server.submit()
        server.process.kill()
        server.process.wait()
        second = Server(directory=server.directory)
        self.assertEqual(second.finish(uuid)["state"], "succeeded")
        self.assertEqual(second.stop(), 0)
        second.remove()
        server.process.stdin.close()
        server.process.stdout.close()
        server.remove()


if __name__ == "__main__":
    main()
