"""The OpenAPI document against the committed one, and live replies against the document: of
api_server, or of the daemon HEAPMARK_API_URL names."""

import json
import os
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import BUILD, JOB, SOURCE, Remote, ServerCase, main  # noqa: E402


class Validator:
    """The part of JSON Schema that the document uses; an unknown keyword is an error. An object
    may only have the members its schema names, unless it says otherwise: nothing undocumented."""

    KNOWN = {"type", "properties", "required", "additionalProperties", "items", "enum", "const",
             "anyOf", "$ref", "pattern", "format", "minimum", "maximum", "minItems", "maxItems",
             "maxLength", "description", "default"}
    TYPES = {"string": str, "object": dict, "array": list, "boolean": bool, "null": type(None)}

    def __init__(self, document):
        self.document = document

    def is_type(self, value, name):
        if name == "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        if name == "number":
            return isinstance(value, (int, float)) and not isinstance(value, bool)
        return isinstance(value, self.TYPES[name])

    def check(self, value, schema, at="$"):
        unknown = set(schema) - self.KNOWN
        if unknown:
            raise AssertionError(f"{at}: keywords {unknown}")
        if "$ref" in schema:
            target = self.document
            for part in schema["$ref"][2:].split("/"):
                target = target[part]
            return self.check(value, target, at)
        if "anyOf" in schema:
            errors = []
            for option in schema["anyOf"]:
                try:
                    return self.check(value, option, at)
                except AssertionError as e:
                    errors.append(str(e))
            raise AssertionError("; ".join(errors))
        if "type" in schema:
            types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
            if not any(self.is_type(value, t) for t in types):
                raise AssertionError(f"{at}: {value!r} is not {types}")
        for word, bad in (("enum", lambda s: value not in s), ("const", lambda s: value != s)):
            if word in schema and bad(schema[word]):
                raise AssertionError(f"{at}: {value!r} is not {schema[word]}")
        if isinstance(value, dict):
            self.check_object(value, schema, at)
        if isinstance(value, list):
            if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 10 ** 9):
                raise AssertionError(f"{at}: {len(value)} items")
            for i, item in enumerate(value):
                self.check(item, schema.get("items", {}), f"{at}[{i}]")
        if isinstance(value, str):
            self.check_string(value, schema, at)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if not schema.get("minimum", value) <= value <= schema.get("maximum", value):
                raise AssertionError(f"{at}: {value} is out of bounds")

    def check_object(self, value, schema, at):
        properties = schema.get("properties", {})
        for name in schema.get("required", []):
            if name not in value:
                raise AssertionError(f"{at}: {name} is missing")
        for name, member in value.items():
            more = schema.get("additionalProperties", False)
            if name in properties:
                self.check(member, properties[name], f"{at}.{name}")
            elif more is False:
                raise AssertionError(f"{at}: {name} is not documented")
            elif more is not True:
                self.check(member, more, f"{at}.{name}")

    def check_string(self, value, schema, at):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            raise AssertionError(f"{at}: {value!r} does not match {schema['pattern']}")
        if schema.get("format") == "date-time" and not re.fullmatch(
                r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", value):
            raise AssertionError(f"{at}: {value!r} is no time")
        if schema.get("format") == "uuid" and not re.fullmatch(r"[0-9a-f-]{36}", value):
            raise AssertionError(f"{at}: {value!r} is no UUID")


class Document(unittest.TestCase):
    def test_committed_file_is_current(self):
        now = subprocess.run([os.path.join(BUILD, "tests/openapi_text")], capture_output=True,
                             text=True, check=True).stdout
        with open(os.path.join(SOURCE, "schema/openapi.json")) as f:
            self.assertEqual(f.read(), now, "run build/PRESET/tests/openapi_text > "
                                            "schema/openapi.json")

    def test_the_validator_can_fail(self):
        v = Validator({"components": {"s": {"type": "string"}}})
        for value, schema in ((1, {"type": "string"}), (True, {"type": "integer"}),
                              ({}, {"type": "object", "required": ["a"], "properties": {}}),
                              ({"b": 1}, {"type": "object", "properties": {}}),
                              ("x", {"enum": ["y"]}), (3, {"maximum": 2, "type": "integer"}),
                              (["x"], {"type": "array", "items": {"type": "null"}}),
                              ("x", {"pattern": "^y"}), (1, {"$ref": "#/components/s"}),
                              (1, {"anyOf": [{"type": "null"}, {"type": "string"}]}),
                              ("now", {"type": "string", "format": "date-time"})):
            with self.assertRaises(AssertionError):
                v.check(value, schema)


class Contract(ServerCase):
    OPTIONS = ("--crash", "crashy")

    @classmethod
    def setUpClass(cls):
        url = os.environ.get("HEAPMARK_API_URL")
        if url:
            cls.server = Remote(url)
        else:
            super().setUpClass()
        cls.document = cls.server.get("/api/v1/openapi.json").json
        cls.validator = Validator(cls.document)
        job = dict(JOB, allocators=["glibc", "twin", {"name": "twin", "options": ["tidy"]},
                                    "crashy"],
                   name="contract", labels={"project": "p", "commit": "c", "sequence": 3,
                                            "time": "2026-01-01T00:00:00Z"})
        if url:  # a real host: what is there for certain
            job["allocators"] = ["glibc"]
        cls.uuid = cls.server.submit(job)
        cls.server.finish(cls.uuid)
        series = cls.server.get("/api/v1/series?limit=1").json["items"]
        cls.values = {"id": {"jobs": cls.uuid, "series": str(series[0]["id"])},
                      "name": {"workloads": "chase", "presets": "reference",
                               "allocators": "glibc", "problems": "not-found"},
                      "page": {"": "app.js"}}

    def fill(self, path):
        def one(match):
            before = path[:match.start()].strip("/").split("/")[-1]
            return self.values[match.group(1)][before]
        return re.sub(r"\{(\w+)\}", one, path)

    def conforms(self, reply, operation):
        described = operation["responses"].get(str(reply.status))
        self.assertIsNotNone(described, f"status {reply.status} is not described: {reply.body!r}")
        kind = reply.headers["Content-Type"].split(";")[0]
        content = described["content"].get(kind) or described["content"].get("*/*")
        self.assertIsNotNone(content, f"{kind} is not described")
        if kind == "application/json":
            self.validator.check(reply.json, content["schema"])

    def test_every_get(self):
        seen = 0
        for path, methods in self.document["paths"].items():
            if "get" not in methods or "/tokens" in path:
                continue
            with self.subTest(path):
                self.conforms(self.server.get(self.fill(path)), methods["get"])
                seen += 1
        self.assertGreater(seen, 20)
        with_slices = self.server.get(f"/api/v1/jobs/{self.uuid}/trials?slices=1")
        self.conforms(with_slices, self.document["paths"]["/api/v1/jobs/{id}/trials"]["get"])

    def test_posts(self):
        paths = self.document["paths"]
        job = dict(JOB, allocators=["glibc"])
        self.conforms(self.server.post("/api/v1/jobs", job), paths["/api/v1/jobs"]["post"])
        self.conforms(self.server.post("/api/v1/jobs?dry_run=1", job),
                      paths["/api/v1/jobs"]["post"])
        self.conforms(self.server.post(f"/api/v1/jobs/{self.uuid}/cancel"),
                      paths["/api/v1/jobs/{id}/cancel"]["post"])

    def test_problems(self):
        schema = self.document["components"]["schemas"]["Problem"]
        for reply in (self.server.get("/nowhere"), self.server.post("/api/v1/jobs", {}),
                      self.server.get("/version", Host="evil"), self.server.post("/version")):
            self.assertEqual(reply.headers["Content-Type"], "application/problem+json")
            self.validator.check(reply.json, schema)

    def test_presets_are_valid_jobs(self):
        schema = self.document["components"]["schemas"]["JobRequest"]
        self.validator.check(JOB, schema)
        with self.assertRaises(AssertionError):
            self.validator.check(dict(JOB, nonsense=1), schema)

    def test_presets_can_be_posted_as_returned(self):
        """But for the allocators, which this server's catalogue lacks."""
        profiles = {}
        for preset in self.server.get("/api/v1/presets").json["items"]:
            job = dict(preset["job"], allocators=["glibc"], reference="glibc")
            reply = self.server.post("/api/v1/jobs?dry_run=1", job)
            self.assertEqual(reply.status, 200, (preset["name"], reply.body))
            profiles[preset["name"]] = set(preset["profiles"])
            for changes in preset["profiles"].values():
                reply = self.server.post("/api/v1/jobs?dry_run=1", dict(job, **changes))
                self.assertEqual(reply.status, 200, (preset["name"], reply.body))
        self.assertEqual(profiles["reference"], {"demo"})

    def test_host_says_where_threads_go(self):
        host = self.server.get("/api/v1/host").json
        usable = os.sched_getaffinity(0)
        rows = {(p["policy"], p["threads"]): p for p in host["placements"]}
        most = max(threads for _, threads in rows)
        self.assertNotIn("explicit", {policy for policy, _ in rows})
        for (policy, threads), row in rows.items():
            self.assertEqual(len(row["cpus"]), 0 if row["reason"] else threads, policy)
            self.assertEqual(len(set(row["cpus"])), len(row["cpus"]))
            self.assertLessEqual(set(row["cpus"]), usable)
            self.assertNotIn(row["housekeeping_cpu"], row["cpus"])
        self.assertEqual(host["housekeeping_cpu"], rows["compact", most]["housekeeping_cpu"])
        self.assertFalse(rows["compact", most]["reason"])

    def test_every_route_is_documented(self):
        """Every pattern in the sources is a path of the document, and the other way round."""
        found = set()
        folder = os.path.join(SOURCE, "daemon/api")
        for name in os.listdir(folder):
            if name.endswith(".c"):
                with open(os.path.join(folder, name)) as f:
                    text = f.read()
                for prefix, path in re.findall(r'\.pattern = (API_PREFIX )?"([^"]*)"', text):
                    found.add(("/api/v1" if prefix else "") + path)
        self.assertEqual(found, set(self.document["paths"]))

    def test_every_query_parameter_is_known(self):
        for path, methods in self.document["paths"].items():
            for parameter in methods.get("get", {}).get("parameters", []):
                if parameter["in"] != "query" or parameter["name"] == "wait":
                    continue
                schema = parameter["schema"]
                value = (schema.get("enum") or [schema.get("minimum", "1")])[0]
                if schema.get("format") == "date-time":
                    value = "2026-01-01T00:00:00Z"
                if parameter["name"] == "metric":
                    value = "pairs_per_s"
                with self.subTest(f"{path} {parameter['name']}"):
                    reply = self.server.get(f"{self.fill(path)}?{parameter['name']}={value}")
                    self.assertEqual(reply.status, 200, reply.body)

    def test_figures(self):
        plain = self.server.get("/metrics")
        self.assertEqual(plain.headers["Content-Type"],
                         "text/plain; version=0.0.4; charset=utf-8")
        opened = self.server.get("/metrics", Accept="application/openmetrics-text; version=1.0.0")
        self.assertTrue(opened.headers["Content-Type"].startswith("application/openmetrics-text"))
        self.assertTrue(opened.body.endswith(b"# EOF\n"))
        self.assertNotIn(b"# EOF", plain.body)
        for text, counters in ((plain.body.decode(), "_total"), (opened.body.decode(), "")):
            families = {}
            for line in text.splitlines():
                if line.startswith("# TYPE"):
                    _, _, name, kind = line.split(" ")
                    self.assertNotIn(name, families)
                    families[name] = kind
                    if kind == "counter":
                        self.assertEqual(name.endswith("_total"), counters == "_total", name)
                elif not line.startswith("#"):
                    self.assertRegex(line, r'^heapmark_\w+(\{\w+="[^"]*"\})? [0-9.e+-]+$')
                    name = re.match(r"\w+", line).group(0)
                    bare = re.sub(r"_(total|info)$", "", name)
                    self.assertTrue(name in families or bare in families, line)
            self.assertNotIn(self.uuid, text)


if __name__ == "__main__":
    main()
