"""Tokens: who may do what from where; making, expiring, revoking; refusing to start without."""

import datetime
import os
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import JOB, PATIENCE, Server, ServerCase, main  # noqa: E402


def bearer(token):
    return {"Authorization": "Bearer " + token}


class Tokens(ServerCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="heapmark-api-")
        cls.path = os.path.join(cls.folder.name, "s")
        cls.server = Server("--listen", "127.0.0.1:0", "--listen", f"unix:{cls.path}")
        cls.count = 0

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.folder.cleanup()

    def owner(self, method, path, body=None, **headers):
        """Over the Unix socket, as the server's own user: may administer."""
        return self.server.request(method, path, body, dict(headers, Host="localhost"), self.path)

    def make(self, *scopes, **more):
        type(self).count += 1
        name = f"t{self.count}"
        reply = self.owner("POST", "/api/v1/tokens", dict(name=name, scopes=list(scopes), **more))
        self.assertEqual(reply.status, 201, reply.body)
        self.assertEqual(reply.json["name"], name)
        self.assertRegex(reply.json["token"], r"^hmk_[a-z2-7]{38}$")
        return name, reply.json["token"]

    def test_loopback_may_not_administer(self):
        for method, path in (("GET", "/api/v1/tokens"), ("POST", "/api/v1/tokens"),
                             ("POST", "/api/v1/tokens/x/revoke")):
            reply = self.server.request(method, path)
            self.assertProblem(reply, 401, "unauthorized")
            self.assertIn("Bearer", reply.headers["WWW-Authenticate"])

    def test_scopes(self):
        _, read = self.make("read")
        _, submit = self.make("submit")
        _, admin = self.make("admin")
        _, both = self.make("read", "submit")
        get, post = ("GET", "/api/v1/jobs", None), ("POST", "/api/v1/jobs?dry_run=1", JOB)
        tokens = ("GET", "/api/v1/tokens", None)
        for token, what, status in ((read, get, 200), (read, post, 403), (read, tokens, 403),
                                    (submit, get, 403), (submit, post, 200),
                                    (admin, get, 403), (admin, tokens, 200),
                                    (both, get, 200), (both, post, 200), (both, tokens, 403)):
            reply = self.server.request(*what, headers=bearer(token))
            self.assertEqual(reply.status, status, reply.body)
        self.assertProblem(self.server.get("/api/v1/tokens", **bearer(read)), 403, "forbidden")

    def test_no_tokens(self):
        _, good = self.make("read")
        typo = good[:10] + ("a" if good[10] != "a" else "b") + good[11:]
        # The right form and checksum, but nobody's.
        import base64
        import hashlib
        body = "hmk_" + base64.b32encode(b"x" * 20).decode().lower()
        check = base64.b32encode(hashlib.sha256(body.encode()).digest()).decode().lower()[:6]
        cases = ["Bearer", "Bearer ", "Bearer x", "Basic eDp5", good, "Bearer " + typo,
                 "Bearer " + good + "x", "Bearer " + good.upper(), "Bearer " + good[:-1],
                 "Bearer " + body + check, "Bearer " + good + "," + good]
        for value in cases:
            with self.subTest(value[:20]):
                reply = self.server.get("/api/v1/jobs", Authorization=value)
                self.assertProblem(reply, 401, "unauthorized")
                self.assertNotIn(good, reply.body.decode())
        self.assertEqual(self.server.get("/api/v1/jobs", **bearer(good)).status, 200)
        # Public addresses never ask, and a token in the URL is no token.
        self.assertEqual(self.server.get("/version", Authorization="Bearer x").status, 200)
        self.assertEqual(self.server.get(f"/api/v1/tokens?token={good}").status, 401)

    def test_revocation_is_immediate_and_idempotent(self):
        name, token = self.make("read")
        for _ in range(3):
            self.assertEqual(self.server.get("/api/v1/jobs", **bearer(token)).status, 200)
        first = self.owner("POST", f"/api/v1/tokens/{name}/revoke")
        self.assertEqual(first.status, 200)
        self.assertIsNotNone(first.json["revoked"])
        self.assertProblem(self.server.get("/api/v1/jobs", **bearer(token)), 401, "unauthorized")
        again = self.owner("POST", f"/api/v1/tokens/{name}/revoke")
        self.assertEqual(again.json, first.json)
        self.assertProblem(self.owner("POST", "/api/v1/tokens/none/revoke"), 404, "not-found")

    def test_expiry(self):
        soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1.5)
        text = soon.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        _, token = self.make("read", expires=text)
        self.assertEqual(self.server.get("/api/v1/jobs", **bearer(token)).status, 200)
        end = time.monotonic() + PATIENCE
        while self.server.get("/api/v1/jobs", **bearer(token)).status == 200:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.05)
        self.assertGreaterEqual(datetime.datetime.now(datetime.timezone.utc), soon)

    def test_bad_requests(self):
        for body, status, pointer in (
                ({}, 422, "/name"), ({"name": "x"}, 422, "/scopes"),
                ({"name": "X", "scopes": ["read"]}, 422, "/name"),
                ({"name": "local", "scopes": ["read"]}, 422, "/name"),
                ({"name": "x" * 64, "scopes": ["read"]}, 422, "/name"),
                ({"name": "x", "scopes": []}, 422, "/scopes"),
                ({"name": "x", "scopes": "read"}, 422, "/scopes"),
                ({"name": "x", "scopes": ["all"]}, 422, "/scopes/0"),
                ({"name": "x", "scopes": [1]}, 422, "/scopes/0"),
                ({"name": "x", "scopes": ["read"], "expires": "soon"}, 422, "/expires"),
                ({"name": "x", "scopes": ["read"], "expires": "2020-01-01"}, 422, "/expires"),
                ({"name": "x", "scopes": ["read"], "more": 1}, 422, "/more"),
                ([], 422, "")):
            with self.subTest(body):
                reply = self.owner("POST", "/api/v1/tokens", body)
                self.assertEqual(reply.status, status, reply.body)
                self.assertEqual(reply.json.get("pointer", ""), pointer)
        name, _ = self.make("read")
        reply = self.owner("POST", "/api/v1/tokens", {"name": name, "scopes": ["read"]})
        self.assertProblem(reply, 409, "conflict", "/name")

    def test_list_and_secrets(self):
        name, token = self.make("read", "admin")
        self.server.get("/api/v1/jobs", **bearer(token))
        reply = self.owner("GET", "/api/v1/tokens")
        self.assertNotIn("hmk_", reply.body.decode())
        mine = [t for t in reply.json["items"] if t["name"] == name][0]
        self.assertEqual(mine["scopes"], ["read", "admin"])
        self.assertIsNotNone(mine["last_used"])
        used = mine["last_used"]
        for _ in range(5):  # within the minute it is not written again
            self.server.get("/api/v1/jobs", **bearer(token))
        again = self.owner("GET", "/api/v1/tokens").json["items"]
        self.assertEqual([t for t in again if t["name"] == name][0]["last_used"], used)
        for root, _, files in os.walk(self.server.home):
            for file in files:
                with open(os.path.join(root, file), "rb") as f:
                    self.assertNotIn(token.encode(), f.read(), file)

    def test_kernel_command_line_is_not_for_everybody(self):
        """For whoever looks while nobody has a token; then for tokens and the owner only."""
        def told(reply):
            self.assertRegex(reply.json["facts"]["cmdline_sha256"], "^[0-9a-f]{64}$")
            return reply.json["facts"]["cmdline"] is not None

        path = "/api/v1/host"
        with tempfile.TemporaryDirectory(prefix="heapmark-api-") as folder:
            fresh = Server("--listen", "127.0.0.1:0", "--listen", f"unix:{folder}/s")
            try:
                owner = lambda method, path, body=None: fresh.request(
                    method, path, body, {"Host": "localhost"}, f"{folder}/s")
                self.assertTrue(told(fresh.get(path)))
                made = owner("POST", "/api/v1/tokens", {"name": "t", "scopes": ["read"]}).json
                self.assertFalse(told(fresh.get(path)))
                self.assertTrue(told(fresh.get(path, **bearer(made["token"]))))
                self.assertTrue(told(owner("GET", path)))
                owner("POST", "/api/v1/tokens/t/revoke")
                self.assertTrue(told(fresh.get(path)))
            finally:
                fresh.stop()
                fresh.remove()

    def test_principal_is_recorded(self):
        name, token = self.make("read", "submit")
        reply = self.server.request("POST", "/api/v1/jobs", JOB, bearer(token))
        self.assertEqual(reply.json["job"]["principal"], name)
        key = {"Idempotency-Key": "shared"}
        mine = self.server.request("POST", "/api/v1/jobs", JOB, dict(bearer(token), **key))
        other = self.server.post("/api/v1/jobs", JOB, key)
        self.assertNotEqual(mine.json["job"]["id"], other.json["job"]["id"])


class Exposed(unittest.TestCase):
    def test_refuses_to_start_without_tokens(self):
        server = Server("--listen", "0.0.0.0:0", expect_failure=True)
        self.assertEqual(server.stop(), 1)
        self.assertIn("token", server.stderr())
        self.assertIn("forbidden", server.stderr())
        server.remove()

    def test_starts_with_one_and_asks_for_it(self):
        with tempfile.TemporaryDirectory(prefix="heapmark-api-") as folder:
            path = os.path.join(folder, "s")
            first = Server("--listen", f"unix:{path}")
            made = first.request("POST", "/api/v1/tokens", {"name": "t", "scopes": ["read"]},
                                 {"Host": "localhost"}, path).json
            self.assertEqual(first.stop(), 0)
            second = Server("--listen", "0.0.0.0:0", directory=first.directory)
            host = {"Host": "0.0.0.0"}
            self.assertEqual(second.request("GET", "/version", headers=host).status, 200)
            self.assertEqual(second.request("GET", "/api/v1/jobs", headers=host).status, 401)
            self.assertEqual(second.request("GET", "/metrics", headers=host).status, 401)
            reply = second.request("GET", "/api/v1/jobs",
                                   headers=dict(host, **bearer(made["token"])))
            self.assertEqual(reply.status, 200)
            # Loopback names are no names of a server others can reach.
            self.assertEqual(second.get("/version", Host="localhost").status, 421)
            self.assertEqual(second.stop(), 0)
            second.remove()
            first.remove()

    def test_public_reading_never_tells_the_kernel_command_line(self):
        """Not to who comes from elsewhere without a token, after the last one is revoked either."""
        with tempfile.TemporaryDirectory(prefix="heapmark-api-") as folder:
            socket = f"unix:{folder}/s"
            first = Server("--listen", socket)
            owner = lambda server, method, path, body=None: server.request(
                method, path, body, {"Host": "localhost"}, f"{folder}/s")
            made = owner(first, "POST", "/api/v1/tokens", {"name": "t", "scopes": ["read"]}).json
            self.assertEqual(first.stop(), 0)
            second = Server("--listen", "0.0.0.0:0", "--listen", socket, "--public-read",
                            directory=first.directory)
            try:
                def told(**headers):
                    reply = second.get("/api/v1/host", Host="0.0.0.0", **headers)
                    self.assertEqual(reply.status, 200, reply.body)
                    return reply.json["facts"]["cmdline"] is not None

                self.assertFalse(told())
                self.assertTrue(told(**bearer(made["token"])))
                owner(second, "POST", "/api/v1/tokens/t/revoke")
                self.assertFalse(told())
                self.assertTrue(owner(second, "GET", "/api/v1/host").json["facts"]["cmdline"])
            finally:
                second.stop()
                second.remove()
                first.remove()


if __name__ == "__main__":
    main()
