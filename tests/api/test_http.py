"""What HTTP itself refuses: smuggling, drips, floods, wrong hosts, types, methods and sizes."""

import json
import os
import socket
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import (PATIENCE, Server, ServerCase, main, read_all, read_head,  # noqa: E402
                     status_of)

GET = b"GET /version HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
END = b"Connection: close\r\n\r\n"


class Heads(ServerCase):
    def check(self, cases):
        for name, data, allowed in cases:
            with self.subTest(name):
                answer = self.server.raw(data)
                # No answer at all (closed) is a refusal too; 200 never is.
                self.assertIn(status_of(answer), allowed, answer[:300])
        self.assertEqual(self.server.get("/healthz").status, 200)

    def test_good_heads(self):
        self.check([
            ("plain", GET + END, (200,)),
            ("spaces around a value", b"GET /version HTTP/1.1\r\nHost: \t localhost\r\n" + END,
             (200,)),
            ("no space after the colon", b"GET /version HTTP/1.1\r\nHost:localhost\r\n" + END,
             (200,)),
            ("empty value", GET + b"X-Empty:\r\n" + END, (200,)),
            ("port", b"GET /version HTTP/1.1\r\nHost: localhost:8080\r\n" + END, (200,)),
            ("IPv6", b"GET /version HTTP/1.1\r\nHost: [::1]:80\r\n" + END, (200,)),
            ("upper case", b"GET /version HTTP/1.1\r\nHOST: LocalHost\r\n" + END, (200,)),
            ("many headers", GET + b"".join(b"X-%d: y\r\n" % i for i in range(50)) + END, (200,)),
            ("a long header", GET + b"X-Long: " + b"y" * 9000 + b"\r\n" + END, (200,)),
        ])

    def test_a_head_in_pieces(self):
        """The check of line ends must not depend on how the bytes arrive."""
        data = GET + b"X-Long: " + b"y" * 6000 + b"\r\nAccept: */*\r\n" + END
        with self.server.connect() as s:
            for at in range(0, len(data), 487):
                s.sendall(data[at:at + 487])
                time.sleep(0.002)
            self.assertEqual(status_of(read_all(s)), 200)

    def test_keep_alive_and_pipelining(self):
        with self.server.connect() as s:
            s.sendall((GET + b"\r\n") * 5 + GET + END)
            self.assertEqual(read_all(s).count(b"HTTP/1.1 200"), 6)

    def test_smuggling(self):
        no = (400, 411, None)
        self.check([
            ("two Hosts", GET + b"Host: localhost\r\n" + END, no),
            ("two different Hosts", GET + b"Host: evil.example\r\n" + END, no),
            ("no Host", b"GET /version HTTP/1.1\r\n" + END, no),
            ("HTTP/1.0 without Host", b"GET /version HTTP/1.0\r\n\r\n", no),
            ("duplicate Content-Length",
             POST + b"Content-Length: 2\r\nContent-Length: 2\r\n" + END + b"{}", no),
            ("two Content-Lengths",
             POST + b"Content-Length: 2\r\nContent-Length: 3\r\n" + END + b"{} ", no),
            ("Content-Length list", POST + b"Content-Length: 2, 2\r\n" + END + b"{}", no),
            ("negative Content-Length", POST + b"Content-Length: -1\r\n" + END, no + (413,)),
            ("signed Content-Length", POST + b"Content-Length: +2\r\n" + END + b"{}", no),
            ("hex Content-Length", POST + b"Content-Length: 0x2\r\n" + END + b"{}", no),
            ("huge Content-Length", POST + b"Content-Length: 99999999999999999999999\r\n" + END,
             no + (413,)),
            ("CL and TE",
             POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n" + END + b"0\r\n\r\n",
             no),
            ("TE alone", POST + b"Transfer-Encoding: chunked\r\n" + END + b"2\r\n{}\r\n0\r\n\r\n",
             no),
            ("TE twice", POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"
             + END + b"0\r\n\r\n", no),
            ("bare LF in a header", b"GET /version HTTP/1.1\r\nHost: localhost\nX: y\r\n" + END,
             no),
            ("bare LF after the request line",
             b"GET /version HTTP/1.1\nHost: localhost\r\n" + END, no),
            ("bare LF before the blank line",
             GET + b"Connection: close\n\r\n", no),
            ("bare LF as the blank line", GET + b"Connection: close\r\n\n", no),
            ("only LFs", b"GET /version HTTP/1.1\nHost: localhost\n\n", no),
            ("folded header", GET + b"X-Fold: a\r\n b\r\n" + END, no),
            ("folded header with tab", GET + b"X-Fold: a\r\n\tb\r\n" + END, no),
            ("folded first header", b"GET /version HTTP/1.1\r\n Host: localhost\r\n" + END, no),
            ("space before the colon", b"GET /version HTTP/1.1\r\nHost : localhost\r\n" + END, no),
            ("NUL in a value", GET + b"X: a\0b\r\n" + END, no),
            ("NUL in a name", GET + b"X\0Y: a\r\n" + END, no),
            ("control character in a value", GET + b"X: a\x01b\r\n" + END, no),
            ("bare CR in a value", GET + b"X: a\rb\r\n" + END, no),
            ("no colon", GET + b"nonsense\r\n" + END, no),
            ("empty name", GET + b": x\r\n" + END, no),
            ("two Authorizations", GET + b"Authorization: a\r\nAuthorization: b\r\n" + END, no),
        ])

    def test_targets(self):
        cases = []
        for target in (b"/%00", b"/version%00", b"/version?x=%00", b"/..", b"/../etc/passwd",
                       b"/%2e%2e/version", b"/a/%2E%2E/b", b"/./version", b"//version",
                       b"/version/", b"/api/v1//jobs", b"/a%2fb", b"/a%5cb", b"/%", b"/%4",
                       b"/%zz", b"/%c0%ae", b"/%ff", b"/%0d%0aX:%20y", b"/a\"b", b"/a<b>",
                       b"/a\\b", b"/\xc3\xa4", b"*", b"http://localhost/version", b"version",
                       b"/api/v1/jobs?limit=1&limit=2", b"/api/v1/jobs?=1", b"/api/v1/jobs?a%"):
            line = b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\n" + END
            cases.append((target, line, (400, None)))
        long = b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: localhost\r\n" + END
        cases.append(("long target", long, (414,)))
        huge = b"GET /" + b"a" * 40000 + b" HTTP/1.1\r\nHost: localhost\r\n" + END
        cases.append(("huge target", huge, (414, 431, None)))
        self.check(cases)

    def test_heads_too_large(self):
        many = b"".join(b"X-%d: y\r\n" % i for i in range(100))
        self.check([
            ("too many headers", GET + many + END, (431,)),
            ("too long a header", GET + b"X: " + b"y" * 17000 + b"\r\n" + END, (431, 413)),
            ("far too long a header", GET + b"X: " + b"y" * 200000 + b"\r\n" + END,
             (431, 413, None)),
        ])

    def test_pages_of_the_library(self):
        """What libmicrohttpd refuses by itself, before any code of ours runs, comes without our
        security headers, and there is no way to add them. So these pages must be constant: nothing
        of the request comes back in them, and the connection ends."""
        marked = b"<script>marker</script>"
        for start, status in (
                (GET + b"X: " + marked * 2000 + b"\r\n", 431),
                (b"GET /" + marked * 2000 + b" HTTP/1.1\r\nHost: localhost\r\n", 414),
                (b"GET /?" + marked + b" HTTP/9.9\r\nHost: localhost\r\n", 505),
                (b"POST /?" + marked + b" HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
                 + marked + b"\r\n", 400),
                (b"GET /?" + marked + b" HTTP/1.1\r\nX: " + marked + b"\r\n", 400)):
            with self.subTest(start[:30]):
                reply = self.server.raw(start + b"\r\n")
                self.assertTrue(reply.startswith(b"HTTP/1.1 %d " % status), reply[:100])
                self.assertNotIn(b"marker", reply)
                self.assertIn(b"\r\nConnection: close\r\n", reply)

    def test_garbage(self):
        for data in (b"\0" * 64 + b"\r\n\r\n", b"\r\n" * 3 + b"X\r\n\r\n",
                     b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00" + b"\r\n\r\n",
                     b"get /version HTTP/1.1\r\nHost: localhost\r\n" + END,
                     b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
            with self.subTest(data[:20]):
                self.assertNotEqual(status_of(self.server.raw(data)), 200)
        self.assertEqual(self.server.get("/healthz").status, 200)


class Refusals(ServerCase):
    OPTIONS = ("--host", "bench.example")

    def test_hosts(self):
        for host, status in (("localhost", 200), ("127.0.0.1:1", 200), ("bench.example", 200),
                             ("BENCH.example:443", 200), ("evil.example", 421),
                             ("localhost.evil.example", 421), ("localhost:99999", 421),
                             ("localhost:x", 421), ("localhost:", 421), ("[::1", 421),
                             ("127.0.0.1.nip.io", 421), ("", 421), ("bench.example.", 421)):
            with self.subTest(host):
                reply = self.server.get("/version", Host=host)
                self.assertEqual(reply.status, status)
        self.assertProblem(self.server.get("/version", Host="evil.example"), 421,
                           "misdirected-request", contains=["evil.example"])

    def test_methods(self):
        cases = {"/version": "GET, HEAD", "/api/v1/jobs": "GET, HEAD, POST",
                 "/api/v1/jobs/x/cancel": "POST", "/api/v1/jobs/x/events": "GET",
                 "/": "GET, HEAD"}
        for path, allowed in cases.items():
            for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW", "POST", "GET"):
                if method in allowed.split(", "):
                    continue
                with self.subTest(f"{method} {path}"):
                    reply = self.server.request(method, path)
                    self.assertProblem(reply, 405, "method-not-allowed")
                    self.assertEqual(reply.headers["Allow"], allowed)
        self.assertEqual(self.server.request("HEAD", "/api/v1/jobs/x/events").status, 405)

    def test_not_found(self):
        for path in ("/nowhere", "/api/v1", "/api/v1/nothing", "/api/v2/jobs", "/API/v1/jobs",
                     "/api/v1/jobs/none", "/api/v1/jobs/00000000-0000-4000-8000-000000000000",
                     "/api/v1/jobs/none/cells", "/api/v1/workloads/none", "/api/v1/presets/none",
                     "/api/v1/allocators/none", "/api/v1/series/x/points", "/problems/none",
                     "/api/v1/jobs/none/events", "/index.html.bak", "/web/../x.html"[:4]):
            with self.subTest(path):
                self.assertProblem(self.server.get(path), 404, "not-found")

    def test_content_type(self):
        for kind in ("text/plain", "application/x-www-form-urlencoded", "application/jsonp",
                     "multipart/form-data", "application/json; charset=latin1", ""):
            with self.subTest(kind):
                reply = self.server.post("/api/v1/jobs", "{}", {"Content-Type": kind})
                self.assertProblem(reply, 415, "unsupported-media-type")
        for kind in ("application/json", "application/json; charset=utf-8", "APPLICATION/JSON"):
            with self.subTest(kind):
                reply = self.server.post("/api/v1/jobs", "{}", {"Content-Type": kind})
                self.assertEqual(reply.status, 422)

    def test_body_where_none_is_taken(self):
        reply = self.server.request("GET", "/api/v1/jobs", "{}",
                                    {"Content-Type": "application/json"})
        self.assertProblem(reply, 400, "unexpected-body")
        reply = self.server.post("/api/v1/jobs/x/cancel", {})
        self.assertProblem(reply, 400, "unexpected-body")

    def test_body_size(self):
        head = {"Content-Type": "application/json"}
        fits = json.dumps({"name": "x"}).ljust(65536)
        self.assertEqual(self.server.post("/api/v1/jobs", fits, head).status, 422)
        self.assertProblem(self.server.post("/api/v1/jobs", fits + " ", head), 413,
                           "content-too-large", contains=["65537", "65536"])
        # Refused from its head alone: the megabytes need not arrive.
        with self.server.connect() as s:
            s.sendall(b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\n"
                      b"Content-Type: application/json\r\nContent-Length: 1000000000\r\n\r\n")
            self.assertEqual(status_of(read_head(s)), 413)

    def test_expect_continue(self):
        with self.server.connect() as s:
            s.sendall(b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
                      b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n")
            self.assertEqual(status_of(read_head(s)), 100)
            s.sendall(b"{}")
            self.assertEqual(status_of(read_head(s)), 422)

    def test_cross_origin(self):
        for origin, status in (("http://evil.example", 403), ("null", 403),
                               ("http://localhost.evil", 403)):
            with self.subTest(origin):
                reply = self.server.post("/api/v1/jobs", {}, {"Origin": origin})
                self.assertProblem(reply, status, "cross-origin")
        same = f"http://127.0.0.1:{self.server.port}"
        self.assertEqual(self.server.post("/api/v1/jobs", {}, {"Origin": same}).status, 422)
        reply = self.server.get("/version", Origin="http://evil.example")
        self.assertEqual(reply.status, 200)
        self.assertIsNone(reply.headers["Access-Control-Allow-Origin"])

    def test_query(self):
        cases = [("?nonsense=1", 422, "unknown-name", "?nonsense"),
                 ("?limit=0", 422, "out-of-range", "?limit"),
                 ("?limit=201", 422, "out-of-range", "?limit"),
                 ("?limit=99999999999999999999", 422, "out-of-range", "?limit"),
                 ("?limit=x", 400, "malformed", "?limit"),
                 ("?limit=-1", 400, "malformed", "?limit"),
                 ("?cursor=x", 400, "malformed", "?cursor"),
                 ("?state=none", 422, "invalid", "?state")]
        for query, status, slug, pointer in cases:
            with self.subTest(query):
                self.assertProblem(self.server.get("/api/v1/jobs" + query), status, slug, pointer)
        problem = self.assertProblem(self.server.get("/api/v1/jobs?limit=201"), 422,
                                     "out-of-range")
        for text in ("limit", "201", "1", "200"):
            self.assertIn(text, problem["detail"])
        for query in ("?since=yesterday", "?since=2026-13-01", "?since=2026-01-01T00:00:00"):
            with self.subTest(query):
                self.assertProblem(self.server.get("/api/v1/results" + query), 400, "malformed")
        self.assertProblem(self.server.get("/api/v1/results?metric=none"), 422, "unknown-name")

    def test_security_headers(self):
        for path in ("/", "/version", "/nowhere", "/api/v1/jobs", "/metrics", "/app.js"):
            with self.subTest(path):
                headers = self.server.get(path).headers
                self.assertIn("default-src 'none'", headers["Content-Security-Policy"])
                self.assertIn("frame-ancestors 'none'", headers["Content-Security-Policy"])
                self.assertEqual(headers["X-Content-Type-Options"], "nosniff")
                self.assertEqual(headers["Referrer-Policy"], "no-referrer")
                self.assertIsNone(headers["Set-Cookie"])

    def test_head(self):
        for path in ("/version", "/", "/api/v1/jobs", "/nowhere"):
            with self.subTest(path):
                get, head = self.server.get(path), self.server.request("HEAD", path)
                self.assertEqual(head.status, get.status)
                self.assertEqual(head.body, b"")
                if path != "/nowhere":
                    self.assertEqual(head.headers["Content-Length"], str(len(get.body)))

    def test_etag_and_gzip(self):
        for path in ("/version", "/", "/app.js", "/api/v1/jobs", "/api/v1/workloads",
                     "/api/v1/host", "/api/v1/openapi.json"):
            with self.subTest(path):
                plain = self.server.get(path)
                packed = self.server.get(path, Accept_Encoding="gzip")
                tag = plain.headers["ETag"]
                self.assertTrue(tag.startswith('"'), tag)
                self.assertIn("Accept-Encoding", plain.headers["Vary"])
                self.assertIsNone(plain.headers["Content-Encoding"])
                if len(plain.body) >= 1024:
                    self.assertEqual(packed.headers["Content-Encoding"], "gzip")
                    self.assertNotEqual(packed.headers["ETag"], tag)
                    self.assertLess(len(packed.raw), len(plain.raw))
                else:
                    self.assertIsNone(packed.headers["Content-Encoding"])
                if path != "/api/v1/host":  # its free pages may change between two requests
                    self.assertEqual(packed.body, plain.body)
                    for value in (tag, f'"x", W/{tag}', "*"):
                        reply = self.server.get(path, If_None_Match=value)
                        self.assertEqual((reply.status, reply.body), (304, b""))
                        self.assertEqual(reply.headers["ETag"], tag)
                    again = self.server.get(path, Accept_Encoding="gzip",
                                            If_None_Match=packed.headers["ETag"])
                    self.assertEqual(again.status, 304)
                self.assertEqual(self.server.get(path, If_None_Match='"other"').status, 200)
        for value in ("identity", "gzip;q=0", "br", "xgzip", "gzip;q=0.000"):
            reply = self.server.get("/api/v1/openapi.json", Accept_Encoding=value)
            self.assertIsNone(reply.headers["Content-Encoding"], value)

    def test_pages(self):
        for path, kind in (("/", "text/html"), ("/job", "text/html"), ("/submit", "text/html"),
                           ("/host", "text/html"), ("/allocators", "text/html"),
                           ("/app.js", "text/javascript"), ("/app.css", "text/css"),
                           ("/favicon.svg", "image/svg+xml")):
            with self.subTest(path):
                reply = self.server.get(path)
                self.assertEqual(reply.status, 200)
                self.assertTrue(reply.headers["Content-Type"].startswith(kind))

    def test_problem_documents(self):
        problem = self.server.get("/nowhere").json
        page = self.server.get(problem["type"])
        self.assertEqual((page.status, page.json["status"]), (200, 404))


class Deadlines(ServerCase):
    OPTIONS = ("--request-ms", "600", "--tick-ms", "50", "--idle-s", "2", "--reply-ms", "1500")

    def drip(self, s, data):
        """Feed a byte at a time for ever; true when the server ends it."""
        until = time.monotonic() + PATIENCE
        try:
            for at in range(10 ** 6):
                s.sendall(data[at % len(data):at % len(data) + 1])
                time.sleep(0.05)
                s.setblocking(False)
                try:
                    if s.recv(65536) == b"":
                        return True
                except BlockingIOError:
                    pass
                finally:
                    s.setblocking(True)
                if time.monotonic() > until:
                    return False
        except (BrokenPipeError, ConnectionResetError):
            return True

    def test_slow_head(self):
        with self.server.connect() as s:
            s.sendall(GET)
            self.assertTrue(self.drip(s, b"X-Slow: y\r\n"))

    def test_slow_request_line(self):
        with self.server.connect() as s:
            self.assertTrue(self.drip(s, b"GGGGGGGGG"))

    def test_slow_body(self):
        with self.server.connect() as s:
            s.sendall(POST + b"Content-Length: 60000\r\n\r\n")
            self.assertTrue(self.drip(s, b" "))

    def test_slow_second_request(self):
        with self.server.connect() as s:
            s.sendall(GET + b"\r\n")
            self.assertEqual(status_of(read_head(s)), 200)
            s.sendall(GET)
            self.assertTrue(self.drip(s, b"X-Slow: y\r\n"))

    def test_silence(self):
        with self.server.connect() as s:
            self.assertEqual(read_all(s), b"")

    def test_slow_reader(self):
        """A reply that is not taken is given up, however large the socket's buffers are."""
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.settimeout(PATIENCE)
        s.connect(("127.0.0.1", self.server.port))
        with s:
            # Some megabytes of pipelined replies that nobody reads.
            try:
                for _ in range(400):
                    s.sendall(b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
            except (BrokenPipeError, ConnectionResetError):
                return
            until = time.monotonic() + PATIENCE
            while time.monotonic() < until:
                figures = self.server.get("/metrics").body.decode()
                if "\nheapmark_http_connections 1\n" in figures:
                    return
                time.sleep(0.1)
            self.fail("the connection is still open")

    def test_others_are_served_meanwhile(self):
        drips = [self.server.connect() for _ in range(40)]
        for s in drips:
            s.sendall(GET)
        self.assertEqual(self.server.get("/version").status, 200)
        for s in drips:
            s.close()


class Flood(ServerCase):
    """300 connections: the bound holds, and the server answers when some go away."""

    def test_300_connections(self):
        sockets = []
        for _ in range(300):
            s = socket.socket()
            self.addCleanup(s.close)
            s.settimeout(PATIENCE)
            s.connect(("127.0.0.1", self.server.port))  # the backlog takes what is over the bound
            sockets.append(s)
        for s in sockets[:200]:
            s.sendall(GET + b"\r\n")
        for s in sockets[:200]:
            self.assertEqual(status_of(read_head(s)), 200)
        for s in sockets[:250]:
            s.close()
        for s in sockets[250:]:
            s.sendall(GET + b"\r\n")
        for s in sockets[250:]:
            self.assertEqual(status_of(read_head(s)), 200)
            s.close()
        self.assertEqual(self.server.get("/version").status, 200)


    def test_news_on_every_connection_at_once(self):
        """As many events as the loop takes in one go, and then silence."""
        sockets = [self.server.connect() for _ in range(256)]
        for s in sockets:
            self.addCleanup(s.close)
            s.sendall(GET)
        for _ in range(20):
            for s in sockets:
                s.sendall(b"\r\n")
            for s in sockets:
                self.assertEqual(status_of(read_head(s)), 200)
                s.recv(116)
                s.sendall(GET)


class Listening(unittest.TestCase):
    def test_busy_port(self):
        first = Server()
        second = Server("--listen", f"127.0.0.1:{first.port}", expect_failure=True)
        self.assertEqual(second.stop(), 1)
        self.assertIn("in use", second.stderr())
        self.assertEqual(first.stop(), 0)
        first.remove()
        second.remove()

    def test_bad_addresses(self):
        for text in ("127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:x", "example:80",
                     "::1:80", "[127.0.0.1]:80", "unix:relative", "unix:/" + "x" * 200, ":80"):
            with self.subTest(text):
                server = Server("--listen", text, expect_failure=True)
                self.assertEqual(server.stop(), 1)
                server.remove()

    def test_unix_socket(self):
        with Path() as path:
            server = Server("--listen", f"unix:{path}", "--listen", "127.0.0.1:0")
            reply = server.request("GET", "/version", headers={"Host": "localhost"}, unix=path)
            self.assertEqual(reply.status, 200)
            self.assertEqual(os.stat(path).st_mode & 0o777, 0o660)
            self.assertEqual(server.stop(), 0)
            self.assertFalse(os.path.exists(path))
            server.remove()

    def test_stale_unix_socket(self):
        with Path() as path:
            s = socket.socket(socket.AF_UNIX)
            s.bind(path)
            s.close()
            server = Server("--listen", f"unix:{path}")
            reply = server.request("GET", "/version", headers={"Host": "localhost"}, unix=path)
            self.assertEqual(reply.status, 200)
            # A living one is not taken over.
            second = Server("--listen", f"unix:{path}", expect_failure=True)
            self.assertEqual(second.stop(), 1)
            self.assertEqual(server.stop(), 0)
            server.remove()
            second.remove()


class Path:
    def __enter__(self):
        import tempfile
        self.directory = tempfile.TemporaryDirectory(prefix="heapmark-api-")
        return os.path.join(self.directory.name, "s")

    def __exit__(self, *_):
        self.directory.cleanup()


if __name__ == "__main__":
    main()
