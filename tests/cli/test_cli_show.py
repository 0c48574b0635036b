"""heapmark show: the tables of a job's results and the notes below them, against a fake server."""
import json
import re
import unittest

from fake import JOB_ID, FakeServer, Reply, cell, group, heapmark, job, problem, summary
from test_cli import ALLOCATORS, JOB, TRIAL, job_routes, reference_groups, throughput


class Shown(unittest.TestCase):
    def shown(self, *args, groups=None, env=None, jobs=None, workloads=None,
              allocators=ALLOCATORS, trials=None):
        routes = job_routes()
        if trials:
            routes["GET", f"{JOB}/trials"] = list(trials)
        for path, items in (("workloads", workloads), ("allocators", allocators)):
            routes["GET", f"/api/v1/{path}"] = Reply({"items": items, "next": None}
                                                     if items is not None else {}, 200)
        if groups is not None:
            routes["GET", f"{JOB}/results"] = Reply({"job": jobs or job(), "groups": groups})
        with FakeServer(routes) as server:
            got = heapmark("show", JOB_ID, *args, server=server.url, env=env)
            self.assertEqual(got.returncode, 0, got.stderr)
            return got.stdout

    def row(self, text, start):
        return next(line for line in text.splitlines() if line.startswith(start))


class Tables(Shown):
    def test_reference(self):
        text = self.shown()
        head = self.row(text, "allocator")
        for word in ("cold T=1", "cold T=2", "churn T=1", "warm T=2", "fragmentation", "peak heap",
                     "scaling cold", "scaling churn", "scaling warm"):
            self.assertIn(word, head)
        jemalloc = self.row(text, "jemalloc")
        self.assertIn("15.0 [14.7–15.3] ▲", jemalloc)    # told apart from glibc
        self.assertIn("2.01 [1.97–2.05] =", jemalloc)    # 0.5% apart, interval ±1%
        self.assertIn("failed", jemalloc)                # warm T=2 crashed
        self.assertIn("64.0 MiB", jemalloc)
        self.assertRegex(jemalloc, r"1\.94 \[1\.86–2\.02\] +1\.87 \[1\.79–1\.94\] +–$")
        self.assertIn("12.0 ±0.24 pp", jemalloc)
        null = self.row(text, "harness: null")
        self.assertIn("†", null)
        self.assertNotIn("▲", null)
        for note in ("A/A noise (the reference against itself): ±0.4% to ±1.0% (chase)",
                     "Isolation reached: partial (uid, cgroup)", "no CPU was left for the daemon",
                     "jemalloc table-warm T=2 4k: crashed: signal 11 after 40 of 410 turns",
                     "not measured: mimalloc is not installed", "▲ best", "† harness-bound"):
            self.assertIn(note, text)

    def test_short_tables(self):
        text = self.shown()
        self.assertIn("Huge pages: dependent loads over 256 MiB", text)
        self.assertRegex(self.row(text, "thp"), r"160 \[157–163\]\s+0\.667 \[0\.660–0\.674\]")
        self.assertRegex(self.row(text, "hugetlb-1g"), r"failed")
        fork = text[text.index("fork and copy on write"):]
        self.assertIn("2.60 ±2.0% ms", fork)
        self.assertIn("2500 ±2.0% ns", fork)

    def test_not_steady_is_marked_and_explained(self):
        short = "read after 10% of the workload's own warm-up: not steady yet"
        heap = {**summary(0.12, unit="ratio", direction="lower"), "steady": False, "reason": short}
        steady = {**heap, "steady": True, "reason": None}
        for row, count in ((heap, 1), (steady, 0)):
            text = self.shown(jobs=job(preset=None), groups=[group("table-churn", 1, [
                cell("glibc", {"pairs_per_s": summary(1e7), "frag_total": row}, "reference")])])
            self.assertEqual(self.row(text, "glibc").count("‡"), count)
            self.assertEqual(text.count("‡ " + short), count)
        peak = {**summary(64 << 20, unit="bytes", direction="lower"), "steady": False,
                "reason": short}
        text = self.shown(groups=[group("table-churn", 1, [
            cell("glibc", {"pairs_per_s": summary(1e7), "frag_total": heap,
                           "heap_peak_bytes": peak}, "reference")])])
        self.assertEqual(self.row(text, "glibc").count("‡"), 2)
        self.assertIn("64.0 MiB‡", text)

    def test_no_value_says_why(self):
        """Metrics and subjects with one reason share a line; where there is a value, none does."""
        def silent(why):
            return {**summary(1, unit="bytes", direction="neutral"), "value": None, "low": None,
                    "high": None, "confidence": None, "count": 0, "steady": None, "reason": why}
        told = {**summary(4096, unit="bytes", direction="neutral"), "steady": True, "reason": None}
        text = self.shown(jobs=job(preset=None), groups=[group("table-churn", 1, [
            cell("glibc", {"pairs_per_s": summary(1e7), "allocator_mapped_bytes": told,
                           "allocator_committed_bytes": silent("not told")}, "reference"),
            cell("tbb", {"pairs_per_s": summary(1e7), "allocator_mapped_bytes": silent("not told"),
                         "heap_after_purge_bytes": silent("ba\x1bd")})])])
        self.assertEqual(text.count("no value (not told): "), 1)
        line = self.row(text, "no value (not told)")
        for word in ("glibc, tbb; ", "allocator_committed_bytes", "allocator_mapped_bytes"):
            self.assertIn(word, line)
        self.assertNotIn("\x1b", text)
        self.assertIn("4.00", self.row(text, "glibc"))
        self.assertIn("–", self.row(text, "tbb"))

    def test_width_and_colour(self):
        for columns in (60, 80, 120, 200):
            text = self.shown(env={"COLUMNS": str(columns)})
            table = text[text.index("Throughput"):text.index("Huge pages")]
            self.assertLessEqual(max(map(len, table.splitlines())), columns)
            self.assertEqual(table.count("harness: null"), table.count("allocator "))
        self.assertNotIn("\x1b", self.shown())
        self.assertIn("\x1b[1;32m", self.shown("--color", "always"))

    def test_nothing_is_told_apart_by_too_few_repetitions(self):
        groups = reference_groups()
        for g in groups:
            for c in g["cells"]:
                for row in c["summaries"].values():
                    row.update(confidence=0.5, standing="unsure")
        text = self.shown(groups=groups)
        self.assertNotIn("▲", text)
        self.assertNotIn(" = ", text)
        self.assertIn("15.0 n=10", self.row(text, "jemalloc"))

    def test_generic(self):
        groups = [group("chase", 1, reference_groups()[6]["cells"], axis="pages"),
                  group("larson", 2, throughput(2e6, 3e6, 9e6, 2), params_key="live=10")]
        text = self.shown(groups=groups, jobs=job(preset=""))
        self.assertIn("larson T=2 4k, live=10", text)
        self.assertIn("1.50 [1.48–1.52]", self.row(text, "jemalloc"))
        self.assertIn("160 ±2.0%", self.row(text, "thp"))

    def test_generic_leads_with_what_the_workload_is_about(self):
        def fork(value, role, **more):
            return cell("glibc" if role == "reference" else "jemalloc",
                        {"minor_faults": summary(7, unit="faults", direction="lower", ratio=1),
                         "fork_ns": summary(value, unit="ns", direction="lower", ratio=0.5,
                                            standing="best" if role == "subject" else "behind"),
                         **more}, role=role)
        groups = [group("fork-latency", 1, [fork(3000, "reference"), fork(1500, "subject")])]
        workloads = [{"name": "other", "metrics": [{"name": "minor_faults"}]},
                     {"name": "fork-latency", "metrics": [{"name": "fork_ns"}]}]
        text = self.shown(groups=groups, jobs=job(preset=""), workloads=workloads)
        self.assertRegex(self.row(text, "allocator"), r"ratio +fork_ns +minor_faults +trials")
        self.assertRegex(self.row(text, "jemalloc"), r"0\.500 .*1500 .*▲ +7\.00")
        self.assertNotIn("p99", text)
        for broken in (None, [], [{}], [{"name": "fork-latency", "metrics": []}],
                       [{"name": "fork-latency", "metrics": [{"name": "absent"}]}]):
            text = self.shown(groups=groups, jobs=job(preset=""), workloads=broken)
            self.assertRegex(self.row(text, "allocator"), r"ratio +minor_faults +fork_ns +trials")

    def test_fork_needs_no_hundred_calls(self):
        groups = reference_groups()
        groups[-2]["cells"][0]["summaries"]["fork_max_ns"] = summary(9e6, unit="ns",
                                                                     direction="lower")
        text = self.shown(groups=groups)
        fork = text[text.index("fork and copy on write"):]
        self.assertNotIn("p99", fork)
        self.assertIn("9.00 ±2.0% ms", self.row(fork, "glibc"))

    def test_fork_shows_each_set_of_parameters(self):
        def cow(value, key, threads=1, pages="4k"):
            row = {"cow_ns_per_write": summary(value, unit="ns", direction="lower")}
            return group("fork-cow", threads, [cell("glibc", row, role="reference", pages=pages)],
                         params_key=key)
        latency = group("fork-latency", 1, [cell("glibc", {
            "fork_ns": summary(2500, unit="ns", direction="lower")}, role="reference")])
        groups = [latency, cow(1111, ""), cow(2222, "stride_bytes=2097152"),
                  cow(3333, "stride_bytes=2097152", threads=2), cow(4444, "", pages="odd-pages")]
        fork = self.shown(groups=groups).split("fork and copy on write")[1].splitlines()
        rows = [line.rstrip() for line in fork if line.startswith("glibc")]
        self.assertEqual(len(rows), 4)
        self.assertRegex(rows[0], r"4k +2500 .* 1111 ±2.0% ns( +–)*$")
        self.assertRegex(rows[1], r"4k +2222 ±2.0% ns[ –]+stride_bytes=2,097,152$")
        self.assertRegex(rows[2], r"4k +3333 ±2.0% ns[ –]+T=2 stride_bytes=2,097,152$")
        self.assertRegex(rows[3], r"odd-pages +4444 ±2.0% ns[ –]+$")
        self.assertIn("parameters", "".join(fork))
        self.assertNotIn("parameters", self.shown(groups=[latency, cow(1111, "")]))

    def test_few_values_show_their_count(self):
        for count, confidence, words in ((3, 0.75, "n=3"), (5, 0.9375, "n=5"), (1, None, "n=1"),
                                         (6, 0.96875, None)):
            groups = reference_groups() + [group("larson", 1, throughput(2e6, 3e6, 9e6, 1))]
            for g in groups:
                for c in g["cells"]:
                    for row in c["summaries"].values():
                        row.update(count=count, confidence=confidence)
            for preset in ("reference", ""):
                with self.subTest(count=count, preset=preset):
                    text = self.shown(groups=groups, jobs=job(preset=preset))
                    tables = text.split("A/A noise")[0]
                    self.assertIn("Intervals are 95% unless n is shown.", text)
                    self.assertEqual("±" in tables or "–1" in tables, words is None)
                    self.assertEqual("n=" in tables, words is not None)
                    self.assertIn(words or "±", tables)
            if words:
                self.assertRegex(self.row(text.replace("harness: ", ""), "thp"), words)

    def test_odd_results_do_not_break_it(self):
        hostile = cell("evil\x1b[2J\nname", {"pairs_per_s": {"value": "x", "unit": 3}}, ok=None)
        for groups in ([], [{}], [group("table-cold", 1, [])], [group("table-cold", 1, [hostile])],
                       [group("x", 1, [hostile])], [group("chase", 1, [{}], axis="pages")],
                       [group("table-cold", 1, [cell(f"a{i}", {}) for i in range(100)])],
                       [group("table-cold", i, throughput(1, 2, 3, i)) for i in range(30)],
                       [group("x", 1, [cell("a", {f"m{i}": summary(i) for i in range(60)})])]):
            for preset in ("reference", "other"):
                text = self.shown(groups=groups, jobs=job(preset=preset))
                self.assertNotIn("\x1b", text)

    def test_trials_are_read_to_the_end(self):
        def page(level, bits, after=None, count=1, **more):
            items = [dict(TRIAL, isolation=bits, isolation_level=level, **more)] * count
            return Reply({"items": items, "next": after})
        failed = {"outcome": "failed", "turns_done": 0}
        cases = [
            ([page("full", ["uid", "pinned"], "1"), page("full", ["uid", "pinned"])],
             "Isolation reached: full (uid, pinned)\n"),
            ([page("full", ["uid", "pinned"], "1"), page("partial", ["uid"], "2"),
              page("full", ["pinned", "uid"])], "Isolation reached: mixed, lowest partial (uid)\n"),
            ([page("none", [], "1"), page("full", ["uid"])],
             "Isolation reached: mixed, lowest none\n"),
            ([page("full", ["uid"], "1"), page("none", [], **failed)],
             "Isolation reached: full (uid)\n"),
            ([page("full", ["uid"], str(i), 200) for i in range(1, 11)] + [page("none", [])],
             "Isolation reached: full (uid), in the first 2000 trials\n")]
        for pages, line in cases:
            with self.subTest(line=line):
                self.assertIn(line, self.shown(trials=pages))
        self.assertNotIn("Isolation", self.shown(trials=[page("none", [], **failed)]))

    def test_discarded_attempts_are_not_said_to_be_repeated(self):
        for count, words in ((1, "1 attempt was"), (7, "7 attempts were")):
            jobs = job(progress={"steps_discarded": count})
            text = self.shown(groups=reference_groups(), jobs=jobs)
            self.assertIn(f"{words} discarded as noisy: steal 7% of the ring\n", text)
            self.assertNotIn("measured again", text)
        self.assertNotIn("discarded", self.shown())

    def test_cells_measured_alone_are_told(self):
        groups = reference_groups()
        cell = groups[0]["cells"][1]
        self.assertNotIn("measured alone", self.shown(groups=groups))
        for row in cell["summaries"].values():
            row["measured"] = "solo"
        cell["summaries"]["cpu_outside_ratio"] = dict(summary(0.034, unit="ratio"), measured="ring")
        text = self.shown(groups=groups)
        self.assertIn(f"measured alone: {cell['subject']} {groups[0]['workload']} ", text)
        self.assertIn("uses CPU outside its turns (3.4%)\n", text)
        self.assertEqual(text.count("measured alone"), 1)

    def test_a_reference_measured_alone_speaks_for_its_group(self):
        groups = reference_groups()
        for cell in groups[0]["cells"]:
            for row in cell["summaries"].values():
                row["measured"] = "solo"
        first = groups[0]["cells"][0]
        self.assertEqual(first["role"], "reference")
        first["summaries"]["cpu_outside_ratio"] = dict(summary(0.02, unit="ratio"), measured="ring")
        text = self.shown(groups=groups)
        self.assertIn("outside its turns (2.0%), so its whole group is\n", text)
        self.assertEqual(text.count("measured alone"), 1)

    def test_steps_given_up_are_told(self):
        for count, words in ((1, "1 step was"), (7, "7 steps were")):
            jobs = job(progress={"steps_given_up": count})
            self.assertIn(f"{words} given up: ", self.shown(groups=reference_groups(), jobs=jobs))
        self.assertNotIn("given up", self.shown())

    def test_results_without_groups(self):
        for body in ({}, {"job": job()}, {"job": [], "groups": []}, {"groups": []}):
            routes = job_routes()
            routes["GET", f"{JOB}/results"] = Reply(body)
            with FakeServer(routes) as server:
                self.assertEqual(heapmark("show", JOB_ID, server=server.url).returncode, 1)

    def test_json_is_the_document(self):
        text = self.shown("--json")
        self.assertEqual(json.loads(text)["groups"], reference_groups())

    def test_without_notes_says_so(self):
        routes = job_routes()
        routes["GET", "/api/v1/allocators"] = problem(500, "Broken")
        with FakeServer(routes) as server:
            got = heapmark("show", JOB_ID, server=server.url)
            self.assertEqual(got.returncode, 0)
            self.assertIn("without /api/v1/allocators", got.stderr)


class Marks(Shown):
    """Best, and not told apart: as the server says, whatever the values are."""

    def test_marks(self):
        for preset in ("", "reference"):
            standings = {"ref": "behind", "a": "best", "b": "tied", "c": None, "d": "unsure",
                         "e": "surprise", "f": 7}
            cells = [cell(name, {"pairs_per_s": summary(10, ratio=1, standing=standing)},
                          role="reference" if name == "ref" else "subject")
                     for name, standing in standings.items()]
            del cells[3]["summaries"]["pairs_per_s"]["standing"]
            text = self.shown(groups=[group("table-warm", 1, cells)], jobs=job(preset=preset))
            tables = text.split("▲ best")[0]
            for name in standings:
                with self.subTest(name, preset=preset):
                    line = self.row(tables, name + " ")
                    found = "▲" if "▲" in line else "=" if " = " in line or line.endswith(" =") \
                        else ""
                    self.assertEqual(found, {"a": "▲", "b": "="}.get(name, ""))
            self.assertIn("▲ best", text)
            self.assertIn("= not told apart", text)


def churn(remote, threads, value, frag, key=""):
    rows = {"pairs_per_s": summary(value)}
    if frag is not None:
        rows["frag_total"] = summary(frag, unit="ratio", direction="lower")
        rows["heap_peak_bytes"] = summary(frag * 2**30, unit="bytes", direction="lower")
    keys = ([] if remote == 1 else [f"remote_pct={remote}"]) + ([key] if key else [])
    return group("table-churn", threads, [cell("glibc", rows, role="reference")],
                 params={"remote_pct": remote}, params_key=",".join(sorted(keys)))


class ReferenceTable(Shown):
    def table(self, groups, **more):
        text = self.shown(groups=groups, **more)
        return text, self.row(text, "allocator"), self.row(text, "glibc")

    def phase(self, name, threads, value, key=""):
        return group(f"table-{name}", threads,
                     [cell("glibc", {"pairs_per_s": summary(value)}, role="reference")],
                     params_key=key)

    def test_many_cores(self):
        groups = [self.phase("cold", t, t * 1e6) for t in (4, 1, 8, 2)]
        groups += [churn(r, t, t * (r + 1) * 1e6, 0.01 * (r + 1)) for r in (0, 10, 1)
                   for t in (1, 2, 4, 8)]
        groups += [self.phase("warm", t, t * 3e6) for t in (1, 2, 4, 6)]
        text, head, glibc = self.table(groups)
        self.assertEqual(re.findall(r"\S+ T=\d", head),
                         ["cold T=1", "cold T=8", "ρ=1% T=1", "ρ=1% T=8", "warm T=1", "warm T=6"])
        self.assertRegex(text, r"M pairs/s +churn ρ=1% T=8 +churn ρ=1% T=8 +T=1→8 +T=1→8 +T=1→6\n")
        self.assertRegex(glibc, r"1\.00 \[.* 8\.00 \[.* 2\.00 \[.* 16\.0 \[.* 3\.00 \[.* 18\.0 \[")
        self.assertRegex(glibc, r"8\.00 \[7\.69–8\.33\] +8\.00 \[7\.69–8\.33\] +6\.00 "
                                r"\[5\.76–6\.24\]$")
        self.assertIn("\nalso measured: cold T=4,2; churn ρ=0% T=1,2,4,8; churn ρ=10% T=1,2,4,8; "
                      "churn ρ=1% T=2,4; warm T=2,4; heapmark show --json has them\n", text)
        self.assertIn("That of scaling is the widest its two values allow.", text)

    def test_one_core_does_not_scale(self):
        text, head, _ = self.table([self.phase("cold", 1, 1e6), churn(1, 1, 2e6, 0.01)])
        self.assertNotIn("scaling", head + text.split("Intervals")[1])
        self.assertNotIn("also measured", text)
        self.assertEqual(head.count("T=1"), 2)

    def test_memory_is_churn_with_few_remote_frees(self):
        cases = [
            ([churn(0, 2, 1e6, 0.5), churn(1, 1, 1e6, 0.25), churn(1, 2, 1e6, 0.125),
              churn(10, 2, 1e6, 0.75), churn(10, 8, 1e6, 0.9)], "ρ=1% T=2", "12.5 .*128 MiB"),
            ([churn(0, 2, 1e6, 0.5), churn(10, 2, 1e6, 0.75), churn(5, 2, 1e6, 0.25)],
             "ρ=5% T=2", "25.0 .*256 MiB"),
            ([churn(0, 2, 1e6, 0.5)], "ρ=0% T=2", "50.0 .*512 MiB"),
            ([churn(1, 1, 1e6, 0.5, "live=777"), churn(1, 1, 1e6, 0.25)], "ρ=1% T=1",
             "25.0 .*256 MiB"),
            ([churn(1, 2, 1e6, None), churn(10, 2, 1e6, 0.75), churn(1, 1, 1e6, 0.5)],
             "ρ=1% T=2", "– +–")]
        for groups, name, values in cases:
            with self.subTest(name=name, values=values):
                text, head, glibc = self.table(groups)
                self.assertRegex(head, r"fragmentation, % +peak heap")
                self.assertNotIn("RSS", text)
                self.assertRegex(text, f"churn {name} +churn {name}")
                self.assertRegex(glibc, values)
        text, head, _ = self.table([self.phase("cold", 1, 1e6)])
        self.assertNotIn("peak", head)

    def test_parameters_beside_the_defaults_are_in_the_head(self):
        groups = [self.phase("warm", t, t * 1e6, "live=10000,touch=all") for t in (1, 2)]
        _, head, _ = self.table(groups + [churn(1, 1, 1e6, 0.1, "live=1234567")])
        self.assertIn("warm live=10,000 touch=all T=2", head)
        self.assertIn("churn ρ=1% live=1,234,567 T=1", head)

    def test_two_tables_where_one_is_too_wide(self):
        for columns, tables in ((400, 1), (150, 2), (100, 2)):
            text = self.shown(env={"COLUMNS": str(columns)}).split("Huge pages")[0]
            parts = text.split("\nallocator")[1:]
            self.assertEqual(len(parts), tables)
            self.assertLessEqual(max(map(len, text.splitlines())), columns)
            self.assertNotIn("peak heap", "".join(parts[:-1]))
            self.assertRegex(parts[-1], r"fragmentation.* peak heap.* scaling warm")
            self.assertEqual("14.7–15.3" in text, columns > 100)


if __name__ == "__main__":
    unittest.main()
